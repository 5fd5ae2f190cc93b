"""Which class stands behind each ``agent:`` of the configuration.

An agent is imported when the first task for it is started: whoever only needs the names, such as
the process that receives webhooks, pays for none of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from pipelines.agents.base import BaseAgent
from pipelines.errors import UserError


@dataclass(frozen=True, slots=True)
class Home:
    """Where an agent's class is; calling it makes one."""

    module: str
    name: str

    def __call__(self) -> BaseAgent:
        """Return a new agent, not started."""
        agent: BaseAgent = getattr(import_module(f"pipelines.agents.{self.module}"), self.name)()
        return agent


AGENTS: dict[str, Callable[[], BaseAgent]] = {
    "coding": Home("coding", "CodingAgent"),
    "deploy": Home("deploying", "DeployAgent"),
    "devops": Home("devops", "DevopsAgent"),
    "monitor": Home("monitor", "MonitorAgent"),
    "review": Home("review", "ReviewAgent"),
    "test": Home("testing", "TestAgent"),
    "test-data": Home("testdata", "TestDataAgent"),
}


def create(name: str) -> BaseAgent:
    """Return a new agent of that name, not started; raises UserError if there is none."""
    if name not in AGENTS:
        raise UserError(f"There is no agent {name!r}; there are: {', '.join(sorted(AGENTS))}.")
    return AGENTS[name]()
