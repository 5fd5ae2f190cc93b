"""What a repository may declare in `.conductor.yml`; each section is a model, each key a field.

Descriptions are for users: the JSON Schema and the reference page are made from them.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from pipelines.config.diagnostics import nearest, shown
from pipelines.config.steps import (
    AGENTS,
    CodingStep,
    DeployStep,
    DevopsStep,
    MonitorStep,
    ReviewStep,
    Step,
    StepBase,
    TestDataStep,
    TestStep,
)
from pipelines.config.triggers import Triggers
from pipelines.config.values import (
    Duration,
    EnvironmentName,
    Freeze,
    Globs,
    GroupName,
    ImageTemplate,
    ModelName,
    Name,
    ResourceName,
    Text,
    Url,
    UrlPath,
    UserId,
)
from pipelines.model import Frozen, Target

__all__ = [
    "AGENTS",
    "Budget",
    "CodingStep",
    "Concurrency",
    "ConductorFile",
    "DeployStep",
    "DevopsStep",
    "Environment",
    "Models",
    "MonitorStep",
    "Paths",
    "ReviewStep",
    "Step",
    "StepBase",
    "TestDataStep",
    "TestStep",
    "Triggers",
    "Workflow",
]

MAX_WORKFLOWS = 50
MAX_STEPS = 100

ModelChain = Annotated[tuple[ModelName, ...], Field(min_length=1, max_length=5)]

IGNORED_BY_DEFAULT = (
    "**/*.lock",
    "**/package-lock.json",
    "**/pnpm-lock.yaml",
    "**/go.sum",
    "**/*.min.js",
    "**/*.min.css",
    "**/*.map",
    "**/node_modules/**",
)
PROTECTED_BY_DEFAULT = (".github/**", ".gitlab-ci.yml", ".conductor.yml", ".conductor.yaml")


class Models(Frozen):
    """Chains of models, tried in order; an agent without its own uses `default`."""

    default: ModelChain | None = Field(
        default=None, description="For every agent without its own; else the operator's choice."
    )
    coding: ModelChain | None = Field(default=None, description="For the coding agent.")
    review: ModelChain | None = Field(default=None, description="For the review agent.")
    test_data: ModelChain | None = Field(
        default=None, alias="test-data", description="For the test-data agent."
    )
    test: ModelChain | None = Field(default=None, description="For the test agent.")
    devops: ModelChain | None = Field(default=None, description="For the devops agent.")
    deploy: ModelChain | None = Field(default=None, description="For the deploy agent.")
    monitor: ModelChain | None = Field(default=None, description="For the monitor agent.")


class Budget(Frozen):
    """What models may cost, in US dollars; a spent budget ends neutral, with the reason."""

    per_run: float = Field(default=1.50, gt=0, le=1000, description="For one run of a workflow.")
    per_day: float = Field(
        default=25.0,
        gt=0,
        le=10_000,
        description="For this repository a day; the operator's own limit holds as well.",
    )


class Paths(Frozen):
    """Which files agents leave out and which they never write."""

    ignore: Globs = Field(
        default=IGNORED_BY_DEFAULT,
        description="Files that agents do not look at; each is named as left out.",
    )
    protected: Globs = Field(
        default=PROTECTED_BY_DEFAULT,
        description="Files that no commit of Conductor changes.",
    )


class Environment(Frozen):
    """Where a deploy step deploys to."""

    target: Target = Field(description="What carries the deployment out.")
    url: Url | None = Field(
        default=None,
        description="Address of the deployed service, shown with the deployment and asked for its "
        "health; only if the operator allows its host.",
    )
    health: UrlPath | None = Field(
        default="/healthz",
        description="Path that answers 2xx when the service is well; `null` for no check.",
    )
    metrics: UrlPath | Url | None = Field(
        default=None,
        description="Path or address of a page in Prometheus' text format, read where no "
        "Prometheus is set up.",
    )
    service: ResourceName | None = Field(
        default=None,
        description="Name of the service at its target; without it the repository's name.",
    )
    image: ImageTemplate | None = Field(
        default=None,
        description="Container image; `{sha}` stands for the commit. Without it "
        "`ghcr.io/OWNER/NAME:{sha}`.",
    )
    command: tuple[Text, ...] = Field(
        default=(), max_length=50, description="Program and arguments, where the target needs one."
    )
    port: int | None = Field(
        default=None, ge=1, le=65_535, description="Port that the service listens on."
    )
    namespace: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
        description="Kubernetes namespace; only with the target `kubernetes`.",
    )
    cluster: ResourceName | None = Field(default=None, description="ECS cluster.")
    region: ResourceName | None = Field(default=None, description="Region of the cloud.")
    project: ResourceName | None = Field(
        default=None, description="Google Cloud project, Azure subscription or GitLab project."
    )
    resource_group: ResourceName | None = Field(default=None, description="Azure resource group.")
    workflow: ResourceName | None = Field(
        default=None, description="GitHub Actions workflow file that deploys, e.g. `deploy.yml`."
    )
    rollout: Duration = Field(
        default=600.0, ge=1, le=7200, description="How long a rollout may take."
    )
    production: bool = Field(
        default=False,
        description="Whether commands need `maintain`; the environment named `production` "
        "always does.",
    )
    approval: int = Field(
        default=0,
        ge=0,
        le=6,
        description="How many people other than the author must approve each deployment.",
    )
    approvers: tuple[UserId, ...] = Field(
        default=(),
        max_length=100,
        description="Numeric user ids that may deploy and approve here; logins can change hands, "
        "so they are not accepted.",
    )
    freeze: tuple[Freeze, ...] = Field(
        default=(),
        max_length=20,
        description="Weekly spans without deployments, e.g. `Fri 16:00 - Mon 08:00 Europe/Berlin`.",
    )


class _OrShort:
    """Says in the JSON Schema that a word may stand for the mapping."""

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [handler(core), {"type": "string", "enum": list(_SHORT)}]}


class Concurrency(Frozen):
    """What happens while an older run is unfinished.

    `cancel-superseded` is short for `{cancel-superseded: true}`, `run-all` for
    `{cancel-superseded: false}`.
    """

    group: GroupName | None = Field(
        default=None,
        description="Of all runs in this repository with the same group, whatever their workflow, "
        "one at a time works. `{branch}`, `{pull-request}` and `{environment}` are filled in; what "
        "there is none of is left empty.",
    )
    cancel_superseded: bool = Field(
        default=False,
        alias="cancel-superseded",
        description="Whether a newer run cancels the older ones of its group, without a group "
        "those of its subject. Otherwise it waits for its group, where at most one run waits: a "
        "newer one takes its place.",
    )


CANCEL = Concurrency.model_validate({"cancel-superseded": True})
_SHORT = {"cancel-superseded": CANCEL, "run-all": Concurrency()}


def _long(value: object) -> object:
    """Return what a word stands for."""
    if not isinstance(value, str):
        return value
    if value not in _SHORT:
        words = " or ".join(f"`{word}`" for word in _SHORT)
        close = nearest(value, _SHORT)
        hint = f" Did you mean `{close}`?" if close else ""
        raise ValueError(
            f"`concurrency` is {words}, or a mapping with a `group`, not `{shown(value)}`.{hint}"
        )
    return _SHORT[value]


class Workflow(Frozen):
    """Steps, and what starts them; steps with no path between them run at the same time."""

    on: Triggers = Field(description="What starts the workflow; any one of them is enough.")
    concurrency: Annotated[Concurrency, BeforeValidator(_long), _OrShort()] = Field(
        default=CANCEL,
        description="What happens to an unfinished run when a newer one of the same subject "
        "starts: it is cancelled, or it goes on. With a group: it is waited for, or cancelled.",
        json_schema_extra={"default": "cancel-superseded"},
    )
    steps: dict[Name, Step] = Field(
        min_length=1, max_length=MAX_STEPS, description="The steps by name."
    )


def _empty_if_none(value: object) -> object:
    return {} if value is None else value


def _whole(value: object) -> object:
    """Keep `true` and `1.0` apart from 1, to which they are equal."""
    return value if type(value) is int else str(value)


class ConductorFile(Frozen):
    """The whole of `.conductor.yml`."""

    version: Annotated[Literal[1], BeforeValidator(_whole)] = Field(
        description="Version of this format."
    )
    models: Models = Field(default=Models(), description="Which language models are used.")
    budget: Budget = Field(default=Budget(), description="What models may cost.")
    paths: Paths = Field(default=Paths(), description="Which files are out of bounds.")
    environments: Annotated[dict[EnvironmentName, Environment], BeforeValidator(_empty_if_none)] = (
        Field(default={}, max_length=50, description="Where deploy steps deploy to, by name.")
    )
    workflows: dict[Name, Workflow] = Field(
        min_length=1, max_length=MAX_WORKFLOWS, description="The workflows by name."
    )
