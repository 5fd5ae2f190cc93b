"""Which ready message is next: tenants take turns, and within a tenant the most urgent goes."""

import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipelines.orchestration.bus.timers import Timer
from pipelines.ports import Message

_SLACK = 64


@dataclass(slots=True, eq=False)
class Entry:
    """One unsettled message and where it is: ready, leased, or waiting for its time."""

    message: Message
    number: int
    """Differs for every message, also for one that replaces another under the same id."""
    order: int
    """Its place in the order of enqueueing; a replacement keeps it."""
    due: float
    """Not before this monotonic time."""
    place: int = 0
    """Above 0 while it is ready; names its item in the lane's heap."""
    leased_until: float | None = None
    timer: Timer | None = None


@dataclass(slots=True, eq=False)
class _Lane:
    """The ready messages of one tenant in one queue."""

    tenant: str
    turn: int
    heap: list[tuple[int, int, int, Entry]] = field(
        default_factory=list[tuple[int, int, int, Entry]]
    )
    """By priority, then order; an item whose entry has another place by now is void."""
    live: int = 0

    def head(self) -> tuple[int, int, int, Entry]:
        while self.heap[0][3].place != self.heap[0][2]:
            heapq.heappop(self.heap)
        return self.heap[0]


@dataclass(slots=True, eq=False)
class _Queue:
    lanes: dict[str, _Lane] = field(default_factory=dict[str, _Lane])
    ring: list[tuple[int, _Lane]] = field(default_factory=list[tuple[int, _Lane]])
    """Each lane once, by the turn it had when it was put in."""

    def head(self) -> _Lane | None:
        """Return the lane whose turn is the earliest, dropping lanes that ran empty."""
        while self.ring:
            turn, lane = self.ring[0]
            if not lane.live:
                heapq.heappop(self.ring)
                del self.lanes[lane.tenant]
            elif turn != lane.turn:
                heapq.heapreplace(self.ring, (lane.turn, lane))
            else:
                return lane
        return None


class ReadyMessages:
    """Ready entries by queue and tenant; every operation is O(log n)."""

    def __init__(self) -> None:
        self._queues: dict[str, _Queue] = {}
        self._places = itertools.count(1)
        self._turns = itertools.count()

    def add(self, entry: Entry) -> None:
        """Make the entry claimable."""
        message = entry.message
        queue = self._queues.setdefault(message.queue, _Queue())
        lane = queue.lanes.get(message.tenant)
        if lane is None:
            lane = queue.lanes[message.tenant] = _Lane(message.tenant, next(self._turns))
            heapq.heappush(queue.ring, (lane.turn, lane))
        entry.place = next(self._places)
        lane.live += 1
        heapq.heappush(lane.heap, (message.priority, entry.order, entry.place, entry))

    def remove(self, entry: Entry) -> None:
        """Make the entry unclaimable; one that is not ready stays as it is."""
        if not entry.place:
            return
        entry.place = 0
        lane = self._queues[entry.message.queue].lanes[entry.message.tenant]
        lane.live -= 1
        if len(lane.heap) > 2 * lane.live + _SLACK:
            lane.heap = [item for item in lane.heap if item[3].place == item[2]]
            heapq.heapify(lane.heap)

    def has(self, queue: str) -> bool:
        """Return whether the queue has a ready message."""
        found = self._queues.get(queue)
        return found is not None and found.head() is not None

    def take(self, queues: Sequence[str]) -> Entry | None:
        """Remove and return the next entry of these queues: the next tenant's most urgent one."""
        known = [self._queues[name] for name in dict.fromkeys(queues) if name in self._queues]
        heads = [lane for queue in known if (lane := queue.head()) is not None]
        if not heads:
            return None
        tenant = min(heads, key=lambda lane: lane.turn).tenant
        lanes = [queue.lanes[tenant] for queue in known if tenant in queue.lanes]
        lanes = [lane for lane in lanes if lane.live]
        entry = min(lane.head() for lane in lanes)[3]
        self.remove(entry)
        for lane in lanes:
            lane.turn = next(self._turns)
        return entry
