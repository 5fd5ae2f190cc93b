"""Every payload that GitHub published as an example, through the whole way in.

Needs `npm install` (the package @octokit/webhooks-examples); skipped, with that reason, without it.
"""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bot.events.decoding import decode
from bot.events.filters import AppIdentity, Ignored
from bot.events.installations import InstallationChanged
from bot.events.triggers import trigger_of

MODULES = Path(os.environ.get("NODE_MODULES", Path(__file__).parents[2] / "node_modules"))
INDEX = MODULES / "@octokit/webhooks-examples/api.github.com/index.json"

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not INDEX.exists(), reason=f"{INDEX} is not there: run npm install"),
]


def recorded() -> list[tuple[str, dict[str, Any]]]:
    return [
        (entry["name"], example)
        for entry in json.loads(INDEX.read_text())
        for example in entry["examples"]
    ]


def identity_of(payload: dict[str, Any]) -> AppIdentity:
    """Us, as the App that the payload's check or installation belongs to."""
    subject = payload.get("check_run") or payload.get("check_suite") or {}
    app_id = subject.get("app", {}).get("id") or payload.get("installation", {}).get("app_id")
    return AppIdentity(app_id=app_id or 1, bot_user_id=10**9, slug="conductor")


def test_every_recorded_payload_is_understood_or_ignored_with_a_reason() -> None:
    payloads = recorded()
    assert len(payloads) >= 329
    for event, payload in payloads:
        got = trigger_of(event, "d", decode(json.dumps(payload).encode()), identity_of(payload))
        assert not isinstance(got, Ignored) or got.reason.endswith(".")


def test_every_recorded_event_that_we_use_is_understood_once_it_names_an_installation() -> None:
    understood: Counter[str] = Counter()
    refused: list[str] = []
    for event, payload in recorded():
        whole: dict[str, Any] = {"installation": {"id": 1}, **payload}
        got = trigger_of(event, "d", whole, identity_of(payload))
        if not isinstance(got, Ignored):
            understood[got.kind if not isinstance(got, InstallationChanged) else event] += 1
        elif "cannot be used" in got.reason or "not that of" in got.reason:
            refused.append(f"{event}.{payload.get('action')}: {got.reason}")
    assert not refused
    assert set(understood) == {
        "pull_request",
        "push",
        "deployment",
        "deployment_status",
        "issues",
        "check_run",
        "installation",
        "installation_repositories",
    }
