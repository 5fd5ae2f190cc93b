"""Events that Conductor caused itself: which of them go on as work, and how deep their chain is.

Only what carries a marker that we signed counts, so nobody else can start anything in our name.
"""

from bot.events.filters import OUR_OWN, AppIdentity, Ignored
from bot.github.markers import read_feedback, read_provenance
from pipelines.model import (
    OWN_BRANCHES,
    FeedbackTrigger,
    IssueTrigger,
    Provenance,
    PullRequestTrigger,
)

_FOLLOWED = frozenset({"opened", "reopened", "synchronize", "ready_for_review"})


def followed_issue(
    trigger: IssueTrigger, body: str, identity: AppIdentity
) -> FeedbackTrigger | Ignored:
    """Return the feedback that one of our own issues carries, if it asks for a fix now.

    An issue is opened without its marker, because the marker covers the number; the edit that adds
    it is what counts. Later edits count the occurrences up and start nothing, unless a fix did not
    help; reopening does.
    """
    if trigger.author.id != identity.bot_user_id:
        return OUR_OWN
    feedback = read_feedback(
        identity.marker_keys,
        repository_id=trigger.repository.id,
        number=trigger.number,
        body=body,
    )
    if feedback is None:
        return OUR_OWN
    if trigger.action == "edited" and feedback.closed:
        return Ignored(reason="The signal is back, and that it ended was written down.")
    if trigger.action == "edited" and feedback.occurrences > 1 and not feedback.asks:
        return Ignored(reason="The monitor saw it again; the issue is being worked on.")
    if trigger.action not in ("edited", "reopened"):
        return OUR_OWN
    return FeedbackTrigger(
        repository=trigger.repository,
        actor=trigger.actor,
        delivery_id=trigger.delivery_id,
        occurred_at=trigger.occurred_at,
        provenance=feedback.provenance,
        number=trigger.number,
        payload=feedback.payload,
        occurrences=feedback.occurrences,
        failed=feedback.failed,
    )


def followed_change(
    trigger: PullRequestTrigger, body: str, identity: AppIdentity
) -> PullRequestTrigger | Ignored:
    """Return what we did to a pull request as work, a link further down its chain.

    A commit of ours on somebody else's pull request is the first link of a chain as far as the
    event tells; whoever takes it in knows the runs before it and counts on from them.
    """
    same = trigger.head_repository_id == trigger.repository.id
    if trigger.action not in _FOLLOWED or not same:
        return OUR_OWN
    if trigger.author.id != identity.bot_user_id:
        first_link = trigger.model_copy(update={"provenance": Provenance(depth=1)})
        return first_link if trigger.action == "synchronize" else OUR_OWN
    provenance = read_provenance(
        identity.marker_keys,
        repository_id=trigger.repository.id,
        branch=trigger.head_ref,
        body=body,
    )
    if provenance is None or not trigger.head_ref.startswith(OWN_BRANCHES):
        return OUR_OWN
    return trigger.model_copy(update={"provenance": provenance})
