"""Customers: registering, signing in and out, addresses, roles."""
