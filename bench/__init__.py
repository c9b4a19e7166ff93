"""What we claim, re-runnable: `python -m bench`, and the proofs at any size.

Nothing here is part of the shop. It starts the shop as a process of its own and talks to it over HTTP.
"""
