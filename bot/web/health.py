"""``/healthz``, ``/readyz`` and ``/metrics``."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from bot.telemetry import Metrics
from pipelines.errors import ConductorError

Check = Callable[[], Awaitable[None]]
"""Returns if all is well; raises ConductorError with the reason if not."""

Depth = Callable[[], Awaitable[Mapping[str, int]]]
"""Returns how many unsettled messages each queue has."""

CHECK_SECONDS = 2.0


class Health:
    """Liveness is answering at all; readiness is that every named check passes now."""

    def __init__(
        self, checks: Mapping[str, Check], metrics: Metrics, depth: Depth | None = None
    ) -> None:
        self._checks = checks
        self._metrics = metrics
        self._depth = depth

    async def live(self, request: web.Request) -> web.Response:
        """Answer 200: the loop turns."""
        del request
        return web.json_response({"status": "alive"})

    async def ready(self, request: web.Request) -> web.Response:
        """Answer 200, or 503 with the names of what is missing.

        The reasons go to the log only: this page is open to everybody.
        """
        del request
        results = {name: await _passes(check) for name, check in self._checks.items()}
        status = 200 if all(results.values()) else 503
        shown = {name: "ok" if fine else "failing" for name, fine in results.items()}
        return web.json_response({"checks": shown}, status=status)

    async def metrics(self, request: web.Request) -> web.Response:
        """Answer all metrics in Prometheus' text format."""
        del request
        if self._depth is not None:
            for queue, depth in (await self._depth()).items():
                self._metrics.queue_depth.labels(queue).set(depth)
        return web.Response(body=self._metrics.render(), headers={"Content-Type": Metrics.TYPE})


async def _passes(check: Check) -> bool:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await check()
    except (ConductorError, TimeoutError):
        return False
    return True
