"""Customers of the demo's shop: they ask for carts all the time and count what they get."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import httpx2

CARTS = ("ada", "grace", "new")
PAUSE_SECONDS = 0.05


class Customers:
    """Ask whatever address is current; where there is none yet they wait."""

    def __init__(self, address: Callable[[], str | None]) -> None:
        self._address = address
        self.answers: Counter[int] = Counter()

    async def ask(self, path: str) -> tuple[int, str]:
        """Ask once for a page of the service."""
        address = self._address()
        assert address is not None, "asked before anything was deployed"
        async with _client() as client:
            answer = await client.get(address + path)
        return answer.status_code, answer.text

    @asynccontextmanager
    async def shopping(self) -> AsyncGenerator[None]:
        """Keep asking for as long as the context is open."""
        walking = asyncio.create_task(self._walk())
        try:
            yield
        finally:
            walking.cancel()
            await asyncio.gather(walking, return_exceptions=True)

    async def _walk(self) -> None:
        async with _client() as client:
            while True:
                for cart in CARTS:
                    if address := self._address():
                        self.answers[await _status(client, f"{address}/carts/{cart}")] += 1
                    await asyncio.sleep(PAUSE_SECONDS)


async def _status(client: httpx2.AsyncClient, url: str) -> int:
    """Return the status of an answer, 0 for none: a service that was replaced hangs up."""
    try:
        return (await client.get(url)).status_code
    except httpx2.HTTPError:
        return 0


def _client() -> httpx2.AsyncClient:
    return httpx2.AsyncClient(trust_env=False, timeout=5)
