"""A cloud in memory: releases become ready after a few looks, or fail if a test says so."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipelines.integrations.cloud.base import Account, CloudProvider
from pipelines.integrations.target import newest, refuse_older
from pipelines.model import EnvironmentPlan, Release, ReleaseState


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How the releases of a commit go: ready after so many looks, or failed with a message."""

    looks: int = 1
    failure: str = ""
    log: str = "started\n"


@dataclass
class _Service:
    release: Release
    good: Release | None = None
    """What goes on running if the release fails."""
    looks: int = 0
    keys: set[str] = field(default_factory=set[str])


class MockCloud(CloudProvider):
    """Implements ``CloudProvider`` as the target ``mock``; commits not named behave well."""

    name = "mock"

    def __init__(self, behaviours: Mapping[str, Behaviour] | None = None) -> None:
        self._behaviours = dict(behaviours or {})
        self._services: dict[tuple[str, str], _Service] = {}

    async def account(self) -> Account:
        """Return an account that is nobody's."""
        return Account(id="mock", region="memory")

    async def release(self, release: Release) -> ReleaseState:
        """Take the release, or find that it was taken."""
        place = (release.repository, release.environment.name)
        service = self._services.get(place)
        if service is None:
            self._services[place] = _Service(release, keys={release.key})
        elif release.key not in service.keys:
            refuse_older(release, service.release.revision)
            if self._told(service).phase == "ready":
                service.good = service.release
            service.release, service.looks = release, 0
            service.keys.add(release.key)
        return self._told(self._services[place])

    async def state(self, environment: EnvironmentPlan, *, repository: str) -> ReleaseState:
        """Look once more, which is what makes a rollout go on."""
        service = self._services.get((repository, environment.name))
        if service is None:
            return ReleaseState(phase="absent")
        service.looks += 1
        return self._told(service)

    async def log(self, environment: EnvironmentPlan, *, repository: str, lines: int) -> str:
        """Return what the commit's behaviour says that it wrote."""
        service = self._services.get((repository, environment.name))
        return newest(self._behaviour(service.release).log, lines) if service else ""

    async def close(self) -> None:
        """Forget nothing: what runs goes on running."""

    def _behaviour(self, release: Release) -> Behaviour:
        return self._behaviours.get(release.sha, Behaviour())

    def _told(self, service: _Service) -> ReleaseState:
        release, behaviour = service.release, self._behaviour(service.release)
        phase = "progressing"
        if service.looks >= behaviour.looks:
            phase = "failed" if behaviour.failure else "ready"
        answers = phase == "ready" or service.good is not None
        return ReleaseState(
            phase=phase,
            sha=release.sha,
            revision=release.revision,
            message=behaviour.failure if phase == "failed" else "",
            url=release.environment.url if answers else None,
            ready=1 if phase == "ready" else 0,
            wanted=1,
        )
