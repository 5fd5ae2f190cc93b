"""Which deliveries mean nothing to us, said before anything is made of them."""

from collections.abc import Mapping

from pydantic import Field

from bot.events.decoding import JsonDict
from bot.events.payloads import Envelope
from pipelines.model import Frozen


class AppIdentity(Frozen):
    """Who we are on GitHub: the App, the account it acts as, and its name in mentions."""

    app_id: int
    bot_user_id: int
    slug: str
    marker_keys: tuple[bytes, ...] = Field(default=(), repr=False)
    """What our own markers are signed with, the current key first."""


class Ignored(Frozen):
    """Nothing is done, for this reason: one sentence."""

    reason: str


OUR_OWN = Ignored(reason="This is our own doing.")
OWN = frozenset({"issues", "pull_request"})
"""Events that count also where we caused them: an issue of the monitor, a change of an agent."""

SUBJECTS: Mapping[str, frozenset[str]] = {
    "pull_request": frozenset({"pull_request"}),
    "push": frozenset({"ref"}),
    "deployment": frozenset({"deployment"}),
    "deployment_status": frozenset({"deployment", "deployment_status"}),
    "issues": frozenset({"issue"}),
    "issue_comment": frozenset({"issue", "comment"}),
    "pull_request_review_comment": frozenset({"pull_request", "comment"}),
    "check_run": frozenset({"check_run"}),
    "check_suite": frozenset({"check_suite"}),
}
"""Each event about a repository, with the keys by which its payload is told from the others'."""

_ALL_SUBJECTS = {"review"}.union(*SUBJECTS.values())
_BESIDE = {"deployment_status": frozenset({"check_run"})}


def mismatch(event: str, payload: JsonDict) -> Ignored | None:
    """Refuse a payload whose shape belongs to another event than the header says.

    The header is not covered by the signature.
    """
    present = {key for key in _ALL_SUBJECTS if payload.get(key) is not None}
    expected = SUBJECTS[event]
    if expected <= present <= expected | _BESIDE.get(event, frozenset()):
        return None
    return Ignored(reason=f"The payload is not that of a `{event}` event.")


def uninteresting(event: str, envelope: Envelope, identity: AppIdentity) -> Ignored | None:
    """Refuse what we caused ourselves, what a bot says, and what happens in a closed house."""
    sender = envelope.sender.actor()
    if sender.id == identity.bot_user_id and event not in OWN:
        return OUR_OWN
    if sender.type == "Bot" and event in ("issue_comment", "pull_request_review_comment"):
        return Ignored(reason="Bots give no commands.")
    if envelope.repository.archived:
        return Ignored(reason="The repository is archived.")
    if envelope.repository.disabled:
        return Ignored(reason="The repository is disabled.")
    return None
