"""`.conductor.yml`: its schema, a reader that trusts nothing, and what follows from a file."""
