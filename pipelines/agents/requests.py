"""What a task may ask of its workplace through the pipe, and how each answer is written down.

An answer travels as its own JSON text: only the asker knows what it asked for, and reads it so.
"""

import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, TypeAdapter
from pydantic_core import PydanticSerializationError

from pipelines.model import (
    BuildResult,
    ChangedFiles,
    Effect,
    EnvironmentState,
    FileEdit,
    Frozen,
    Measurement,
    Probe,
    ReleaseState,
    SandboxInfo,
    SandboxJob,
    SandboxResult,
    Series,
    SignalRequest,
    TraceReport,
)
from pipelines.ports import FileText, Receipt, Tree, Workplace

T = TypeVar("T")
Side = Literal["head", "base"]

MAX_PATHS = 20_000
MAX_SIGNALS = 200
MAX_MEASUREMENTS = 200
MAX_LOG_LINES = 10_000


CHANGED_FILES = TypeAdapter(ChangedFiles)
TEXTS = TypeAdapter(tuple[FileText, ...])
TREE = TypeAdapter(Tree)
SANDBOX = TypeAdapter(SandboxInfo)
BUILD_RESULT = TypeAdapter(BuildResult)
SANDBOX_RESULT = TypeAdapter(SandboxResult)
RECEIPT = TypeAdapter(Receipt)
ENVIRONMENT = TypeAdapter(EnvironmentState)
RELEASE_STATE = TypeAdapter(ReleaseState)
LOG = TypeAdapter(str)
PROBE = TypeAdapter(Probe)
SERIES = TypeAdapter(tuple[Series, ...])
TRACES = TypeAdapter(TraceReport)
NOTHING = TypeAdapter(type(None))


class GetChangedFiles(Frozen):
    """Every file between base and head."""

    kind: Literal["changed_files"] = "changed_files"

    async def answer(self, workplace: Workplace) -> str:
        """Have the task's own workplace answer."""
        return written(CHANGED_FILES, await workplace.changed_files())


class ReadFiles(Frozen):
    """The texts at these paths."""

    kind: Literal["read"] = "read"
    paths: tuple[str, ...] = Field(max_length=MAX_PATHS)
    at: Side = "head"

    async def answer(self, workplace: Workplace) -> str:
        """Have the task's own workplace answer."""
        texts = await workplace.read(self.paths, at=self.at)
        return written(TEXTS, tuple(texts.values()))


class GetTree(Frozen):
    """The whole tree of a commit."""

    kind: Literal["tree"] = "tree"
    at: Side = "head"

    async def answer(self, workplace: Workplace) -> str:
        """Have the task's own workplace answer."""
        return written(TREE, await workplace.tree(at=self.at))


class GetSandbox(Frozen):
    """Which isolation there is for this task."""

    kind: Literal["sandbox"] = "sandbox"

    async def answer(self, workplace: Workplace) -> str:
        """Have the task's own workplace answer."""
        return written(SANDBOX, await workplace.sandbox())


class RunJob(Frozen):
    """A command in the sandbox."""

    kind: Literal["run"] = "run"
    job: SandboxJob

    async def answer(self, workplace: Workplace) -> str:
        """Have the task's own workplace answer."""
        return written(SANDBOX_RESULT, await workplace.run(self.job))


class BuildImage(Frozen):
    """One image of the files at head."""

    kind: Literal["build"] = "build"
    dockerfile: str = Field(min_length=1, max_length=4096)
    edits: tuple[FileEdit, ...] = Field(max_length=400)

    async def answer(self, workplace: Workplace) -> str:
        """Have the task's own workplace answer."""
        return written(BUILD_RESULT, await workplace.build(self.dockerfile, self.edits))


class PerformEffect(Frozen):
    """An effect that cannot wait for the task's end."""

    kind: Literal["perform"] = "perform"
    effect: Effect

    async def answer(self, workplace: Workplace) -> str:
        """Have the task's own workplace answer."""
        return written(RECEIPT, await workplace.perform(self.effect))


class GetEnvironment(Frozen):
    """What is known of the task's environment."""

    kind: Literal["environment"] = "environment"

    async def answer(self, workplace: Workplace) -> str:
        """Have the task's own workplace answer."""
        return written(ENVIRONMENT, await workplace.environment())


class GetReleaseState(Frozen):
    """What runs in the task's environment."""

    kind: Literal["release_state"] = "release_state"

    async def answer(self, workplace: Workplace) -> str:
        """Have the task's own workplace answer."""
        return written(RELEASE_STATE, await workplace.release_state())


class GetReleaseLog(Frozen):
    """The newest output of what runs there."""

    kind: Literal["release_log"] = "release_log"
    lines: int = Field(ge=1, le=MAX_LOG_LINES)

    async def answer(self, workplace: Workplace) -> str:
        """Have the task's own workplace answer."""
        return written(LOG, await workplace.release_log(self.lines))


class DoProbe(Frozen):
    """One health check."""

    kind: Literal["probe"] = "probe"

    async def answer(self, workplace: Workplace) -> str:
        """Have the task's own workplace answer."""
        return written(PROBE, await workplace.probe())


class GetSeries(Frozen):
    """Numbers over a span of time."""

    kind: Literal["series"] = "series"
    requests: tuple[SignalRequest, ...] = Field(max_length=MAX_SIGNALS)

    async def answer(self, workplace: Workplace) -> str:
        """Have the task's own workplace answer."""
        return written(SERIES, tuple(await workplace.series(self.requests)))


class GetTraces(Frozen):
    """Traces over a span of time."""

    kind: Literal["traces"] = "traces"
    request: SignalRequest

    async def answer(self, workplace: Workplace) -> str:
        """Have the task's own workplace answer."""
        return written(TRACES, await workplace.traces(self.request))


class KeepMeasurements(Frozen):
    """Measurements to store at once."""

    kind: Literal["keep"] = "keep"
    measurements: tuple[Measurement, ...] = Field(max_length=MAX_MEASUREMENTS)

    async def answer(self, workplace: Workplace) -> str:
        """Have the task's own workplace answer."""
        return written(NOTHING, await workplace.keep(self.measurements))


Request = Annotated[
    GetChangedFiles
    | ReadFiles
    | GetTree
    | GetSandbox
    | RunJob
    | BuildImage
    | PerformEffect
    | GetEnvironment
    | GetReleaseState
    | GetReleaseLog
    | DoProbe
    | GetSeries
    | GetTraces
    | KeepMeasurements,
    Field(discriminator="kind"),
]


def written(kind: TypeAdapter[T], value: T) -> str:
    """Return the value as JSON text."""
    try:
        return kind.dump_json(value, by_alias=True).decode()
    except PydanticSerializationError:
        return mended(kind.dump_python(value, mode="json", by_alias=True))


def mended(values: Any) -> str:
    """Return JSON text in which half of a surrogate pair, which no file can hold, became ``?``."""
    return json.dumps(values, ensure_ascii=False).encode("utf-8", "replace").decode()
