"""Writes what builds and ships a repository, and proposes only what was checked."""

from pipelines.agents.devops.agent import DevopsAgent

__all__ = ["DevopsAgent"]
