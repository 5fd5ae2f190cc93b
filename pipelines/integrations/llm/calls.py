"""Tool calls as models write them: put together from a stream, read without trusting a word."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from pipelines.integrations.llm.base import ModelRequest, ToolCall
from pipelines.integrations.llm.untrusted import encodable

_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")
"""What both providers take back; OpenAI refuses longer ones."""
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")
_MAX_NAME = 64


@dataclass(slots=True)
class Draft:
    """What has arrived of one call."""

    id: str = ""
    name: str = ""
    pieces: list[str] = field(default_factory=list[str])
    """Of the arguments, which are one JSON object when all have arrived."""


def finished(drafts: Iterable[Draft], request: ModelRequest) -> tuple[ToolCall, ...]:
    """Return the calls of a whole answer; names and ids are ones that can be sent back."""
    taken = {call.id for message in request.messages for call in message.calls}
    calls: list[ToolCall] = []
    for draft in drafts:
        call_id = draft.id if _ID.fullmatch(draft.id) else ""
        if not call_id or call_id in taken:
            call_id = _new_id(taken)
        taken.add(call_id)
        arguments, problem = read_arguments("".join(draft.pieces))
        name = _NOT_IN_NAMES.sub("_", draft.name)[:_MAX_NAME] or "unnamed"
        calls.append(ToolCall(id=call_id, name=name, arguments=arguments, problem=problem))
    return tuple(calls)


def read_arguments(text: str) -> tuple[dict[str, Any], str]:
    """Return the arguments and an empty string, or none and why they cannot be read.

    What is returned can be written as JSON in UTF-8 again, which not all that JSON allows can.
    """
    if not text.strip():
        return {}, ""
    try:
        value: object = json.loads(text)
        value = json.loads(encodable(json.dumps(value, ensure_ascii=False, allow_nan=False)))
    except (ValueError, RecursionError):
        return {}, "The arguments are not valid JSON."
    if not isinstance(value, dict):
        return {}, "The arguments are not a JSON object."
    return cast("dict[str, Any]", value), ""


def _new_id(taken: set[str]) -> str:
    number = len(taken)
    while f"call_{number}" in taken:
        number += 1
    return f"call_{number}"
