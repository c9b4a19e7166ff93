"""Live chat: rooms in which shoppers and the shop's people talk.

Every message is a record with its number before anybody hears of it; delivery is then only a matter
of speed. See docs/chat.md for the protocol and docs/decisions/0010 for how nothing gets lost.
"""
