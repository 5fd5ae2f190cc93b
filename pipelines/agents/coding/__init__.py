"""The coding agent: edits in memory, proof in the sandbox, one commit that explains itself."""

from pipelines.agents.coding.agent import CodingAgent

__all__ = ["CodingAgent"]
