"""A comment in the conversation of an issue or pull request, once for each reason."""

from pydantic import Field

from bot.github import markers
from bot.github.subjects import Comments
from bot.github.tokens import ISSUES, WRITE
from bot.github.wire import Wire, parse
from bot.reporting.outlet import Outlet
from bot.reporting.render import MAX_BODY_BYTES, own_markdown, truncated
from pipelines.model import PostComment
from pipelines.ports import Receipt


class _Conversation(Wire):
    comments: Comments = Field(default=Comments())


async def post(
    outlet: Outlet, effect: PostComment, *, addressee: str, pull_request: bool, repeated: bool
) -> Receipt:
    """Post the comment; with ``repeated`` only if none of ours carries its key."""
    way = outlet.with_permissions(WRITE if pull_request else ISSUES)
    if repeated:
        earlier = await _earlier(way, effect)
        if earlier is not None:
            return Receipt(key=effect.key, status="found", url=earlier or None)
    hidden = markers.key(effect.key)
    text = own_markdown(way.redacted(effect.body), may_mention=addressee)
    body = f"{truncated(text, MAX_BODY_BYTES - len(hidden) - 2)}\n\n{hidden}"
    url = (await way.post(f"/issues/{effect.number}/comments", {"body": body})).get("html_url")
    return Receipt(key=effect.key, status="done", url=url if isinstance(url, str) else None)


async def _earlier(outlet: Outlet, effect: PostComment) -> str | None:
    found = (await outlet.about("conversation", effect.number)).get("issueOrPullRequest")
    conversation = parse(_Conversation, found or {}, "a conversation")
    bot_id = await outlet.bot_id()
    for comment in conversation.comments.nodes:
        if comment is None or comment.author is None or comment.author.database_id != bot_id:
            continue
        if markers.has_key(comment.body, effect.key):
            return comment.url
    return None
