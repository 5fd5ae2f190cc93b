"""Where environments are deployed to: one object a target, made when it is first asked for."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx2

from bot.github.client import GitHubClient
from bot.github.errors import NotFound
from bot.github.gateway import GitHub
from bot.github.tokens import ACTIONS
from bot.wiring.instruments import Surroundings
from pipelines.errors import UserError
from pipelines.integrations.cicd.github_actions import Connect
from pipelines.integrations.containers.bubblewrap import Binary
from pipelines.integrations.containers.docker import DockerRuntime
from pipelines.integrations.containers.local import Files
from pipelines.integrations.targets import Targets, TargetSettings, standard_factories
from pipelines.model import Change, Release
from pipelines.ports import Snapshot, Source

SERVICES = "services"
"""The folder of the data directory in which the target ``local`` keeps what it runs."""


class Actions:
    """GitHub's API for a repository's own pipelines, with the rights to start and watch them."""

    def __init__(self, client: GitHubClient) -> None:
        self._client = client

    async def get(self, path: str) -> Any:
        """Return the JSON that is there, or None if nothing is."""
        try:
            return await self._client.getitem(path)
        except NotFound:
            return None

    async def post(self, path: str, data: Mapping[str, Any]) -> Any:
        """Send JSON."""
        return await self._client.post(path, data=dict(data))


def targets(
    around: Surroundings, engine: DockerRuntime, github: GitHub, source: Source, *, isolated: bool
) -> Targets:
    """Return what carries out deployments; ``isolated`` is whether bubblewrap works here."""
    settings = around.settings
    services = settings.conductor_data_dir / SERVICES
    token = settings.gitlab_token
    wanted = TargetSettings(
        local_directory=services if settings.conductor_local_target else None,
        toolchains=settings.conductor_toolchains,
        bubblewrap=Binary.found() if isolated else None,
        gitlab_url=str(settings.gitlab_url),
        gitlab_token=_header(token.get_secret_value()) if token else None,
    )
    client = httpx2.AsyncClient(timeout=30.0, trust_env=False, follow_redirects=False)
    around.opened.push_async_callback(client.aclose)
    factories = standard_factories(
        wanted,
        client=client,
        clock=around.clock,
        files=_files(github, source),
        github=_connect(github),
    )
    made = Targets({**factories, "docker": lambda: engine})
    around.opened.push_async_callback(made.close)
    return made


def _files(github: GitHub, source: Source) -> Files:
    """Return what reads a release's files through the installation of its repository."""

    async def files(release: Release) -> Snapshot:
        repository = await github.repository(release.repository)
        if repository is None or repository.id != release.repository_id:
            raise UserError(f"The App is no longer installed in {release.repository}.")
        change = Change(repository=repository, head_sha=release.sha, base_sha=release.sha)
        return await source.snapshot(change)

    return files


def _connect(github: GitHub) -> Connect:
    async def connect(full_name: str) -> Actions:
        repository = await github.repository(full_name)
        if repository is None:
            raise UserError(f"The App is not installed in {full_name}.")
        return Actions(github.client(repository, ACTIONS))

    return connect


def _header(token: str) -> Callable[[], Awaitable[Mapping[str, str]]]:
    async def header() -> Mapping[str, str]:
        return {"PRIVATE-TOKEN": token}

    return header
