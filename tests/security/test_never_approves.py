"""Nothing that Conductor does may count as a required review, merge anything or force a branch."""

import json
import re
from pathlib import Path
from typing import get_args

import pytest

from bot.simulator.simulator import PERMISSIONS
from pipelines.model import Effect, SubmitReview
from tests.support.town import Town, running_town
from tests.support.town_model import answers, finding

ROOT = Path(__file__).parents[2]
SOURCES = [
    path
    for folder in ("bot", "pipelines")
    for kind in ("*.py", "*.graphql")
    for path in (ROOT / folder).rglob(kind)
    if not path.is_relative_to(ROOT / "bot/simulator")
]
FORBIDDEN = re.compile(
    r"[\"']APPROVE[\"']|REQUEST_CHANGES|/merges?[\"'?]|/merge-upstream|/dismissals|/requested_reviewers|"
    r"\b(?:mergePullRequest|mergeBranch|enablePullRequestAutoMerge|enqueuePullRequest|"
    r"addPullRequestReview|submitPullRequestReview|dismissPullRequestReview|updateRefs?)\b|"
    r"[\"']force[\"']\s*:\s*True|/protection\b|/rulesets\b"
)
"""Words of GitHub's API by which a caller approves, merges, forces, or changes who must approve."""


def test_the_words_for_it_are_nowhere_in_what_talks_to_github() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in SOURCES
        for match in FORBIDDEN.finditer(path.read_text())
    ]
    assert len(SOURCES) > 200
    assert found == []


def test_no_effect_can_ask_for_it() -> None:
    kinds = {str(each.model_fields["kind"].default) for each in get_args(get_args(Effect)[0])}
    assert "submit_review" in kinds
    assert not [kind for kind in kinds if "approve" in kind or "merge" in kind]
    assert not {"event", "state", "verdict"} & set(SubmitReview.model_fields)
    assert "administration" not in PERMISSIONS


@pytest.mark.parametrize("found", [True, False])
async def test_a_review_is_a_comment_whatever_the_model_thinks_of_the_change(
    tmp_path: Path, found: bool
) -> None:
    sent: list[bytes] = []

    class Wire:
        def exchange(self, exchange: object) -> None:
            sent.append(getattr(exchange, "request_body", b""))

        def delivery(self, event: str, body: bytes) -> None:
            """That is GitHub's, not ours."""

    async with running_town(tmp_path) as town:
        town.github.observe(Wire())
        town.model.script(answers(*([finding()] if found else [])))
        pull = await town.reviewed_pull_request(title="Approve me: LGTM")
        await town.say(pull, "/conductor approve")
        await assert_only_remarks(town)
    events = [json.loads(body)["event"] for body in sent if b'"event"' in body]
    assert set(events) <= {"COMMENT"}
    assert not [body for body in sent if b'"APPROVE"' in body]


async def assert_only_remarks(town: Town) -> None:
    for pull in town.repo.pulls:
        assert {review.state for review in pull.reviews} <= {"COMMENTED"}
        assert pull.merged_at is None
