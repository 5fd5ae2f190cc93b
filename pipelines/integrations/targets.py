"""Which target carries out an environment's deployments; each is made when it is first needed."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx2

from pipelines.errors import UserError
from pipelines.integrations.cicd.github_actions import Connect, GitHubActions
from pipelines.integrations.cicd.gitlab import GitLabCi
from pipelines.integrations.cloud.aws import AwsCloud
from pipelines.integrations.cloud.azure import ROOT as AZURE
from pipelines.integrations.cloud.azure import AzureCloud
from pipelines.integrations.cloud.azure_credentials import AzureHeaders
from pipelines.integrations.cloud.gcp import ROOT as GOOGLE
from pipelines.integrations.cloud.gcp import GoogleCloud
from pipelines.integrations.cloud.gcp_credentials import GoogleHeaders
from pipelines.integrations.cloud.mock import MockCloud
from pipelines.integrations.containers.bubblewrap import Binary
from pipelines.integrations.containers.kubernetes import KubernetesTarget
from pipelines.integrations.containers.kubernetes_api import KubernetesApi
from pipelines.integrations.containers.local import Files, LocalTarget
from pipelines.integrations.rest import Rest
from pipelines.integrations.target import DeploymentTarget
from pipelines.model import EnvironmentPlan
from pipelines.ports import Clock

Factory = Callable[[], DeploymentTarget]
_HOW = {
    "local": "CONDUCTOR_LOCAL_TARGET=1 allows it to run services on its own machine",
    "gitlab-ci": "it needs GITLAB_TOKEN, and GITLAB_URL if it is not gitlab.com",
    "github-actions": "it needs a GitHub App",
}


class Targets:
    """Returns the target of an environment, the same one for every environment of its kind."""

    def __init__(self, factories: Mapping[str, Factory]) -> None:
        self._factories = dict(factories)
        self._made: dict[str, DeploymentTarget] = {}

    def __call__(self, plan: EnvironmentPlan) -> DeploymentTarget:
        """Return the environment's target; UserError if the operator has not set it up."""
        if plan.target not in self._made:
            factory = self._factories.get(plan.target)
            if factory is None:
                how = _HOW.get(plan.target, "this version cannot do it")
                raise UserError(
                    f"This installation does not deploy to `{plan.target}`, which {plan.name!r} "
                    f"asks for: {how}."
                )
            self._made[plan.target] = factory()
        return self._made[plan.target]

    async def close(self) -> None:
        """Close every target that was made; what runs goes on running."""
        for target in self._made.values():
            await target.close()


@dataclass(frozen=True, slots=True)
class TargetSettings:
    """What the operator set up; what is None is not offered."""

    local_directory: Path | None = None
    """Where the local target keeps its services; None where it is not allowed."""
    toolchains: Sequence[Path] = ()
    bubblewrap: Binary | None = None
    """Only if it was found to work."""
    kubernetes_context: str | None = None
    aws_endpoint: str | None = None
    gitlab_url: str = "https://gitlab.com"
    gitlab_token: Callable[[], Awaitable[Mapping[str, str]]] | None = None
    """Returns the ``PRIVATE-TOKEN`` header."""


def standard_factories(
    settings: TargetSettings,
    *,
    client: httpx2.AsyncClient,
    clock: Clock,
    files: Files,
    github: Connect | None,
) -> dict[str, Factory]:
    """Return how each target is made; whoever wires adds those it makes itself, e.g. ``docker``."""
    factories: dict[str, Factory] = {
        "aws": lambda: AwsCloud(settings.aws_endpoint),
        "azure": lambda: AzureCloud(Rest("azure", AZURE, client, AzureHeaders())),
        "gcp": lambda: GoogleCloud(Rest("gcp", GOOGLE, client, GoogleHeaders())),
        "kubernetes": lambda: KubernetesTarget(KubernetesApi(settings.kubernetes_context)),
        "mock": MockCloud,
    }
    if (directory := settings.local_directory) is not None:
        factories["local"] = lambda: LocalTarget(
            directory,
            files,
            client,
            clock,
            toolchains=settings.toolchains,
            binary=settings.bubblewrap,
        )
    if github is not None:
        factories["github-actions"] = lambda: GitHubActions(github)
    if (token := settings.gitlab_token) is not None:
        api = Rest("gitlab", f"{settings.gitlab_url.rstrip('/')}/api/v4", client, token)
        factories["gitlab-ci"] = lambda: GitLabCi(api)
    return factories
