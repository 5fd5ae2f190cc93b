"""The smallest payloads that GitHub could send, one an event, to be bent by tests."""

import copy
from typing import Any

from bot.events.filters import AppIdentity, Ignored
from bot.events.installations import InstallationChanged
from bot.events.triggers import trigger_of
from pipelines.model import Trigger

ME = AppIdentity(app_id=77, bot_user_id=770, slug="acme-conductor")
HEAD, BASE, ZERO = "a" * 40, "b" * 40, "0" * 40

ALICE = {"id": 11, "login": "alice", "type": "User", "url": "https://api.github.com/users/alice"}

ENVELOPE: dict[str, Any] = {
    "installation": {"id": 5, "node_id": "x"},
    "repository": {
        "id": 9,
        "name": "shop",
        "full_name": "acme/shop",
        "owner": {"login": "acme", "id": 1},
        "default_branch": "main",
        "private": True,
        "archived": False,
        "disabled": False,
    },
    "sender": ALICE,
}

PULL_REQUEST = {
    "number": 7,
    "head": {"sha": HEAD, "ref": "topic", "repo": {"id": 9}},
    "base": {"sha": BASE, "ref": "main", "repo": {"id": 9}},
    "user": ALICE,
    "draft": False,
    "labels": [{"name": "bug"}],
    "updated_at": "2026-01-02T03:04:05Z",
    "title": "t",
    "body": None,
}
ISSUE = {"number": 3, "user": ALICE, "labels": [{"name": "bug"}], "updated_at": "2026-01-02"}
COMMENT = {
    "id": 21,
    "body": "Hm.\n/conductor fix the bug",
    "user": ALICE,
    "created_at": "2026-01-02T03:04:05Z",
}
DEPLOYMENT = {"id": 31, "sha": HEAD, "ref": "main", "environment": "production", "payload": "{}"}
CHECK = {"id": 41, "head_sha": HEAD, "external_id": "run/step", "app": {"id": 77}}

SAMPLES: dict[str, dict[str, Any]] = {
    "pull_request": {"action": "opened", "number": 7, "pull_request": PULL_REQUEST},
    "push": {
        "ref": "refs/heads/main",
        "before": BASE,
        "after": HEAD,
        "created": False,
        "deleted": False,
        "forced": True,
        "commits": [],
        "head_commit": None,
    },
    "deployment": {"action": "created", "deployment": DEPLOYMENT},
    "deployment_status": {
        "action": "created",
        "deployment": DEPLOYMENT,
        "deployment_status": {"state": "success", "created_at": "2026-01-02T03:04:05+02:00"},
    },
    "issues": {"action": "labeled", "issue": ISSUE, "label": {"name": "bug"}},
    "issue_comment": {"action": "created", "issue": ISSUE, "comment": COMMENT},
    "pull_request_review_comment": {
        "action": "created",
        "pull_request": PULL_REQUEST,
        "comment": COMMENT,
    },
    "check_run": {
        "action": "requested_action",
        "check_run": CHECK,
        "requested_action": {"identifier": "fix"},
    },
    "check_suite": {"action": "rerequested", "check_suite": CHECK},
    "installation": {"action": "deleted", "installation": {"id": 5, "app_id": 77}},
    "installation_repositories": {
        "action": "added",
        "installation": {"id": 5, "app_id": 77},
        "repositories_added": [{"id": 9, "full_name": "acme/shop"}],
        "repositories_removed": [],
    },
}


def sample(event: str, **changes: object) -> dict[str, Any]:
    """A payload of an event; a change is a path with ``__`` between its keys."""
    payload = copy.deepcopy({**ENVELOPE, **SAMPLES[event]})
    for path, value in changes.items():
        *outer, last = path.split("__")
        part: Any = payload
        for key in outer:
            part = part[key]
        part[last] = value
    return payload


def without(event: str, path: str) -> dict[str, Any]:
    """A payload of an event that lacks one field."""
    payload = sample(event)
    *outer, last = path.split("__")
    part: Any = payload
    for key in outer:
        part = part[key]
    del part[last]
    return payload


def read(event: str, payload: dict[str, Any]) -> Trigger | Ignored | InstallationChanged:
    return trigger_of(event, "guid", payload, ME)


def reason(event: str, payload: dict[str, Any]) -> str:
    got = read(event, payload)
    assert isinstance(got, Ignored), got
    return got.reason
