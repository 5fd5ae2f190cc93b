"""Who is in a hurry asks twice."""

import asyncio
import json
import signal
from pathlib import Path

import pytest

from bot.cli.demo.sample import sample_files
from bot.simulator import Simulator
from tests.support.serving import Serving, environment_for

pytestmark = pytest.mark.chaos


async def test_a_second_signal_ends_it_at_once_with_one_line(tmp_path: Path) -> None:
    slow = {"rules": [{"replies": [{"delay": 600, "json": {"findings": []}}]}]}
    model = tmp_path / "model.json"
    model.write_text(json.dumps(slow))
    working, asked = asyncio.Event(), asyncio.Event()

    def heard(line: str) -> None:
        if '"agent started"' in line:
            working.set()
        if '"asked_to_stop"' in line:
            asked.set()

    async with Simulator(tmp_path / "github") as github:
        acme, ada = github.create_organization("acme"), github.create_user("ada")
        repository = await github.create_repository(acme, "shop", sample_files("base"))
        github.set_role(repository, ada, "write")
        app = await github.create_app(acme)
        github.install(app.app, acme)
        serving = Serving(tmp_path, environment_for(app, github.base_url, tmp_path, model), heard)
        try:
            app.app.webhook_url = f"{await serving.start()}/webhooks/github"
            await github.push(repository, "average", sample_files("defect"), ada)
            await github.open_pull_request(repository, "average", ada)
            async with asyncio.timeout(60):
                await working.wait()
                serving.send(signal.SIGTERM)
                await asked.wait()
            serving.send(signal.SIGTERM)
            assert await serving.ended(15.0) == 1
        finally:
            await serving.close()
    assert any("stopped_at_once" in line for line in serving.log)
    assert [line for line in serving.log if "Traceback" in line] == []
