"""What the town's model says and when, and the little shop that it says it about."""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.integrations.llm.base import LanguageModel, ModelRequest, ModelResponse
from pipelines.integrations.llm.factory import ProviderSettings, build_chain
from tests.support.clock import VirtualClock

CART = """\
def total(prices):
    return sum(prices)


def average(prices):
    return sum(prices)
"""
"""``shop/cart.py`` as it is on the default branch."""
BROKEN_CART = CART.replace(
    "average(prices):\n    return sum(prices)",
    "average(prices):\n    return sum(prices) / len(prices)",
)
FIXED_CART = CART.replace(
    "average(prices):\n    return sum(prices)",
    "average(prices):\n    return sum(prices) / (len(prices) or 1)",
)

Rule = dict[str, Any]


def finding(**changes: Any) -> dict[str, Any]:
    """One finding as the model proposes it: the average of an empty cart."""
    return {
        "path": "shop/cart.py",
        "side": "new",
        "line": 6,
        "quote": "    return sum(prices) / len(prices)",
        "severity": "high",
        "category": "correctness",
        "title": "The average of an empty cart divides by zero",
        "explanation": "An empty cart has no prices, so `len(prices)` is 0.",
        "suggestion": None,
        **changes,
    }


def answers(*findings: Mapping[str, Any], **when: Any) -> Rule:
    """A rule of the model's script: these findings, when the prompt is like that."""
    return {**when, "replies": [{"json": {"findings": list(findings)}}]}


def edit(path: str, old: str, new: str) -> dict[str, Any]:
    """A call that replaces a text in a file."""
    return {"name": "edit_file", "arguments": {"path": path, "old": old, "new": new}}


def create(path: str, content: str) -> dict[str, Any]:
    """A call that writes a new file."""
    return {"name": "create_file", "arguments": {"path": path, "content": content}}


UNGUARDED = "return sum(prices) / len(prices)"
GUARD = edit("shop/cart.py", UNGUARDED, "return sum(prices) / (len(prices) or 1)")
"""What mends the cart."""


def codes(*calls: Rule, headline: str = "Give an empty cart an average", **when: Any) -> list[Rule]:
    """Rules of a model that makes these edits and says that it is done."""
    return [
        {"purpose": "coding", "turn": 1, **when, "replies": [{"calls": list(calls)}]},
        {"purpose": "coding", **when, "replies": [{"json": coding_answer(headline)}]},
    ]


def coding_answer(headline: str, outcome: str = "changed") -> dict[str, str]:
    """What the coding model says when it is done."""
    return {
        "outcome": outcome,
        "headline": headline,
        "explanation": "An empty cart has no prices, so the average divided by zero.",
        "checked": "I read the cart and its tests.",
        "risk": "None that I can see.",
    }


TRIAGED: Rule = {
    "purpose": "monitor",
    "replies": [{"json": {"recommendations": ["Look at what the commit divides by."]}}],
}
"""What the model recommends about any breach."""


class TownModel(LanguageModel):
    """The model of the town: a script in a file, and a hand that can hold its answers back."""

    name = "mock:model.json"

    def __init__(self, file: Path, clock: VirtualClock) -> None:
        self._file = file
        self._clock = clock
        self._may_answer = asyncio.Event()
        self._may_answer.set()
        self.requests: list[ModelRequest] = []
        self.asked = 0
        """Requests that wait for their answer at this moment."""
        self.cancelled = 0
        self.price_usd = 0.0
        """What each answer costs."""
        self.script(answers())

    def script(self, *rules: Rule) -> None:
        """Write the script anew; the first rule that fits answers."""
        self._file.write_text(json.dumps({"rules": rules}))
        settings = ProviderSettings(models=(self.name,))
        with contextlib.chdir(self._file.parent):
            self._model = build_chain((self.name,), settings, clock=self._clock)

    def finds(self, *findings: Mapping[str, Any]) -> None:
        """Answer every request with these findings."""
        self.script(answers(*findings))

    def hold(self) -> None:
        """Answer nothing until ``release``."""
        self._may_answer.clear()

    def release(self) -> None:
        """Answer what was asked and what will be."""
        self._may_answer.set()

    @property
    def prompts(self) -> list[str]:
        """What the model was shown, request by request."""
        return [
            "".join(part.text for message in request.messages for part in message.parts)
            for request in self.requests
        ]

    @property
    def context_tokens(self) -> int:
        return self._model.context_tokens

    def estimate_tokens(self, text: str) -> int:
        return self._model.estimate_tokens(text)

    def worst_cost_usd(self, request: ModelRequest) -> float:
        return self._model.worst_cost_usd(request) + self.price_usd

    async def complete(self, request: ModelRequest) -> ModelResponse:
        self.requests.append(request)
        self.asked += 1
        try:
            await self._may_answer.wait()
            response = await self._model.complete(request)
            usage = response.usage.model_copy(update={"cost_usd": self.price_usd})
            return response.model_copy(update={"usage": usage})
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.asked -= 1

    async def close(self) -> None:
        await self._model.close()
