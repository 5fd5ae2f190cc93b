"""A signal that flaps all day is one issue, however often somebody is told to look."""

from typing import Any

import pytest

from bot.deliveries.delivery import ALERTS
from pipelines.model import OpenIssue
from tests.support.clock import EPOCH
from tests.support.stage import Curve, Play, Stage
from tests.sweep.plays import ADVICE, FILES, QUERY

CONFIG = f"""
version: 1
environments: {{ staging: {{ target: mock, health: null, rollout: 60s }} }}
workflows:
  deliver:
    on: {{ push: {{ branches: [main] }} }}
    steps: {{ ship: {{ agent: deploy, environment: staging }} }}
  alarm:
    on: {{ alert: {{}} }}
    steps:
      watch:
        agent: monitor
        environment: staging
        for: 150s
        interval: 15s
        signals: false
        rules: [ {{ name: error rate, query: "{QUERY}", above: 0.02, severity: high }} ]
"""
DAY = 24 * 3600
CALLS_EVERY = 900
"""Seconds between two calls of Alertmanager."""


def flapping(every: int) -> Curve:
    """A signal that is high for so many seconds and low for as many."""
    return lambda _, at: 0.4 if (at - EPOCH).total_seconds() // every % 2 else 0.001


def call(stage: Stage) -> dict[str, Any]:
    labels = {"alertname": "Errors", "repository": "acme/shop", "environment": "staging"}
    alert = {
        "status": "firing",
        "labels": labels,
        "annotations": {},
        "startsAt": stage.clock.now().isoformat(),
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "",
        "fingerprint": "0123456789abcdef",
    }
    return {"version": "4", "status": "firing", "truncatedAlerts": 0, "alerts": [alert]}


@pytest.mark.parametrize(("every", "issues"), [(30, 0), (420, 1)])
async def test_a_day_of_flapping_is_one_issue_at_the_most(every: int, issues: int) -> None:
    """Half a minute is no breach yet; seven minutes are, and each counts up the same issue."""
    stage = Stage(Play(*FILES, CONFIG, ADVICE, curves={QUERY: flapping(every)}))
    await stage.start()
    await stage.push("good", "push")
    await stage.settle(hours=0.1)
    for number in range(DAY // CALLS_EVERY):
        await stage.deliver(ALERTS, f"alert-{number}", **call(stage))
        await stage.settle(hours=0.1)
        await stage.clock.advance(CALLS_EVERY - stage.clock.monotonic() % CALLS_EVERY)
    await stage.settle()
    looks = [run for run in await stage.runs() if run.workflow == "alarm"]
    seen = [e.payload.fingerprint for e in stage.live.effects if isinstance(e, OpenIssue)]
    print(
        f"R29: a day of flapping every {every} s, looked at {len(looks)} times: "
        f"{len(seen)} breaches, {len(set(seen))} issues, {len(stage.notifier.sent)} messages"
    )
    assert len(looks) == DAY // CALLS_EVERY
    assert len(set(seen)) == issues
    await stage.check_accounts()
    await stage.close()
