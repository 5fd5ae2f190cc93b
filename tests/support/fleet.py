"""Web processes and workers on one Redis before one GitHub, any of which may end at any moment.

Each process reaches GitHub through a proxy of its own, so GitHub's calls tell who made them. The
moments are counted in what happens (the n-th call, line or delivery), never in time.
"""

import asyncio
import contextlib
import random
import re
import signal
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bot.deliveries.delivery import DeliveryStatus
from bot.simulator import Exchange, NewApp, Simulator
from pipelines.errors import NotStored
from pipelines.stores.backend import StorageBackend
from pipelines.stores.open import open_backend
from pipelines.system import SystemClock
from tests.support import valkey
from tests.support.accounting import assert_balanced
from tests.support.houses import House, built, model_file
from tests.support.proxy import Proxy, proxy_before
from tests.support.serving import Serving, environment_for

LEASE_SECONDS = 5
"""How long a worker of the fleet may be silent."""
DONE_SECONDS = 150.0
"""A write whose writer was killed keeps its installation's others waiting for up to a minute."""
DRAIN_SECONDS = 25.0
TAKEN = (200, 202)

_OPERATION = re.compile(rb'^{"query": "(query|mutation) (\w+)')

Role = Literal["web", "worker"]
Happening = Literal["call", "line", "delivery"]


class Member:
    """One process of the fleet, and those that came after it in its place."""

    def __init__(self, fleet: "Fleet", role: Role, number: int, github: Proxy) -> None:
        self.fleet = fleet
        self.role: Role = role
        self.name = f"{role}-{number}"
        self.github = github
        folder = fleet.folder / self.name
        folder.mkdir()
        self.environment = {
            **fleet.environment,
            "GITHUB_API_URL": f"http://127.0.0.1:{github.port}",
            "CONDUCTOR_HEALTH_PORT": "0",
        }
        self.serving = Serving(folder, self.environment, self._heard, role)
        self.address = ("", 0)
        self.sent = Counter[signal.Signals]()
        self.codes: list[int] = []
        """With what the processes ended."""
        self.down = False
        """Whether nobody is to take the place of a process that ended."""

    def _heard(self, line: str) -> None:
        self.fleet.notice("line", self, line)

    @property
    def alive(self) -> bool:
        """Whether it runs, as far as is known."""
        return self.serving.alive

    async def start(self) -> None:
        """Start the next process in this place; returns when it listens."""
        self.address = ("", 0)
        host, _, port = (await self.serving.start()).removeprefix("http://").rpartition(":")
        self.address = (host, int(port))

    @property
    def up(self) -> bool:
        """Whether it has come so far that it listens."""
        return self.alive and self.address != ("", 0)

    def send(self, sign: signal.Signals) -> None:
        """Send a signal at this very moment."""
        if self.alive:
            self.sent[sign] += 1
            self.serving.send(sign)

    def kill(self) -> None:
        """End it as a machine ends that loses its power."""
        self.send(signal.SIGKILL)

    async def ended(self) -> int:
        """Return its exit code; AssertionError if it needs longer than it may."""
        try:
            self.codes.append(await self.serving.ended(DRAIN_SECONDS))
        except TimeoutError:
            raise AssertionError("\n".join([f"{self.name} does not end", *self.tail])) from None
        return self.codes[-1]

    async def revive(self) -> None:
        """Take the place of a process that ended as it was told to; AssertionError if not."""
        code = await self.ended()
        asked = {-sign if sign is signal.SIGKILL else 0 for sign in self.sent}
        assert code in asked, "\n".join([f"{self.name} ended with {code}", *self.tail])
        await self.start()

    @property
    def tail(self) -> list[str]:
        """The last that it said."""
        return self.serving.log[-40:]


@dataclass
class Strike:
    """What is done to whoever does something for the n-th time, once."""

    what: Happening
    count: int
    deed: Callable[[Member], object]
    role: Role = "worker"
    containing: str = ""
    """Only what contains this is counted: a call is ``METHOD path``, with the query's name."""
    seen: int = 0
    met: Member | None = None

    def notice(self, member: Member, text: str) -> None:
        """Count it, and strike if this was the moment."""
        if self.met is None and self.role == member.role and self.containing in text:
            self.seen += 1
            if self.seen >= self.count and member.up:
                self.met = member
                self.deed(member)


