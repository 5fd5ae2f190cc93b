"""The keys that every log line about a message, a run or a repository carries."""

from typing import Any

import structlog

from pipelines.model import Change, Repository
from pipelines.ports import Message


def of_message(message: Message) -> dict[str, Any]:
    """Return what a message says of itself: whose it is, and which run and step it is about."""
    installation = message.tenant.partition("/")[0]
    keys: dict[str, Any] = {"message_id": message.id, "github_installation_id": installation}
    names = {"run": "run_id", "step": "step", "attempt": "attempt"}
    return keys | {names[name]: message.body[name] for name in names if name in message.body}


def bind(subject: Change | Repository, number: int | None = None) -> None:
    """Add whose repository and which pull request the rest of this task is about."""
    if isinstance(subject, Change):
        subject, number = subject.repository, subject.number
    keys: dict[str, Any] = {
        "github_repository_owner": subject.owner,
        "github_repository_name": subject.name,
    }
    if number is not None:
        keys["github_pr_num"] = number
    structlog.contextvars.bind_contextvars(**keys)
