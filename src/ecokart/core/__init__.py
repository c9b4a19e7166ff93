"""The language of the house: records, transactions, events, money, and the ports to the outside.

Nothing in here imports anything else of ours.
"""
