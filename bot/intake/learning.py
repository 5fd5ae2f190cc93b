"""What people teach by what they do to Conductor's work, as outcomes for the Knowledge Base."""

from datetime import datetime

from bot.commands.permissions import Level
from bot.events.own import OWN_BRANCHES
from pipelines.model import Actor, Change, Dismissal, Outcome

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
