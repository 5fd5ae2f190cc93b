"""What monitoring sends back to development, and the issue that carries it."""

from typing import Literal

from pydantic import AwareDatetime, Field

from pipelines.model.base import Frozen, Sha
from pipelines.model.finding import Severity


class Breach(Frozen):
    """One signal that got worse: numbers, never a stranger's text."""

    rule: str = Field(max_length=100)
    query: str = Field(default="", max_length=4096)
    observed: float
    baseline: float | None = None
    """What it was before the deployment; None if nothing is known about that."""
    above: float | None = None
    below: float | None = None
    """The bounds that it left, of the rule or of what is usual."""
    unit: str = ""
    samples: int = Field(default=0, ge=0)
    severity: Severity = Severity.HIGH
    points: tuple[float, ...] = Field(default=(), max_length=60)
    """The signal over the window, oldest first, for people to look at."""


class FeedbackPayload(Frozen):
    """What monitoring sends back to development: findings, severity, recommendations."""

    fingerprint: str = Field(pattern=r"^[0-9a-f]{8,64}$")
    environment: str
    severity: Severity
    title: str = Field(max_length=200)
    """What is wrong and where, e.g. ``error_rate out of bounds in staging``."""
    breaches: tuple[Breach, ...] = Field(min_length=1, max_length=20)
    findings: tuple[str, ...] = Field(max_length=20)
    recommendations: tuple[str, ...] = Field(default=(), max_length=20)
    suspected_sha: Sha | None = None
    """The commit whose deployment it followed."""
    suspected_paths: tuple[str, ...] = Field(default=(), max_length=100)
    deployment_id: int | None = Field(default=None, ge=1)
    running_sha: Sha | None = None
    """What ran there when it was seen, as far as is known."""
    observed_at: AwareDatetime


class FailedFix(Frozen):
    """A pull request that was merged and runs, and after which the signal was still broken."""

    number: int = Field(ge=1)
    title: str = Field(default="", max_length=250)
    paths: tuple[str, ...] = Field(default=(), max_length=20)
    patch: str = Field(default="", max_length=3000)
    """What it changed, cut short; repository content, so data and no instruction."""


class OpenIssue(Frozen):
    """The one open issue of a fingerprint: opened, or counted up if it is there already."""

    kind: Literal["open_issue"] = "open_issue"
    head_sha: Sha
    payload: FeedbackPayload
    occasion: str
    """What saw it, e.g. run and step: the same occasion counts once."""

    @property
    def key(self) -> str:
        """One occurrence an occasion."""
        return f"issue/{self.payload.fingerprint}/{self.occasion}"


class CloseIssue(Frozen):
    """Say in the fingerprint's issue that the signal is back at its baseline, and close it."""

    kind: Literal["close_issue"] = "close_issue"
    head_sha: Sha
    number: int = Field(ge=1)
    fingerprint: str
    evidence: tuple[str, ...] = Field(min_length=1, max_length=20)
    fixed_in: Sha
    occasion: str

    @property
    def key(self) -> str:
        """One closing an occasion."""
        return f"issue-closed/{self.fingerprint}/{self.occasion}"


class OpenFeedback(Frozen):
    """An open issue of the monitor, as read back from where it was opened, its marker verified."""

    number: int = Field(ge=1)
    payload: FeedbackPayload
    occurrences: int = Field(default=1, ge=1)
    opened_at: AwareDatetime | None = None
