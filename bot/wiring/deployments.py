"""Where environments are deployed to: one object a target, made when it is first asked for."""

from collections.abc import Callable, Mapping
from typing import Protocol

from bot.github.gateway import GitHub
from bot.wiring.instruments import Surroundings
from pipelines.errors import UserError
from pipelines.integrations.cloud.mock import MockCloud
from pipelines.integrations.containers.bubblewrap import Binary
from pipelines.integrations.containers.docker import DockerRuntime
from pipelines.integrations.containers.local import LocalTarget
from pipelines.integrations.target import DeploymentTarget
from pipelines.model import Change, EnvironmentPlan, Release
from pipelines.ports import Snapshot, Source

SERVICES = "services"
"""The folder of the data directory in which the target ``local`` keeps what it runs."""


class Files(Protocol):
    """Gets the files of a release's commit."""

    async def __call__(self, release: Release) -> Snapshot:
        """Return them; raises UserError if the repository is out of reach."""
        ...


def files_of(github: GitHub, source: Source) -> Files:
    """Return what reads a release's files through the installation of its repository."""

    async def files(release: Release) -> Snapshot:
        repository = await github.repository(release.repository)
        if repository is None or repository.id != release.repository_id:
            raise UserError(f"The App is no longer installed in {release.repository}.")
        change = Change(repository=repository, head_sha=release.sha, base_sha=release.sha)
        return await source.snapshot(change)

    return files


class Targets:
    """From an environment to what carries its deployments out; UserError if it is not set up."""

    def __init__(self, around: Surroundings, engine: DockerRuntime, files: Files) -> None:
        self._around = around
        self._files = files
        self._made: dict[str, DeploymentTarget] = {"docker": engine}
        self._makers: Mapping[str, Callable[[], DeploymentTarget]] = {
            "local": self._local,
            "mock": MockCloud,
        }

    def __call__(self, plan: EnvironmentPlan) -> DeploymentTarget:
        """Return the environment's target."""
        if plan.target not in self._made:
            maker = self._makers.get(plan.target)
            if maker is None:
                raise UserError(f"The target `{plan.target}` is not set up here.")
            target = maker()
            self._around.opened.push_async_callback(target.close)
            self._made[plan.target] = target
        return self._made[plan.target]

    def _local(self) -> DeploymentTarget:
        settings = self._around.settings
        if not settings.conductor_local_target:
            raise UserError(
                "The target `local` runs a repository's service on Conductor's own machine, so the "
                "operator must allow it: set CONDUCTOR_LOCAL_TARGET=1."
            )
        client = self._around.client()
        self._around.opened.push_async_callback(client.aclose)
        return LocalTarget(
            settings.conductor_data_dir / SERVICES,
            self._files,
            client,
            self._around.clock,
            toolchains=settings.conductor_toolchains,
            binary=Binary.found(),
        )
