"""Ecokart: an e-commerce platform that never oversells and never loses an order."""

__version__ = "0.1.0"
