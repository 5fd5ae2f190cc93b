"""Models in order of preference, behind the interface of one."""

from collections.abc import Callable, Sequence
from typing import Literal

import httpx2

from pipelines.errors import ConductorError, ModelUnavailable, Retryable
from pipelines.integrations.llm.base import (
    BrokenAnswer,
    LanguageModel,
    ModelRequest,
    ModelResponse,
)
from pipelines.model import Frozen, Usage
from pipelines.ports import Clock

ErrorKind = Literal["", "passing", "broken", "unavailable", "refused", "cancelled", "ours"]


class CallRecord(Frozen):
    """What one call to one model was and cost, for logs, metrics and the cost page."""

    model: str
    purpose: str
    ok: bool
    usage: Usage = Usage()
    latency_seconds: float = 0.0
    error: ErrorKind = ""
    message: str = ""


Recorder = Callable[[CallRecord], None]

_KINDS: tuple[tuple[type[BaseException], ErrorKind], ...] = (
    (BrokenAnswer, "broken"),
    (Retryable, "passing"),
    (ModelUnavailable, "unavailable"),
    (ConductorError, "refused"),
    (Exception, "ours"),
)


class ModelChain(LanguageModel):
    """Asks the first model; goes on to the next when that one cannot serve now.

    It goes on after Retryable and ModelUnavailable. Any other error ends it: a wrong key, an
    unknown model or a prompt that is too long is for somebody to mend, and moving on silently would
    hide it and spend elsewhere.

    When all have failed: ModelUnavailable if none can be expected back, otherwise Retryable with
    the shortest wait (BrokenAnswer, with its usage, if one of them had begun to answer).
    """

    def __init__(
        self,
        models: Sequence[LanguageModel],
        *,
        clock: Clock,
        recorder: Recorder | None = None,
        http: httpx2.AsyncClient | None = None,
    ) -> None:
        if not models:
            raise ValueError("a chain needs at least one model")
        self.name = ",".join(model.name for model in models)
        self._models = tuple(models)
        self._clock = clock
        self._recorder = recorder
        self._http = http

    @property
    def context_tokens(self) -> int:
        """The smallest window of the chain, so that a prompt fits whichever answers."""
        return min(model.context_tokens for model in self._models)

    def estimate_tokens(self, text: str) -> int:
        """Return the highest estimate of the chain."""
        return max(model.estimate_tokens(text) for model in self._models)

    def worst_cost_usd(self, request: ModelRequest) -> float:
        """Return the sum of all: each may break off after it was paid, and the last one answer."""
        return sum(model.worst_cost_usd(request) for model in self._models)

    async def complete(self, request: ModelRequest) -> ModelResponse:
        """Return the first answer; its usage includes what broken answers before it cost."""
        spent = Usage()
        failures: list[ConductorError] = []
        for model in self._models:
            try:
                response = await self._ask(model, request)
            except BrokenAnswer as error:
                spent += error.usage
                failures.append(error)
            except (Retryable, ModelUnavailable) as error:
                failures.append(error)
            else:
                return response.model_copy(update={"usage": spent + response.usage})
        raise _exhausted(failures, spent)

    async def _ask(self, model: LanguageModel, request: ModelRequest) -> ModelResponse:
        started = self._clock.monotonic()
        try:
            response = await model.complete(request)
        except BaseException as error:
            usage = error.usage if isinstance(error, BrokenAnswer) else Usage()
            self._record(model, request, started, usage, error)
            raise
        self._record(model, request, started, response.usage, None)
        return response

    def _record(
        self,
        model: LanguageModel,
        request: ModelRequest,
        started: float,
        usage: Usage,
        error: BaseException | None,
    ) -> None:
        if self._recorder is None:
            return
        self._recorder(
            CallRecord(
                model=model.name,
                purpose=request.purpose,
                ok=error is None,
                usage=usage,
                latency_seconds=max(0.0, self._clock.monotonic() - started),
                error=_kind(error),
                message=str(error) if isinstance(error, ConductorError) else "",
            )
        )

    async def close(self) -> None:
        """Close every model and the connections that they share."""
        for model in self._models:
            await model.close()
        if self._http is not None:
            await self._http.aclose()


def _kind(error: BaseException | None) -> ErrorKind:
    if error is None:
        return ""
    for cls, kind in _KINDS:
        if isinstance(error, cls):
            return kind
    return "cancelled"


def _exhausted(failures: Sequence[ConductorError], spent: Usage) -> ConductorError:
    message = " ".join(dict.fromkeys(str(error) for error in failures))
    passing = [error for error in failures if isinstance(error, Retryable)]
    if not passing:
        return ModelUnavailable(message)
    dependency = next((e.dependency for e in passing if e.dependency), None)
    if spent.calls:
        return BrokenAnswer(message, dependency=dependency or "model", usage=spent)
    waits = [error.retry_after for error in passing if error.retry_after is not None]
    return Retryable(message, retry_after=min(waits, default=None), dependency=dependency)
