"""A small web service that knows the carts of a shop."""
