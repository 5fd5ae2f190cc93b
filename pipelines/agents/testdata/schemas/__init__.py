"""Finds schemas in a repository and reads them as JSON Schema; nothing is imported or run."""

from pipelines.agents.testdata.schemas.base import Reference, Schema, Unreadable
from pipelines.agents.testdata.schemas.discovery import Found, candidates, read_schemas

__all__ = ["Found", "Reference", "Schema", "Unreadable", "candidates", "read_schemas"]
