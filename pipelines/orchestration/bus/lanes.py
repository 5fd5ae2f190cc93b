"""Which ready message is next: tenants take turns, and within a tenant the most urgent goes."""

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from pipelines.orchestration.bus.base import Caps, installation_of
from pipelines.orchestration.bus.timers import Timer
from pipelines.ports import Message

_SLACK = 64


class _Member(Protocol):
    """A lane, or an installation's lanes."""

    @property
    def turn(self) -> int | None:
        """When it is next; None without anything ready."""
        ...

    def dropped(self) -> None:
        """It left its ring."""
        ...


T = TypeVar("T", bound=_Member)


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
    taken: bool = False
    """From being taken for a claim until it is freed."""
    reminder: Message | None = None
    """What follows once it is settled."""


class _Ring(Generic[T]):
    """Members by their turn, the earliest first; what changed is put right when it comes up."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, T]] = []
        self._added = itertools.count()

    def add(self, member: T) -> None:
        heapq.heappush(self._heap, (member.turn or 0, next(self._added), member))

    def head(self) -> T | None:
        """Return the member whose turn is the earliest, dropping those that ran empty."""
        while self._heap:
            turn, added, member = self._heap[0]
            now = member.turn
            if now is None:
                heapq.heappop(self._heap)
                member.dropped()
            elif turn != now:
                heapq.heapreplace(self._heap, (now, added, member))
            else:
                return member
        return None

    def walk(self, visit: Callable[[T], bool]) -> None:
        """Visit members in order until ``visit`` says that it has seen enough."""
        visited: list[tuple[int, int, T]] = []
        while (member := self.head()) is not None and not visit(member):
            visited.append(heapq.heappop(self._heap))
        for item in visited:
            heapq.heappush(self._heap, item)


class _Lane:
    """The ready messages of one tenant in one queue."""

    def __init__(self, tenant: str, owner: "_Owner", latest: int) -> None:
        self.tenant = tenant
        self.owner = owner
        self.latest = latest
        """Its turn, also while it is empty."""
        self.heap: list[tuple[int, int, int, Entry]] = []
        """By priority, then order; an item whose entry has another place by now is void."""
        self.live = 0

    @property
    def turn(self) -> int | None:
        return self.latest if self.live else None

    def enter(self) -> None:
        if self.tenant not in self.owner.lanes:
            self.owner.lanes[self.tenant] = self
            self.owner.ring.add(self)

    def dropped(self) -> None:
        del self.owner.lanes[self.tenant]

    def head(self) -> tuple[int, int, int, Entry]:
        while self.heap[0][3].place != self.heap[0][2]:
            heapq.heappop(self.heap)
        return self.heap[0]


class _Owner:
    """The lanes of one installation in one queue; it comes when the first of them does."""

    def __init__(self, name: str, queue: "_Queue") -> None:
        self.name = name
        self.queue = queue
        self.lanes: dict[str, _Lane] = {}
        self.ring: _Ring[_Lane] = _Ring()

    @property
    def turn(self) -> int | None:
        lane = self.ring.head()
        return None if lane is None else lane.turn

    def enter(self) -> None:
        if self.name not in self.queue.owners:
            self.queue.owners[self.name] = self
            self.queue.ring.add(self)

    def dropped(self) -> None:
        del self.queue.owners[self.name]


class _Queue:
    def __init__(self, name: str) -> None:
        self.name = name
        self.ready = 0
        self.owners: dict[str, _Owner] = {}
        self.ring: _Ring[_Owner] = _Ring()
        self.of_tenant: Counter[str] = Counter()
        """How many messages of a tenant are taken."""
        self.of_owner: Counter[str] = Counter()
        self.waited_for: set[str] = set()
        """Queues with work that was passed by until something of this one is freed."""

    def lane(self, tenant: str) -> _Lane | None:
        owner = self.owners.get(installation_of(tenant))
        return owner and owner.lanes.get(tenant)

    def count(self, tenant: str, by: int) -> None:
        for counter, name in (
            (self.of_tenant, tenant),
            (self.of_owner, installation_of(tenant)),
        ):
            counter[name] += by
            if not counter[name]:
                del counter[name]


class ReadyMessages:
    """Ready entries by queue and tenant; every operation is O(log n) of what is ready.

    Who has no room under a claim's caps has messages taken, so that what is passed by is bounded
    by what is in flight, whatever the backlog.
    """

    def __init__(self) -> None:
        self._queues: dict[str, _Queue] = {}
        self._places = itertools.count(1)
        self._turns = itertools.count()

    def add(self, entry: Entry) -> None:
        """Make the entry claimable."""
        message = entry.message
        queue = self._queues.get(message.queue)
        if queue is None:
            queue = self._queues[message.queue] = _Queue(message.queue)
        name = installation_of(message.tenant)
        owner = queue.owners.get(name) or _Owner(name, queue)
        lane = owner.lanes.get(message.tenant) or _Lane(message.tenant, owner, next(self._turns))
        entry.place = next(self._places)
        queue.ready += 1
        lane.live += 1
        heapq.heappush(lane.heap, (message.priority, entry.order, entry.place, entry))
        # Not before it has a message: without one it has no turn.
        lane.enter()
        owner.enter()

    def remove(self, entry: Entry) -> None:
        """Make the entry unclaimable; one that is not ready stays as it is."""
        if not entry.place:
            return
        entry.place = 0
        queue = self._queues[entry.message.queue]
        lane = queue.lane(entry.message.tenant)
        assert lane is not None, "a ready entry has a lane"
        queue.ready -= 1
        lane.live -= 1
        if len(lane.heap) > 2 * lane.live + _SLACK:
            lane.heap = [item for item in lane.heap if item[3].place == item[2]]
            heapq.heapify(lane.heap)

    def has(self, queue: str) -> bool:
        """Return whether the queue has a ready message."""
        found = self._queues.get(queue)
        return found is not None and found.ready > 0

    def take(self, queues: Sequence[str], caps: Caps) -> Entry | None:
        """Remove and return the next entry of these queues: the next tenant's most urgent one.

        It counts as taken until ``free``.
        """
        known = [self._queues[name] for name in dict.fromkeys(queues) if name in self._queues]
        first = _next_lane(known, caps)
        if first is None:
            return None
        lanes = [lane for queue in known if (lane := queue.lane(first.tenant)) and lane.live]
        entry = min(lane.head() for lane in lanes)[3]
        self.remove(entry)
        for lane in lanes:
            lane.latest = next(self._turns)
        self._queues[entry.message.queue].count(first.tenant, 1)
        entry.taken = True
        return entry

    def free(self, entry: Entry) -> Collection[str]:
        """Count the entry as taken no more; returns queues with work that waited for that."""
        if not entry.taken:
            return ()
        entry.taken = False
        queue = self._queues[entry.message.queue]
        queue.count(entry.message.tenant, -1)
        waited_for, queue.waited_for = queue.waited_for, set()
        return waited_for


def _next_lane(queues: Sequence[_Queue], caps: Caps) -> _Lane | None:
    """Return the lane with the earliest turn of those that the caps leave room for."""
    best: _Lane | None = None

    def later(member: _Lane | _Owner) -> bool:
        return best is not None and (member.turn or 0) >= best.latest

    def has_room(cap: int | None, taken: Iterable[int], queue: _Queue) -> bool:
        if cap is None or sum(taken) < cap:
            return True
        for other in queues:
            other.waited_for.add(queue.name)
        return False

    for queue in queues:
        if not queue.ready:
            continue

        def visit_lane(lane: _Lane, queue: _Queue = queue) -> bool:
            nonlocal best
            if later(lane):
                return True
            taken = (other.of_tenant[lane.tenant] for other in queues)
            if has_room(caps.per_tenant, taken, queue):
                best = lane
            return best is lane

        def visit_owner(owner: _Owner, queue: _Queue = queue) -> bool:
            if later(owner):
                return True
            taken = (other.of_owner[owner.name] for other in queues)
            if has_room(caps.per_installation, taken, queue):
                owner.ring.walk(visit_lane)
            return False

        queue.ring.walk(visit_owner)
    return best
