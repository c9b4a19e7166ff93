"""The office: orders and stock, for the people who sit in it all day."""
