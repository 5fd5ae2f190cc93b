"""A TCP proxy that loses what a test wants lost: requests on their way there, answers on theirs."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator


class Proxy:
    """Stands before a server on a port of its own."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self.port = 0
        self.answers_to_lose = 0
        """So many connections end when their next answer has come, which is not passed on."""
        self.requests_to_lose = 0
        """So many connections end in the middle of their next request."""

    async def serve(
        self, client_reads: asyncio.StreamReader, client_writes: asyncio.StreamWriter
    ) -> None:
        """Carry one connection until either side, or the test, ends it."""
        try:
            server_reads, server_writes = await asyncio.open_connection(*self._target)
        except OSError:
            return
        ways = [
            asyncio.create_task(self._requests(client_reads, server_writes)),
            asyncio.create_task(self._answers(server_reads, client_writes)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            server_writes.close()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _requests(self, reads: asyncio.StreamReader, writes: asyncio.StreamWriter) -> None:
        while data := await reads.read(65536):
            if self.requests_to_lose:
                self.requests_to_lose -= 1
                writes.write(data[: len(data) // 2])
                await writes.drain()
                return
            writes.write(data)
            await writes.drain()

    async def _answers(self, reads: asyncio.StreamReader, writes: asyncio.StreamWriter) -> None:
        while data := await reads.read(65536):
            if self.answers_to_lose:
                self.answers_to_lose -= 1
                return
            writes.write(data)
            await writes.drain()


@contextlib.asynccontextmanager
async def proxy_before(host: str, port: int) -> AsyncGenerator[Proxy]:
    """A proxy while the block is open."""
    proxy = Proxy(host, port)
    tasks: set[asyncio.Task[None]] = set()

    def begin(reads: asyncio.StreamReader, writes: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(proxy.serve(reads, writes))
        tasks.add(task)
        task.add_done_callback(lambda _: writes.close())
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
