"""What a rule is asked, what it may know, and what it can answer."""

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pipelines.model import Conclusion, Effect, EnvironmentState, Step, WorkflowRun

LEVELS = ("read", "triage", "write", "maintain", "admin")
"""GitHub's repository roles, each of which includes the ones before it."""

PER_DAY = "`budget.per_day` in .conductor.yml"


@dataclass(frozen=True, slots=True)
class Allow:
    """Nothing speaks against it."""


@dataclass(frozen=True, slots=True)
class Deny:
    """It must not happen; ``reason`` is a sentence for users."""

    reason: str
    conclusion: Conclusion = Conclusion.NEUTRAL


@dataclass(frozen=True, slots=True)
class RequireApproval:
    """It may happen once somebody of at least this level consents."""

    level: str
    reason: str


Verdict = Allow | Deny | RequireApproval


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules need to know beyond the run; ``day_budget_usd`` None means no limit."""

    known_agents: frozenset[str]
    now: datetime
    paused: bool = False
    spent_today_usd: float = 0.0
    day_budget_usd: float | None = None
    day_setting: str = PER_DAY
    """Where the limit of the day was set."""
    environment: EnvironmentState | None = None
    """Of the step, as its run sees it."""
    deployments: frozenset[int] = frozenset()
    """Deployments that are the run's own: those it created, and the one that started it."""
    new_issues_today: int = 0
    """How many incidents of this repository began in the last 24 hours."""
    known_incidents: frozenset[str] = frozenset()
    """Fingerprints that have an issue already, so that they open no new one."""
    feedback: Mapping[int, str] = field(default_factory=dict[int, str])
    """Open issues of the monitor, verified: number and fingerprint."""


class Rule(ABC):  # noqa: B024 - a rule overrides what it has an opinion about, and that may be one
    """One link of the chain; it allows whatever it has no opinion about."""

    def task(self, run: WorkflowRun, step: Step, facts: Facts) -> Verdict:
        """Judge whether the step's agent may start."""
        return Allow()

    def effect(self, run: WorkflowRun, step: Step, effect: Effect, facts: Facts) -> Verdict:
        """Judge whether an effect of the step may be carried out."""
        return Allow()


def approved(step: Step, level: str) -> bool:
    """Whether somebody of at least that level consented to the step."""
    return any(reaches(approval.level, level) for approval in step.approvals)


def reaches(level: str, wanted: str) -> bool:
    """Whether a role includes another one; a role that is not known includes none."""
    return level in LEVELS and LEVELS.index(level) >= LEVELS.index(wanted)
