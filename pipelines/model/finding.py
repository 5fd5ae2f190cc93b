"""What agents find, and what they looked at to find it."""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from pipelines.model.base import Frozen


class Severity(StrEnum):
    """How bad a finding is; comparable by ``rank``."""

    INFO = "info"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for info up to 4 for critical."""
        return list(Severity).index(self)


class Finding(Frozen):
    """One verified observation about a file at a commit.

    Lines are 1-based and inclusive; ``side`` RIGHT counts in the new file, LEFT in the old one.
    ``quote`` is the text of those lines as they stand at that commit.
    """

    fingerprint: str
    path: str
    start_line: int = Field(ge=1)
    line: int = Field(ge=1)
    side: Literal["LEFT", "RIGHT"] = "RIGHT"
    severity: Severity
    category: str
    title: str
    explanation: str
    quote: str = ""
    suggestion: str | None = None
    """Replaces lines ``start_line`` to ``line``; only set if it was applied in memory first."""
    anchor: str = ""
    """What the finding hangs on, as one opaque word; handed back in ``PriorFinding.anchor``."""
    in_diff: bool = True
    """Whether the diff can carry a comment on these lines; otherwise it goes in the body."""


class Coverage(Frozen):
    """Which files in scope were looked at whole, in part, or not, with the reason."""

    seen: tuple[str, ...] = ()
    partial: tuple["Unseen", ...] = ()
    unseen: tuple["Unseen", ...] = ()
    ignored: tuple["Unseen", ...] = ()
    """Left out by configuration: not in scope, so not counted, but named."""
    listing_complete: bool = True

    @property
    def complete(self) -> bool:
        """Whether everything in scope was looked at whole."""
        return self.listing_complete and not self.partial and not self.unseen

    @property
    def total(self) -> int:
        """How many files were in scope."""
        return len(self.seen) + len(self.partial) + len(self.unseen)


class Unseen(Frozen):
    """A file that was not, or not wholly, looked at, and why."""

    path: str
    reason: str
