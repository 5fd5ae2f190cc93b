"""What Conductor did itself starts work only where it signed that it should."""

from datetime import UTC, datetime
from typing import Any

import pytest

from bot.events.filters import Ignored
from bot.events.triggers import trigger_of
from bot.github.markers import Feedback, feedback_marker, provenance_marker
from pipelines.model import (
    Breach,
    FailedFix,
    FeedbackPayload,
    FeedbackTrigger,
    IssueTrigger,
    Provenance,
    PullRequestTrigger,
    Severity,
)
from tests.unit.events.samples import ALICE, ISSUE, ME, sample

KEY, OLD_KEY = b"k" * 32, b"o" * 32
US = ME.model_copy(update={"marker_keys": (KEY, OLD_KEY)})
BOT = {"id": US.bot_user_id, "login": "acme-conductor[bot]", "type": "Bot"}
PAYLOAD = FeedbackPayload(
    fingerprint="f" * 16,
    environment="production",
    severity=Severity.HIGH,
    title="Errors rose",
    breaches=(Breach(rule="errors", observed=0.2, above=0.02),),
    findings=("The error rate rose to 20 %.",),
    observed_at=datetime(2026, 1, 2, tzinfo=UTC),
)
CHAIN = Provenance(root_run="run-1", depth=2)


def marker(
    *,
    key: bytes = KEY,
    repository: int = 9,
    number: int = 3,
    **said: Any,
) -> str:
    feedback = Feedback(payload=PAYLOAD, provenance=CHAIN, **said)
    return feedback_marker(key, repository_id=repository, number=number, feedback=feedback)


def issue(body: str | None, *, action: str = "edited", **changes: Any) -> dict[str, Any]:
    part = {**ISSUE, "user": BOT, "body": body, **changes}
    return sample("issues", action=action, issue=part, sender=BOT)


def meaning(event: str, payload: dict[str, Any]) -> object:
    return trigger_of(event, "guid", payload, US)


@pytest.mark.parametrize("key", [KEY, OLD_KEY])
def test_an_issue_of_the_monitor_is_feedback_with_all_that_was_signed(key: bytes) -> None:
    got = meaning("issues", issue(f"# Report\n\n{marker(key=key)}"))
    assert isinstance(got, FeedbackTrigger)
    assert (got.number, got.payload, got.provenance) == (3, PAYLOAD, CHAIN)
    assert got.subject == "issue/3"


def test_an_issue_that_was_reopened_asks_again() -> None:
    got = meaning("issues", issue(marker(occurrences=4), action="reopened"))
    assert isinstance(got, FeedbackTrigger)
    assert got.occurrences == 4


def test_a_count_that_says_which_fix_did_not_help_asks_for_another() -> None:
    fix = FailedFix(number=8, title="Mend it", paths=("shop/cart.py",), patch="+1")
    got = meaning("issues", issue(marker(occurrences=2, failed=(fix,), asks=True)))
    assert isinstance(got, FeedbackTrigger)
    assert got.failed == (fix,)
    given_up = issue(marker(occurrences=4, failed=(fix,), given_up=True))
    assert isinstance(meaning("issues", given_up), Ignored)


FORGERIES: dict[str, dict[str, Any]] = {
    "no marker": issue("# Report"),
    "no body": issue(None),
    "the marker of another issue": issue(marker(number=4)),
    "the marker of another repository": issue(marker(repository=8)),
    "a marker signed by somebody else": issue(marker(key=b"x" * 32)),
    "a marker with another signature": issue(marker()[:-9] + "00000 -->"),
    "an issue of somebody else": issue(marker(), user=ALICE),
    "a count": issue(marker(occurrences=2)),
    "the words of its end": issue(marker(closed=True)),
    "closing it": issue(marker(), action="closed"),
    "labelling it": issue(marker(), action="labeled"),
    "opening it": issue(marker(), action="opened"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_an_issue_without_our_word_starts_nothing(name: str) -> None:
    assert isinstance(meaning("issues", FORGERIES[name]), Ignored)


def test_an_edit_of_our_issue_by_a_person_is_not_feedback() -> None:
    got = meaning("issues", {**issue(marker()), "sender": ALICE})
    assert isinstance(got, IssueTrigger)
    assert got.kind == "issues"


def test_a_label_that_a_person_gives_to_our_issue_counts_as_theirs() -> None:
    got = meaning("issues", {**issue(marker(), action="labeled"), "sender": ALICE})
    assert isinstance(got, IssueTrigger)
    assert got.actor.id == ALICE["id"]


def pull(body: str | None, *, action: str = "opened", **changes: Any) -> dict[str, Any]:
    payload = sample("pull_request", action=action, sender=BOT)
    payload["pull_request"] |= {"user": BOT, "body": body, **changes}
    payload["pull_request"]["head"] = {
        "sha": "a" * 40,
        "ref": changes.pop("ref", "conductor/fix-1"),
        "repo": {"id": 9},
    }
    return payload


def signed(branch: str = "conductor/fix-1", key: bytes = KEY) -> str:
    return provenance_marker(key, repository_id=9, branch=branch, provenance=CHAIN)


def test_a_pull_request_of_ours_carries_the_chain_that_led_to_it() -> None:
    got = meaning("pull_request", pull(f"Explains itself.\n{signed()}"))
    assert isinstance(got, PullRequestTrigger)
    assert got.provenance == CHAIN


def test_a_commit_of_ours_on_a_person_s_pull_request_is_looked_at_too() -> None:
    payload = pull("Theirs", action="synchronize", ref="topic")
    payload["pull_request"]["user"] = ALICE
    got = meaning("pull_request", payload)
    assert isinstance(got, PullRequestTrigger)
    assert got.provenance == Provenance(depth=1)


def from_fork() -> dict[str, Any]:
    payload = pull(signed())
    payload["pull_request"]["head"]["repo"] = {"id": 10}
    return payload


NOT_FOLLOWED: dict[str, dict[str, Any]] = {
    "no marker": pull("Explains itself."),
    "the marker of another branch": pull(signed("conductor/fix-2")),
    "a marker signed by somebody else": pull(signed(key=b"x" * 32)),
    "a branch that is not ours": pull(signed("topic"), ref="topic"),
    "labelling it": pull(signed(), action="labeled"),
    "the words of its end": issue(marker(closed=True)),
    "closing it": pull(signed(), action="closed"),
    "a fork": from_fork(),
}


@pytest.mark.parametrize("name", NOT_FOLLOWED)
def test_a_pull_request_without_our_word_starts_nothing(name: str) -> None:
    assert isinstance(meaning("pull_request", NOT_FOLLOWED[name]), Ignored)


def test_keys_of_markers_are_never_printed() -> None:
    assert "kkkk" not in repr(US)
    assert "oooo" not in str(US)
