"""What earlier work taught, as one block of data in a prompt."""

import json
from collections.abc import Mapping, Sequence

from pipelines.agents.fence import Fence, presentable
from pipelines.model import Lesson, OutcomeKind

MAX_LESSONS = 8
MAX_CHARACTERS = 6_000
_MAX_PATHS = 5

_SAID: Mapping[OutcomeKind, str] = {
    "finding_dismissed": "people said that this finding does not apply",
    "finding_fixed": "this finding was right and was fixed",
    "fix_merged": "people merged this fix",
    "fix_rejected": "people closed this fix without merging it",
    "fix_reverted": "this fix was reverted after it had been merged",
    "fix_verified": "this fix was verified in production",
    "deployment_rolled_back": "this deployment was rolled back",
    "test_kept": "this generated test proved something",
    "test_discarded": "this generated test proved nothing",
}


def lessons_block(lessons: Sequence[Lesson], fence: Fence) -> str:
    """Return the lessons as a ``lessons`` block, one a line; empty if there are none.

    Their words are people's and models': data like everything else in the fence, and capped.
    """
    lines: list[str] = []
    left = MAX_CHARACTERS
    for lesson in lessons[:MAX_LESSONS]:
        line = _line(lesson)
        if len(line) <= left:
            left -= len(line)
            lines.append(line)
    return fence.block("lessons", "\n".join(lines)) if lines else ""


def _line(lesson: Lesson) -> str:
    outcome = lesson.outcome
    said: dict[str, object] = {
        "what": _SAID[outcome.kind],
        "times": lesson.seen,
        "about": presentable(outcome.subject),
        "why": presentable(outcome.why),
        "category": presentable(outcome.category),
        "paths": [presentable(path) for path in outcome.paths[:_MAX_PATHS]],
    }
    return json.dumps({name: value for name, value in said.items() if value}, ensure_ascii=False)
