"""Issues, conversation comments, labels and reactions."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from bot.simulator import events
from bot.simulator.api.reviews import find_comment
from bot.simulator.errors import invalid, not_found
from bot.simulator.protocol import Answer, Body, Call, Operation
from bot.simulator.state import (
    Account,
    Comment,
    Issue,
    Label,
    Reaction,
    Renaming,
    Repository,
)
from bot.simulator.views import issues, repositories
from bot.simulator.world import World, stamp

MAX_BODY = 65_536
"""Characters of a comment."""


class NewIssue(Body):
    """A new issue."""

    title: str
    body: str | None = None
    labels: list[str] = Field(default_factory=list[str])


class IssueChange(Body):
    """What to change about one."""

    title: str | None = None
    body: str | None = None
    state: Literal["open", "closed"] | None = None
    state_reason: Literal["completed", "not_planned", "duplicate", "reopened"] | None = None
    labels: list[str] | None = None


class Words(Body):
    """A text."""

    body: str


class LabelNames(Body):
    """Labels by name."""

    labels: list[str] = Field(default_factory=list[str])


class NewReaction(Body):
    """An emoji."""

    content: Literal["+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes"]


def _app_id(call: Call) -> int | None:
    return call.token.installation.app.id if call.token else None


async def list_issues(call: Call) -> Answer:
    """Issues and pull requests, newest first unless asked for otherwise."""
    state = call.choice("state", ("open", "closed", "all"), "open")
    names = {name for name in call.query.get("labels", "").split(",") if name}
    creator, since = call.query.get("creator"), call.query.get("since", "")
    found = [
        issue
        for issue in call.repo.issues.values()
        if state in ("all", issue.state)
        and names <= {label.name for label in issue.labels}
        and (not creator or issue.user.login.casefold() == creator.casefold())
        and (stamp(issue.updated_at) or "") >= since
    ]
    newest = call.choice("direction", ("asc", "desc"), "desc") == "desc"
    by = call.choice("sort", ("created", "updated"), "created")
    found.sort(key=lambda one: (getattr(one, f"{by}_at"), one.number), reverse=newest)
    return call.page(found, lambda one: issues.issue(call.world, call.repo, one))


async def create_issue(call: Call) -> Answer:
    """Open an issue."""
    body, repo = call.read(NewIssue), call.repo
    _check_length(body.body)
    issue = open_issue(
        call.world,
        repo,
        call.actor,
        title=body.title,
        body=body.body,
        labels=body.labels,
        app_id=_app_id(call),
    )
    return Answer(issues.issue(call.world, repo, issue), status=201)


def open_issue(
    world: World,
    repo: Repository,
    author: Account,
    *,
    title: str,
    body: str | None,
    labels: Sequence[str] = (),
    app_id: int | None = None,
) -> Issue:
    """Open an issue and announce it, then each of its labels."""
    repo.last_number += 1
    now = world.now()
    issue = Issue(world.next_id(), repo.last_number, author, title, body, now, now)
    issue.app_id = app_id
    issue.labels = [label_named(world, repo, name) for name in labels]
    repo.issues[issue.number] = issue
    events.issue(world, repo, issue, "opened", author)
    for label in issue.labels:
        document = repositories.label(world, repo, label)
        events.issue(world, repo, issue, "labeled", author, label=document)
    return issue


async def get_issue(call: Call) -> Answer:
    """One issue or pull request."""
    return Answer(issues.issue(call.world, call.repo, call.issue))


async def update_issue(call: Call) -> Answer:
    """Change title, body, labels or state."""
    new, issue = call.read(IssueChange), call.issue
    _check_length(new.body)
    body = new.body if "body" in new.model_fields_set else issue.body
    edit(call.world, call.repo, issue, call.actor, title=new.title or issue.title, body=body)
    if new.labels is not None:
        await _relabel(call, issue, new.labels)
    if new.state and new.state != issue.state:
        reason = new.state_reason
        set_state(call.world, call.repo, issue, new.state, call.actor, reason=reason)
    return Answer(issues.issue(call.world, call.repo, issue))


def edit(
    world: World, repo: Repository, issue: Issue, by: Account, *, title: str, body: str | None
) -> None:
    """Change the words of an issue; announced only if they are others than before."""
    now, changes = world.now(), dict[str, dict[str, str]]()
    if title != issue.title:
        changes["title"] = {"from": issue.title}
        issue.renamings.append(Renaming(world.next_id(), by, now, issue.title, title))
        issue.title = title
    if body != issue.body:
        changes["body"] = {"from": issue.body or ""}
        issue.body, issue.edited_at = body, now
    if changes:
        issue.updated_at = now
        events.issue(world, repo, issue, "edited", by, changes=changes)


def set_state(
    world: World,
    repo: Repository,
    issue: Issue,
    state: Literal["open", "closed"],
    by: Account,
    *,
    reason: str | None = None,
) -> None:
    """Close or reopen an issue and announce it."""
    closed = state == "closed"
    issue.state, issue.updated_at = state, world.now()
    issue.closed_at = world.now() if closed else None
    issue.state_reason = reason or ("completed" if closed else "reopened")
    events.issue(world, repo, issue, "closed" if closed else "reopened", by)


def _check_length(body: str | None) -> None:
    if len(body or "") > MAX_BODY:
        words = f"body is too long (maximum is {MAX_BODY} characters)"
        error = {"resource": "Issue", "code": "custom", "field": "body", "message": words}
        raise invalid("Validation Failed", error)


def add_comment(
    world: World,
    repo: Repository,
    issue: Issue,
    author: Account,
    body: str,
    *,
    app_id: int | None = None,
) -> Comment:
    """Add to a conversation and announce it; 422 for an empty or too long text."""
    if not body.strip():
        error = {"resource": "IssueComment", "code": "missing_field", "field": "body"}
        raise invalid("Validation Failed", error)
    if len(body) > MAX_BODY:
        words = f"body is too long (maximum is {MAX_BODY} characters)"
        error = {"resource": "IssueComment", "code": "unprocessable", "field": "data"}
        raise invalid("Validation Failed", {**error, "message": words})
    now = world.now()
    comment = Comment(world.next_id(), author, body, now, now, app_id)
    issue.comments.append(comment)
    issue.updated_at = now
    events.issue_comment(world, repo, issue, comment, author)
    return comment


async def list_comments(call: Call) -> Answer:
    """A conversation, oldest first."""
    issue = call.issue
    return call.page(issue.comments, lambda one: issues.comment(call.world, call.repo, issue, one))


async def create_comment(call: Call) -> Answer:
    """Say something."""
    issue, body = call.issue, call.read(Words).body
    made = add_comment(call.world, call.repo, issue, call.actor, body, app_id=_app_id(call))
    return Answer(issues.comment(call.world, call.repo, issue, made), status=201)


def _find(call: Call) -> tuple[Issue, Comment]:
    wanted = call.number("comment_id")
    for issue in call.repo.issues.values():
        for comment in issue.comments:
            if comment.id == wanted:
                return issue, comment
    raise not_found()


async def get_comment(call: Call) -> Answer:
    """One comment."""
    issue, comment = _find(call)
    return Answer(issues.comment(call.world, call.repo, issue, comment))


async def update_comment(call: Call) -> Answer:
    """Change a comment."""
    issue, comment = _find(call)
    comment.body = call.read(Words).body
    comment.updated_at = call.world.now()
    return Answer(issues.comment(call.world, call.repo, issue, comment))


async def delete_comment(call: Call) -> Answer:
    """Remove a comment."""
    issue, comment = _find(call)
    issue.comments.remove(comment)
    return Answer(status=204)


def label_named(world: World, repo: Repository, name: str) -> Label:
    """A label by name; GitHub makes the ones it does not know."""
    wanted = name.casefold()
    found = next((one for one in repo.labels if one.name.casefold() == wanted), None)
    if found is None:
        found = Label(world.next_id(), name)
        repo.labels.append(found)
    return found


def _labels(call: Call) -> Answer:
    found = call.issue.labels
    return call.page(found, lambda one: repositories.label(call.world, call.repo, one))


async def list_labels(call: Call) -> Answer:
    """An issue's labels."""
    return _labels(call)


