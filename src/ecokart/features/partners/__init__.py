"""Partners: companies whose programs order here by an API key.

Their keys and what each may, the limits they keep to, and a trail of everything they ask.
"""
