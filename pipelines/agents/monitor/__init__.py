"""The monitor agent: whether a deployed service is still well, and if not, what got worse."""

from pipelines.agents.monitor.agent import MonitorAgent

__all__ = ["MonitorAgent"]
