"""One of many workers does each round of what is done from time to time."""

from pipelines.errors import Conflict
from pipelines.ports import ABSENT, Batch, Clock, Write
from pipelines.stores.backend import StorageBackend, key

_SHARE = 0.9
"""Of a period that a round keeps others out; the rest is for clocks that differ a little."""


class Rounds:
    """Gives each round of a timed job to whoever asks first, over all that share the store.

    A round is a hint that saves work, not a lock: one that lasts longer than its period may meet
    the next, so what is done in it must bear to be done twice.
    """

    def __init__(self, backend: StorageBackend, clock: Clock, worker: str) -> None:
        self._backend = backend
        self._clock = clock
        self._worker = worker

    async def take(self, name: str, period: float) -> bool:
        """Return whether this round is the caller's; the next one is given out after ``period``.

        ``period`` is in seconds. A worker that dies in its round costs that round only.
        """
        taken = f"{self._worker} {self._clock.now().isoformat()}".encode()
        write = Write(key("round", name), taken, expect=ABSENT, ttl=_SHARE * period)
        try:
            await self._backend.commit(Batch(writes=[write]))
        except Conflict:
            return False
        return True
