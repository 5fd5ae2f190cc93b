"""One open issue a fingerprint: opened, counted up, reopened and closed by what monitoring saw.

The signed marker in the issue's text is the only record of it, so nothing can get out of step. A
number is part of what is signed, so an issue is opened first and signed at once after; until then
it is known by the unsigned key in its text, which counts because our own account wrote it.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from bot.github import markers
from bot.github.errors import Forbidden, Invalid, NotFound
from bot.github.feedback import LABEL, OwnIssue, RestIssue, own_issue, own_issues
from bot.github.markers import Feedback
from bot.github.tokens import ISSUES
from bot.github.wire import parse
from bot.reporting import comments, fixes
from bot.reporting.feedback_text import issue_title, redacted_payload, report
from bot.reporting.outlet import Outlet
from bot.reporting.render import fit, plain
from bot.reporting.wording import footer
from pipelines.model import CloseIssue, FailedFix, FeedbackPayload, OpenIssue, PostComment
from pipelines.ports import Receipt

REOPENED_WITHIN = timedelta(days=30)
"""A closed issue that nobody touched for longer has had its day; a new one is opened."""


MAX_FIXES = 3
"""Fixes of one incident that may fail before people are needed; as many as ``MAX_DEPTH``."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What opening and closing share: the way out and the keys, the newest of which signs."""

    outlet: Outlet
    keys: tuple[bytes, ...]

    async def read(self, number: int) -> OwnIssue | None:
        """Return the issue if it is our own; raises NotFound if it is gone."""
        raw = await self.outlet.get(f"/issues/{number}")
        identity = await self.outlet.identity()
        return own_issue(
            parse(RestIssue, raw, "an issue"),
            self.outlet.change.repository,
            bot_id=identity.bot_id,
            keys=self.keys,
        )

    async def listed(self, payload: FeedbackPayload) -> AsyncIterator[OwnIssue]:
        """Yield our own issues, the open ones first, then those closed lately."""
        spans: tuple[tuple[Literal["open", "closed"], datetime | None], ...] = (
            ("open", None),
            ("closed", payload.observed_at - REOPENED_WITHIN),
        )
        for state, since in spans:
            async for issue in own_issues(
                self.outlet.client,
                self.outlet.change.repository,
                state=state,
                identity=await self.outlet.identity(),
                keys=self.keys,
                since=since,
            ):
                yield issue

    async def write(
        self, number: int, feedback: Feedback, *, state: str | None = None, reason: str = ""
    ) -> OwnIssue:
        """Put what the marker says into words and sign it, with a new state in the same call."""
        repository = self.outlet.change.repository
        marker = markers.feedback_marker(
            self.keys[0], repository_id=repository.id, number=number, feedback=feedback
        )
        hidden = [_name(feedback.payload.fingerprint), marker]
        tail = footer(self.outlet.change.head_sha, self.outlet.run_url(), hidden)
        change: dict[str, str] = {"body": fit(report(feedback), tail)}
        if state is not None:
            change |= {"state": state, "state_reason": reason}
        raw = await self.outlet.patch(f"/issues/{number}", change)
        issue = parse(RestIssue, raw, "an issue")
        return OwnIssue(
            number=number,
            url=issue.html_url,
            open=issue.state == "open",
            body=issue.body or "",
            created_at=issue.created_at,
            feedback=feedback,
        )


def _name(fingerprint: str) -> str:
    return markers.key(f"issue/{fingerprint}")


async def open_issue(outlet: Outlet, effect: OpenIssue, *, keys: tuple[bytes, ...]) -> Receipt:
    """Open the fingerprint's issue, or count it up or reopen it if it is there."""
    desk = Desk(outlet.with_permissions(ISSUES), keys)
    payload = redacted_payload(effect.payload, outlet.redacted)
    try:
        found = await _known(desk, payload)
        if found is not None:
            return await _again(desk, found, effect, payload)
        number = await _create(desk, payload)
        return await _signed(desk, number, effect, payload)
    except (Forbidden, Invalid, NotFound) as error:
        return Receipt(key=effect.key, status="denied", message=str(error))


async def _known(desk: Desk, payload: FeedbackPayload) -> OwnIssue | None:
    """Return the oldest open issue of the fingerprint, or one that Conductor itself closed."""
    name = f"issue/{payload.fingerprint}"
    async for issue in desk.listed(payload):
        known = issue.feedback
        if known is not None and known.payload.fingerprint == payload.fingerprint:
            if issue.open or known.closed:
                return issue
        elif known is None and issue.open and markers.has_key(issue.body, name):
            return issue
    return None


async def _create(desk: Desk, payload: FeedbackPayload) -> int:
    first = f"Conductor is writing down what it saw.\n\n{_name(payload.fingerprint)}"
    wish = {"title": issue_title(payload), "body": first, "labels": [LABEL]}
    return parse(RestIssue, await desk.outlet.post("/issues", wish), "a new issue").number


async def _signed(desk: Desk, number: int, effect: OpenIssue, payload: FeedbackPayload) -> Receipt:
    """Sign the issue just opened; if another process was faster, its older issue is the one."""
    first = await _known(desk, payload)
    if first is not None and first.number < number:
        change = {"state": "closed", "state_reason": "not_planned"}
        await desk.outlet.patch(f"/issues/{number}", change)
        return await _again(desk, first, effect, payload)
    feedback = _first(desk, effect, payload)
    written = await desk.write(number, feedback)
    return Receipt(key=effect.key, status="done", url=written.url or None, number=number)


