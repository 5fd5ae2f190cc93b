"""The engine under every interleaving that a seed can make."""
