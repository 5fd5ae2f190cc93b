"""A run of a workflow: the one record that the engine changes."""

from enum import StrEnum
from typing import Literal

from pydantic import AwareDatetime, Field, JsonValue

from pipelines.model.base import Frozen
from pipelines.model.change import Change
from pipelines.model.deployment import EnvironmentPlan
from pipelines.model.feedback import FeedbackPayload
from pipelines.model.task import Conclusion, Usage
from pipelines.model.trigger import CommandTrigger, Trigger


class RunState(StrEnum):
    """Where a run is: everything before ``completed`` is live."""

    RUNNING = "running"
    WAITING = "waiting"
    """Nothing can go on before somebody approves."""
    COMPLETED = "completed"


class StepState(StrEnum):
    """Where a step is.

    ``pending`` waits for its needs, ``queued`` for a worker (or its ``not_before``), ``waiting``
    for an approval; ``publishing`` means the agent is done and its effects are being carried out.
    """

    PENDING = "pending"
    WAITING = "waiting"
    QUEUED = "queued"
    RUNNING = "running"
    PUBLISHING = "publishing"
    COMPLETED = "completed"


class Approval(Frozen):
    """Somebody's consent to one step of one run at one commit."""

    by_id: int
    by_login: str
    level: str
    at: AwareDatetime


class Step(Frozen):
    """One step of a run: its plan, which never changes, and its progress."""

    name: str
    agent: str
    needs: tuple[str, ...] = ()
    condition: str = "success()"
    timeout_seconds: float = Field(default=900.0, gt=0)
    retries: int = Field(default=2, ge=0)
    options: dict[str, JsonValue] = Field(default_factory=dict)
    models: tuple[str, ...] = ()

    state: StepState = StepState.PENDING
    attempt: int = Field(default=0, ge=0)
    """How often it was dispatched; the number of the latest dispatch is its fencing token."""
    uncounted: int = Field(default=0, ge=0)
    """How many of the attempts ended through no fault of the step and use up no retry."""
    billed: int = Field(default=0, ge=0)
    """The latest attempt whose usage is part of the run's, so that none is added twice."""
    budget_usd: float = Field(default=0.0, ge=0)
    """US dollars set aside for the attempt that was claimed; given back once it is billed."""
    conclusion: Conclusion | None = None
    title: str = ""
    """One line: how it ended, or what it is waiting for."""
    approval_level: str | None = None
    approvals: tuple[Approval, ...] = ()
    outputs: dict[str, JsonValue] = Field(default_factory=dict)
    has_result: bool = False
    """Whether a TaskResult of this attempt is stored beside the run."""
    held: bool = False
    """Whether it waits for consent to the effects of that result, not to its start."""
    not_before: AwareDatetime | None = None
    queued_at: AwareDatetime | None = None
    started_at: AwareDatetime | None = None
    finished_at: AwareDatetime | None = None
    deadline: AwareDatetime | None = None

    @property
    def done(self) -> bool:
        """Whether nothing more will happen to this step by itself."""
        return self.state is StepState.COMPLETED


class WorkflowRun(Frozen):
    """One execution of a workflow, bound to one commit and to one configuration.

    ``version`` grows by one with every stored transition and is what compare-and-set compares.
    ``generation`` grows with every run of the same ``group``; an older generation is superseded.
    """

    id: str
    workflow: str
    trigger: Trigger
    change: Change
    config_sha: str
    group: str
    generation: int = Field(ge=1)
    steps: tuple[Step, ...]
    state: RunState = RunState.RUNNING
    conclusion: Conclusion | None = None
    reason: str = ""
    """Why it was cancelled or superseded, in a sentence; empty otherwise."""
    budget_usd: float = Field(ge=0)
    day_budget_usd: float | None = Field(default=None, ge=0)
    """What the repository may spend a day; None if its configuration sets no limit."""
    usage: Usage = Usage()
    ignore: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()
    environments: tuple[EnvironmentPlan, ...] = ()
    """Those of the configuration in force when the run started."""
    feedback: tuple[FeedbackPayload, ...] = ()
    """What its monitor steps sent back, each fingerprint once."""
    cancel_superseded: bool = True
    concurrency_group: str | None = None
    """The runs of the repository of which one at a time works; None if it works beside all."""
    rerun_of: str | None = None
    wake_at: AwareDatetime | None = None
    """When the engine last asked to be told that time passed."""
    created_at: AwareDatetime
    updated_at: AwareDatetime
    version: int = Field(default=0, ge=0)
    schema_version: Literal[1] = 1

    @property
    def live(self) -> bool:
        """Whether the run can still change by itself."""
        return self.state is not RunState.COMPLETED

    def step(self, name: str) -> Step:
        """Return the step of that name; KeyError if the run has none."""
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(name)

    def environment(self, name: str) -> EnvironmentPlan | None:
        """Return the environment of that name, or None if the configuration has none."""
        return next((plan for plan in self.environments if plan.name == name), None)

    def environment_of(self, step: Step) -> EnvironmentPlan | None:
        """Return the environment that a step is about: its own, else the trigger's, else a need's.

        A command that deploys names it as its first word. Of needs only those count that are about
        an environment themselves. None if nothing names one that exists.
        """
        names: list[object] = [step.options.get("environment")]
        trigger = self.trigger
        if isinstance(trigger, CommandTrigger) and trigger.verb in ("deploy", "rollback"):
            names += trigger.arguments[:1]
        names.append(getattr(trigger, "environment", None))
        needs = [self.step(need) for need in step.needs]
        about = [need for need in needs if need.agent in ("deploy", "monitor")]
        names += [need.outputs.get("environment") for need in about]
        found = (self.environment(name) for name in names if isinstance(name, str))
        return next((plan for plan in found if plan is not None), None)