@dataclass
class Fleet:
    """The processes, what they work for, and what is about to happen to them."""

    folder: Path
    github: Simulator
    app: NewApp
    environment: dict[str, str]
    store: StorageBackend
    houses: list[House] = field(default_factory=list[House])
    members: list[Member] = field(default_factory=list[Member])
    strikes: list[Strike] = field(default_factory=list[Strike])
    refused: Counter[int] = field(default_factory=Counter[int])
    """How often GitHub was told something other than that a delivery is stored."""
    stirred: asyncio.Event = field(default_factory=asyncio.Event)
    written: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Who changed what in a repository, in order."""
    _turn: int = 0
    _told: set[int] = field(default_factory=set[int])

    # --- who is there ----------------------------------------------------------------------------

    @property
    def webs(self) -> list[Member]:
        """Those that receive."""
        return [member for member in self.members if member.role == "web"]

    @property
    def workers(self) -> list[Member]:
        """Those that work."""
        return [member for member in self.members if member.role == "worker"]

    def sent(self, sign: signal.Signals) -> int:
        """How often a process was sent a signal."""
        return sum(member.sent[sign] for member in self.members)

    async def start(self) -> None:
        """Start everybody."""
        await asyncio.gather(*(member.start() for member in self.members))

    async def revive(self) -> None:
        """Put a new process in the place of each that ended, and send again what was missed."""
        dead = [member for member in self.members if not (member.alive or member.down)]
        await asyncio.gather(*(member.revive() for member in dead))
        self.redeliver()

    def redeliver(self) -> None:
        """Have GitHub send again what nobody took, as somebody who looks at the list would."""
        last = {delivery.guid: delivery for delivery in self.github.deliveries}
        taken = self.taken
        for delivery in last.values():
            if delivery.guid not in taken and delivery.status != "pending":
                self.github.redeliver(delivery)

    @property
    def taken(self) -> set[str]:
        """What GitHub was told is stored."""
        for delivery in self.github.deliveries:
            over = delivery.status != "pending" and delivery.id not in self._told
            if over and delivery.status_code not in TAKEN:
                self._told.add(delivery.id)
                self.refused[delivery.status_code] += 1
        return {d.guid for d in self.github.deliveries if d.status_code in TAKEN}

    # --- what happens is counted -----------------------------------------------------------------

    def exchange(self, exchange: Exchange) -> None:
        """Somebody asked something of GitHub, and it is done, but not answered yet."""
        port = exchange.request_headers.get("Host", "").rpartition(":")[2]
        member = next((one for one in self.members if str(one.github.port) == port), None)
        if member is None:
            return
        named = _OPERATION.search(exchange.request_body)
        operation = b" ".join(named.groups()).decode() if named else ""
        what = f"{exchange.method} {exchange.path} {operation}".rstrip()
        if exchange.method != "GET" and ("/repos/" in exchange.path or "mutation" in what):
            self.written.append((member.name, what))
        self.notice("call", member, what)

    def delivery(self, event: str, body: bytes) -> None:
        """GitHub is about to tell of an event."""
        del body
        running = [web for web in self.webs if web.up]
        if running:
            self.notice("delivery", running[self._turn % len(running)], event)

    def notice(self, what: Happening, member: Member, text: str) -> None:
        """Count, and do what was planned for this moment."""
        for strike in self.strikes:
            if strike.what == what:
                strike.notice(member, text)
        self.stirred.set()

    async def until(
        self,
        condition: Callable[[], bool | Awaitable[bool]],
        what: str,
        *,
        seconds: float = DONE_SECONDS,
    ) -> None:
        """Keep everybody running until the condition holds."""
        try:
            async with asyncio.timeout(seconds):
                while not await _holds(condition):
                    await self.revive()
                    self.stirred.clear()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self.stirred.wait(), 0.25)
        except TimeoutError:
            told = [f"{what}: not in time", *await self._waiting(), *self.state()]
            raise AssertionError("\n".join(told)) from None

    async def _waiting(self) -> list[str]:
        try:
            return [message.model_dump_json() for message in await self.store.messages()]
        except NotStored as error:
            return [str(error)]

    async def judged(self) -> None:
        """Return when every pull request has what it should have, and nothing is under way."""
        await self.until(lambda: all(house.judged for house in self.houses), "all is judged")
        await self.until(self.resting, "all is at rest")

    async def resting(self) -> bool:
        """Whether nothing waits or is under way, timers aside."""
        try:
            waiting = [m for m in await self.store.messages() if m.queue != "timers"]
        except NotStored:
            return False
        last = {delivery.guid for delivery in self.github.deliveries}
        return not waiting and last <= self.taken

    def state(self) -> list[str]:
        """Where everything is, for whoever has to find out why it is not done."""
        planned = [f"{s.what} {s.seen}/{s.count} {s.containing!r}" for s in self.strikes]
        lines = [f"strikes: {planned}; refused: {dict(self.refused)}"]
        lines += [house.state for house in self.houses]
        for member in self.members:
            lines += [f"--- {member.name}, alive: {member.alive}, ended: {member.codes}"]
            lines += member.tail
        return lines

    # --- what must hold --------------------------------------------------------------------------

    async def check(self, name: str, *, lossy: bool = False) -> None:
        """Nothing is lost or doubled, on GitHub and in the books; prints the numbers.

        ``lossy`` says that the store lost what it had acknowledged, of which GitHub shows nothing.
        """
        for house in self.houses:
            house.check(self.app.app.bot, lossy=lossy)
        statuses = await assert_balanced(self.store, accepted=() if lossy else self.taken)
        live = [key async for key, _ in self.store.scan("live/")]
        assert live == []
        assert statuses[DeliveryStatus.DEAD] == 0, statuses
        self._print(name, statuses)

    def _print(self, name: str, statuses: Counter[DeliveryStatus]) -> None:
        parts = " + ".join(f"{status.value} {count}" for status, count in sorted(statuses.items()))
        effects = sum(house.effects for house in self.houses)
        doubled = sum(house.doubled for house in self.houses)
        print(
            f"{name}: killed {self.sent(signal.SIGKILL)}, paused {self.sent(signal.SIGSTOP)}, "
            f"told to stop {self.sent(signal.SIGTERM)}; accepted {statuses.total()} = {parts}; "
            f"refused {dict(self.refused)}; effects {effects}, doubled {doubled}"
        )

    async def leave(self) -> None:
        """Ask everybody to go, and be sure that they go in order."""
        for member in self.members:
            member.down = True
            member.send(signal.SIGTERM)
        codes = await asyncio.gather(*(member.ended() for member in self.members))
        assert set(codes) <= {0}, "\n".join(self.state())

    # --- the way in ------------------------------------------------------------------------------

    async def carry(self, reads: asyncio.StreamReader, writes: asyncio.StreamWriter) -> None:
        """Carry a connection of GitHub to one of the web processes, each in its turn."""
        running = [web for web in self.webs if web.up]
        self._turn += 1
        for at in range(len(running)):
            web = running[(self._turn + at) % len(running)]
            try:
                there = await asyncio.open_connection(*web.address)
            except OSError:
                continue
            await _join((reads, writes), there)
            return


Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _join(one: Line, other: Line) -> None:
    """Carry bytes both ways until either end is gone."""

    async def carry(reads: asyncio.StreamReader, writes: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reads.read(65536):
                writes.write(data)
                await writes.drain()

    ways = [asyncio.create_task(carry(a[0], b[1])) for a, b in ((one, other), (other, one))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        other[1].close()
        await asyncio.gather(*ways, return_exceptions=True)


async def _holds(condition: Callable[[], bool | Awaitable[bool]]) -> bool:
    held = condition()
    return held if isinstance(held, bool) else await held


@asynccontextmanager
async def _balanced(fleet: Fleet) -> AsyncGenerator[str]:
    """The address before all web processes, which stays whichever of them die."""
    tasks: set[asyncio.Task[None]] = set()

    def begin(reads: asyncio.StreamReader, writes: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(fleet.carry(reads, writes))
        tasks.add(task)
        task.add_done_callback(lambda _: writes.close())
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def sailing(
    folder: Path, redis_url: str, *, webs: int = 1, workers: int = 2, houses: int = 2, seed: int = 7
) -> AsyncGenerator[Fleet]:
    """A fleet that is ready for what comes, on a Redis that is there; ended however it may be."""
    async with AsyncExitStack() as opened:
        github = Simulator(folder / "github", rng=random.Random(seed))
        await opened.enter_async_context(github)
        app = await github.create_app(github.create_organization("maker"))
        environment = {
            **environment_for(app, github.base_url, folder, model_file(folder)),
            "CONDUCTOR_LEASE_SECONDS": str(LEASE_SECONDS),
            "CONDUCTOR_SANDBOX": "none",
            "REDIS_URL": redis_url,
        }
        store = open_backend(redis_url, SystemClock())
        opened.push_async_callback(store.close)
        fleet = Fleet(folder, github, app, environment, store)
        host, _, port = github.base_url.removeprefix("http://").rpartition(":")
        roles: Sequence[tuple[Role, int]] = (("web", webs), ("worker", workers))
        for role, count in roles:
            for number in range(count):
                proxy = await opened.enter_async_context(proxy_before(host, int(port)))
                member = Member(fleet, role, number, proxy)
                opened.push_async_callback(member.serving.close)
                fleet.members.append(member)
        await fleet.start()
        address = await opened.enter_async_context(_balanced(fleet))
        app.app.webhook_url = f"{address}/webhooks/github"
        fleet.houses += await built(github, app, houses)
        github.observe(fleet)
        yield fleet


@asynccontextmanager
async def proxied(server: valkey.Server) -> AsyncGenerator[tuple[Proxy, str]]:
    """A proxy before a server, and its address for the fleet."""
    async with proxy_before(server.host, server.port) as proxy:
        yield proxy, f"redis://127.0.0.1:{proxy.port}/0"
