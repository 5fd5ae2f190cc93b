"""The review agent: verified findings with identity, and the truth about what was looked at."""

from pipelines.agents.review.agent import ReviewAgent

__all__ = ["ReviewAgent"]
