"""Persistent data: one backend interface and the typed stores over it."""
