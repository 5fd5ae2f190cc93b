"""What agents leave in the stores: one model a kind, told apart by ``kind``."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, JsonValue

from pipelines.model.base import Frozen, Sha
from pipelines.model.knowledge import Outcome
from pipelines.model.signals import Series


class CodeVersion(Frozen):
    """Code Repository: one file that an agent wrote, with the difference to what was there."""

    kind: Literal["code_version"] = "code_version"
    path: str
    base_sha: Sha
    content: str | None
    diff: str
    headline: str = ""


class ExecutionRecord(Frozen):
    """Metadata Store: what an agent execution was, decided and produced besides code."""

    kind: Literal["execution"] = "execution"
    subject: str
    """``review``, ``pipeline``, ``deployment``, …"""
    data: dict[str, JsonValue] = Field(default_factory=dict)


class Fixture(Frozen):
    """Test Data Store: a generated data set, and the schema that it was validated against."""

    kind: Literal["fixture"] = "fixture"
    path: str
    schema_name: str
    schema_sha: str
    seed: int
    records: int = Field(ge=0)
    content: str


class CaseResult(Frozen):
    """One test as the report claims it."""

    name: str = Field(max_length=500)
    outcome: Literal["passed", "failed", "error", "skipped"]
    seconds: float = Field(default=0.0, ge=0)
    message: str = Field(default="", max_length=4000)
    path: str | None = None
    line: int | None = None


class TestReport(Frozen):
    """Test Data Store: one run of a test command, as a claim of what ran."""

    __test__ = False

    kind: Literal["test_report"] = "test_report"
    sha: Sha
    command: str
    sandbox: str
    image: str | None = None
    exit_code: int | None
    cases: tuple[CaseResult, ...] = Field(default=(), max_length=5000)
    covered_lines: int | None = None
    total_lines: int | None = None
    suspicious: tuple[str, ...] = ()


class Measurement(Frozen):
    """Logs & Metrics: what was measured of a service or of an agent."""

    kind: Literal["measurement"] = "measurement"
    environment: str
    series: Series
    at: AwareDatetime


class LogLine(Frozen):
    """Logs & Metrics: one line about an agent's work."""

    kind: Literal["log"] = "log"
    level: Literal["debug", "info", "warning", "error"] = "info"
    text: str = Field(max_length=4000)
    at: AwareDatetime


class Learned(Frozen):
    """Knowledge Base: an outcome that the agent itself established."""

    kind: Literal["learned"] = "learned"
    outcome: Outcome


Artifact = Annotated[
    CodeVersion | ExecutionRecord | Fixture | TestReport | Measurement | LogLine | Learned,
    Field(discriminator="kind"),
]
