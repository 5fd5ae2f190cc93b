"""What models cost and how much they can read: a dated data file and the arithmetic over it."""

import functools
import json
from datetime import date
from importlib import resources

from pydantic import Field

from pipelines.model import Frozen, Usage

_MILLION = 1_000_000
UNKNOWN_CONTEXT_TOKENS = 128_000
"""Assumed for a model that the table does not list."""


class Tier(Frozen):
    """US dollars per million tokens, for calls whose whole prompt has at least so many tokens."""

    from_input_tokens: int = Field(default=0, ge=0)
    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cache_read: float = Field(ge=0)
    cache_write: float = Field(ge=0)

    def cost(self, usage: Usage) -> float:
        """Return the dollars of one call at this tier."""
        return (
            usage.input_tokens * self.input
            + usage.output_tokens * self.output
            + usage.cache_read_tokens * self.cache_read
            + usage.cache_write_tokens * self.cache_write
        ) / _MILLION


class Model(Frozen):
    """One line of the table; ``match`` is ``provider:model``, a final ``*`` matches any ending."""

    match: str
    context_tokens: int = Field(ge=1)
    tiers: tuple[Tier, ...] = Field(min_length=1)
    source: str

    def matches(self, name: str) -> bool:
        """Return whether this line is about the model of that name."""
        if self.match.endswith("*"):
            return name.startswith(self.match[:-1])
        return name == self.match

    def tier(self, prompt_tokens: int) -> Tier:
        """Return the dearest-starting tier that a prompt of this size reaches."""
        reached = [tier for tier in self.tiers if tier.from_input_tokens <= prompt_tokens]
        return max(reached, key=lambda tier: tier.from_input_tokens)


class PriceTable(Frozen):
    """All known prices as of a day; the longest matching line decides."""

    as_of: date
    unit: str
    note: str
    models: tuple[Model, ...]

    def find(self, name: str) -> Model | None:
        """Return the line for ``provider:model``, or None if its price is not known."""
        matching = [model for model in self.models if model.matches(name)]
        return max(matching, key=lambda model: len(model.match), default=None)

    def context_tokens(self, name: str) -> int:
        """Return the model's context window, or a cautious assumption."""
        found = self.find(name)
        return found.context_tokens if found else UNKNOWN_CONTEXT_TOKENS

    def cost(self, name: str, usage: Usage) -> float:
        """Return the dollars of one call; an unknown model costs what the dearest known one does.

        Too high is the safe side for a budget, and zero would make it unlimited.
        """
        prompt = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
        found = self.find(name)
        if found:
            return found.tier(prompt).cost(usage)
        return max(model.tier(prompt).cost(usage) for model in self.models)

    def worst_cost(self, name: str, prompt_tokens: int, output_tokens: int) -> float:
        """Return the dollars if nothing of the prompt is cached yet and all of it gets cached."""
        as_input = Usage(input_tokens=prompt_tokens, output_tokens=output_tokens)
        as_write = Usage(cache_write_tokens=prompt_tokens, output_tokens=output_tokens)
        return max(self.cost(name, as_input), self.cost(name, as_write))


@functools.cache
def price_table() -> PriceTable:
    """Return the table that is shipped beside this module, read once."""
    text = resources.files("pipelines.integrations.llm").joinpath("prices.json").read_text("utf-8")
    return PriceTable.model_validate(json.loads(text))
