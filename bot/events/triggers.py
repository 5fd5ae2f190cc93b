"""What a delivery means: a table from event to one small pure function."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypedDict

from pydantic import ValidationError

from bot.commands.grammar import parse
from bot.events import installations
from bot.events.decoding import JsonDict
from bot.events.filters import AppIdentity, Ignored, mismatch, uninteresting
from bot.events.installations import InstallationChanged, installation_changed
from bot.events.own import followed_change, followed_issue
from bot.events.payloads import (
    CheckRunEvent,
    CheckSuiteEvent,
    CommentPart,
    DeploymentEvent,
    DeploymentStatusEvent,
    Envelope,
    IssueCommentEvent,
    IssuesEvent,
    PullRequestEvent,
    PushedCommit,
    PushEvent,
    ReviewCommentEvent,
    actor_of,
)
from pipelines.model import (
    Actor,
    CheckTrigger,
    CommandTrigger,
    DeploymentStatusTrigger,
    DeploymentTrigger,
    IssueTrigger,
    PullRequestTrigger,
    PushTrigger,
    Repository,
    Revert,
    Trigger,
)

MAX_REVERTS = 3
"""Reverted commits that one push is asked about; whoever takes back more teaches by the first."""
_MAX_HEADLINE = 200
_REVERTS = re.compile(r"\bThis reverts commit ([0-9a-f]{40}(?:[0-9a-f]{24})?)\b")
"""What ``git revert`` writes: https://git-scm.com/docs/git-revert"""


class _Shared(TypedDict):
    """What every trigger of a delivery carries."""

    repository: Repository
    actor: Actor
    delivery_id: str


@dataclass(frozen=True, slots=True)
class _Setting:
    """What is known before the event's own part is read."""

    shared: _Shared
    action: str
    identity: AppIdentity


def trigger_of(
    event: str, delivery_id: str, payload: JsonDict, identity: AppIdentity
) -> Trigger | Ignored | InstallationChanged:
    """Return what the delivery means; never raises, whatever the payload.

    ``event`` is the ``X-GitHub-Event`` header. If a comment has several commands, the first counts.
    """
    if event == "ping":
        return Ignored(reason="GitHub only checks that we are here.")
    known = ACTIONS.get(event)
    if known is None:
        return Ignored(reason="This kind of event is not used.")
    action = payload.get("action", "")
    if not isinstance(action, str) or action not in known:
        return Ignored(reason=f"Nothing is done about this action of `{event}`.")
    try:
        if event in installations.EVENTS:
            return installation_changed(payload, identity)
        return _trigger(event, action, delivery_id, payload, identity)
    except ValidationError as error:
        return Ignored(reason=_unusable(event, error))


def _trigger(
    event: str, action: str, delivery_id: str, payload: JsonDict, identity: AppIdentity
) -> Trigger | Ignored:
    if refused := mismatch(event, payload):
        return refused
    envelope = Envelope.model_validate(payload)
    if refused := uninteresting(event, envelope, identity):
        return refused
    shared = _Shared(
        repository=envelope.repository.repository(envelope.installation.id),
        actor=envelope.sender.actor(),
        delivery_id=delivery_id,
    )
    setting = _Setting(shared=shared, action=action, identity=identity)
    return _BUILDERS[event](payload, setting)


def _unusable(event: str, error: ValidationError) -> str:
    """Name the field, never its value: values are strangers' text."""
    detail = error.errors(include_url=False, include_input=False, include_context=False)[0]
    names = [str(step) for step in detail["loc"] if str(step).isidentifier()]
    field = ".".join(names) or "the whole"
    problem = "is missing" if detail["type"] == "missing" else "is not as GitHub sends it"
    return f"The `{event}` event cannot be used: `{field}` {problem}."


def _pull_request(payload: JsonDict, setting: _Setting) -> Trigger | Ignored:
    pull = PullRequestEvent.model_validate(payload).pull_request
    trigger = PullRequestTrigger(
        **setting.shared,
        occurred_at=pull.updated_at,
        action=setting.action,
        number=pull.number,
        head_sha=pull.head.sha,
        head_ref=pull.head.ref,
        base_ref=pull.base.ref,
        base_sha=pull.base.sha,
        head_repository_id=pull.head.repo.id if pull.head.repo else None,
        author=actor_of(pull.user),
        draft=pull.draft,
        labels=tuple(label.name for label in pull.labels),
    )
    if trigger.actor.id == setting.identity.bot_user_id:
        return followed_change(trigger, pull.body or "", setting.identity)
    return trigger


def _push(payload: JsonDict, setting: _Setting) -> Trigger | Ignored:
    push = PushEvent.model_validate(payload)
    if push.deleted or not push.after.strip("0"):
        return Ignored(reason="A branch or tag was deleted.")
    if not push.created and not push.before.strip("0"):
        return Ignored(reason="The push does not say what was there before.")
    return PushTrigger(
        **setting.shared,
        ref=push.ref,
        before=push.before,
        after=push.after,
        created=push.created,
        forced=push.forced,
        reverts=_reverts(push.commits),
    )


def _reverts(commits: list[PushedCommit]) -> tuple[Revert, ...]:
    """Return which earlier commits these say they revert; one that came along was never out."""
    pushed = {commit.id for commit in commits}
    found = dict[str, Revert]()
    for commit in commits:
        headline = commit.message.partition("\n")[0].strip()[:_MAX_HEADLINE]
        for sha in _REVERTS.findall(commit.message):
            if sha not in pushed:
                found.setdefault(sha, Revert(sha=sha, headline=headline))
    return tuple(found.values())[:MAX_REVERTS]


