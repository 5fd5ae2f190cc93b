"""Publish/subscribe and request/response between processes, over channels that keep nothing.

Within a process ``Topics`` does it, at once; what others must hear too goes over Redis. A request
is open as long as its key exists: who deletes the key has it to answer, and nobody gets it after
it was taken, withdrawn or late.
"""

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from typing import Any, TypeVar

from pydantic import Field, JsonValue, ValidationError

from pipelines import errors
from pipelines.errors import ConductorError, NotStored, Retryable
from pipelines.model import Frozen
from pipelines.orchestration.bus.base import Handler
from pipelines.orchestration.bus.timers import Timers
from pipelines.orchestration.bus.topics import BUFFERED, Listener, Topics
from pipelines.redis.channels import Channels
from pipelines.redis.connection import RedisConnection

_LOG = logging.getLogger(__name__)

AT_ONCE = 256
"""Requests that one process answers at the same time; it leaves more to others, or to later."""
_GRACE = 60.0
"""Seconds by which the key of a request outlives its deadline, should nobody withdraw it."""
_FAREWELL = 1.0
"""Seconds in which what was published just before the end is still sent."""

# What has no other argument than its message; anything else is told by its nearest of these.
_PLAIN = ("Ignorable", "Ambiguous", "Retryable", "Dropped", "ModelUnavailable", "UserError")
_PLAIN_ERRORS: dict[str, type[ConductorError]] = {
    **{name: getattr(errors, name) for name in _PLAIN},
    "NotStored": NotStored,
    "ConductorError": ConductorError,
}

Words = TypeVar("Words", bound=Frozen)


class ResponderFailed(Exception):
    """A responder of another process raised what is no ConductorError: our fault, over there."""


class _News(Frozen):
    """One payload; ``sender`` is the process that has handed it to its own listeners already."""

    sender: str
    payload: JsonValue


class _Ask(Frozen):
    """One request, or with ``withdrawn`` its end; ``reply_to`` is the process that waits."""

    id: str
    reply_to: str
    payload: JsonValue = None
    seconds: float = Field(default=0.0, ge=0)
    withdrawn: bool = False


class _Answer(Frozen):
    """What became of a request: a value, or the name and the message of what was raised."""

    id: str
    value: JsonValue = None
    error: str | None = None
    message: str = ""


class _Open:
    """A request of this process that is not answered yet."""

    def __init__(self, topic: str, ask: _Ask) -> None:
        self.topic = topic
        self.ask = ask
        self.sent = _bytes(ask)
        self.answer: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()

    def fail(self, why: str) -> None:
        """End it without an answer."""
        if not self.answer.done():
            problem = f"A request on {self.topic!r} was not answered: {why}."
            self.answer.set_exception(Retryable(problem))


