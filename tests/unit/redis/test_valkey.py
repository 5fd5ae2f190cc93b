"""The servers that other tests rely on."""

import os
from pathlib import Path

import pytest

from tests.support.valkey import binaries, running


@pytest.fixture(params=sorted(binaries()))
def binary(request: pytest.FixtureRequest) -> Path:
    return binaries()[request.param]


def test_a_killed_server_comes_back_on_its_port_with_what_it_had(binary: Path) -> None:
    with running(binary=binary) as server:
        url = server.url
        server.command("SET", "a", "1")
        server.restart()
        assert (server.url, server.command("GET", "a")) == (url, b"1")


def test_nothing_is_left_of_a_server(binary: Path) -> None:
    with running(binary=binary) as server:
        pid, folder = server.pid, server.folder
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
