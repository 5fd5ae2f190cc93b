"""What all providers' models do alike: limits, usage, cost and the meaning of failures."""

import asyncio
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Generic, Literal, TypeVar

import httpx2
from pydantic import SecretStr

from pipelines.errors import ConductorError, Retryable
from pipelines.integrations.llm.base import (
    BrokenAnswer,
    LanguageModel,
    ModelRequest,
    ModelResponse,
    ToolCall,
)
from pipelines.integrations.llm.calls import Draft, finished
from pipelines.integrations.llm.deadline import DeadlinePassed, within
from pipelines.integrations.llm.faults import Provider, as_error, refusal
from pipelines.integrations.llm.http import (
    BYTES_PER_TOKEN,
    MIN_ANSWER_BYTES,
    Limits,
    UnacceptableAnswer,
    answer_limit,
)
from pipelines.integrations.llm.prices import PriceTable
from pipelines.integrations.llm.tokens import PER_MESSAGE, PER_TOOLS, estimate_tokens
from pipelines.model import Usage
from pipelines.ports import Clock

Sdk = TypeVar("Sdk")
"""A vendor's client."""
Stop = Literal["end", "length", "refusal", "filtered", "tools", "other"]


@dataclass(slots=True)
class Answer:
    """What has arrived of an answer so far; token counts stay None until the provider says them."""

    pieces: list[str] = field(default_factory=list[str])
    calls: dict[int, Draft] = field(default_factory=dict[int, Draft])
    """By their place in the answer."""
    stop: Stop | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    begun: bool = False


