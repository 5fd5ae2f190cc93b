"""What the storage and the bus of one process share: one keyspace, and the order of its writes."""

from collections.abc import Sequence
from typing import Any

from pipelines.errors import NotStored
from pipelines.ports import Clock
from pipelines.redis.commits import Word, moment
from pipelines.redis.connection import RedisConnection
from pipelines.redis.line import PAUSES, Line
from pipelines.redis.scripts import Script


class Keyspace:
    """Runs the scripts on one server: writes in the order of their calls, reads beside them.

    Scripts take the server's time, as machines differ; with ``clock``, in tests, that clock's.
    """

    def __init__(
        self,
        connection: RedisConnection,
        clock: Clock | None = None,
        *,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        self.connection = connection
        self._clock = clock
        self._line = Line(connection, pauses)
        self._prefix = connection.key("")
        self._reading = 0
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether an answer is awaited."""
        return self._line.busy or self._reading > 0

    def now(self) -> str:
        """Return what the scripts take for the time: empty for the server's own."""
        return moment(self._clock)

    async def write(
        self, script: Script, words: Sequence[Word], again_at: int | None = None
    ) -> Any:
        """Return the script's answer, carried out once; see ``Line.run``."""
        return await self._line.run(script, words, again_at)

    async def read(self, script: Script, words: Sequence[Word]) -> Any:
        """Return the answer of a script that changes nothing; raises NotStored."""
        if self._closed:
            raise NotStored("The store is closed.")
        self._reading += 1
        try:
            return await self.connection.run(script, [self._prefix], words, again=True)
        finally:
            self._reading -= 1

    async def close(self) -> None:
        """Finish what was accepted and release the connections; safe to call twice."""
        self._closed = True
        await self._line.close()
        await self.connection.aclose()
