"""The test agent: runs base and head in the sandbox, and keeps tests that prove themselves."""

from pipelines.agents.testing.agent import TestAgent

__all__ = ["TestAgent"]
