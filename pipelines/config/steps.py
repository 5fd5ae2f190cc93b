"""The steps of a workflow: what every step has, and what each agent adds.

The options of an agent are a section of their own, so that the agent reads them back from its task
with `ReviewOptions.model_validate(task.options)`.
"""

from typing import Annotated, Literal

from pydantic import Field

from pipelines.config.values import (
    AgentName,
    ConditionText,
    Duration,
    EnvironmentName,
    ImageName,
    ModelName,
    Name,
    RelativePath,
    SeverityLevel,
    Text,
    Threshold,
)
from pipelines.model import Frozen, Severity

AGENTS: tuple[AgentName, ...] = (
    "coding",
    "review",
    "test-data",
    "test",
    "devops",
    "deploy",
    "monitor",
)

Deliverable = Literal["dockerfile", "compose", "github-actions", "gitlab-ci", "kubernetes"]


class StepBase(Frozen):
    """What every step has."""

    needs: tuple[Name, ...] = Field(
        default=(), max_length=50, description="Steps of this workflow that come first."
    )
    if_: ConditionText = Field(
        default="success()",
        alias="if",
        description="When the step runs: `success()`, `failure()`, `always()` and "
        "`changed('src/**')` with `!`, `&&`, `||` and parentheses.",
    )
    timeout: Duration | None = Field(
        default=None,
        ge=1,
        le=86_400,
        description="How long one attempt may take; 15 minutes, for coding and test 30, "
        "for monitor 5 more than `for`.",
    )
    retries: int = Field(
        default=2, ge=0, le=10, description="How often a passing fault is tried again."
    )
    models: tuple[ModelName, ...] | None = Field(
        default=None, min_length=1, max_length=5, description="Models for this step alone."
    )


class ReviewOptions(Frozen):
    """What the review agent can be told."""

    block_on: SeverityLevel | None = Field(
        default=None,
        description="The least severity that fails the check; without it a review is advice.",
    )


class CodingOptions(Frozen):
    """What the coding agent can be told."""

    run: Text | None = Field(
        default=None,
        description="The command that runs the tests, given to a shell inside the sandbox; "
        "without it the usual one of the project's language.",
    )
    image: ImageName | None = Field(
        default=None, description="Container image to run the tests in."
    )
    max_rounds: int = Field(
        default=3,
        ge=1,
        le=10,
        description="How often it may go back to the code after tests that failed.",
    )


class TestDataOptions(Frozen):
    """What the test-data agent can be told."""

    __test__ = False

    commit: bool = Field(
        default=False,
        description="Whether the fixtures are committed to the pull request's branch.",
    )
    records: int = Field(
        default=20, ge=1, le=1000, description="How many records each schema gets."
    )


class TestOptions(Frozen):
    """What the test agent can be told."""

    __test__ = False

    run: Text | None = Field(
        default=None,
        description="The command that runs the tests, given to a shell inside the sandbox; "
        "without it the usual one of the project's language.",
    )
    image: ImageName | None = Field(default=None, description="Container image to run it in.")
    junit: RelativePath | None = Field(
        default=None, description="Where the command leaves its JUnit report, if it is not asked."
    )
    coverage: RelativePath | None = Field(
        default=None, description="Where the command leaves its coverage report (Cobertura XML)."
    )
    repeat: int = Field(
        default=1, ge=1, le=10, description="How often the tests run, to tell flaky ones."
    )
    generate: bool = Field(
        default=True,
        description="Whether missing tests are written; one is kept only with proof.",
    )


class DevopsOptions(Frozen):
    """What the devops agent can be told."""

    write: tuple[Deliverable, ...] = Field(
        default=("dockerfile", "github-actions"),
        min_length=1,
        max_length=5,
        description="What is written or brought up to date.",
    )


class DeployOptions(Frozen):
    """What the deploy agent can be told."""

    environment: EnvironmentName | None = Field(
        default=None,
        description="One of `environments`; without it that of the deployment that triggered.",
    )


class Rule(Frozen):
    """A query and the bounds that its value must keep."""

    name: Annotated[str, Field(min_length=1, max_length=100)] = Field(
        description="What the rule watches, for people."
    )
    query: Text = Field(description="A PromQL expression that gives one number.")
    above: Threshold | None = Field(default=None, description="A value above it is a breach.")
    below: Threshold | None = Field(default=None, description="A value below it is a breach.")
    severity: SeverityLevel = Field(default=Severity.HIGH, description="How bad a breach is.")


class MonitorOptions(Frozen):
    """What the monitor agent can be told."""

    environment: EnvironmentName | None = Field(
        default=None, description="What is watched; without it that of the step it needs."
    )
    for_: Duration = Field(
        default=600.0,
        alias="for",
        ge=1,
        le=82_800,
        description="How long to watch after the deployment.",
    )
    rules: tuple[Rule, ...] = Field(
        default=(),
        max_length=50,
        description="Thresholds beside the detection of anomalies, which needs none.",
    )
    interval: Duration = Field(
        default=15.0, ge=0.2, le=3600, description="How often the signals are looked at."
    )
    signals: bool = Field(
        default=True,
        description="Whether the usual signals (errors, latency, restarts) are watched as well.",
    )
    on_breach: Literal["issue", "rollback"] = Field(
        default="issue", description="Open an issue, or also go back to the last good deployment."
    )


class CodingStep(StepBase, CodingOptions):
    """Changes code to answer an issue, feedback, findings or an instruction."""

    agent: Literal["coding"] = Field(description="Which agent does it.")


class ReviewStep(StepBase, ReviewOptions):
    """Reviews the change."""

    agent: Literal["review"] = Field(description="Which agent does it.")


class TestDataStep(StepBase, TestDataOptions):
    """Generates fixtures and validates them against their schema."""

    __test__ = False

    agent: Literal["test-data"] = Field(description="Which agent does it.")


class TestStep(StepBase, TestOptions):
    """Runs the tests of base and head, and writes missing ones."""

    __test__ = False

    agent: Literal["test"] = Field(description="Which agent does it.")


class DevopsStep(StepBase, DevopsOptions):
    """Writes what builds and ships the project."""

    agent: Literal["devops"] = Field(description="Which agent does it.")


class DeployStep(StepBase, DeployOptions):
    """Deploys to an environment and watches the rollout."""

    agent: Literal["deploy"] = Field(description="Which agent does it.")


class MonitorStep(StepBase, MonitorOptions):
    """Watches a deployment and reports what got worse."""

    agent: Literal["monitor"] = Field(description="Which agent does it.")


Step = Annotated[
    CodingStep | ReviewStep | TestDataStep | TestStep | DevopsStep | DeployStep | MonitorStep,
    Field(discriminator="agent"),
]
