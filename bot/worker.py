"""The worker: claims messages, keeps lanes apart, drains on SIGTERM and runs the timed sweeps."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from pydantic import AwareDatetime

from pipelines.errors import ConductorError, UserError
from pipelines.model import Frozen
from pipelines.orchestration.bus.base import Caps, MessageBus
from pipelines.orchestration.leases import LEASE_SECONDS
from pipelines.orchestration.work import postponed
from pipelines.ports import Batch, Clock, Lease, Write
from pipelines.stores.backend import StorageBackend, key
from pipelines.stores.codec import encode
from pipelines.stores.rounds import Rounds

log = structlog.get_logger(__name__)

CLAIM_SECONDS = 5.0
"""How long one claim waits for work before it looks around again."""
HEARTBEAT_SECONDS = 10.0
DRAIN_SECONDS = 20.0
"""A process must be gone in 25, which is below the 30 that Heroku and Kubernetes leave between
SIGTERM and SIGKILL; the rest is for giving work back and for closing."""
HEARTBEATS = "worker"


class Heartbeat(Frozen):
    """A worker's sign of life."""

    name: str
    at: AwareDatetime


FleetCaps = Callable[[int], Caps]
"""Returns the caps for so many workers."""


@dataclass(frozen=True, slots=True)
class Lane:
    """Queues that share slots; long work in one lane never delays another lane."""

    name: str
    queues: tuple[str, ...]
    slots: int
    caps: FleetCaps | None = None
    """What one tenant may have of it over all workers; None for as much as there is."""
    early: bool = False
    """Whether each of its handlers stores that it begins before it does anything of risk."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """Something done every so many seconds, by one of all the workers unless ``everywhere``."""

    name: str
    seconds: float
    action: Callable[[], Awaitable[object]]
    everywhere: bool = False


class Dispatcher(Protocol):
    """Handles a lease to its end: settled, put off, buried or lost; raises nothing of ours."""

    async def handle(self, lease: Lease) -> None:
        """Do the work that the message asks for."""
        ...


class Worker:
    """Claims work for as long as it is not told to stop."""

    def __init__(
        self,
        *,
        name: str,
        lanes: Sequence[Lane],
        dispatcher: Dispatcher,
        bus: MessageBus,
        store: StorageBackend,
        clock: Clock,
        sweeps: Sequence[Sweep] = (),
        listener: Callable[[], AbstractAsyncContextManager[None]],
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        """``lease_seconds`` is how long a message stays with it once it shows no sign of life."""
        self._name = name
        self._lanes = lanes
        self._dispatcher = dispatcher
        self._bus = bus
        self._store = store
        self._clock = clock
        beating = Sweep("heartbeat", HEARTBEAT_SECONDS, self._beat, everywhere=True)
        self._sweeps = (*sweeps, beating)
        self._rounds = Rounds(store, clock, name)
        self._listener = listener
        self._lease_seconds = lease_seconds
        self._stopping = asyncio.Event()
        self._running: dict[asyncio.Task[None], Lease] = {}
        self._fleet = 1
        """How many workers there are, as of the last sign of life."""

    def stop(self) -> None:
        """Claim nothing more; ``run`` returns when what is under way is finished or given back."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until ``stop`` is called, then drain; nothing that was claimed is lost."""
        log.info("worker started", worker=self._name, lanes=[lane.name for lane in self._lanes])
        async with self._listener():
            loops = [asyncio.create_task(self._claiming(lane)) for lane in self._lanes]
            loops += [asyncio.create_task(self._sweeping(sweep)) for sweep in self._sweeps]
            stopping = asyncio.create_task(self._stopping.wait())
            try:
                await asyncio.wait({stopping, *loops}, return_when=asyncio.FIRST_COMPLETED)
                self._stopping.set()
            finally:
                await _cancel([stopping, *loops])
                await self._drain()
        for loop in loops:
            if not loop.cancelled():
                loop.result()
        log.info("worker stopped", worker=self._name)

    # --- claiming --------------------------------------------------------------------------------

    async def _claiming(self, lane: Lane) -> None:
        mine: set[asyncio.Task[None]] = set()
        while not self._stopping.is_set():
            if len(mine) >= lane.slots:
                await asyncio.wait(mine, return_when=asyncio.FIRST_COMPLETED)
            mine = {task for task in mine if not task.done()}
            try:
                leases = await self._bus.claim(
                    lane.queues,
                    limit=lane.slots - len(mine),
                    wait=CLAIM_SECONDS,
                    lease=self._lease_seconds,
                    caps=lane.caps(self._fleet) if lane.caps else None,
                    early=lane.early,
                )
            except ConductorError as error:
                log.warning("claim failed", lane=lane.name, error=str(error))
                await self._clock.sleep(CLAIM_SECONDS)
                continue
            mine |= {self._begin(lease) for lease in leases}

    def _begin(self, lease: Lease) -> asyncio.Task[None]:
        task = asyncio.create_task(self._dispatcher.handle(lease), name=lease.message.id)
        self._running[task] = lease
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        lease = self._running.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("message not handled", message_id=lease.message.id, exc_info=error)

    async def _drain(self) -> None:
        """Let what runs finish; what does not in time is given back for another worker."""
        running = dict(self._running)
        if not running:
            return
        deadline = asyncio.create_task(self._clock.sleep(DRAIN_SECONDS))
        everything = asyncio.gather(*running, return_exceptions=True)
        await asyncio.wait({deadline, everything}, return_when=asyncio.FIRST_COMPLETED)
        unfinished = [lease for task, lease in running.items() if not task.done()]
        await _cancel([deadline, *running])
        await everything
        for lease in unfinished:
            await self._give_back(lease)

    async def _give_back(self, lease: Lease) -> None:
        now = self._clock.now()
        again = postponed(lease.message, until=now, failed=False, now=now)
        try:
            await self._bus.commit(Batch(messages=[again], settled=[lease]))
        except ConductorError as error:
            log.info("not given back", message_id=lease.message.id, error=str(error))

    # --- sweeps ----------------------------------------------------------------------------------

    async def _sweeping(self, sweep: Sweep) -> None:
        while not self._stopping.is_set():
            try:
                if sweep.everywhere or await self._rounds.take(sweep.name, sweep.seconds):
                    await sweep.action()
            except ConductorError as error:
                log.warning("sweep failed", sweep=sweep.name, error=str(error))
            except Exception:
                # One unreadable record must not keep the worker from its work.
                log.exception("sweep failed", sweep=sweep.name)
            await self._clock.sleep(sweep.seconds)

    async def _beat(self) -> None:
        beat = Heartbeat(name=self._name, at=self._clock.now())
        await self._bus.commit(
            Batch(
                writes=[
                    Write(
                        key=key(HEARTBEATS, self._name),
                        value=encode(beat),
                        ttl=3 * HEARTBEAT_SECONDS,
                    )
                ]
            )
        )
        self._fleet = await fleet(self._store)


async def fleet(store: StorageBackend) -> int:
    """Return how many workers gave a sign of life lately."""
    return len([name async for name, _ in store.scan(f"{HEARTBEATS}/")])


async def check_heartbeat(store: StorageBackend) -> None:
    """Return if a worker gave a sign of life lately; raises UserError if none did."""
    if await fleet(store):
        return
    raise UserError("No worker is running; start one with `conductor worker`.")


async def _cancel(tasks: Sequence["asyncio.Task[Any]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
