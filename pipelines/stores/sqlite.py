"""Durable storage in one SQLite file: one process, one writer thread, group commit.

Commits that wait while another is being written to disk share the next transaction and its one
fsync, so ``synchronous=FULL`` costs a busy process nothing. A job checks everything before it
writes anything: one that fails its check has changed nothing and leaves its neighbours alone.
"""

import logging
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from pipelines.errors import ConductorError, Conflict, LeaseLost, NotStored, UserError
from pipelines.ports import Append, Batch, Clock, Message, Versioned, Write
from pipelines.stores.backend import StorageBackend
from pipelines.stores.checks import check_batch, check_key
from pipelines.stores.codec import decode, encode
from pipelines.stores.files import FileLock, create_private, refuse_network_disk, share_of_disk
from pipelines.stores.threads import GroupThread, Job, Outcome

_LOG = logging.getLogger(__name__)

_APPLICATION_ID = 0x434E4454
"""``CNDT``: tells our files from those of other programs (https://sqlite.org/fileformat2.html)."""

_VERSION = 1
_BUSY_SECONDS = 5.0
"""How long to wait for a lock, e.g. of a backup tool, before a commit is refused."""

_PAGE = 100
_GLANCE = 16
"""So many records are read where they are asked for: 10 us each, a fourth of a thread's turn."""
_AFTER_ASCII = "\x7f"

_SCHEMA = """
CREATE TABLE records (key TEXT PRIMARY KEY, value BLOB NOT NULL, version INTEGER NOT NULL,
                      expires REAL);
CREATE INDEX records_by_expiry ON records (expires) WHERE expires IS NOT NULL;
CREATE TABLE logs (log TEXT, number INTEGER, item BLOB NOT NULL, PRIMARY KEY (log, number))
                  WITHOUT ROWID;
CREATE TABLE messages (place INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,
                       attempts INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE pings (id INTEGER PRIMARY KEY CHECK (id = 1), at REAL NOT NULL);
"""

_GET = "SELECT value, version FROM records WHERE key = ? AND (expires IS NULL OR expires > ?)"
_VERSION_OF = "SELECT version FROM records WHERE key = ? AND (expires IS NULL OR expires > ?)"
_PUT = (
    "INSERT INTO records VALUES (?1, ?2, 1, ?3) ON CONFLICT (key) DO UPDATE SET "
    "value = ?2, expires = ?3, version = CASE WHEN expires <= ?4 THEN 1 ELSE version + 1 END"
)
_SCAN = (
    "SELECT key, value, version FROM records WHERE key >= ? AND key > ? AND key < ? "
    "AND (expires IS NULL OR expires > ?) ORDER BY key LIMIT ?"
)
_SWEEP = "DELETE FROM records WHERE key IN (SELECT key FROM records WHERE expires <= ? LIMIT ?)"
_PING = "INSERT INTO pings VALUES (1, ?) ON CONFLICT DO UPDATE SET at = excluded.at"


