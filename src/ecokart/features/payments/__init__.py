"""Payments: what the provider tells us, taken once; and the payment page of the pretend one.

What a payment means for an order is the orders' own matter.
"""
