"""The `on` of a workflow: one section a kind of trigger, with what narrows it.

A key left out does not narrow. Lists hold alternatives; different keys must all hold.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from pipelines.config.values import CronText, Globs, Label
from pipelines.model import Frozen

PullRequestType = Literal[
    "opened",
    "synchronize",
    "reopened",
    "ready_for_review",
    "converted_to_draft",
    "edited",
    "closed",
    "labeled",
    "unlabeled",
]
IssueType = Literal[
    "opened", "reopened", "edited", "closed", "labeled", "unlabeled", "assigned", "unassigned"
]
DeploymentState = Literal[
    "error", "failure", "inactive", "in_progress", "pending", "queued", "success"
]
Verb = Literal["review", "fix", "test", "deploy", "rollback"]
Button = Literal["retry", "fix"]


class PullRequest(Frozen):
    """A pull request changed."""

    types: tuple[PullRequestType, ...] = Field(
        default=("opened", "synchronize", "reopened", "ready_for_review"),
        min_length=1,
        description="What happened to the pull request, in GitHub's words.",
    )
    branches: Globs = Field(default=(), description="Base branches.")
    paths: Globs = Field(default=(), description="At least one changed file must match.")
    drafts: bool = Field(default=False, description="Whether drafts count as well.")


class Push(Frozen):
    """A branch or tag moved; with only one of `branches` and `tags` the other kind is left out."""

    branches: Globs = Field(default=(), description="Branches.")
    tags: Globs = Field(default=(), description="Tags.")
    paths: Globs = Field(default=(), description="At least one changed file must match.")


class Deployment(Frozen):
    """A deployment was created."""

    environments: Globs = Field(default=(), description="Environments.")


class DeploymentStatus(Frozen):
    """The status of a deployment changed."""

    environments: Globs = Field(default=(), description="Environments.")
    states: tuple[DeploymentState, ...] = Field(
        default=("success",), min_length=1, description="The new state."
    )


class Issues(Frozen):
    """An issue changed."""

    types: tuple[IssueType, ...] = Field(
        default=("opened", "labeled"), min_length=1, description="What happened to the issue."
    )
    labels: tuple[Label, ...] = Field(
        default=(),
        max_length=50,
        description="The issue must carry one of them; for `labeled` it must be the one added.",
    )


class Command(Frozen):
    """Somebody with the permission gave a command in a comment."""

    verbs: tuple[Verb, ...] = Field(default=(), description="The commands that start it.")


class CheckRun(Frozen):
    """Somebody pressed a button of a check."""

    buttons: tuple[Button, ...] = Field(default=("fix",), min_length=1, description="The buttons.")


class Schedule(Frozen):
    """Time passed."""

    cron: CronText = Field(description="Minute, hour, day, month and weekday, in UTC.")


class Alert(Frozen):
    """Alertmanager reported that an alert fires."""

    names: Globs = Field(default=(), description="Names of the alerts.")
    severities: tuple[Label, ...] = Field(
        default=(), max_length=50, description="Their `severity` labels."
    )
    environments: Globs = Field(default=(), description="Their `environment` labels.")


class Feedback(Frozen):
    """The monitor agent opened an issue."""


def _empty_if_none(value: object) -> object:
    return {} if value is None else value


_Bare = BeforeValidator(_empty_if_none)
"""A trigger with nothing behind the colon is the trigger without narrowing."""


class Triggers(Frozen):
    """What starts a workflow; at least one."""

    pull_request: Annotated[PullRequest | None, _Bare] = Field(
        default=None, description="A pull request changed."
    )
    push: Annotated[Push | None, _Bare] = Field(default=None, description="A branch or tag moved.")
    deployment: Annotated[Deployment | None, _Bare] = Field(
        default=None, description="A deployment was created."
    )
    deployment_status: Annotated[DeploymentStatus | None, _Bare] = Field(
        default=None, description="The status of a deployment changed."
    )
    issues: Annotated[Issues | None, _Bare] = Field(default=None, description="An issue changed.")
    command: Annotated[Command | None, _Bare] = Field(
        default=None, description="Somebody gave a command in a comment."
    )
    check_run: Annotated[CheckRun | None, _Bare] = Field(
        default=None, description="Somebody pressed a button of a check."
    )
    schedule: Schedule | None = Field(default=None, description="A schedule came due.")
    alert: Annotated[Alert | None, _Bare] = Field(default=None, description="An alert fires.")
    feedback: Annotated[Feedback | None, _Bare] = Field(
        default=None, description="The monitor agent opened an issue."
    )

    @model_validator(mode="after")
    def _not_empty(self) -> "Triggers":
        if not self.model_fields_set:
            raise ValueError("A workflow needs at least one trigger.")
        return self
