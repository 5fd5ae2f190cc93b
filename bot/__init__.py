"""Everything that knows GitHub or HTTP: the life of an event, left to right."""

__version__ = "0.1.0"
