"""What every deployment target can do, be it a cloud, a container platform or a pipeline."""

from abc import ABC, abstractmethod

from pipelines.model import EnvironmentPlan, Release, ReleaseState


class DeploymentTarget(ABC):
    """Runs one commit of a service in one environment.

    Everything is idempotent by ``Release.key``, and a release with a lower ``revision`` than what
    is there raises ``UserError`` and changes nothing. ``Retryable`` is a passing fault,
    ``UserError`` one that only the operator can mend; nothing waits for a rollout to end.
    """

    name: str
    """As ``target:`` in the configuration."""

    @abstractmethod
    async def release(self, release: Release) -> ReleaseState:
        """Start to run this commit, or find that it runs already; returns the state by then."""

    @abstractmethod
    async def state(self, environment: EnvironmentPlan, *, repository: str) -> ReleaseState:
        """Return what runs there now."""

    @abstractmethod
    async def log(self, environment: EnvironmentPlan, *, repository: str, lines: int) -> str:
        """Return the newest output of the service, at most 64 KiB; empty where there is none."""

    @abstractmethod
    async def close(self) -> None:
        """Close connections; what runs goes on running."""
