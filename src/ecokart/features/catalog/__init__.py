"""What the shop sells: products, their variants, their stock.

Reserving stock is one line in `service.py`: `reserve`. Pages and lists are read from `shelf.py`.
"""
