"""Working under a lease: renewed every third of it, and given up at once when it is lost."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from pipelines import fence
from pipelines.errors import NotStored
from pipelines.fence import Fence
from pipelines.orchestration.bus.base import MessageBus
from pipelines.ports import Clock, Lease

T = TypeVar("T")

LEASE_SECONDS = 60.0
"""How long a message stays with a worker that shows no sign of life, at most."""

Wanted = Callable[[], Awaitable[bool]]
"""Asked at each renewal whether the work is still of use."""


class NoLongerWanted(Exception):
    """The run went on without this work; whatever it would give has no reader."""


async def under_lease(
    lease: Lease,
    work: Coroutine[Any, Any, T],
    *,
    bus: MessageBus,
    clock: Clock,
    wanted: Wanted | None = None,
) -> T:
    """Return what the work returns, keeping the lease alive meanwhile.

    Raises LeaseLost when somebody else has the message now and NoLongerWanted when ``wanted`` says
    no or the work was cancelled from elsewhere; the work is finished by then. What the work writes
    is held by a fence that moves with the renewals.
    """
    held = Fence(lease, clock)
    with fence.behind(held):
        working = asyncio.ensure_future(work)
    keeping = asyncio.create_task(_keep(held, bus, clock, wanted))
    try:
        await asyncio.wait({working, keeping}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            keeping.result()
        if working.cancelled():
            raise NoLongerWanted
        return working.result()
    finally:
        await _end(working, keeping)


async def _keep(held: Fence, bus: MessageBus, clock: Clock, wanted: Wanted | None) -> None:
    seconds = held.lease.seconds
    while True:
        await clock.sleep(seconds / 3)
        try:
            held.lease = await bus.renew(held.lease, seconds)
            if wanted is not None and not await wanted():
                raise NoLongerWanted
        except NotStored:
            held.check()


async def _end(*tasks: "asyncio.Future[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