class SqliteBackend(StorageBackend):
    """One file, owned by this process alone until ``close``.

    With ``read_only`` it is not owned: it is read beside the process that does, which the
    write-ahead log allows, every commit raises NotStored, and nothing is created.
    """

    def __init__(self, path: Path, clock: Clock, *, read_only: bool = False) -> None:
        self._clock = clock
        self._path = path
        refuse_network_disk(path)
        self._lock = None if read_only else FileLock(path)
        try:
            self._writing = _open_beside(path) if read_only else _open(path)
            self._reading, self._glancing = _connect(path), _connect(path)
        except BaseException:
            if self._lock:
                self._lock.release()
            raise
        self._writer = GroupThread("sqlite-writer", self._write_group)
        self._reader = GroupThread("sqlite-reader", self._read_group)
        self._closed = False

    async def get(self, key: str) -> Versioned | None:
        """Return the record, or None if there is none or it expired."""
        return (await self.get_many((key,))).get(key)

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, Versioned]:
        """Return the records that exist: many of them in one turn of the reader thread."""
        for key in keys:
            check_key(key)
        now = self._now()
        if len(keys) <= _GLANCE:
            return self._glance(keys, now)
        return await self._reader.run(lambda db: _select(db, keys, now))

    async def scan(self, prefix: str, *, after: str = "") -> AsyncIterator[tuple[str, Versioned]]:
        """Yield live records under a prefix in key order, read page by page."""
        last = after
        while True:
            page = await self._page(prefix, last)
            for key, record in page:
                yield key, record
            if len(page) < _PAGE:
                return
            last = page[-1][0]

    async def _page(self, prefix: str, after: str) -> Sequence[tuple[str, Versioned]]:
        bounds = (prefix, after, prefix + _AFTER_ASCII, self._now(), _PAGE)
        rows = await self._reader.run(lambda db: db.execute(_SCAN, bounds).fetchall())
        return [(key, Versioned(value, version)) for key, value, version in rows]

    async def read_log(
        self, log: str, *, after: int = 0, limit: int = 1000
    ) -> Sequence[tuple[int, bytes]]:
        """Return items of a log with their numbers, oldest first."""
        check_key(log)
        query = "SELECT number, item FROM logs WHERE log = ? AND number > ? ORDER BY number LIMIT ?"
        return await self._reader.run(lambda db: db.execute(query, (log, after, limit)).fetchall())

    async def messages(self) -> Sequence[Message]:
        """Return every message that is not settled, in the order in which they were enqueued.

        One that this version cannot read is left where it is, for the version that can.
        """
        query = "SELECT id, attempts, body FROM messages ORDER BY place"
        return await self._reader.run(lambda db: _read_messages(db.execute(query)))

    async def commit(self, batch: Batch) -> None:
        """Store the whole batch durably or nothing."""
        check_batch(batch)
        bodies = [encode(message) for message in batch.queued]
        now = self._now()
        await self._writer.run(lambda db: _commit(db, batch, bodies, now))

    async def sweep(self) -> int:
        """Delete what has expired, a page a transaction, and return how many records that was."""
        total, page = 0, (self._now(), _PAGE)
        while count := await self._writer.run(lambda db: db.execute(_SWEEP, page).rowcount):
            total += count
        return total

    async def ping(self) -> None:
        """Write one row durably; raises ``NotStored`` with the reason if that is impossible."""
        now = self._now()
        await self._writer.run(lambda db: db.execute(_PING, (now,)).rowcount)

    async def fullness(self) -> float:
        """Return which share the file has of what it and the free part of its disk make up."""
        try:
            return share_of_disk(self._path)
        except OSError as error:
            raise NotStored(f"The disk of {self._path} cannot be asked for its room.") from error

    async def close(self) -> None:
        """Finish what was accepted, fold the write-ahead log into the file, release the lock."""
        await self._writer.close()
        await self._reader.close()
        if not self._closed:
            self._closed = True
            self._reading.close()
            self._glancing.close()
            self._writing.close()
            if self._lock:
                self._lock.release()

    def _now(self) -> float:
        return self._clock.now().timestamp()

    def _glance(self, keys: Sequence[str], now: float) -> Mapping[str, Versioned]:
        if self._closed:
            raise NotStored("The store is closed.")
        try:
            return _select(self._glancing, keys, now)
        except sqlite3.Error as error:
            raise self._explained(error) from None

    # in the threads

    def _write_group(self, jobs: Sequence[Job[sqlite3.Connection]]) -> Sequence[Outcome]:
        try:
            return _transaction(self._writing, jobs)
        except Exception as error:  # noqa: BLE001 - raised again where the answers are awaited
            if self._writing.in_transaction:
                self._writing.rollback()
            if len(jobs) == 1 or isinstance(error, sqlite3.OperationalError):
                # Disk full, locked, read-only: no batch would fare better alone.
                return [(True, self._explained(error))] * len(jobs)
        return [outcome for job in jobs for outcome in self._write_group([job])]

    def _read_group(self, jobs: Sequence[Job[sqlite3.Connection]]) -> Sequence[Outcome]:
        return [self._read(job) for job in jobs]

    def _read(self, job: Job[sqlite3.Connection]) -> Outcome:
        try:
            return False, job(self._reading)
        except Exception as error:  # noqa: BLE001 - raised again where the answer is awaited
            return True, self._explained(error)

    def _explained(self, error: Exception) -> Exception:
        if not isinstance(error, sqlite3.Error):
            return error
        failure = NotStored(f"{self._path} is out of reach: {error}.")
        failure.__cause__ = error
        return failure


def _transaction(
    db: sqlite3.Connection, jobs: Sequence[Job[sqlite3.Connection]]
) -> Sequence[Outcome]:
    """Run the jobs in one transaction; one that raises a ConductorError has written nothing."""
    outcomes: list[Outcome] = []
    db.execute("BEGIN IMMEDIATE")
    for job in jobs:
        try:
            outcomes.append((False, job(db)))
        except ConductorError as error:
            outcomes.append((True, error))
    db.execute("COMMIT")
    return outcomes


