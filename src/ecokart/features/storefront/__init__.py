"""The shop window: home, categories, products, and the frame around every page."""
