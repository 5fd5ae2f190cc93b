"""What an agent lets a model ask for: tools with strict arguments, whose mistakes are told back."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from pydantic import ValidationError

from pipelines.agents.structured import Strict
from pipelines.errors import ConductorError
from pipelines.integrations.llm.base import Tool

MAX_RESULT = 8 * 1024
"""Characters of a result that a model is shown, unless a tool says otherwise."""
_MAX_PROBLEMS = 5


class ToolError(ConductorError):
    """A call that cannot be carried out; the message is one sentence for the model."""


class Arguments(Strict):
    """The base of a tool's arguments.

    A field that may be left out is nullable, because strict tool use makes every field required.
    """


A = TypeVar("A", bound=Arguments)


class AnyTool(Protocol):
    """A tool, whatever its arguments are."""

    @property
    def declaration(self) -> Tool:
        """What the model is told of it."""
        ...

    @property
    def limit(self) -> int:
        """Characters of its result that the model is shown."""
        ...

    async def call(self, arguments: dict[str, Any]) -> str:
        """Return the result; raises ToolError with a sentence for the model."""
        ...


@dataclass(frozen=True, slots=True)
class AgentTool(Generic[A]):
    """One tool; ``handler`` returns what the model is shown, or raises ToolError."""

    name: str
    description: str
    arguments: type[A]
    handler: Callable[[A], Awaitable[str]]
    limit: int = MAX_RESULT

    @property
    def declaration(self) -> Tool:
        """What the model is told of it."""
        return Tool(
            name=self.name,
            description=self.description,
            json_schema=self.arguments.model_json_schema(),
        )

    async def call(self, arguments: dict[str, Any]) -> str:
        """Return the result; raises ToolError with a sentence for the model."""
        try:
            checked = self.arguments.model_validate(arguments)
        except ValidationError as error:
            raise ToolError(self._sentence(error)) from error
        return await self.handler(checked)

    def _sentence(self, error: ValidationError) -> str:
        """Name the fields and what is wrong there, without repeating what the model wrote."""
        known = self.arguments.model_fields
        problems = [
            f"`{_place(item['loc'], known)}`: {item['type'].replace('_', ' ')}"
            for item in error.errors(include_input=False, include_url=False)[:_MAX_PROBLEMS]
        ]
        return f"The arguments of {self.name} are wrong at {'; '.join(problems)}."


def head_and_tail(text: str, limit: int = MAX_RESULT) -> str:
    """Return the text, or its beginning and its end with what was left out said between."""
    if len(text) <= limit:
        return text
    half = max(1, limit // 2)
    return f"{text[:half]}\n[… {len(text) - 2 * half} characters left out …]\n{text[-half:]}"


def _place(location: tuple[int | str, ...], known: object) -> str:
    first = location[0] if location else "arguments"
    return str(first) if isinstance(known, dict) and first in known else "an unknown field"
