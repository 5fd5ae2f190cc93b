"""Policy: a chain of rules, asked before each task and before each effect.

A rule sees the run as stored and the facts that were looked up for it; nothing that a model wrote
decides anything.
"""

from pipelines.orchestration.policy.engine import DEFAULT_RULES, PolicyEngine
from pipelines.orchestration.policy.rules import CommitBinding, KnownAgent, Taint
from pipelines.orchestration.policy.verdicts import (
    LEVELS,
    PER_DAY,
    Allow,
    Deny,
    Facts,
    RequireApproval,
    Rule,
    Verdict,
    approved,
)

__all__ = [
    "DEFAULT_RULES",
    "LEVELS",
    "PER_DAY",
    "Allow",
    "CommitBinding",
    "Deny",
    "Facts",
    "KnownAgent",
    "PolicyEngine",
    "RequireApproval",
    "Rule",
    "Taint",
    "Verdict",
    "approved",
]
