"""The deploy agent, and the sequence by which a commit comes to run or is taken back."""

from pipelines.agents.deploying.agent import DeployAgent

__all__ = ["DeployAgent"]
