"""One review a head commit: comments where the diff can carry them, the rest in the body."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from bot.github import markers
from bot.github.errors import Invalid, NotFound
from bot.github.subjects import Reviews, Who
from bot.github.wire import Wire, parse
from bot.reporting.outlet import Outlet
from bot.reporting.render import fit, prose
from bot.reporting.wording import (
    body_finding,
    coverage_block,
    footer,
    redacted_finding,
    thread_comment,
)
from pipelines.model import Finding, SubmitReview
from pipelines.ports import Receipt

MAX_MARKED = 50
MAX_COMMENTS = 100
"""Threads one review opens; what is beyond goes in the body."""


class _Pull(Wire):
    head_oid: str = Field(alias="headRefOid")
    state: str
    reviews: Reviews | None = None


async def submit(outlet: Outlet, effect: SubmitReview) -> Receipt:
    """Post the review unless it is there already or the head has moved; one read, one write."""
    found = (await outlet.about("reviews", effect.number)).get("pullRequest")
    if found is None:
        raise NotFound(f"Pull request {effect.number} is gone.")
    pull = parse(_Pull, found, "a pull request's reviews")
    earlier = _earlier(pull, effect.key, await outlet.bot_id())
    if earlier is not None:
        return Receipt(key=effect.key, status="found", url=earlier or None)
    if pull.state != "OPEN":
        return Receipt(key=effect.key, status="moved", message="The pull request is closed.")
    if pull.head_oid != effect.head_sha:
        return Receipt(
            key=effect.key, status="moved", message=f"The head is {pull.head_oid[:10]} now."
        )
    return await _post(outlet, effect)


def _earlier(pull: _Pull, key: str, bot_id: int) -> str | None:
    for review in pull.reviews.nodes if pull.reviews else ():
        if review is not None and _is(review.author, bot_id) and markers.has_key(review.body, key):
            return review.url
    return None


def _is(who: Who | None, bot_id: int) -> bool:
    return who is not None and who.database_id == bot_id


async def _post(outlet: Outlet, effect: SubmitReview) -> Receipt:
    findings = sorted(
        (redacted_finding(finding, outlet.redacted) for finding in effect.findings),
        key=lambda finding: -finding.severity.rank,
    )
    carried = [finding for finding in findings if finding.in_diff][:MAX_COMMENTS]
    path = f"/pulls/{effect.number}/reviews"
    message = ""
    try:
        answer = await outlet.post(path, review_payload(outlet, effect, findings, carried))
    except Invalid:
        if not carried:
            raise
        answer = await outlet.post(path, review_payload(outlet, effect, findings, []))
        message = "GitHub took no comment on these lines; the findings are in the review's text."
    url = answer.get("html_url")
    return Receipt(
        key=effect.key,
        status="done",
        message=message,
        url=url if isinstance(url, str) else None,
    )


def review_payload(
    outlet: Outlet, effect: SubmitReview, findings: list[Finding], carried: list[Finding]
) -> Mapping[str, Any]:
    """Return the request's body; the event is COMMENT, never an approval or a veto."""
    inline = {id(finding) for finding in carried}
    return {
        "commit_id": effect.head_sha,
        "event": "COMMENT",
        "body": _body(outlet, effect, [one for one in findings if id(one) not in inline]),
        "comments": [_comment(finding) for finding in carried],
    }


def _body(outlet: Outlet, effect: SubmitReview, findings: list[Finding]) -> str:
    blocks = [prose(outlet.redacted(effect.summary)), *(body_finding(one) for one in findings)]
    if effect.dropped:
        remarks = "1 further remark" if effect.dropped == 1 else f"{effect.dropped} further remarks"
        blocks.append(f"{remarks} of the model did not survive verification.")
    blocks.append(coverage_block(effect.coverage))
    hidden = [
        markers.key(effect.key),
        *(markers.finding(one.fingerprint, one.anchor, one.path) for one in findings[:MAX_MARKED]),
    ]
    tail = footer(effect.head_sha, outlet.run_url(), hidden)
    return fit((block for block in blocks if block.strip()), tail)


def _comment(finding: Finding) -> Mapping[str, Any]:
    comment: dict[str, Any] = {
        "path": finding.path,
        "line": finding.line,
        "side": finding.side,
        "body": thread_comment(finding),
    }
    if finding.start_line < finding.line:
        comment |= {"start_line": finding.start_line, "start_side": finding.side}
    return comment