class StreamingModel(LanguageModel, Generic[Sdk]):
    """A model that is read as a stream of server-sent events; subclasses speak one vendor's SDK."""

    provider: ClassVar[Provider]
    default_url: ClassVar[str]

    def __init__(
        self,
        model: str,
        *,
        key: SecretStr,
        base_url: str | None,
        http: httpx2.AsyncClient,
        clock: Clock,
        prices: PriceTable,
        limits: Limits,
    ) -> None:
        self.name = f"{self.provider.name}:{model}"
        self._model = model
        self._key = key
        self._http = http
        self._clock = clock
        self._prices = prices
        self._limits = limits
        self._base_url = base_url or self.default_url
        self._sdk: Sdk | None = None

    @property
    def context_tokens(self) -> int:
        """The window as the price table has it."""
        return self._prices.context_tokens(self.name)

    def estimate_tokens(self, text: str) -> int:
        """Return an upper estimate from the text's shape."""
        return estimate_tokens(text)

    def worst_cost_usd(self, request: ModelRequest) -> float:
        """Return the price of the estimated prompt and of the longest answer it may get."""
        return self._prices.worst_cost(self.name, prompt_tokens(request), request.max_output_tokens)

    async def complete(self, request: ModelRequest) -> ModelResponse:
        """Stream one answer to its end within the limits; see LanguageModel for what it raises."""
        answer = Answer()
        started = self._clock.monotonic()
        limit = max(MIN_ANSWER_BYTES, BYTES_PER_TOKEN * request.max_output_tokens)
        reset = answer_limit.set(limit)
        try:
            await within(self._clock, self._limits.total, self._stream(request, answer))
            if answer.stop is None:
                raise self._passing("ended the answer before it was complete")
        except Retryable as error:
            if not answer.begun:
                raise
            usage = self._usage(request, answer, started)
            raise BrokenAnswer(str(error), dependency=self.provider.name, usage=usage) from error
        except DeadlinePassed as error:
            usage = self._usage(request, answer, started)
            message = f"{self.provider.title} had not answered after {error.seconds:g} seconds."
            raise BrokenAnswer(message, dependency=self.provider.name, usage=usage) from error
        finally:
            answer_limit.reset(reset)
        calls, stop = concluded(answer.calls.values(), answer.stop, request)
        return ModelResponse(
            text="".join(answer.pieces),
            stop=stop,
            calls=calls,
            usage=self._usage(request, answer, started),
            model=self.name,
        )

    async def close(self) -> None:
        """Do nothing: the HTTP client belongs to whoever made it."""

    @abstractmethod
    def _connect(self) -> Sdk:
        """Import the SDK and return a client that is ready to use."""

    async def _client(self) -> Sdk:
        if self._sdk is None:
            # Importing an SDK takes seconds, which would stop every other task of this process.
            self._sdk = await asyncio.to_thread(self._connect)
        return self._sdk

    @abstractmethod
    async def _stream(self, request: ModelRequest, answer: Answer) -> None:
        """Ask, and write into ``answer`` what arrives; raise only ConductorErrors."""

    def _passing(self, what: str) -> Retryable:
        return Retryable(f"{self.provider.title} {what}.", dependency=self.provider.name)

    def _unreachable(self, error: BaseException) -> Retryable:
        """Say which link broke; a vendor's connection error hides the real one as its cause."""
        cause = error.__cause__ or error
        if isinstance(cause, UnacceptableAnswer):
            return self._passing(f"sent what cannot be accepted: {cause}")
        if isinstance(cause, httpx2.TimeoutException) or "Timeout" in type(error).__name__:
            return self._passing("was silent for too long")
        return self._passing(f"could not be reached ({type(cause).__name__})")

    def _refused(self, status: int, body: object, headers: Mapping[str, str]) -> ConductorError:
        refused = refusal(status, body, headers, self._clock, secret=self._key.get_secret_value())
        return as_error(refused, self.provider, self._model)

    async def _require_events(self, response: httpx2.Response) -> None:
        """Raise for a 200 that is no event stream: an error object, or a page of some proxy."""
        kind = response.headers.get("content-type", "")
        if kind.startswith("text/event-stream"):
            return
        await response.aread()
        try:
            body: object = response.json()
        except (ValueError, RecursionError):
            raise self._passing(
                f"answered with {kind.split(';')[0][:40] or 'an unknown type'!r} "
                f"instead of a stream: check {self.provider.url_variable} if you set it"
            ) from None
        raise self._refused(response.status_code, body, response.headers)

    def _usage(self, request: ModelRequest, answer: Answer, started: float) -> Usage:
        """Return the usage as reported; what was not reported is estimated upwards, never zero."""
        prompt = answer.input_tokens
        output = answer.output_tokens
        if output is None:
            drafts = (piece for draft in answer.calls.values() for piece in draft.pieces)
            output = self.estimate_tokens("".join((*answer.pieces, *drafts)))
        usage = Usage(
            calls=1,
            input_tokens=prompt_tokens(request) if prompt is None else prompt,
            output_tokens=output,
            cache_read_tokens=answer.cache_read_tokens or 0,
            cache_write_tokens=answer.cache_write_tokens or 0,
            latency_seconds=max(0.0, self._clock.monotonic() - started),
            models=(self.name,),
        )
        return usage.model_copy(update={"cost_usd": self._prices.cost(self.name, usage)})


def concluded(
    drafts: Iterable[Draft], stop: Stop, request: ModelRequest
) -> tuple[tuple[ToolCall, ...], Stop]:
    """Return the calls that are whole, and why the answer ended.

    Compatible servers end an answer with calls like any other one. Of an answer that was cut off
    or stopped no call is carried out: nobody knows what it would have become.
    """
    whole = request.tools and stop in ("tools", "end")
    calls = finished(drafts, request) if whole else ()
    if calls:
        return calls, "tools"
    return (), "other" if stop == "tools" else stop


def prompt_tokens(request: ModelRequest) -> int:
    """Return an upper estimate of the whole prompt, with tools and schema where there are any."""
    items = sum(len(m.calls) + len(m.results) for m in request.messages) + len(request.tools)
    schemas = [request.output.json_schema] if request.output else []
    schemas += [tool.json_schema for tool in request.tools]
    said = (*request.texts, *(tool.name + tool.description for tool in request.tools))
    fixed = PER_MESSAGE * (len(request.texts) + items) + (PER_TOOLS if request.tools else 0)
    return fixed + sum(estimate_tokens(text) for text in (*said, *map(str, schemas)))
