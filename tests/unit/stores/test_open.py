"""Storage URLs, right and wrong."""

from pathlib import Path

import pytest

from pipelines.errors import UserError
from pipelines.stores.memory import MemoryBackend
from pipelines.stores.open import open_backend
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


def test_a_password_in_a_url_is_not_repeated() -> None:
    with pytest.raises(UserError) as caught:
        open_backend("redis://user:hunter2@host:6379/0", VirtualClock())
    assert "hunter2" not in str(caught.value)
    assert "memory:// and sqlite:///PATH" in str(caught.value)
