"""Interfaces to external services: a base, one file a vendor and a mock for each kind."""
