"""Orders: from the cart to the customer's door.

`service.py` places them, `pipeline.py` is the whole way they go afterwards.
"""