class RemoteTopics:
    """The topics that all processes on one server share; ``name`` is this process's own."""

    def __init__(
        self, connection: RedisConnection, channels: Channels, timers: Timers, name: str
    ) -> None:
        self._connection = connection
        self._channels = channels
        self._timers = timers
        self._local = Topics(timers)
        self._name = name
        self._numbers = count(1)
        self._outbox: deque[tuple[str, bytes]] = deque(maxlen=BUFFERED)
        self._sender: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._responders: Counter[str] = Counter()
        self._asked: dict[str, _Open] = {}
        self._can_be_answered: asyncio.Task[None] | None = None
        self._answering: dict[str, asyncio.Task[None]] = {}
        self._left: set[str] = set()
        """Topics of which a request was left because too many were being answered."""
        self._closed = False

    async def close(self) -> None:
        """End every subscription and request; what was published is sent if that is quick."""
        self._closed = True
        self._local.close()
        for request in self._asked.values():
            request.fail("the bus was closed")
        await asyncio.sleep(0)  # in which those requests begin to withdraw
        for task in self._answering.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_FAREWELL)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # publish/subscribe

    def publish(self, topic: str, payload: JsonValue) -> None:
        """Hand the payload to everybody who listens now; others hear it if Redis is there."""
        self._local.publish(topic, payload)
        news = _News(sender=self._name, payload=payload)
        self._outbox.append((f"news:{topic}", _bytes(news)))
        if (self._sender is None or self._sender.done()) and not self._closed:
            self._sender = self._begin(self._send())

    @asynccontextmanager
    async def subscribe(self, topic: str) -> AsyncGenerator[Listener, None]:
        """Listen while the context is open; raises NotStored if Redis cannot be reached."""
        async with self._local.subscribe(topic) as listener:
            if self._closed:
                yield listener
                return
            heard = partial(self._hand_on, listener)
            ear = await self._channels.listen(f"news:{topic}", heard, _nothing)
            try:
                yield listener
            finally:
                await self._channels.leave(ear)

    async def _send(self) -> None:
        while self._outbox:
            channel, payload = self._outbox.popleft()
            try:
                await self._channels.publish(channel, payload)
            except NotStored as error:
                _LOG.info("others did not hear of %s: %s", channel, error)

    def _hand_on(self, listener: Listener, payload: bytes) -> None:
        news = _read(_News, payload)
        if news and news.sender != self._name:
            listener.put(news.payload)

    # requests

    async def request(self, topic: str, payload: JsonValue, timeout: float) -> JsonValue:
        """Return one responder's answer, of this process if it has one, or raise what it raises.

        Raises Retryable when no answer comes in time. What a responder of another process raises
        arrives as the plainest ConductorError that it is, or else as ResponderFailed.
        """
        if self._closed or self._responders[topic]:
            return await self._local.request(topic, payload, timeout)
        name = f"{self._name}.{next(self._numbers)}"
        ask = _Ask(id=name, reply_to=self._name, payload=payload, seconds=timeout)
        request = self._asked[name] = _Open(topic, ask)
        timer = self._timers.after(
            timeout, lambda: request.fail(f"nobody did within {timeout:g} s")
        )
        asking = self._begin(self._ask(request))
        try:
            answer = await request.answer
        except BaseException:
            self._begin(self._withdraw(request, asking))
            raise
        finally:
            self._timers.cancel(timer)
            del self._asked[name]
        return _value(topic, answer)

    async def _ask(self, request: _Open) -> None:
        ask = request.ask
        lasts = int((ask.seconds + _GRACE) * 1000)
        try:
            await self._listen_for_answers()
            await self._connection.do("SET", self._key(ask), "", "PX", lasts, again=True)
            await self._channels.publish(f"asked:{request.topic}", request.sent)
        except NotStored as error:
            request.fail(str(error).rstrip("."))

    async def _withdraw(self, request: _Open, asking: asyncio.Task[None]) -> None:
        """Let nobody begin with it any more, and stop who has."""
        await asyncio.wait([asking])
        end = request.ask.model_copy(update={"payload": None, "withdrawn": True})
        with contextlib.suppress(NotStored):  # its key runs out, and who works on it has a limit
            await self._connection.do("DEL", self._key(request.ask), again=True)
            await self._channels.publish(f"asked:{request.topic}", _bytes(end))

    async def _listen_for_answers(self) -> None:
        """Return once this process hears answers, and responders that come."""
        task = self._can_be_answered
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            task = self._can_be_answered = self._begin(self._listen())
        await asyncio.shield(task)

    async def _listen(self) -> None:
        ear = await self._channels.listen(f"answers:{self._name}", self._answered, _nothing)
        try:
            await self._channels.listen("responders", self._came, self._ask_again)
        except BaseException:
            await self._channels.leave(ear)
            raise

    def _answered(self, payload: bytes) -> None:
        answer = _read(_Answer, payload)
        request = self._asked.get(answer.id) if answer else None
        if answer and request and not request.answer.done():
            request.answer.set_result(answer)

    def _came(self, topic: bytes) -> None:
        self._ask_again(topic.decode(errors="replace"))

    def _ask_again(self, topic: str | None = None) -> None:
        """Repeat what is open, for those who did not hear it; taking it still works once."""
        for request in self._asked.values():
            if topic in (None, request.topic):
                self._begin(self._repeat(request))

    async def _repeat(self, request: _Open) -> None:
        with contextlib.suppress(NotStored):  # the next one that comes makes us try again
            await self._channels.publish(f"asked:{request.topic}", request.sent)

    # responses

    @asynccontextmanager
    async def respond(self, topic: str, handler: Handler) -> AsyncGenerator[None, None]:
        """Answer while the context is open; raises NotStored if Redis cannot be reached."""
        async with self._local.respond(topic, handler):
            self._responders[topic] += 1
            heard = partial(self._asked_of_us, topic, handler)
            announce = partial(self._announce_soon, topic)
            ear = None
            try:
                if not self._closed:
                    ear = await self._channels.listen(f"asked:{topic}", heard, announce)
                    await self._channels.publish("responders", topic.encode())
                yield
            finally:
                self._responders[topic] -= 1
                if ear is not None:
                    await self._channels.leave(ear)

    def _asked_of_us(self, topic: str, handler: Handler, payload: bytes) -> None:
        ask = _read(_Ask, payload)
        if ask is None:
            return
        if ask.withdrawn:
            if ask.id in self._answering:
                self._answering[ask.id].cancel()
        elif len(self._answering) >= AT_ONCE:
            self._left.add(topic)
        elif ask.id not in self._answering:
            task = self._answering[ask.id] = self._begin(self._answer(ask, handler))
            task.add_done_callback(partial(self._answered_it, ask.id))

    async def _answer(self, ask: _Ask, handler: Handler) -> None:
        task = asyncio.current_task()
        assert task
        timer = self._timers.after(ask.seconds, lambda: _cancel(task))
        try:
            if await self._connection.do("DEL", self._key(ask)) == 1:
                answer = await _outcome(ask, handler)
                await self._channels.publish(f"answers:{ask.reply_to}", answer)
        except NotStored as error:
            _LOG.warning("a request was not answered: %s", error)
        finally:
            self._timers.cancel(timer)

    def _answered_it(self, name: str, _: asyncio.Task[None]) -> None:
        del self._answering[name]
        for topic in self._left:
            self._announce_soon(topic)
        self._left.clear()

    def _announce_soon(self, topic: str) -> None:
        self._begin(self._announce(topic))

    async def _announce(self, topic: str) -> None:
        with contextlib.suppress(NotStored):  # after the interruption we announce ourselves again
            await self._channels.publish("responders", topic.encode())

    def _key(self, ask: _Ask) -> str:
        return self._connection.key("request", ask.id)

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a task that ends with us at the latest."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _outcome(ask: _Ask, handler: Handler) -> bytes:
    try:
        return _bytes(_Answer(id=ask.id, value=await handler(ask.payload)))
    except Exception as error:  # noqa: BLE001 - raised again by the process that asked
        names = [cls.__name__ for cls in type(error).__mro__]
        plain = next((name for name in names if name in _PLAIN_ERRORS), names[0])
        return _bytes(_Answer(id=ask.id, error=plain, message=str(error)))


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()


def _value(topic: str, answer: _Answer) -> JsonValue:
    if answer.error is None:
        return answer.value
    if known := _PLAIN_ERRORS.get(answer.error):
        raise known(answer.message)
    raise ResponderFailed(f"A responder on {topic!r} failed with {answer.error}: {answer.message}")


def _bytes(words: Frozen) -> bytes:
    return words.model_dump_json().encode()


def _read(kind: type[Words], payload: bytes) -> Words | None:
    """Return what another process said, or None if this version cannot read it."""
    try:
        return kind.model_validate_json(payload)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]["msg"]
        _LOG.warning("something on a channel could not be read: %s", problem)
        return None


def _nothing() -> None:
    """News that were missed are missed."""
