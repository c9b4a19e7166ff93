"""What was sold elsewhere before: invoice lines become products, customers and orders of this shop.

`files.py` reads a file, `sales.py` decides what a line means, `service.py` takes over what was sold,
`report.py` tells whoever started it.
"""
