"""Asks the model about a change, once more if its answer is unusable, and keeps what is sound."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.agents.context import AgentContext
from pipelines.agents.fence import Fence
from pipelines.agents.review.answer import (
    InvalidAnswer,
    ProposedFinding,
    parse_answer,
    salvage,
)
from pipelines.agents.review.prompt import repair_request, review_request
from pipelines.agents.review.selection import Selection, select
from pipelines.agents.review.view import FileView
from pipelines.errors import BudgetExceeded, Retryable, UserError
from pipelines.integrations.llm.base import ModelRequest
from pipelines.model import Change, Lesson, Unseen

MAX_INPUT_TOKENS = 100_000
_MAX_REQUESTS = 4
_NO_ROOM = "no room left in the model's input"
_MIN_INPUT_TOKENS = 500
_MARGIN_TOKENS = 500
_REFUSALS = ("refusal", "filtered")
_UNUSABLE = "The model's answer was unusable"
_REFUSED = "The model refused to review this change"


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the model proposes, what it was shown, and what stood in the way of more."""

    proposed: tuple[ProposedFinding, ...]
    seen: tuple[str, ...]
    partial: tuple[Unseen, ...]
    unseen: tuple[Unseen, ...]
    obstacle: str = ""
    """One sentence, empty if the answer was whole."""

    def followed_by(self, other: "Opinion") -> "Opinion":
        """Return both opinions as one; the other is on files that are unseen in this one."""
        asked = {item.path for item in (*other.partial, *other.unseen)}.union(other.seen)
        return Opinion(
            proposed=(*self.proposed, *other.proposed),
            seen=tuple(sorted((*self.seen, *other.seen))),
            partial=(*self.partial, *other.partial),
            unseen=(*(item for item in self.unseen if item.path not in asked), *other.unseen),
            obstacle=other.obstacle,
        )


async def consult(
    change: Change,
    views: Mapping[str, FileView],
    context: AgentContext,
    lessons: Sequence[Lesson] = (),
) -> Opinion:
    """Return the model's opinion; raises only what a later attempt may get past.

    What does not fit into one request goes into a next one, four at most.
    """
    opinion = await _consult(change, tuple(views.values()), context, lessons)
    for _ in range(_MAX_REQUESTS - 1):
        left = tuple(views[item.path] for item in opinion.unseen if item.reason == _NO_ROOM)
        if opinion.obstacle or not left:
            break
        try:
            opinion = opinion.followed_by(await _consult(change, left, context, lessons))
        except Retryable:
            # What was found by now is worth more than paying for all of it again.
            break
    return opinion


async def _consult(
    change: Change,
    views: tuple[FileView, ...],
    context: AgentContext,
    lessons: Sequence[Lesson],
) -> Opinion:
    request, selection, obstacle = _prepare(change, views, context, lessons)
    if request is None:
        return _opinion(selection, (), obstacle)
    try:
        proposed, obstacle = await _ask(context, request)
    except UserError as error:
        proposed, obstacle = [], str(error)
    return _opinion(selection, tuple(proposed), obstacle)


def _prepare(
    change: Change,
    views: tuple[FileView, ...],
    context: AgentContext,
    lessons: Sequence[Lesson],
) -> tuple[ModelRequest | None, Selection, str]:
    """Return the largest request that fits the model and the budget, or why there is none."""
    model, fence = context.model, Fence(context.rng)
    frame = review_request(change, (), model.context_tokens, fence, lessons)
    room = min(MAX_INPUT_TOKENS, model.context_tokens - frame.max_output_tokens - _MARGIN_TOKENS)
    room -= sum(model.estimate_tokens(part.text) for part in frame.system)
    room -= sum(model.estimate_tokens(turn.text) for turn in frame.messages)
    shortage = _NO_ROOM
    obstacle = "The model's context is too small for any changed file"
    while room >= _MIN_INPUT_TOKENS:
        selection = select(views, room, model.estimate_tokens, shortage)
        if not selection.blocks:
            break
        request = review_request(change, selection.blocks, model.context_tokens, fence, lessons)
        if model.affords(request):
            return request, selection, ""
        shortage = "the budget does not pay for showing it"
        needed = model.worst_cost_usd(request)
        obstacle = str(BudgetExceeded(needed_usd=needed, left_usd=model.left_usd))
        room //= 2
    readable = any(view.hunks for view in views)
    return None, select(views, 0, model.estimate_tokens, shortage), obstacle if readable else ""


async def _ask(context: AgentContext, request: ModelRequest) -> tuple[list[ProposedFinding], str]:
    """Return what the model proposes, and a sentence if that is not its whole answer."""
    first = await context.model.complete(request)
    if first.stop in _REFUSALS:
        return [], _REFUSED
    try:
        return parse_answer(first.text).findings, ""
    except InvalidAnswer as error:
        repair = repair_request(request, first, error)
    texts = [first.text]
    try:
        second = await context.model.complete(repair)
        texts.insert(0, second.text)
        return parse_answer(second.text).findings, ""
    except (InvalidAnswer, UserError):
        return _salvaged(texts)


def _salvaged(texts: list[str]) -> tuple[list[ProposedFinding], str]:
    """Return the findings of the latest answer that has valid ones."""
    for text in texts:
        if found := salvage(text):
            return found, f"{_UNUSABLE} as a whole; its valid findings were kept"
    return [], _UNUSABLE


def _opinion(selection: Selection, proposed: tuple[ProposedFinding, ...], obstacle: str) -> Opinion:
    """Count what was shown as seen only if a whole answer came back, as unseen if none did."""
    if not obstacle:
        return Opinion(proposed, selection.seen, selection.partial, selection.unseen)
    shown = (*selection.seen, *(item.path for item in selection.partial))
    missed = tuple(Unseen(path=path, reason=obstacle) for path in shown)
    if proposed:
        return Opinion(proposed, (), missed, selection.unseen, obstacle)
    return Opinion((), (), (), (*selection.unseen, *missed), obstacle)
