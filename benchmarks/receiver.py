"""The floor: the least that a webhook receiver on aiohttp can do, with nothing kept on disk."""

import asyncio
import hashlib
import hmac
import json
import sys

import uvloop
from aiohttp import web


def receiver(secret: bytes) -> web.Application:
    seen: set[str] = set()
    queue: asyncio.Queue[object] = asyncio.Queue()

    async def receive(request: web.Request) -> web.Response:
        body = await request.read()
        expected = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, request.headers["X-Hub-Signature-256"]):
            return web.Response(status=401)
        guid = request.headers["X-GitHub-Delivery"]
        if guid in seen:
            return web.Response(status=200)
        seen.add(guid)
        queue.put_nowait(json.loads(body))
        return web.Response(status=202)

    app = web.Application(client_max_size=25 << 20)
    app.router.add_post("/webhooks/github", receive)
    return app


async def main(secret: bytes) -> None:
    runner = web.AppRunner(receiver(secret), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print("http://{}:{}".format(*runner.addresses[0][:2]), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1].encode()))
