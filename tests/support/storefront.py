"""A shop that is deployed: it answers as the commit that its newest deployment says it runs.

The target ``mock`` runs nothing, so this is what runs. Its counters follow the town's clock: ten
customers a second, and the share of them that ``failing`` says for the files of the commit.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from bot.simulator.state import Deployment, Repository
from bot.web.edge import Address, serving
from pipelines.ports import Clock

RUNS = ("in_progress", "success")
CUSTOMERS = 10.0
"""Requests a second."""
CART = "shop/cart.py"
DOWN = "# The service does not come up."
"""In the cart's file it means that the commit's health check fails."""


def breaks_carts(cart: str) -> float:
    """Which share of the requests fails with this cart: those for empty ones, if unguarded."""
    return 0.3 if "/ len(prices)" in cart else 0.0


class Storefront:
    """One service in one environment."""

    def __init__(
        self, repo: Repository, clock: Clock, failing: Callable[[str], float] = breaks_carts
    ) -> None:
        self._repo = repo
        self._clock = clock
        self._failing = failing
        self._then = clock.monotonic()
        self._carts: dict[str, str] = {}
        self.answers = {"200": 0.0, "500": 0.0}
        self.silent = False
        """Whether the page with the numbers is gone."""
        self.address = ""

    @property
    def config(self) -> str:
        """The keys of an environment that is served here."""
        return f"target: mock, url: '{self.address}', metrics: /metrics"

    async def cart(self) -> str:
        """The cart of the commit that runs."""
        running = [d for d in self._repo.deployments.values() if _runs(d)]
        if not running:
            return ""
        sha = running[-1].sha
        if sha not in self._carts:
            self._carts[sha] = await self._repo.git.text("show", f"{sha}:{CART}")
        return self._carts[sha]

    async def serve_customers(self) -> None:
        """Serve those who came since the last time."""
        now = self._clock.monotonic()
        came, self._then = CUSTOMERS * (now - self._then), now
        share = self._failing(await self.cart())
        self.answers["500"] += came * share
        self.answers["200"] += came * (1 - share)

    async def healthz(self, request: web.Request) -> web.Response:
        await self.serve_customers()
        down = DOWN in await self.cart()
        return web.Response(status=500 if down else 200, text="down" if down else "ok")

    async def metrics(self, request: web.Request) -> web.Response:
        if self.silent:
            raise web.HTTPNotFound
        await self.serve_customers()
        lines = ["# TYPE http_requests_total counter"]
        lines += [f'http_requests_total{{status="{s}"}} {n:.3f}' for s, n in self.answers.items()]
        return web.Response(text="\n".join(lines) + "\n", content_type="text/plain")


def _runs(deployment: Deployment) -> bool:
    """Whether it is or was what runs: told so, and not failed since."""
    states = [status.state for status in deployment.statuses]
    return any(state in RUNS for state in states) and not {"failure", "error"} & set(states)


@asynccontextmanager
async def open_storefront(
    repo: Repository, clock: Clock, failing: Callable[[str], float] = breaks_carts
) -> AsyncGenerator[Storefront]:
    """Open it on a free port."""
    front = Storefront(repo, clock, failing)
    app = web.Application()
    app.router.add_get("/healthz", front.healthz)
    app.router.add_get("/metrics", front.metrics)
    async with serving(app, Address("127.0.0.1", 0)) as address:
        front.address = f"http://{address.host}:{address.port}"
        yield front