def _first(desk: Desk, effect: OpenIssue, payload: FeedbackPayload) -> Feedback:
    provenance, since = desk.outlet.provenance, payload.observed_at
    feedback = Feedback(payload=payload, provenance=provenance, since=since)
    return feedback.after(effect.occasion)


async def _again(
    desk: Desk, issue: OwnIssue, effect: OpenIssue, payload: FeedbackPayload
) -> Receipt:
    known = issue.feedback
    url = issue.url or None
    if known is not None and known.had(effect.occasion):
        receipt = Receipt(key=effect.key, status="found", url=url, number=issue.number)
        return _escalated(receipt, known, effect)
    if known is None:
        feedback = _first(desk, effect, payload)
    elif issue.open:
        feedback = await _counted(desk, issue, known, effect, payload)
    else:
        feedback = _next(desk, known, effect, payload, since=payload.observed_at, failed=())
    state = None if issue.open else "open"
    await desk.write(issue.number, feedback, state=state, reason="reopened")
    message = f"Seen {feedback.occurrences} times." if issue.open else "Reopened."
    receipt = Receipt(key=effect.key, status="done", message=message, url=url, number=issue.number)
    return _escalated(receipt, feedback, effect)


def _next(
    desk: Desk, known: Feedback, effect: OpenIssue, payload: FeedbackPayload, **changes: Any
) -> Feedback:
    more: dict[str, Any] = {"closed": False, "asks": False, "given_up": False, **changes}
    return known.after(
        effect.occasion,
        payload=payload,
        provenance=desk.outlet.provenance,
        occurrences=known.occurrences + 1,
        **more,
    )


async def _counted(
    desk: Desk, issue: OwnIssue, known: Feedback, effect: OpenIssue, payload: FeedbackPayload
) -> Feedback:
    """Count an open issue up, and where its latest fix runs and did not help, ask for another."""
    fix = await fixes.failed(
        desk.outlet,
        issue.number,
        since=known.since or issue.created_at,
        judged=frozenset(each.number for each in known.failed),
        running=payload.running_sha,
    )
    if fix is None:
        return _next(desk, known, effect, payload)
    failed = (*known.failed, fix)[-markers.MAX_FAILED :]
    asks = len(failed) < MAX_FIXES
    await _say(desk, issue.number, effect.key, _no_help(desk, fix, payload, len(failed), asks=asks))
    return _next(desk, known, effect, payload, failed=failed, asks=asks, given_up=not asks)


def _no_help(
    desk: Desk, fix: FailedFix, payload: FeedbackPayload, count: int, *, asks: bool
) -> list[str]:
    first = f"The fix in #{fix.number} did not help: {payload.running_sha} has it and runs."
    if asks:
        return [first + " Conductor tries another one.", "", *_bullets(desk, payload.findings)]
    last = f" {count} fixes have failed, so people are needed; Conductor starts no other by itself."
    return [first + last, "", *_bullets(desk, payload.findings)]


def _escalated(receipt: Receipt, feedback: Feedback, effect: OpenIssue) -> Receipt:
    if not feedback.gave_up_at(effect.occasion):
        return receipt
    payload = feedback.payload
    text = (
        f"{len(feedback.failed)} fixes of issue #{receipt.number} in {payload.environment} did not "
        f"help, and Conductor starts no other by itself: {payload.title}"
    )
    return receipt.model_copy(update={"escalate": text})


async def _say(desk: Desk, number: int, key: str, lines: Sequence[str]) -> None:
    """Leave the lines in the conversation, once a key."""
    comment = PostComment(number=number, body="\n".join(lines), reason=key)
    await comments.post(desk.outlet, comment, addressee="", pull_request=False, repeated=True)


def _bullets(desk: Desk, texts: Sequence[str]) -> Iterator[str]:
    # The comment is rendered as a whole when it is posted, so nothing is escaped here.
    return (f"- {plain(desk.outlet.redacted(text), 500)}" for text in texts)


async def close_issue(outlet: Outlet, effect: CloseIssue, *, keys: tuple[bytes, ...]) -> Receipt:
    """Say why and close; an issue that is not the fingerprint's is left alone."""
    desk = Desk(outlet.with_permissions(ISSUES), keys)
    try:
        issue = await desk.read(effect.number)
        known = issue.feedback if issue is not None else None
        if issue is None or known is None or known.payload.fingerprint != effect.fingerprint:
            return _closed(effect, "denied", "It is not the issue of this fingerprint.")
        if known.had(effect.key) or not issue.open:
            return _closed(effect, "found", url=issue.url)
        fixed = f"The signal is back at its baseline since {effect.fixed_in} is deployed."
        await _say(desk, issue.number, effect.key, [fixed, "", *_bullets(desk, effect.evidence)])
        after = known.after(effect.key, closed=True)
        await desk.write(issue.number, after, state="closed", reason="completed")
    except NotFound:
        return _closed(effect, "found", "The issue is gone.")
    except (Forbidden, Invalid) as error:
        return _closed(effect, "denied", str(error))
    return _closed(effect, "done", url=issue.url)


def _closed(effect: CloseIssue, status: str, message: str = "", url: str = "") -> Receipt:
    values = {"key": effect.key, "status": status, "message": message}
    return Receipt.model_validate({**values, "url": url or None, "number": effect.number})
