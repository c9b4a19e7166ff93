"""The staff's inbox: the queue of conversations, each with its shopper's basket and orders beside it."""