async def add_labels(call: Call) -> Answer:
    """Put labels on an issue; those it has already stay."""
    issue = call.issue
    for name in call.read(LabelNames).labels:
        label = label_named(call.world, call.repo, name)
        if label in issue.labels:
            continue
        await _set_label(call, issue, label, on=True)
    return _labels(call)


def add_label(world: World, repo: Repository, issue: Issue, name: str, by: Account) -> None:
    """Put a label on an issue that is no pull request, and announce it."""
    label = label_named(world, repo, name)
    issue.labels.append(label)
    issue.updated_at = world.now()
    document = repositories.label(world, repo, label)
    events.issue(world, repo, issue, "labeled", by, label=document)


async def _relabel(call: Call, issue: Issue, names: Sequence[str]) -> None:
    """Give an issue these labels and no others."""
    wanted = [label_named(call.world, call.repo, name) for name in names]
    for label in [one for one in issue.labels if one not in wanted]:
        await _set_label(call, issue, label, on=False)
    for label in [one for one in wanted if one not in issue.labels]:
        await _set_label(call, issue, label, on=True)


async def _set_label(call: Call, issue: Issue, label: Label, *, on: bool) -> None:
    if on:
        issue.labels.append(label)
    else:
        issue.labels.remove(label)
    world, repo, action = call.world, call.repo, "labeled" if on else "unlabeled"
    issue.updated_at = world.now()
    document = repositories.label(world, repo, label)
    if issue.pull:
        await events.pull_request(world, repo, issue.pull, action, call.actor, label=document)
    else:
        events.issue(world, repo, issue, action, call.actor, label=document)


