"""The one interface to messages; every implementation passes the same contract suite."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from pydantic import JsonValue

from pipelines.ports import Batch, Lease

Handler = Callable[[JsonValue], Awaitable[JsonValue]]

READABLE_VERSION = 1
"""Messages of a later version stay pending for a process that knows it."""


@dataclass(frozen=True, slots=True)
class Caps:
    """How many messages of a claim's queues may be leased at a time, over all processes.

    A tenant is ``installation/repository``; None is no limit.
    """

    per_tenant: int | None = None
    per_installation: int | None = None


def installation_of(tenant: str) -> str:
    """Return the part that the repositories of one installation share."""
    return tenant.partition("/")[0]


class MessageBus(ABC):
    """Publish/subscribe for whoever listens now, request/response, and leased work queues.

    Queued work is durable because it is committed with the state that causes it; the bus makes it
    claimable. Delivery is at least once: a lease that is neither renewed nor settled in time is
    handed to somebody else, with a higher token.
    """

    @abstractmethod
    async def start(self) -> None:
        """Make all unsettled messages of the store claimable; called once before anything else."""

    @abstractmethod
    async def close(self) -> None:
        """Wake and end all waiting claims, subscriptions and requests."""

    # work queues

    @abstractmethod
    async def commit(self, batch: Batch) -> None:
        """Store the batch atomically, then make its messages claimable and forget settled ones.

        A reminder is no message of its own while one with its id waits; whoever holds that one may
        have looked too early, so then it follows.
        """

    @abstractmethod
    async def claim(
        self,
        queues: Sequence[str],
        *,
        limit: int,
        wait: float,
        lease: float,
        caps: Caps | None = None,
        early: bool = False,
    ) -> Sequence[Lease]:
        """Return up to ``limit`` due messages, lowest priority number and oldest first.

        Waits up to ``wait`` seconds for the first one and returns an empty sequence after that.
        Each is leased for ``lease`` seconds. Tenants take turns: one tenant's backlog does not
        delay another's next message. Work of those who have as much leased as ``caps`` allow is
        passed by until one of their leases ends.

        With ``early`` a claim may be handed out before it is stored, which saves a wait: a crash
        is counted from its holder's first commit on, so nothing may be risked before that.
        """

    @abstractmethod
    async def renew(self, lease: Lease, seconds: float) -> Lease:
        """Return the lease extended to so many seconds from now; raises ``LeaseLost``."""

    @abstractmethod
    async def release(self, lease: Lease, *, delay: float = 0.0) -> None:
        """Give the message back, claimable after ``delay`` seconds; raises ``LeaseLost``."""

    @abstractmethod
    async def bury(self, lease: Lease, reason: str) -> None:
        """Move the message to the dead letters, with the reason; raises ``LeaseLost``."""

    @abstractmethod
    async def depth(self) -> dict[str, int]:
        """Return how many unsettled messages each queue has."""

    # publish/subscribe

    @abstractmethod
    async def publish(self, topic: str, payload: JsonValue) -> None:
        """Hand the payload to everybody who subscribed to the topic before now; never waits."""

    @abstractmethod
    def subscribe(self, topic: str) -> AbstractAsyncContextManager[AsyncIterator[JsonValue]]:
        """Listen to a topic while the context is open; a slow listener loses its oldest items."""

    # request/response

    @abstractmethod
    async def request(self, topic: str, payload: JsonValue, *, timeout: float) -> JsonValue:
        """Return the answer of one responder; raises ``Retryable`` after ``timeout`` seconds."""

    @abstractmethod
    def respond(self, topic: str, handler: Handler) -> AbstractAsyncContextManager[None]:
        """Answer requests on a topic while the context is open."""