def _deployment(payload: JsonDict, setting: _Setting) -> Trigger | Ignored:
    deployment = DeploymentEvent.model_validate(payload).deployment
    return DeploymentTrigger(
        **setting.shared,
        occurred_at=deployment.created_at,
        deployment_id=deployment.id,
        environment=deployment.environment,
        sha=deployment.sha,
        ref=deployment.ref,
    )


def _deployment_status(payload: JsonDict, setting: _Setting) -> Trigger | Ignored:
    event = DeploymentStatusEvent.model_validate(payload)
    return DeploymentStatusTrigger(
        **setting.shared,
        occurred_at=event.deployment_status.created_at,
        deployment_id=event.deployment.id,
        environment=event.deployment.environment,
        sha=event.deployment.sha,
        state=event.deployment_status.state,
    )


def _issues(payload: JsonDict, setting: _Setting) -> Trigger | Ignored:
    event = IssuesEvent.model_validate(payload)
    if event.issue.pull_request is not None:
        return Ignored(reason="This is a pull request, which has events of its own.")
    trigger = IssueTrigger(
        **setting.shared,
        occurred_at=event.issue.updated_at,
        action=setting.action,
        number=event.issue.number,
        author=actor_of(event.issue.user),
        label=event.label.name if event.label else None,
        labels=tuple(label.name for label in event.issue.labels),
    )
    if trigger.actor.id == setting.identity.bot_user_id:
        return followed_issue(trigger, event.issue.body or "", setting.identity)
    return trigger


def _issue_comment(payload: JsonDict, setting: _Setting) -> Trigger | Ignored:
    event = IssueCommentEvent.model_validate(payload)
    on_pull_request = event.issue.pull_request is not None
    return _command(event.comment, event.issue.number, setting, on_pull_request, review=False)


def _review_comment(payload: JsonDict, setting: _Setting) -> Trigger | Ignored:
    event = ReviewCommentEvent.model_validate(payload)
    return _command(event.comment, event.pull_request.number, setting, True, review=True)


def _command(
    comment: CommentPart, number: int, setting: _Setting, on_pull_request: bool, *, review: bool
) -> Trigger | Ignored:
    if comment.user is None or comment.user.id != setting.shared["actor"].id:
        return Ignored(reason="The comment is not by whoever sent the event.")
    text = comment.body or ""
    commands = parse(text, setting.identity.slug)
    if not commands:
        return Ignored(reason="The comment has no command.")
    return CommandTrigger(
        **setting.shared,
        occurred_at=comment.created_at,
        number=number,
        on_pull_request=on_pull_request,
        comment_id=comment.id,
        comment_kind="review" if review else "issue",
        verb=commands[0].verb,
        arguments=commands[0].arguments,
        text=text,
    )


def _check_run(payload: JsonDict, setting: _Setting) -> Trigger | Ignored:
    event = CheckRunEvent.model_validate(payload)
    if event.check_run.app.id != setting.identity.app_id:
        return Ignored(reason="The check is another App's.")
    pressed = setting.action == "requested_action"
    if pressed and event.requested_action is None:
        return Ignored(reason="The event does not say which button was pressed.")
    return CheckTrigger(
        **setting.shared,
        action="requested_action" if pressed else "rerequested",
        check_run_id=event.check_run.id,
        external_id=event.check_run.external_id,
        head_sha=event.check_run.head_sha,
        button=event.requested_action.identifier if event.requested_action else None,
    )


def _check_suite(payload: JsonDict, setting: _Setting) -> Trigger | Ignored:
    suite = CheckSuiteEvent.model_validate(payload).check_suite
    if suite.app.id != setting.identity.app_id:
        return Ignored(reason="The check is another App's.")
    return CheckTrigger(
        **setting.shared,
        action="rerequested",
        head_sha=suite.head_sha,
    )


_Builder = Callable[[JsonDict, _Setting], Trigger | Ignored]
_BUILDERS: Mapping[str, _Builder] = {
    "pull_request": _pull_request,
    "push": _push,
    "deployment": _deployment,
    "deployment_status": _deployment_status,
    "issues": _issues,
    "issue_comment": _issue_comment,
    "pull_request_review_comment": _review_comment,
    "check_run": _check_run,
    "check_suite": _check_suite,
}

ACTIONS: Mapping[str, frozenset[str]] = {
    **installations.EVENTS,
    "pull_request": frozenset(
        {
            *("opened", "synchronize", "reopened", "ready_for_review", "converted_to_draft"),
            *("edited", "closed", "labeled", "unlabeled"),
        }
    ),
    "push": frozenset({""}),
    "deployment": frozenset({"created"}),
    "deployment_status": frozenset({"created"}),
    "issues": frozenset(
        ["opened", "reopened", "edited", "closed", "labeled", "unlabeled", "assigned", "unassigned"]
    ),
    "issue_comment": frozenset({"created"}),
    "pull_request_review_comment": frozenset({"created"}),
    "check_run": frozenset({"rerequested", "requested_action"}),
    "check_suite": frozenset({"rerequested"}),
}
"""Every event that is used, with the actions of it that are; a push has none."""
