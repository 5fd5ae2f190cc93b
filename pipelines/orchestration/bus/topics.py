"""Publish/subscribe and request/response within one process; nothing here is stored."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from pydantic import JsonValue

from pipelines.errors import Retryable
from pipelines.orchestration.bus.base import Handler
from pipelines.orchestration.bus.timers import Timers

BUFFERED = 1000
"""Payloads that a listener may be behind before it loses the oldest."""


class Listener:
    """One subscription; ends when the bus closes, after what had arrived was read."""

    def __init__(self) -> None:
        self._items: deque[JsonValue] = deque(maxlen=BUFFERED)
        self._changed = asyncio.Event()
        self._ended = False

    def put(self, payload: JsonValue) -> None:
        """Let it hear this as well, and never wait."""
        self._items.append(payload)
        self._changed.set()

    def end(self) -> None:
        """Let it hear nothing more."""
        self._ended = True
        self._changed.set()

    def __aiter__(self) -> AsyncIterator[JsonValue]:
        return self

    async def __anext__(self) -> JsonValue:
        while not self._items:
            if self._ended:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self._items.popleft()


class Topics:
    """Who listens and who answers, by topic."""

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._listeners: dict[str, list[Listener]] = {}
        self._responders: dict[str, deque[Handler]] = {}
        self._arrivals: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()
        """What requests without a responder wait for; forgotten with the last of them."""
        self._requests: set[asyncio.Timeout] = set()
        self._closed = False

    def close(self) -> None:
        """End every subscription and request."""
        self._closed = True
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.end()
        for scope in self._requests:
            _expire(scope)

    def publish(self, topic: str, payload: JsonValue) -> None:
        """Hand the payload to everybody who listens now."""
        for listener in self._listeners.get(topic, ()):
            listener.put(payload)

    @asynccontextmanager
    async def subscribe(self, topic: str) -> AsyncGenerator[Listener, None]:
        """Listen while the context is open."""
        listener = Listener()
        if self._closed:
            listener.end()
        listeners = self._listeners.setdefault(topic, [])
        listeners.append(listener)
        try:
            yield listener
        finally:
            listeners.remove(listener)
            if not listeners:
                del self._listeners[topic]

    @asynccontextmanager
    async def respond(self, topic: str, handler: Handler) -> AsyncGenerator[None, None]:
        """Answer while the context is open; requests that wait are answered at once."""
        handlers = self._responders.setdefault(topic, deque())
        handlers.append(handler)
        if topic in self._arrivals:
            self._arrivals.pop(topic).set()
        try:
            yield
        finally:
            handlers.remove(handler)
            if not handlers:
                del self._responders[topic]

    async def request(self, topic: str, payload: JsonValue, timeout: float) -> JsonValue:
        """Return one responder's answer, or raise what it raises; Retryable when it is late."""
        try:
            async with self._deadline(timeout):
                handler = await self._responder(topic)
                return await handler(payload)
        except _Late:
            why = "the bus was closed" if self._closed else f"nobody did within {timeout:g} s"
            raise Retryable(f"A request on {topic!r} was not answered: {why}.") from None

    async def _responder(self, topic: str) -> Handler:
        while not (handlers := self._responders.get(topic)):
            arrival = self._arrivals.setdefault(topic, asyncio.Event())
            await arrival.wait()
        handlers.rotate(-1)
        return handlers[-1]

    @asynccontextmanager
    async def _deadline(self, seconds: float) -> AsyncGenerator[None, None]:
        """Cancel what is inside after so many seconds of the bus's own clock."""
        scope = asyncio.timeout(None)
        timer = None
        try:
            async with scope:
                self._requests.add(scope)
                timer = self._timers.after(seconds, lambda: _expire(scope))
                if self._closed:
                    _expire(scope)
                yield
        except TimeoutError:
            if not scope.expired():
                raise
            raise _Late from None
        finally:
            self._requests.discard(scope)
            self._timers.cancel(timer)


class _Late(Exception):
    """The deadline passed; tells it from a TimeoutError of the handler's own."""


def _expire(scope: asyncio.Timeout) -> None:
    scope.reschedule(asyncio.get_running_loop().time())
