"""Small values for the contract suites."""

from datetime import datetime

from pydantic import JsonValue

from pipelines.ports import ABSENT, Append, Batch, Lease, Message, Write
from tests.support.clock import EPOCH


def message(
    identity: str,
    *,
    queue: str = "deliveries",
    tenant: str = "1/1",
    body: dict[str, JsonValue] | None = None,
    not_before: datetime | None = None,
    priority: int = 5,
    attempts: int = 0,
    schema_version: int = 1,
) -> Message:
    return Message(
        id=identity,
        queue=queue,
        tenant=tenant,
        body=body or {},
        not_before=not_before,
        priority=priority,
        attempts=attempts,
        enqueued_at=EPOCH,
        schema_version=schema_version,
    )


def put(key: str, value: bytes, *, expect: int | None = None, ttl: float | None = None) -> Batch:
    return Batch(writes=[Write(key, value, expect=expect, ttl=ttl)])


def create(key: str, value: bytes) -> Batch:
    return put(key, value, expect=ABSENT)


def delete(key: str, *, expect: int | None = None) -> Batch:
    return Batch(writes=[Write(key, None, expect=expect)])


def append(log: str, *items: bytes, keep: int = 1000) -> Batch:
    return Batch(appends=[Append(log, item, keep) for item in items])


def lease(held: Message) -> Lease:
    return Lease(message=held, expires_at=60.0)
