"""Runs on record: what every attempt saw, what happened to each run, and going through it again."""
