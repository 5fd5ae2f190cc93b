"""What earlier work taught, as data for later prompts."""

from typing import Literal

from pydantic import AwareDatetime, Field

from pipelines.model.base import Frozen

OutcomeKind = Literal[
    "finding_dismissed",
    "finding_fixed",
    "fix_merged",
    "fix_rejected",
    "fix_reverted",
    "fix_verified",
    "deployment_rolled_back",
    "test_kept",
    "test_discarded",
]


class Outcome(Frozen):
    """Something that people or production said about earlier work."""

    kind: OutcomeKind
    agent: str
    subject: str = Field(max_length=300)
    """What it was about, in a line: a finding's title, a fix's headline."""
    why: str = Field(default="", max_length=1000)
    paths: tuple[str, ...] = Field(default=(), max_length=50)
    category: str = ""
    source: str
    """What said so, e.g. ``pr/12/finding/ab12``: the same source teaches once."""
    at: AwareDatetime


class Lesson(Frozen):
    """An outcome, told to an agent; ``relevance`` is between 0 and 1. Its text is data."""

    outcome: Outcome
    relevance: float = Field(ge=0, le=1)
    seen: int = Field(default=1, ge=1)
    """How often the same was said."""