def _commit(db: sqlite3.Connection, batch: Batch, bodies: Sequence[bytes], now: float) -> None:
    for write in batch.writes:
        if write.expect is not None:
            row = db.execute(_VERSION_OF, (write.key, now)).fetchone()
            actual = row[0] if row else 0
            if write.expect != actual:
                raise Conflict(write.key, expected=write.expect, actual=actual)
    for lease in batch.settled:
        row = db.execute(
            "SELECT attempts FROM messages WHERE id = ?", (lease.message.id,)
        ).fetchone()
        if row is None or row[0] != lease.token:
            raise LeaseLost(lease.message.id)
    gone = [(write.key,) for write in batch.writes if write.value is None]
    db.executemany("DELETE FROM records WHERE key = ?", gone)
    db.executemany(_PUT, [_row(write, now) for write in batch.writes if write.value is not None])
    for append in batch.appends:
        _append(db, append)
    db.executemany("DELETE FROM messages WHERE id = ?", [(x.message.id,) for x in batch.settled])
    rows = [(m.id, m.attempts, body) for m, body in zip(batch.queued, bodies, strict=True)]
    db.executemany(
        "INSERT INTO messages (id, attempts, body) VALUES (?, ?, ?) ON CONFLICT (id) "
        "DO UPDATE SET attempts = excluded.attempts, body = excluded.body",
        rows,
    )


def _row(write: Write, now: float) -> tuple[str, bytes | None, float | None, float]:
    return write.key, write.value, None if write.ttl is None else now + write.ttl, now


def _append(db: sqlite3.Connection, append: Append) -> None:
    query = "SELECT max(number) FROM logs WHERE log = ?"
    number = (db.execute(query, (append.log,)).fetchone()[0] or 0) + 1
    db.execute("INSERT INTO logs VALUES (?, ?, ?)", (append.log, number, append.item))
    oldest = number - append.keep
    db.execute("DELETE FROM logs WHERE log = ? AND number <= ?", (append.log, oldest))


def _select(db: sqlite3.Connection, keys: Sequence[str], now: float) -> dict[str, Versioned]:
    found: dict[str, Versioned] = {}
    for key in keys:
        row = db.execute(_GET, (key, now)).fetchone()
        if row is not None:
            found[key] = Versioned(*row)
    return found


def _read_messages(rows: sqlite3.Cursor) -> list[Message]:
    messages: list[Message] = []
    for identity, attempts, body in rows:
        try:
            messages.append(decode(Message, body))
        except ValidationError as error:
            _LOG.warning(
                "message %s (claimed %d times) stays pending, as this version cannot read it: %s",
                identity,
                attempts,
                error.errors(include_url=False, include_input=False)[0]["msg"],
            )
    return messages


# --- opening -------------------------------------------------------------------------------------


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )


def _open(path: Path) -> sqlite3.Connection:
    """Open the file for writing, making it if it is not there."""
    create_private(path)
    db = _connect(path)
    try:
        _check_ours(db, path)
        _use_log(db, path)
        _create_schema(db)
    except BaseException as error:
        db.close()
        if isinstance(error, sqlite3.OperationalError):
            raise NotStored(f"Cannot open {path}: {error}.") from error
        if isinstance(error, sqlite3.DatabaseError):
            raise UserError(f"{path} is not a database ({error}); name another file.") from error
        raise
    return db


def _open_beside(path: Path) -> sqlite3.Connection:
    """Open a file that is there for reading; nothing can be written through the connection."""
    if not path.is_file():
        raise UserError(f"There is no database {path}; set CONDUCTOR_STORAGE_URL to the right one.")
    try:
        db = _connect(path)
        db.execute("PRAGMA query_only = ON")
        _check_ours(db, path)
    except sqlite3.OperationalError as error:
        raise NotStored(f"Cannot open {path}: {error}.") from error
    except sqlite3.DatabaseError as error:
        raise UserError(f"{path} is not a database ({error}); name another file.") from error
    return db


def _use_log(db: sqlite3.Connection, path: Path) -> None:
    mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise UserError(f"{path} cannot have a write-ahead log ({mode}); use a local disk.")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA trusted_schema = OFF")


def _check_ours(db: sqlite3.Connection, path: Path) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    owner = db.execute("PRAGMA application_id").fetchone()[0]
    tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables and owner != _APPLICATION_ID:
        raise UserError(f"{path} is the database of another program; name another file.")
    if version > _VERSION:
        raise UserError(
            f"{path} was written by a newer Conductor (format {version}, this one knows "
            f"{_VERSION}); install that version or name another file."
        )


def _create_schema(db: sqlite3.Connection) -> None:
    if db.execute("PRAGMA user_version").fetchone()[0] == 0:
        db.executescript(
            f"BEGIN; {_SCHEMA} PRAGMA application_id = {_APPLICATION_ID}; "
            f"PRAGMA user_version = {_VERSION}; COMMIT;"
        )
