"""What is stored beside a run, each with the version of its form."""

from collections.abc import Mapping
from typing import Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from pipelines.errors import Retryable
from pipelines.model import AgentStatus, Conclusion, Frozen, RunState, TaskResult, Usage
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
    at: AwareDatetime
    receipt: Receipt | None = None
    version: int = Field(default=0, ge=0)
    """The store's version when it was read; 0 for a record that is new."""
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
