"""Tell a finding's thread that it is fixed, and resolve it."""

from bot.github import markers
from bot.github.errors import Forbidden, NotFound
from bot.github.subjects import IN_REVIEW_TEXT, Thread
from bot.github.tokens import RESOLVE
from bot.github.wire import parse
from bot.reporting.outlet import Outlet
from pipelines.errors import ConductorError
from pipelines.model import AnswerFinding
from pipelines.ports import Receipt

UNRESOLVED = (
    "The thread was answered but not resolved: GitHub asks for the permission Contents: write."
)


async def answer(outlet: Outlet, effect: AnswerFinding, *, repeated: bool) -> Receipt:
    """Reply once to the thread and resolve it; without the permission the reply alone is fine."""
    if effect.thread_id.startswith(IN_REVIEW_TEXT):
        return Receipt(key=effect.key, status="found", message="It has no thread to answer in.")
    status, url = "done", None
    try:
        if repeated and await _answered(outlet, effect):
            status = "found"
        else:
            url = await _reply(outlet, effect)
    except NotFound:
        return Receipt(key=effect.key, status="found", message="The comment is gone.")
    message = await _resolve(outlet, effect)
    return Receipt.model_validate(
        {"key": effect.key, "status": status, "message": message, "url": url}
    )


async def _answered(outlet: Outlet, effect: AnswerFinding) -> bool:
    node = (await outlet.query("thread", thread=effect.thread_id)).get("node")
    if not node:
        raise NotFound("The thread is gone.")
    thread = parse(Thread, node, "a review thread")
    bot_id = await outlet.bot_id()
    return any(
        comment is not None
        and comment.author is not None
        and comment.author.database_id == bot_id
        and markers.has_fixed(comment.body)
        for comment in thread.comments.nodes
    )


async def _reply(outlet: Outlet, effect: AnswerFinding) -> str | None:
    body = f"Fixed in {effect.fixed_in}.\n\n{markers.fixed(effect.fingerprint)}"
    path = f"/pulls/{effect.number}/comments/{effect.comment_id}/replies"
    url = (await outlet.post(path, {"body": body})).get("html_url")
    return url if isinstance(url, str) else None


async def _resolve(outlet: Outlet, effect: AnswerFinding) -> str:
    """Return what to say about the thread; the answer stands whatever becomes of this.

    A limit or fault that stops it is not worth answering twice for: the next look at the thread
    would find the answer and leave it.
    """
    resolving = outlet.with_permissions(RESOLVE)
    try:
        if await resolving.missing():
            return UNRESOLVED
        await resolving.query("resolve", thread=effect.thread_id)
    except Forbidden:
        return UNRESOLVED
    except ConductorError as error:
        return f"The thread was answered but not resolved: {error}"
    return ""
