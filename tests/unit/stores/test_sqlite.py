"""What only a file can go wrong with: other processes, crashes, disks and foreign files."""

import asyncio
import os
import signal
import sqlite3
import stat
import sys
from pathlib import Path

import pytest

from pipelines.errors import NotStored, UserError
from pipelines.ports import Batch, Message, Versioned, Write
from pipelines.stores.files import refuse_network_disk
from pipelines.stores.sqlite import SqliteBackend
from tests.contracts.make import put
from tests.support.clock import EPOCH, VirtualClock

ROOT = Path(__file__).parents[3]

WRITER = """
import asyncio, resource, sys
from pathlib import Path
from pipelines.errors import NotStored
from pipelines.ports import Batch, Message, Versioned, Write
from pipelines.stores.sqlite import SqliteBackend
from pipelines.system import SystemClock

async def lane(backend, name):
    for n in range(10_000):
        key = f"{name}/{n}"
        message = Message(id=key, queue="q", tenant="t", enqueued_at=SystemClock().now())
        await backend.commit(Batch(writes=[Write(key, b"x" * 300)], messages=[message]))
        print(key, flush=True)

async def many(path):
    backend = SqliteBackend(path, SystemClock())
    await asyncio.gather(*(lane(backend, f"lane{n}") for n in range(8)))

def limit_files(size):
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard if size is None else size, hard))

async def until_full(path):
    backend = SqliteBackend(path, SystemClock())
    limit_files(200_000)
    stored = 0
    try:
        while True:
            await backend.commit(Batch(writes=[Write(f"k/{stored}", b"x" * 5_000)]))
            stored += 1
    except NotStored as error:
        print(stored, error)
    limit_files(1_000)
    try:
        await backend.ping()
    except NotStored as error:
        print("ping refused:", error)
    print((await backend.get("k/0")).version, "still read")
    limit_files(None)
    await backend.ping()
    await backend.commit(Batch(writes=[Write("k/room", b"again")]))
    print("room again")

asyncio.run(globals()[sys.argv[1]](Path(sys.argv[2])))
"""


