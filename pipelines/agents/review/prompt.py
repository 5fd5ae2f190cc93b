"""Puts a review's request together: what never changes first, so that providers can cache it."""

import json
from collections.abc import Sequence

from pipelines.agents import prompts
from pipelines.agents.fence import Fence, presentable
from pipelines.agents.hidden import strip_comments
from pipelines.agents.lessons import lessons_block
from pipelines.agents.review.answer import OUTPUT, InvalidAnswer
from pipelines.agents.review.selection import Block
from pipelines.integrations.llm.base import ChatMessage, ModelRequest, ModelResponse, Part
from pipelines.model import Change, Lesson

MAX_OUTPUT_TOKENS = 8_192
_MAX_TITLE = 500
_MAX_BODY = 6_000
_MAX_ECHO = 20_000
_REPAIR_LIMIT = 10


def review_request(
    change: Change,
    blocks: Sequence[Block],
    context_tokens: int,
    fence: Fence,
    lessons: Sequence[Lesson] = (),
) -> ModelRequest:
    """Return the request that shows the change; every word of strangers is inside the fence."""
    stable = f"Repository: {json.dumps(change.repository.full_name)}\n\n"
    files = [fence.block("file", _file(block)) for block in blocks]
    subject = fence.announcement + fence.block("description", _description(change))
    subject += lessons_block(lessons, fence)
    ask = "Review the change above and answer with the JSON object.\n"
    return ModelRequest(
        purpose="review",
        system=(Part(text=prompts.load("review"), cache=True),),
        messages=(
            ChatMessage(
                role="user",
                parts=(
                    Part(text=stable, cache=True),
                    Part(text=subject + "".join(files) + ask, cache=True),
                ),
            ),
        ),
        output=OUTPUT,
        max_output_tokens=min(MAX_OUTPUT_TOKENS, max(1, context_tokens // 4)),
    )


def repair_request(
    request: ModelRequest, response: ModelResponse, error: InvalidAnswer
) -> ModelRequest:
    """Return the same request with the unusable answer and what is wrong with it."""
    cut = ("The answer was cut off at the output limit.",) if response.stop == "length" else ()
    problems = "\n".join(f"- {problem}" for problem in (*cut, *error.problems))
    text = prompts.load("review_repair").format(problems=problems, limit=_REPAIR_LIMIT)
    echo = response.text[:_MAX_ECHO] if response.text.strip() else "(empty answer)"
    turns = (
        ChatMessage(role="assistant", parts=(Part(text=echo),)),
        ChatMessage(role="user", parts=(Part(text=text),)),
    )
    return request.model_copy(
        update={"purpose": "review.repair", "messages": (*request.messages, *turns)}
    )


def _description(change: Change) -> str:
    body, _ = strip_comments(change.body)
    words = {
        "title": presentable(change.title)[:_MAX_TITLE],
        "branch": presentable(change.head_ref)[:_MAX_TITLE],
        "body": presentable(body)[:_MAX_BODY],
    }
    return json.dumps(words, ensure_ascii=False, indent=1)


def _file(block: Block) -> str:
    about = {"path": presentable(block.view.path), "status": block.view.status.value}
    header = json.dumps(about, ensure_ascii=False)
    return f"{header}\n{block.text}"
