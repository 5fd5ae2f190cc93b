"""Verdicts on real servers, well and badly configured."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipelines.errors import NotStored, UserError
from pipelines.redis.connection import RedisConnection
from pipelines.redis.durability import Check, insist, inspect
from tests.support.daemon import free_port
from tests.support.valkey import Settings, binaries, running, saying

FINE = {
    "version": "fine",
    "role": "fine",
    "eviction": "fine",
    "persistence": "fine",
    "fsync": "fine",
}
NO_CONFIG = ("user default on nopass ~* &* +@all -config",)
NO_INFO = ("user default on nopass ~* &* +@all -config -info",)
NOTHING = dict.fromkeys(FINE, "unknown")

MATRIX: dict[str, tuple[Settings, Sequence[str], dict[str, str], str]] = {
    "as it should be": ({"appendfsync": "always"}, (), {}, "in a power failure"),
    "fsync every second": ({"appendfsync": "everysec"}, (), {}, "up to a second's work"),
    "fsync whenever": ({"appendfsync": "no"}, (), {"fsync": "warning"}, "appendfsync always"),
    "limited memory": ({"maxmemory": "50mb"}, (), {}, "evicts nothing"),
    "nothing kept": (
        {"appendonly": "no"},
        (),
        {"persistence": "refused"},
        "set `appendonly yes`",
    ),
    "snapshots only": (
        {"appendonly": "no", "save": "60 1"},
        (),
        {"persistence": "refused"},
        "set `appendonly yes`",
    ),
    "evicts all": (
        {"maxmemory": "50mb", "maxmemory-policy": "allkeys-lru"},
        (),
        {"eviction": "refused"},
        "[(]maxmemory-policy allkeys-lru[)]: set `maxmemory-policy noeviction`",
    ),
    "evicts what expires": (
        {"maxmemory-policy": "volatile-ttl"},
        (),
        {"eviction": "refused"},
        "set `maxmemory-policy noeviction`",
    ),
    "a replica": (
        {"replicaof": f"127.0.0.1 {free_port()}"},
        (),
        {"role": "refused"},
        "is a replica: name its primary",
    ),
    "several mistakes": (
        {"appendonly": "no", "maxmemory-policy": "allkeys-lru"},
        (),
        {"persistence": "refused", "eviction": "refused"},
        "maxmemory-policy noeviction`[.].*set `appendonly yes`[.]",
    ),
    "managed, without CONFIG": (
        {"rename-command": 'CONFIG ""'},
        (),
        {"fsync": "unknown"},
        "does not tell its fsync: allow our user `CONFIG GET appendfsync`",
    ),
    "managed and nothing kept": (
        {"rename-command": 'CONFIG ""', "appendonly": "no"},
        (),
        {"fsync": "unknown", "persistence": "refused"},
        "set `appendonly yes`",
    ),
    "a user without CONFIG": ({}, NO_CONFIG, {"fsync": "unknown"}, "does not tell its fsync"),
    "a user without INFO": ({}, NO_INFO, NOTHING, "does not tell its eviction: allow .*`INFO`"),
}


@pytest.fixture(params=sorted(binaries()))
def binary(request: pytest.FixtureRequest) -> Path:
    return binaries()[request.param]


async def checked(url: str) -> Sequence[Check]:
    connection = RedisConnection(url, timeout=2)
    try:
        return await inspect(connection)
    finally:
        await connection.aclose()


@pytest.mark.parametrize("case", MATRIX)
async def test_a_configuration_gets_its_verdict_and_its_sentence(binary: Path, case: str) -> None:
    settings, acl, verdicts, sentence = MATRIX[case]
    with running(settings, binary=binary, acl=acl) as server:
        checks = await checked(server.url)
    assert {check.name: check.verdict for check in checks} == FINE | verdicts
    said = " ".join(c.sentence for c in checks if c.verdict == verdicts.get(c.name, "fine"))
    refused = "refused" in verdicts.values()
    if refused:
        with pytest.raises(UserError) as caught:
            insist(checks)
        said = str(caught.value)
    else:
        insist(checks)
    assert re.search(sentence, said), said


@pytest.mark.parametrize(
    ("told", "verdict", "sentence"),
    [
        ("redis_version:6.2.14", "refused", "is Redis 6.2.14: Conductor needs Redis 7, Valkey 7.2"),
        ("redis_version:10.0.0", "fine", "is Redis 10.0.0"),
        ("redis_version:7.2.4\r\nvalkey_version:9.1.2", "fine", "is Valkey 9.1.2"),
        ("something_else:1", "unknown", "does not tell its version"),
        ("redis_version:unstable", "unknown", "does not tell its version"),
    ],
)
async def test_old_versions_are_refused(told: str, verdict: str, sentence: str) -> None:
    body = f"# Server\r\n{told}\r\n".encode()
    async with saying(b"$%d\r\n%s\r\n" % (len(body), body)) as url:
        version, *_ = await checked(url)
    assert version.verdict == verdict
    assert sentence in version.sentence


async def test_a_server_that_is_down_has_no_verdict() -> None:
    with pytest.raises(NotStored, match="could not be reached"):
        await checked(f"redis://127.0.0.1:{free_port()}")
