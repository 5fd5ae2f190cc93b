"""GitHub's answers about an issue, turned into a Change as of the event that started the work.

Whoever may edit an issue could otherwise change what a maintainer's label or command was meant for
before it is read.
"""

from datetime import datetime

from pydantic import AwareDatetime, Field

from bot.github.subjects import EDITED, Labels, Ref, Renamings, Who, actor, configuration
from bot.github.wire import Wire
from pipelines.errors import Ignorable
from pipelines.model import Change, FeedbackTrigger, IssueTrigger, Repository, Trigger


class Issue(Wire):
    """An issue as the issue query asks for it."""

    number: int
    title: str = ""
    body: str = ""
    state: str
    created_at: AwareDatetime = Field(alias="createdAt")
    edited_at: AwareDatetime | None = Field(default=None, alias="lastEditedAt")
    author: Who | None = None
    labels: Labels | None = None
    renamings: Renamings = Field(default=Renamings(), alias="timelineItems")


def issue_change(
    issue: Issue,
    repository: Repository,
    branch: Ref | None,
    trigger: Trigger,
    *,
    author_can_write: bool,
    now: datetime,
) -> Change:
    """Return what work on an issue starts from: the head of the default branch and its words."""
    target = branch.target if branch else None
    if branch is None or target is None or target.oid is None:
        raise Ignorable(f"Repository {repository.full_name} is empty.")
    title, body = _words(issue, trigger)
    return Change(
        repository=repository,
        issue=issue.number,
        head_sha=target.oid,
        base_sha=target.oid,
        base_ref=branch.name,
        title=title,
        body=body,
        author=actor(issue.author),
        author_can_write=author_can_write,
        open=issue.state == "OPEN",
        labels=tuple(one.name for one in issue.labels.nodes if one) if issue.labels else (),
        paths_complete=False,
        config=configuration(target),
        read_at=now,
    )


def _words(issue: Issue, trigger: Trigger) -> tuple[str, str]:
    """Return title and body as they were at the trigger; a report's own words are in its payload.

    GitHub's times are whole seconds: a change within the second of an event may be a later one,
    unless the event is that change.
    """
    if isinstance(trigger, FeedbackTrigger):
        return trigger.payload.title, ""
    at = trigger.occurred_at
    own = isinstance(trigger, IssueTrigger) and trigger.action == "edited"

    def later(changed: datetime) -> bool:
        return at is None or changed > at or (changed == at and not own)

    title = issue.renamings.title_before(later, issue.title)
    edited = issue.edited_at is not None and later(issue.edited_at)
    return title, EDITED if edited else issue.body
