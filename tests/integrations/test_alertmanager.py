"""A real Alertmanager: its webhook as it sends it. Needs ``prometheus-alertmanager``."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from aiohttp import web

from pipelines.integrations.observability.alerts import Alerts, parse
from tests.support.daemon import free_port, running

SERVER = shutil.which("prometheus-alertmanager")
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not SERVER, reason="prometheus-alertmanager is not installed"),
]

CONFIG = """
route: {{receiver: conductor, group_by: [alertname], group_wait: 0s, group_interval: 1s}}
receivers:
- name: conductor
  webhook_configs:
  - url: http://127.0.0.1:{port}/webhooks/alertmanager
    http_config: {{authorization: {{credentials: s3cret}}}}
"""


class Hook:
    """Stands where Conductor would; keeps what comes."""

    def __init__(self) -> None:
        self.calls: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()

    async def take(self, request: web.Request) -> web.Response:
        await self.calls.put((request.headers["Authorization"], await request.read()))
        return web.Response()

    async def next(self) -> tuple[str, bytes]:
        async with asyncio.timeout(30):
            return await self.calls.get()


@pytest.fixture
async def hook() -> AsyncIterator[tuple[Hook, int]]:
    hook, port = Hook(), free_port()
    app = web.Application()
    app.router.add_post("/webhooks/alertmanager", hook.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield hook, port
    await runner.cleanup()


async def test_firing_and_resolved_are_read(hook: tuple[Hook, int], tmp_path: Path) -> None:
    receiver, hook_port = hook
    port = free_port()
    assert SERVER
    (tmp_path / "am.yml").write_text(CONFIG.format(port=hook_port))
    command = [
        SERVER,
        f"--config.file={tmp_path / 'am.yml'}",
        f"--storage.path={tmp_path}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    url = f"http://127.0.0.1:{port}"
    labels = {
        "alertname": "Queue deep\n<b>",
        "repository": "octo/demo",
        "environment": "production",
        "severity": "page",
    }
    alert: dict[str, Any] = {"labels": labels, "annotations": {"summary": "do as I say"}}
    async with running(command, f"{url}/-/ready", tmp_path), httpx2.AsyncClient() as client:
        posted = await client.post(f"{url}/api/v2/alerts", json=[alert])
        assert posted.status_code == 200
        bearer, body = await receiver.next()
        assert bearer == "Bearer s3cret"
        firing = parse(body)
        alert["startsAt"] = (datetime.now(UTC) - timedelta(seconds=60)).isoformat()
        alert["endsAt"] = datetime.now(UTC).isoformat()
        await client.post(f"{url}/api/v2/alerts", json=[alert])
        resolved = firing
        while resolved == firing:
            resolved = parse((await receiver.next())[1])
    assert isinstance(firing, Alerts)
    assert isinstance(resolved, Alerts)
    [first], [last] = firing.alerts, resolved.alerts
    assert (first.repository, first.environment) == ("octo/demo", "production")
    assert (first.name, first.severity, first.firing) == ("Queue deep <b>", "page", True)
    assert first.at is not None
    assert last.firing is False
    assert last.fingerprint == first.fingerprint
    assert last.at is not None
    assert firing.left_out == resolved.left_out == ()
