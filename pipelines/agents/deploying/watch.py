"""Watches a rollout until the service runs the commit and is well, or until that can be ruled out.

The target's word alone is not believed: a service is well once it answered several health checks
in a row. What cannot be asked now is asked again until the time is over.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from pipelines.agents.context import AgentContext
from pipelines.agents.deploying.words import line, span
from pipelines.errors import LeaseLost, Retryable
from pipelines.model import EnvironmentPlan, Probe, ReleaseState

PROBES = 3
"""How many health checks in a row must succeed."""
_PROBE_SECONDS = 1.0
_GRACE_SECONDS = 60.0
"""How long a service that the target calls ready may go on failing its health check."""
_FIRST_WAIT, _LONGEST_WAIT, _GROWTH = 0.5, 10.0, 1.5

NO_HEALTH_CHECK = "No health check is configured, so the target's word is all there is."
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sighting:
    """How a watch ended: without a ``reason`` the service runs the commit and is well."""

    state: ReleaseState | None
    """The last one that the target told."""
    reason: str = ""
    superseded: bool = False
    """Whether something newer was released meanwhile, which is nobody's failure."""


async def watch(
    sha: str, revision: int, plan: EnvironmentPlan, until: datetime, context: AgentContext
) -> Sighting:
    """Return once it is known how the rollout went, or at ``until`` at the latest."""
    began, wait = context.clock.now(), _FIRST_WAIT
    state: ReleaseState | None = None
    while True:
        answer = await _asked(context.workplace.release_state)
        state = answer if isinstance(answer, ReleaseState) else state
        if isinstance(answer, ReleaseState):
            if answer.revision is not None and answer.revision > revision:
                newer = f"Revision {answer.revision} was released meanwhile."
                return Sighting(state, newer, superseded=True)
            if answer.phase == "failed" and answer.sha in (sha, None):
                return Sighting(state, line(answer.message) or "The target gave up the rollout.")
            if answer.phase == "ready" and answer.sha in (sha, None):
                return Sighting(state, await _unwell(plan, until, context))
        left = (until - context.clock.now()).total_seconds()
        if left <= 0:
            waited = span((context.clock.now() - began).total_seconds())
            return Sighting(state, f"Not ready after {waited}: {_standing(answer)}.")
        await context.clock.sleep(min(wait, left))
        wait = min(wait * _GROWTH, _LONGEST_WAIT)


async def _unwell(plan: EnvironmentPlan, until: datetime, context: AgentContext) -> str:
    """Return why the service is not well; empty if it is, or if there is no way to know."""
    if plan.health is None:
        return ""
    good, began = 0, context.clock.now()
    while True:
        answer = await _asked(context.workplace.probe)
        good = good + 1 if isinstance(answer, Probe) and answer.ok else 0
        if good >= PROBES:
            return ""
        now = context.clock.now()
        patience = min(_GRACE_SECONDS, (until - began).total_seconds())
        if (now - began).total_seconds() >= patience and not good:
            return f"The health check {plan.health} fails: {_complaint(answer)}."
        await context.clock.sleep(_PROBE_SECONDS)


async def _asked(question: Callable[[], Awaitable[T]]) -> T | str:
    """Return the answer, or why there is none just now."""
    try:
        return await question()
    except LeaseLost:
        raise
    except Retryable as error:
        return line(str(error))


def _standing(answer: ReleaseState | str) -> str:
    if isinstance(answer, str):
        return f"the target cannot be asked ({answer.rstrip('.')})"
    counted = f", {answer.ready} of {answer.wanted} ready" if answer.wanted else ""
    said = f", {line(answer.message, 120).rstrip('.')}" if answer.message else ""
    running = f" with {answer.sha[:12]}" if answer.sha else ""
    return f"the target says `{answer.phase}`{running}{counted}{said}"


def _complaint(answer: Probe | str) -> str:
    if isinstance(answer, str):
        return answer.rstrip(".")
    status = f"status {answer.status}" if answer.status is not None else "no answer"
    return f"{status}, {line(answer.message, 120).rstrip('.')}" if answer.message else status
