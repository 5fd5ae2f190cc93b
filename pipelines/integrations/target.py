"""What every deployment target can do, be it a cloud, a container platform or a pipeline."""

import re
from abc import ABC, abstractmethod

from pipelines.errors import UserError
from pipelines.model import EnvironmentPlan, Release, ReleaseState

MAX_LOG_BYTES = 64 * 1024


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


def refuse_older(release: Release, present: int | None) -> None:
    """Raise UserError if a higher revision than the release's is there."""
    if present is not None and present > release.revision:
        raise UserError(
            f"Revision {release.revision} of {release.environment.name} is older than revision "
            f"{present}, which was released meanwhile."
        )


def image_of(release: Release) -> str:
    """Return the image to run; without one in the configuration GitHub's registry has it."""
    template = release.environment.image or f"ghcr.io/{release.repository.lower()}:{{sha}}"
    return template.replace("{sha}", release.sha)


def service_of(environment: EnvironmentPlan, repository: str) -> str:
    """Return the service's name: the configured one, else the repository's as a DNS label."""
    if environment.service is not None:
        return environment.service
    name = re.sub(r"[^a-z0-9]+", "-", repository.rpartition("/")[2].lower()).strip("-")
    return name[:63].rstrip("-") or "service"


def needed(environment: EnvironmentPlan, field: str) -> str:
    """Return a field of the environment that its target cannot do without; else UserError."""
    value = getattr(environment, field)
    if not value:
        raise UserError(
            f"The environment {environment.name!r} needs `{field}` for its target "
            f"{environment.target!r}."
        )
    return str(value)


def newest(text: str, lines: int) -> str:
    """Return the last lines of an output, at most 64 KiB of them."""
    rows = text.splitlines()[-lines:] if lines > 0 else []
    return "\n".join(rows).encode()[-MAX_LOG_BYTES:].decode(errors="ignore")
