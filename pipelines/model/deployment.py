"""Environments, what is released to them, and the effects by which that happens."""

from datetime import time
from typing import Literal

from pydantic import AwareDatetime, Field

from pipelines.model.base import Frozen, Sha

Target = Literal[
    "docker",
    "kubernetes",
    "aws",
    "gcp",
    "azure",
    "github-actions",
    "gitlab-ci",
    "local",
    "mock",
]


class FreezeWindow(Frozen):
    """A weekly span in which nothing is deployed, in the local time of ``zone``."""

    start_day: int = Field(ge=0, le=6)
    """0 is Monday."""
    start: time
    end_day: int = Field(ge=0, le=6)
    end: time
    zone: str


class EnvironmentPlan(Frozen):
    """One environment of the configuration in force, pinned in the run."""

    name: str
    target: Target
    production: bool = False
    approval: int = 0
    approvers: tuple[int, ...] = ()
    freeze: tuple[FreezeWindow, ...] = ()
    url: str | None = None
    """Where the deployed service answers; None if its target says so itself."""
    health: str | None = "/healthz"
    """Path that answers 2xx when the service is well; None for no check."""
    metrics: str | None = None
    """Path or address of a Prometheus text page."""
    service: str | None = None
    image: str | None = None
    """``{sha}`` stands for the commit."""
    command: tuple[str, ...] = ()
    port: int | None = None
    namespace: str | None = None
    cluster: str | None = None
    region: str | None = None
    project: str | None = None
    resource_group: str | None = None
    workflow: str | None = None
    rollout_seconds: float = 600.0


class Release(Frozen):
    """What shall run: one commit in one environment; ``revision`` grows and fences older ones."""

    repository: str
    """``owner/name``, for names and labels."""
    repository_id: int
    environment: EnvironmentPlan
    sha: Sha
    revision: int = Field(ge=1)
    key: str
    """Names this very release at the target, so that a repeat finds it."""


class ReleaseState(Frozen):
    """What a target says about a service now."""

    phase: Literal["absent", "progressing", "ready", "failed", "unknown"]
    sha: str | None = None
    revision: int | None = None
    message: str = ""
    url: str | None = None
    log_url: str | None = None
    ready: int = 0
    wanted: int = 0


class Probe(Frozen):
    """The answer to one health check."""

    ok: bool
    status: int | None = None
    seconds: float = 0.0
    message: str = ""


class LastGood(Frozen):
    """The release that last stood the test in an environment."""

    sha: Sha
    deployment_id: int | None = None
    at: AwareDatetime


class EnvironmentState(Frozen):
    """An environment as Conductor knows it, for the run that holds it or wants to."""

    plan: EnvironmentPlan
    deployment_id: int | None = None
    """The latest one of the run that asks."""
    deployment_sha: Sha | None = None
    """The commit that it deploys."""
    rolling_back: bool = False
    """Whether it is a rollback, so that a repeated task goes on with it and not with another."""
    revision: int = 0
    current_sha: Sha | None = None
    last_good: LastGood | None = None
    before: LastGood | None = None
    """The good release before ``last_good``: where a rollback from it goes."""
    deployed_at: AwareDatetime | None = None


DeploymentStatus = Literal["queued", "in_progress", "success", "failure", "error", "inactive"]


class CreateDeployment(Frozen):
    """Take the environment and create the deployment; denied while another run holds it."""

    kind: Literal["create_deployment"] = "create_deployment"
    head_sha: Sha
    """The commit that the run is bound to."""
    sha: Sha
    """The commit to deploy: the same, or for a rollback the last good one."""
    environment: str
    production: bool = False
    rollback: bool = False
    occasion: str

    @property
    def key(self) -> str:
        """One deployment an environment, commit and occasion."""
        return f"deployment/{self.environment}/{self.sha}/{self.occasion}"


class ReleaseService(Frozen):
    """Have the environment's target run the commit; all arguments come from the configuration."""

    kind: Literal["release_service"] = "release_service"
    head_sha: Sha
    sha: Sha
    environment: str
    deployment_id: int = Field(ge=1)
    rollback: bool = False

    @property
    def key(self) -> str:
        """One release a deployment."""
        return f"release/{self.environment}/{self.deployment_id}/{self.sha}"


class SetDeploymentStatus(Frozen):
    """Move a deployment forward; an earlier state than the present one is never written."""

    kind: Literal["set_deployment_status"] = "set_deployment_status"
    head_sha: Sha
    environment: str
    deployment_id: int = Field(ge=1)
    state: DeploymentStatus
    description: str = Field(default="", max_length=140)
    environment_url: str | None = None
    log_url: str | None = None

    @property
    def key(self) -> str:
        """One status of each state a deployment."""
        return f"deployment-status/{self.deployment_id}/{self.state}"


class Notify(Frozen):
    """A line for the people who operate the service: console, webhook or Slack."""

    kind: Literal["notify"] = "notify"
    head_sha: Sha | None = None
    level: Literal["info", "warning", "critical"] = "info"
    title: str = Field(max_length=200)
    text: str = Field(default="", max_length=4000)
    url: str | None = None
    occasion: str

    @property
    def key(self) -> str:
        """One message an occasion."""
        return f"notify/{self.occasion}"
