"""What a server must be so that nothing accepted is lost: asked at the start, told by `doctor`.

Everything that decides is in INFO, which managed servers leave open when they close CONFIG.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from pipelines.errors import UserError
from pipelines.model import Frozen
from pipelines.redis.connection import RedisConnection
from pipelines.redis.failures import Refused

REDIS_MAJOR = 7
VALKEY = (7, 2)

Info = Mapping[str, str]


class Check(Frozen):
    """One requirement of the server; ``sentence`` says what was found and what to do."""

    name: Literal["version", "role", "eviction", "persistence", "fsync"]
    verdict: Literal["fine", "unknown", "warning", "refused"]
    sentence: str


async def inspect(connection: RedisConnection) -> Sequence[Check]:
    """Return a verdict on every requirement; raises NotStored if the server cannot be asked."""
    info = await _info(connection)
    where = f"Redis at {connection.address}"
    return (
        _version(info, where),
        _role(info, where),
        _eviction(info, where),
        _persistence(info, where),
        _fsync(await _setting(connection, "appendfsync"), where),
    )


def insist(checks: Sequence[Check]) -> None:
    """Raise UserError, with what to set, unless the server may be trusted with work."""
    refused = [check.sentence for check in checks if check.verdict == "refused"]
    if refused:
        raise UserError(" ".join(refused))


def _version(info: Info, where: str) -> Check:
    name = "Valkey" if "valkey_version" in info else "Redis"
    text = info.get("valkey_version") or info.get("redis_version")
    numbers = re.match(r"(\d+)\.(\d+)", text or "")
    if not numbers:
        return _unknown("version", where)
    version = int(numbers[1]), int(numbers[2])
    if version < (VALKEY if name == "Valkey" else (REDIS_MAJOR, 0)):
        problem = f"{where} is {name} {text}: Conductor needs Redis 7, Valkey 7.2 or later."
        return Check(name="version", verdict="refused", sentence=problem)
    return Check(name="version", verdict="fine", sentence=f"{where} is {name} {text}.")


def _role(info: Info, where: str) -> Check:
    role = info.get("role")
    if role is None:
        return _unknown("role", where)
    if role != "master":
        problem = (
            f"{where} is a replica: name its primary in CONDUCTOR_STORAGE_URL (or REDIS_URL), or "
            "its Sentinels with redis+sentinel://."
        )
        return Check(name="role", verdict="refused", sentence=problem)
    return Check(name="role", verdict="fine", sentence=f"{where} is a primary.")


def _eviction(info: Info, where: str) -> Check:
    policy = info.get("maxmemory_policy")
    if policy is None:
        return _unknown("eviction", where)
    if policy != "noeviction":
        problem = (
            f"{where} throws keys away when its memory is full (maxmemory-policy {policy}): set "
            "`maxmemory-policy noeviction`."
        )
        return Check(name="eviction", verdict="refused", sentence=problem)
    return Check(name="eviction", verdict="fine", sentence=f"{where} evicts nothing.")


def _persistence(info: Info, where: str) -> Check:
    enabled = info.get("aof_enabled")
    if enabled is None:
        return _unknown("persistence", where)
    if enabled != "1":
        problem = f"{where} loses what it accepted when it restarts: set `appendonly yes`."
        return Check(name="persistence", verdict="refused", sentence=problem)
    if info.get("aof_last_write_status", "ok") != "ok":
        problem = f"{where} cannot write its append-only file: look at its disk."
        return Check(name="persistence", verdict="refused", sentence=problem)
    fine = f"{where} keeps an append-only file."
    return Check(name="persistence", verdict="fine", sentence=fine)


def _fsync(policy: str | None, where: str) -> Check:
    if policy is None:
        return _unknown("fsync", where)
    if policy == "no":
        problem = (
            f"{where} leaves it to the system when its file reaches the disk, and a power failure "
            "can undo half a minute: set `appendfsync always`, or at least `everysec`."
        )
        return Check(name="fsync", verdict="warning", sentence=problem)
    loss = "nothing" if policy == "always" else "up to a second's work"
    fine = f"{where} loses {loss} in a power failure (appendfsync {policy})."
    return Check(name="fsync", verdict="fine", sentence=fine)


def _unknown(
    name: Literal["version", "role", "eviction", "persistence", "fsync"], where: str
) -> Check:
    told = "CONFIG GET appendfsync" if name == "fsync" else "INFO"
    sentence = f"{where} does not tell its {name}: allow our user `{told}`, or make sure yourself."
    return Check(name=name, verdict="unknown", sentence=sentence)


async def fullness(connection: RedisConnection) -> float:
    """Return which share of its ``maxmemory`` the server uses; 0 where it has no limit.

    Raises NotStored if it cannot be asked.
    """
    info = await _info(connection, "memory")
    used, limit = int(info.get("used_memory", "0")), int(info.get("maxmemory", "0"))
    return used / limit if limit else 0.0


async def _info(connection: RedisConnection, *sections: str) -> Info:
    """Return what the server tells about itself, nothing if our user may not ask."""
    try:
        answer = await connection.do("INFO", *sections, again=True)
    except Refused:
        await connection.ping()
        return {}
    text = answer.decode(errors="replace") if isinstance(answer, bytes) else ""
    lines = (line.partition(":") for line in text.splitlines())
    return {name: value for name, colon, value in lines if colon}


async def _setting(connection: RedisConnection, name: str) -> str | None:
    """Return a setting, or None from a server that has closed CONFIG."""
    try:
        found = await connection.do("CONFIG", "GET", name, again=True)
    except Refused:
        return None
    match found:
        case [bytes(), bytes() as value]:
            return value.decode(errors="replace")
        case _:
            return None
