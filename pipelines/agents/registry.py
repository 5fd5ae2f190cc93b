"""Which class stands behind each ``agent:`` of the configuration."""

from pipelines.agents.base import BaseAgent
from pipelines.agents.coding import CodingAgent
from pipelines.agents.deploying import DeployAgent
from pipelines.agents.monitor import MonitorAgent
from pipelines.agents.review import ReviewAgent
from pipelines.agents.testdata import TestDataAgent
from pipelines.agents.testing import TestAgent
from pipelines.errors import UserError

AGENTS: dict[str, type[BaseAgent]] = {
    agent.name: agent
    for agent in (
        CodingAgent,
        DeployAgent,
        MonitorAgent,
        ReviewAgent,
        TestAgent,
        TestDataAgent,
    )
}


def create(name: str) -> BaseAgent:
    """Return a new agent of that name, not started; raises UserError if there is none."""
    if name not in AGENTS:
        raise UserError(f"There is no agent {name!r}; there are: {', '.join(sorted(AGENTS))}.")
    return AGENTS[name]()