async def remove_label(call: Call) -> Answer:
    """Take a label off an issue."""
    issue = call.issue
    found = next((one for one in issue.labels if one.name == call.path["name"]), None)
    if not found:
        raise not_found()
    await _set_label(call, issue, found, on=False)
    return _labels(call)


def react(
    world: World, records: list[Reaction], user: Account, content: str
) -> tuple[Reaction, int]:
    """Add an emoji: 201, or 200 with the one that is there when it is repeated."""
    for record in records:
        if record.user is user and record.content == content:
            return record, 200
    record = Reaction(world.next_id(), user, content, world.now())
    records.append(record)
    return record, 201


def _react(call: Call, records: list[Reaction]) -> Answer:
    content = call.read(NewReaction).content
    record, status = react(call.world, records, call.actor, content)
    return Answer(issues.reaction(call.world, record), status=status)


async def react_to_issue(call: Call) -> Answer:
    """React to an issue or pull request."""
    return _react(call, call.issue.reactions)


async def react_to_comment(call: Call) -> Answer:
    """React to a comment in a conversation."""
    return _react(call, _find(call)[1].reactions)


async def react_to_review_comment(call: Call) -> Answer:
    """React to a comment on the diff."""
    return _react(call, find_comment(call)[2].reactions)


_READ, _WRITE = ("issues=read", "pull_requests=read"), ("issues=write", "pull_requests=write")
_REPO = "/repos/{owner}/{repo}"
_ISSUE = f"{_REPO}/issues/{{number}}"
_COMMENT = f"{_REPO}/issues/comments/{{comment_id}}"

OPERATIONS = (
    Operation("GET", f"{_REPO}/issues", list_issues, _READ),
    Operation("POST", f"{_REPO}/issues", create_issue, ("issues=write",), creates=True),
    Operation("GET", _COMMENT, get_comment, _READ),
    Operation("PATCH", _COMMENT, update_comment, _WRITE),
    Operation("DELETE", _COMMENT, delete_comment, _WRITE),
    Operation("POST", f"{_COMMENT}/reactions", react_to_comment, _WRITE),
    Operation("GET", _ISSUE, get_issue, _READ),
    Operation("PATCH", _ISSUE, update_issue, _WRITE),
    Operation("GET", f"{_ISSUE}/comments", list_comments, _READ),
    Operation("POST", f"{_ISSUE}/comments", create_comment, _WRITE, creates=True),
    Operation("GET", f"{_ISSUE}/labels", list_labels, _READ),
    Operation("POST", f"{_ISSUE}/labels", add_labels, _WRITE),
    Operation("DELETE", f"{_ISSUE}/labels/{{name}}", remove_label, _WRITE),
    Operation("POST", f"{_ISSUE}/reactions", react_to_issue, _WRITE),
    Operation(
        "POST",
        f"{_REPO}/pulls/comments/{{comment_id}}/reactions",
        react_to_review_comment,
        ("pull_requests=write",),
    ),
)
