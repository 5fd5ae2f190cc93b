"""One piece of work for one agent, and what comes back."""

from enum import StrEnum
from typing import Literal

from pydantic import AwareDatetime, Field, JsonValue

from pipelines.model.artifact import Artifact
from pipelines.model.base import Frozen
from pipelines.model.change import Change
from pipelines.model.deployment import EnvironmentPlan
from pipelines.model.effect import Effect
from pipelines.model.feedback import FeedbackPayload, OpenFeedback
from pipelines.model.finding import Coverage, Finding
from pipelines.model.knowledge import Lesson
from pipelines.model.trigger import Trigger


class Conclusion(StrEnum):
    """How something ended; the values are GitHub's check-run conclusions."""

    SUCCESS = "success"
    NEUTRAL = "neutral"
    FAILURE = "failure"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    TIMED_OUT = "timed_out"
    ACTION_REQUIRED = "action_required"


class AgentStatus(StrEnum):
    """Where an agent is in its lifecycle."""

    STOPPED = "stopped"
    IDLE = "idle"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


class Usage(Frozen):
    """What model calls cost: tokens, US dollars, seconds."""

    calls: int = Field(default=0, ge=0)
    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)
    cache_read_tokens: int = Field(default=0, ge=0)
    cache_write_tokens: int = Field(default=0, ge=0)
    cost_usd: float = Field(default=0.0, ge=0)
    latency_seconds: float = Field(default=0.0, ge=0)
    models: tuple[str, ...] = ()

    def __add__(self, other: "Usage") -> "Usage":
        """Return the sum of both, model names once each in order of first use."""
        return Usage(
            calls=self.calls + other.calls,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cache_read_tokens=self.cache_read_tokens + other.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
            cost_usd=self.cost_usd + other.cost_usd,
            latency_seconds=self.latency_seconds + other.latency_seconds,
            models=tuple(dict.fromkeys(self.models + other.models)),
        )


class Task(Frozen):
    """What an agent is given; ``options`` were validated by the configuration's schema."""

    run_id: str
    step: str
    agent: str
    attempt: int = Field(ge=1)
    trigger: Trigger
    change: Change
    options: dict[str, JsonValue] = Field(default_factory=dict)
    inputs: dict[str, JsonValue] = Field(default_factory=dict)
    """Outputs of the steps this one needs, by step name."""
    models: tuple[str, ...] = ()
    """Model chain, each ``provider:model``, tried in order."""
    ignore: tuple[str, ...] = ()
    """Globs of paths that are out of scope."""
    protected: tuple[str, ...] = ()
    """Globs of paths that no commit may change."""
    environment: EnvironmentPlan | None = None
    """What a deploy or monitor task is about."""
    lessons: tuple[Lesson, ...] = ()
    """The most relevant first."""
    feedback: tuple[OpenFeedback, ...] = ()
    """For the monitor: the open issues of its environment; for the coding agent: its own one."""
    instruction: str = ""
    """What a person asked for, as the signed event carried it; empty for automatic work."""
    budget_usd: float = Field(ge=0)
    deadline: AwareDatetime
    tainted: bool = False

    @property
    def id(self) -> str:
        """The task's identity: run, step and attempt."""
        return f"{self.run_id}/{self.step}/{self.attempt}"


class Failure(Frozen):
    """Why a task failed, in terms of what the caller may do about it."""

    kind: Literal["retry", "park", "drop", "user", "ours"]
    message: str
    """One sentence for the user: what happened and what to do."""
    retry_after: float | None = Field(default=None, ge=0)
    """Seconds, when whoever refused said how long to wait."""
    dependency: str | None = None
    """Whose fault it was, e.g. ``anthropic``: the circuit breaker that counts it."""


class TaskResult(Frozen):
    """What an agent hands back; a failed task has a ``failure`` and no effects."""

    task_id: str
    status: Literal["completed", "failed"]
    conclusion: Conclusion
    title: str
    summary: str = ""
    findings: tuple[Finding, ...] = ()
    effects: tuple[Effect, ...] = ()
    coverage: Coverage = Coverage()
    usage: Usage = Usage()
    outputs: dict[str, JsonValue] = Field(default_factory=dict)
    artifacts: tuple[Artifact, ...] = ()
    """What goes into the five stores."""
    feedback: FeedbackPayload | None = None
    """What the monitor sends back to development; the engine's ``handle_feedback`` takes it."""
    failure: Failure | None = None
