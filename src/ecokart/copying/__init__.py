"""Moves a shop from one records engine to another while it sells; see docs/engines.md.

Everything is copied once, page by page; then passes compare both sides and carry over what differs,
until little does; the last pass, with the shop standing still, is followed by a verification.
"""