async def spawn(what: str, path: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WRITER, what, str(path)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


def modes(folder: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}


def overwrite(path: Path, *, start: int) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xff" * (path.stat().st_size - start))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "conductor.db"


@pytest.mark.chaos
async def test_a_kill_loses_no_acknowledged_commit(path: Path) -> None:
    process = await spawn("many", path)
    assert process.stdout
    acknowledged = [(await process.stdout.readline()).decode().strip() for _ in range(500)]
    process.send_signal(signal.SIGKILL)
    rest, errors = await process.communicate()
    complete = rest.decode().rpartition("\n")[0].split()
    assert process.returncode == -signal.SIGKILL, errors.decode()

    backend = SqliteBackend(path, VirtualClock())
    records = set(await backend.get_many([*acknowledged, *complete]))
    messages = {message.id for message in await backend.messages()}
    await backend.close()
    assert records == {*acknowledged, *complete}
    assert records <= messages


@pytest.mark.chaos
async def test_a_batch_that_a_kill_cut_off_is_whole_or_absent(path: Path) -> None:
    process = await spawn("many", path)
    assert process.stdout
    await process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    backend = SqliteBackend(path, VirtualClock())
    records = {key async for key, _ in backend.scan("")}
    messages = {message.id for message in await backend.messages()}
    await backend.close()
    assert records
    assert records == messages


async def test_a_second_process_is_told_who_has_the_file(path: Path) -> None:
    backend = SqliteBackend(path, VirtualClock())
    process = await spawn("many", path)
    _, errors = await process.communicate()
    assert process.returncode == 1
    sentence = errors.decode().splitlines()[-1]
    assert f"{path} is in use by process {os.getpid()}; stop that process" in sentence
    await backend.close()
    again = SqliteBackend(path, VirtualClock())
    await again.close()


async def test_a_full_disk_refuses_commits_and_loses_nothing(path: Path) -> None:
    process = await spawn("until_full", path)
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    first, second, *more = output.decode().splitlines()
    stored, _, reason = first.partition(" ")
    assert "is out of reach" in reason
    assert second.startswith("ping refused:")
    assert more == ["1 still read", "room again"]

    backend = SqliteBackend(path, VirtualClock())
    assert len([key async for key, _ in backend.scan("k/")]) == int(stored) + 1 > 5
    await backend.close()


async def test_a_lock_of_another_program_refuses_and_then_lets_through(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.stores.sqlite._BUSY_SECONDS", 0.05)
    backend = SqliteBackend(path, VirtualClock())
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(NotStored, match="database is locked"):
        await backend.commit(Batch(writes=[Write("a", b"1")]))
    assert await backend.get("a") is None
    other.execute("ROLLBACK")
    other.close()
    await backend.commit(Batch(writes=[Write("a", b"1")]))
    await backend.close()


async def test_only_the_owner_can_read_what_is_stored(path: Path) -> None:
    os.close(os.open(path, os.O_CREAT, 0o644))
    backend = SqliteBackend(path, VirtualClock())
    await backend.commit(Batch(writes=[Write("a", b"secret")]))
    found = modes(path.parent)
    assert set(found) == {path.name + end for end in ("", "-wal", "-shm", ".lock")}
    assert set(found.values()) == {0o600}
    await backend.close()


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    text = b"these are my notes, not a database" * 100
    path.write_bytes(text)
    with pytest.raises(UserError, match="is not a database"):
        SqliteBackend(path, VirtualClock())
    assert path.read_bytes() == text


def test_the_database_of_another_program_is_refused(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE mine (x)")
    other.close()
    with pytest.raises(UserError, match="another program"):
        SqliteBackend(path, VirtualClock())


async def test_a_newer_file_is_refused(path: Path) -> None:
    await SqliteBackend(path, VirtualClock()).close()
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(UserError, match=r"newer Conductor \(format 99, this one knows 1\)"):
        SqliteBackend(path, VirtualClock())


def test_a_refusal_lets_go_of_the_file(path: Path) -> None:
    path.write_bytes(b"no database at all, but long enough to have a header" * 10)
    for _ in range(2):
        with pytest.raises(UserError, match="is not a database"):
            SqliteBackend(path, VirtualClock())


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotStored, match="No such file or directory"):
        SqliteBackend(tmp_path / "nowhere" / "conductor.db", VirtualClock())


async def test_damage_is_reported_and_not_served(path: Path) -> None:
    backend = SqliteBackend(path, VirtualClock())
    writes = [Write(f"k/{n:04}", b"x" * 1000) for n in range(500)]
    await backend.commit(Batch(writes=writes))
    await backend.close()
    overwrite(path, start=4096)
    backend = SqliteBackend(path, VirtualClock())
    with pytest.raises(NotStored, match="out of reach"):
        await backend.get("k/0400")
    await backend.close()


async def test_a_message_of_a_newer_version_stays_where_it_is(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    backend = SqliteBackend(path, VirtualClock())
    known = Message(id="known", queue="q", tenant="t", enqueued_at=EPOCH)
    newer = Message(id="newer", queue="q", tenant="t", enqueued_at=EPOCH, schema_version=2)
    await backend.commit(Batch(messages=[newer, known]))
    await backend.close()
    db = sqlite3.connect(path)
    with db:
        db.execute("""UPDATE messages SET body = json_set(body, '$.added', 1) WHERE id = 'newer'""")
    backend = SqliteBackend(path, VirtualClock())
    assert await backend.messages() == [known]
    await backend.close()
    assert db.execute("SELECT count(*) FROM messages").fetchone() == (2,)
    db.close()
    assert "message newer (claimed 0 times) stays pending" in caplog.text


MOUNTS = """\
/dev/vda / ext4 rw 0 0
server:/export /mnt/share\\040one nfs4 rw 0 0
/dev/vdb /mnt/share\\040one/disk xfs rw 0 0
me@host: /home/me/remote fuse.sshfs rw 0 0
broken line
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/mnt/share one/a/b.db", "nfs4"), ("/home/me/remote/b.db", "fuse.sshfs")],
)
def test_a_network_disk_is_refused(path: str, kind: str) -> None:
    with pytest.raises(UserError, match=rf"network file system \({kind}\)"):
        refuse_network_disk(Path(path), MOUNTS)


@pytest.mark.parametrize("path", ["/a.db", "/mnt/share one/disk/b.db", "/home/me/remotely/b.db"])
def test_a_local_disk_is_not_refused(path: str) -> None:
    refuse_network_disk(Path(path), MOUNTS)
    refuse_network_disk(Path(path), "")


# --- beside a running process --------------------------------------------------------------------


async def test_a_running_store_can_be_read_beside_it_and_not_written(tmp_path: Path) -> None:
    path, clock = tmp_path / "conductor.db", VirtualClock()
    owner = SqliteBackend(path, clock)
    await owner.commit(put("run/1/2/a", b"first"))
    reader = SqliteBackend(path, clock, read_only=True)
    try:
        assert await reader.get("run/1/2/a") == Versioned(b"first", 1)
        await owner.commit(put("run/1/2/a", b"second"))
        assert await reader.get("run/1/2/a") == Versioned(b"second", 2)
        with pytest.raises(NotStored, match="readonly"):
            await reader.commit(put("run/1/2/a", b"third"))
        await owner.commit(put("run/1/2/b", b"still mine"))
    finally:
        await reader.close()
        await owner.close()


async def test_a_store_that_no_process_owns_can_be_read(tmp_path: Path) -> None:
    path, clock = tmp_path / "conductor.db", VirtualClock()
    owner = SqliteBackend(path, clock)
    await owner.commit(put("run/1/2/a", b"first"))
    await owner.close()
    reader = SqliteBackend(path, clock, read_only=True)
    assert [key async for key, _ in reader.scan("run/")] == ["run/1/2/a"]
    await reader.close()
    await SqliteBackend(path, clock).close()


def test_reading_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no database"):
        SqliteBackend(tmp_path / "conductor.db", VirtualClock(), read_only=True)
    assert list(tmp_path.iterdir()) == []
