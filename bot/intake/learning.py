"""What people teach by what they do to Conductor's work, as outcomes for the Knowledge Base."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import structlog

from bot.commands.permissions import Level
from pipelines.errors import ConductorError
from pipelines.model import (
    OWN_BRANCHES,
    RUN_TRAILER,
    Actor,
    BroughtBy,
    Change,
    Contribution,
    Dismissal,
    Outcome,
    PushTrigger,
    Revert,
)
from pipelines.ports import Source

log = structlog.get_logger(__name__)

MAX_WHY = 1000
_MAX_SUBJECT = 300
_MAX_PATHS = 50


def of_dismissal(change: Change, dismissal: Dismissal, category: str) -> Outcome:
    """Return what a dismissal teaches; whoever calls has checked that its author may dismiss.

    A model that read a stranger's text wrote the title, and nobody vouches for that: then only
    the place and the person's own words are kept.
    """
    subject = "" if change.tainted else dismissal.title[:_MAX_SUBJECT]
    return Outcome(
        kind="finding_dismissed",
        agent="review",
        subject=subject or "A finding",
        why=dismissal.why[:MAX_WHY],
        paths=(dismissal.path,) if dismissal.path else (),
        category="" if change.tainted else category,
        source=f"pr/{change.number}/finding/{dismissal.fingerprint}",
        at=dismissal.at,
    )


def is_own_fix(change: Change, bot_id: int) -> bool:
    """Whether the change is a pull request that Conductor itself opened here."""
    by_us = change.author is not None and change.author.id == bot_id
    return by_us and not change.from_fork and change.head_ref.startswith(OWN_BRANCHES)


def of_ending(change: Change, closer: Actor, level: Level, at: datetime) -> Outcome | None:
    """Return what the end of one of our own pull requests teaches, if it teaches anything.

    That it was merged is a fact, whoever pressed the button. Closing it says that the fix is not
    wanted only where a person did so who may say that, and not what tidies up by itself.
    """
    by_person = closer.type == "User" and level >= Level.TRIAGE
    if change.open or not (change.merged or by_person):
        return None
    return Outcome(
        kind="fix_merged" if change.merged else "fix_rejected",
        agent="coding",
        subject=change.title[:_MAX_SUBJECT],
        paths=change.paths[:_MAX_PATHS],
        source=f"pr/{change.number}",
        at=at,
    )


class History(Source, Protocol):
    """A source that also knows who brought in a commit."""

    async def contributions(
        self, trigger: PushTrigger, shas: Sequence[str]
    ) -> Sequence[Contribution]:
        """Return who brought in these commits of the trigger's repository."""
        ...


async def of_push(
    trigger: PushTrigger, history: History, bot_id: int, at: datetime
) -> tuple[Outcome, ...]:
    """Return what a person's push to the default branch teaches by what it takes back.

    The push only says which commits to ask about. What could not be learnt is no reason to do
    nothing else about the push, so a question that fails teaches nothing.
    """
    by_person = trigger.actor.type == "User" and trigger.actor.id != bot_id
    on_default = trigger.branch == trigger.repository.default_branch
    if not (trigger.reverts and by_person and on_default):
        return ()
    said = {revert.sha: revert for revert in trigger.reverts}
    try:
        found = await history.contributions(trigger, tuple(said))
    except ConductorError as error:
        log.warning("reverted commits not known", error=str(error))
        return ()
    outcomes = [_of_revert(said[each.sha], each, bot_id, at) for each in found if each.sha in said]
    return tuple(outcome for outcome in outcomes if outcome is not None)


def _of_revert(revert: Revert, commit: Contribution, bot_id: int, at: datetime) -> Outcome | None:
    pushed = _has_trailer(commit.message) and commit.author_id == bot_id
    pull = next((pull for pull in commit.pulls if _brought(pull, commit, bot_id)), None)
    if not (pushed or pull):
        return None
    subject = pull.title if pull else commit.message.partition("\n")[0]
    return Outcome(
        kind="fix_reverted",
        agent="coding",
        subject=subject[:_MAX_SUBJECT] or "A fix",
        why=revert.headline,
        paths=pull.paths[:_MAX_PATHS] if pull else (),
        source=f"revert/{revert.sha}",
        at=at,
    )


def _brought(pull: BroughtBy, commit: Contribution, bot_id: int) -> bool:
    """Whether a merged pull request of our own brought the commit, and not what a person added."""
    here = pull.merged and not pull.from_fork and pull.head_ref.startswith(OWN_BRANCHES)
    made_by_us = pull.merge_sha == commit.sha or _has_trailer(commit.message)
    return here and made_by_us and pull.author.id == bot_id


def _has_trailer(message: str) -> bool:
    return any(line.startswith(f"{RUN_TRAILER}: ") for line in message.splitlines())
