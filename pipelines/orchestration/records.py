"""What is stored beside a run, each with the version of its form."""

from collections.abc import Mapping
from typing import Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from pipelines.errors import Retryable
from pipelines.model import (
    AgentStatus,
    Conclusion,
    Frozen,
    LastGood,
    RunState,
    Sha,
    TaskResult,
    Usage,
)
from pipelines.ports import CheckState, Receipt, Versioned
from pipelines.stores.codec import decode

M = TypeVar("M", bound=BaseModel)


class _Form(BaseModel):
    schema_version: object = None


class GroupRecord(Frozen):
    """The newest run of a group; an older generation is superseded."""

    run_id: str
    generation: int = Field(ge=1)
    head_sha: str
    live: bool
    schema_version: Literal[1] = 1


class StoredResult(Frozen):
    """A step's result as it is stored."""

    result: TaskResult
    schema_version: Literal[1] = 1


class StoredChecks(Frozen):
    """What users were last shown of each step, by step name."""

    states: Mapping[str, CheckState]
    schema_version: Literal[1] = 1


class EffectRecord(Frozen):
    """An effect that was begun, and with a receipt, ended."""

    run_id: str
    """The run that began it."""
    holder: str = ""
    """Who began it: the same takes it up again at once, anybody else lets it finish first."""
    at: AwareDatetime
    until: AwareDatetime | None = None
    """When the holder's lease ends, if it is renewed; None if nobody is at work on it."""
    receipt: Receipt | None = None
    version: int = Field(default=0, ge=0)
    """The store's version when it was read; 0 for a record that is new."""
    schema_version: Literal[1] = 1


class Tenure(Frozen):
    """One deployment's time in an environment; a later one has a higher ``revision``."""

    run_id: str
    step: str
    occasion: str
    """Tells the deployments of one step apart: the one that was asked for, and its rollback."""
    sha: Sha
    rollback: bool = False
    revision: int = Field(ge=1)
    deployment_id: int | None = None
    """None until the deployment was created."""
    ended: bool = False
    """Whether the deployment has its last status, or nobody can give it one."""
    at: AwareDatetime


class EnvironmentRecord(Frozen):
    """Who has an environment, had it lately, and what runs there as far as Conductor knows."""

    tenures: tuple[Tenure, ...] = ()
    """The newest last."""
    free: bool = True
    """Whether the newest has let go of it."""
    current_sha: Sha | None = None
    last_good: LastGood | None = None
    before: LastGood | None = None
    deployed_at: AwareDatetime | None = None
    version: int = Field(default=0, ge=0)
    """The store's version when it was read; 0 for a record that is new."""
    schema_version: Literal[1] = 1

    @property
    def holder(self) -> Tenure | None:
        """Who has it now."""
        return None if self.free or not self.tenures else self.tenures[-1]

    @property
    def revision(self) -> int:
        """The highest one that was given out."""
        return self.tenures[-1].revision if self.tenures else 0


class Incident(Frozen):
    """One fingerprint of the monitor and when its issue was begun."""

    fingerprint: str
    at: AwareDatetime
    open: bool = True


class IncidentsRecord(Frozen):
    """The incidents of a repository, the newest last."""

    incidents: tuple[Incident, ...] = ()
    version: int = Field(default=0, ge=0)
    """As of an ``EnvironmentRecord``."""
    schema_version: Literal[1] = 1


class Spending(Frozen):
    """What one transition of a run cost."""

    tenant: str
    usage: Usage
    schema_version: Literal[1] = 1


class AgentRecord(Frozen):
    """Where one agent of one worker is in its lifecycle."""

    worker: str
    agent: str
    status: AgentStatus
    task_id: str | None = None
    since: AwareDatetime
    schema_version: Literal[1] = 1


class RunSummary(Frozen):
    """A run's line in a list of runs."""

    run_id: str
    tenant: str
    repository: str
    workflow: str
    subject: str
    head_sha: str
    state: RunState
    conclusion: Conclusion | None
    reason: str
    cost_usd: float
    created_at: AwareDatetime
    updated_at: AwareDatetime
    """When something of this line changed last."""
    schema_version: Literal[1] = 1


def read(kind: type[M], key: str, record: Versioned) -> M:
    """Return the stored model.

    Raises Retryable if another version of Conductor wrote it in a form that this one does not
    know, so that the work waits for one that does; anything else unreadable is a ValidationError.
    """
    try:
        return decode(kind, record.value)
    except ValidationError:
        form = _form_of(record.value)
        if form in (None, 1):
            raise
        raise Retryable(
            f"Record {key!r} has form {form!r}, which this version of Conductor does not know; it "
            "waits for one that does."
        ) from None


def _form_of(value: bytes) -> object:
    try:
        return decode(_Form, value).schema_version
    except ValidationError:
        return None
