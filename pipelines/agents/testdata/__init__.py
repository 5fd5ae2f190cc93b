"""The test-data agent: seeded fixtures, each record validated against the schema it claims."""

from pipelines.agents.testdata.agent import TestDataAgent

__all__ = ["TestDataAgent"]
