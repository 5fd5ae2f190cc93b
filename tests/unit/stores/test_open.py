"""Storage URLs, right and wrong."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.errors import NotStored, UserError
from pipelines.stores.memory import MemoryBackend
from pipelines.stores.open import open_backend
from pipelines.stores.redis import RedisBackend
from pipelines.stores.sqlite import SqliteBackend
from tests.support.clock import VirtualClock


async def test_memory_is_a_store() -> None:
    assert isinstance(open_backend("memory://", VirtualClock()), MemoryBackend)


async def test_three_slashes_are_relative_and_four_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for url, path in (
        ("sqlite:///conductor.db", tmp_path / "conductor.db"),
        (f"sqlite:///{tmp_path}/other.db", tmp_path / "other.db"),
    ):
        backend = open_backend(url, VirtualClock())
        assert isinstance(backend, SqliteBackend)
        await backend.close()
        assert path.exists()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "no scheme"),
        ("conductor.db", "no scheme"),
        ("memory:///x", "takes no path"),
        ("sqlite://", "three slashes"),
        ("sqlite:///", "three slashes"),
        ("sqlite://conductor.db", "three slashes"),
        ("sqlite:///folder/", "three slashes"),
        ("sqlite:///:memory:", "memory://"),
        ("sqlite:///a.db?mode=ro", "no options"),
        ("postgres://host/db", "'postgres' is not supported; this build knows memory"),
    ],
)
def test_a_wrong_url_is_answered_with_the_right_ones(url: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        open_backend(url, VirtualClock())


async def test_a_redis_is_a_store_and_not_reached_before_it_is_used() -> None:
    backend = open_backend("redis://user:hunter2@127.0.0.1:1/0", VirtualClock())
    assert isinstance(backend, RedisBackend)
    with pytest.raises(NotStored) as caught:
        await backend.get("a")
    assert "hunter2" not in str(caught.value)
    await backend.close()


@pytest.mark.parametrize("scheme", ["redis", "postgres"])
def test_a_password_in_a_url_is_not_repeated(scheme: str) -> None:
    with pytest.raises(UserError) as caught:
        open_backend(f"{scheme}://user:hunter2@host:port/0", VirtualClock())
    assert "hunter2" not in str(caught.value)


def test_one_machine_does_not_import_the_client_of_redis() -> None:
    code = "import sys, pipelines.stores.open, pipelines.orchestration.bus.open; "
    subprocess.run([sys.executable, "-c", code + "assert 'redis' not in sys.modules"], check=True)
