"""A process that writes to GitHub under limits it shares: ``python -m tests.support.limited``.

Arguments: Redis' URL, GitHub's URL, a name, and how many writes; with ``hold`` instead of a number
it takes the place of a write, says so, and never gives it back.
"""

import asyncio
import ssl
import sys

from bot.github.gateway import GitHub
from bot.github.shared_limits import RedisLedger
from bot.github.throttle import Ask, Throttle
from bot.github.tokens import ISSUES
from bot.github.transport import http_client
from pipelines.errors import Parked
from pipelines.redis.connection import RedisConnection
from pipelines.system import SortableIds, SystemClock
from tests.support.github_stub import APP_ID, REPOSITORY, private_key

SCOPE = f"github/{REPOSITORY.installation_id}"
PATH = "/repos/octo/shop/issues/1/labels"
CLOCK = SystemClock()


async def write(ledger: RedisLedger, github: str, name: str, count: int) -> None:
    async with http_client(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)) as http:
        gateway = GitHub(
            http,
            app_id=APP_ID,
            private_key=private_key(),
            api_url=github,
            clock=CLOCK,
            version="0.0.0",
            register_secret=lambda _: None,
            ledger=ledger,
        )
        for number in range(count):
            await _patiently(gateway, f"{name}/{number}")


async def _patiently(gateway: GitHub, label: str) -> None:
    while True:
        try:
            await gateway.client(REPOSITORY, ISSUES).post(PATH, data={"labels": [label]})
        except Parked as parked:
            await CLOCK.sleep((parked.until - CLOCK.now()).total_seconds())
        else:
            return


async def hold(ledger: RedisLedger) -> None:
    async with Throttle(ledger, CLOCK, SortableIds()).slot(Ask(SCOPE, write=True)):
        print("held", flush=True)
        await asyncio.Event().wait()


async def main(redis: str, github: str, name: str, what: str) -> None:
    connection = RedisConnection(redis)
    ledger = RedisLedger(connection)
    await (hold(ledger) if what == "hold" else write(ledger, github, name, int(what)))
    await connection.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
