"""A pull request as GitHub's GraphQL tells it, for tests to change."""

from typing import Any

from tests.support.github_stub import BOT_ID

HEAD = "a" * 40
BASE = "b" * 40
BLOB = "c" * 40
PERSON = {"__typename": "User", "login": "ada", "databaseId": 7}
BOT = {"__typename": "Bot", "login": "conductor", "databaseId": BOT_ID}
FINDING = "**Off by one**\n\nText.\n\n<!-- conductor:finding f00dfeed anchor1 -->"


def thread(
    body: str = FINDING, author: Any = BOT, *replies: tuple[str, Any], **fields: Any
) -> dict[str, Any]:
    comments = [(body, author), *replies]
    return {
        "id": "PRRT_1",
        "isResolved": False,
        "resolvedBy": None,
        "path": "src/a.py",
        "line": 3,
        "comments": {
            "nodes": [
                {"fullDatabaseId": str(900 + n), "body": text, "author": who}
                for n, (text, who) in enumerate(comments)
            ]
        },
        **fields,
    }


def entry(text: str | None = "version: 1\n", **blob: Any) -> dict[str, Any]:
    return {
        "type": "blob",
        "mode": 0o100644,
        "object": {
            "oid": BLOB,
            "text": text,
            "byteSize": len(text or ""),
            "isBinary": False,
            "isTruncated": False,
            **blob,
        },
    }


def repository(pull: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    edge = {"permission": "WRITE", "node": {"databaseId": 7}}
    return {
        "repository": {
            "databaseId": 100,
            "collaborators": {"edges": [edge]},
            "pullRequest": pull,
            **fields,
        }
    }


def pull_request(**fields: Any) -> dict[str, Any]:
    return {
        "number": 5,
        "title": "Add a thing",
        "body": None,
        "state": "OPEN",
        "isDraft": False,
        "headRefOid": HEAD,
        "headRefName": "topic",
        "headRepository": {"databaseId": 100},
        "baseRefOid": BASE,
        "baseRefName": "main",
        "baseRef": {"target": {"yml": entry(), "yaml": None, "nested": None}},
        "author": PERSON,
        "labels": {"nodes": [{"name": "bug"}]},
        "files": {"totalCount": 2, "nodes": [{"path": "src/a.py"}, {"path": "b.py"}]},
        "reviews": {"nodes": []},
        "reviewThreads": {"pageInfo": {"hasNextPage": False, "endCursor": None}, "nodes": []},
        **fields,
    }
