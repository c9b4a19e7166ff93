"""Webhooks: partners are told what becomes of their orders, and of the stock, at addresses of theirs.

By Standard Webhooks: signed, tried again for days, kept in a log, and sent once more when asked.
"""
