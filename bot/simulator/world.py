"""What every operation shares: state, clock, numbers, git folders and a way to announce events."""

import asyncio
import base64
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bot.simulator.git import GitRepository
from bot.simulator.state import (
    Account,
    App,
    Delivery,
    Installation,
    Label,
    PullRequest,
    Repository,
    State,
)
from pipelines.ports import Clock

Json = dict[str, Any]

FIRST_ID = 1_200_000_001
"""Where identifiers start: GraphQL's ``databaseId`` has 31 bits."""
WIDE = 40_000_000_000
"""Added for checks and deliveries: GitHub's are beyond 32 bits, what stores them must be too."""


def stamp(moment: datetime | None) -> str | None:
    """A time as GitHub writes it: seconds, in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None


@dataclass
class Announcement:
    """An event that happened: to be delivered to every App that subscribed to it."""

    event: str
    payload: Json
    repository: Repository | None = None
    app: App | None = None
    """Set when GitHub tells one App only, as with its own check runs."""
    account: Account | None = None


@dataclass
class World:
    """The simulated GitHub's shared parts; the deliveries set ``announce`` and ``redeliver``."""

    root: Path
    clock: Clock
    rng: random.Random
    base_url: str = "http://127.0.0.1"
    state: State = field(default_factory=State)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    announce: Callable[[Announcement], None] = lambda _: None
    redeliver: Callable[[Delivery], None] = lambda _: None
    _last_id: int = FIRST_ID

    def next_id(self, *, wide: bool = False) -> int:
        """A new number, unique over all kinds, growing by small random steps."""
        self._last_id += self.rng.randrange(1, 50)
        return self._last_id + (WIDE if wide else 0)

    def now(self) -> datetime:
        """The time, in whole seconds: GitHub stores no fractions."""
        return self.clock.now().astimezone(UTC).replace(microsecond=0)

    def guid(self) -> str:
        """A version 4 UUID from the world's own randomness."""
        value = self.rng.getrandbits(128) & ~(0xF << 76) | (4 << 76)
        value = value & ~(0x3 << 62) | (0x2 << 62)
        text = f"{value:032x}"
        return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))

    def secret(self, length: int) -> str:
        """So many characters of base64url."""
        raw = base64.urlsafe_b64encode(self.rng.randbytes(length))
        return raw.decode().rstrip("=")[:length]

    def add_account(self, login: str, kind: str, name: str = "") -> Account:
        """Add a person, organisation or bot; an existing login is returned as it is."""
        if found := self.state.account(login):
            return found
        assert kind in ("User", "Organization", "Bot")
        account = Account(self.next_id(), login, kind, name or login, self.now())
        self.state.accounts[account.id] = account
        return account

    async def add_repository(
        self, owner: Account, name: str, *, private: bool, default_branch: str = "main"
    ) -> Repository:
        """Make an empty repository with git underneath."""
        number = self.next_id()
        git = GitRepository(self.root / f"{number}.git")
        await git.create(default_branch)
        repository = Repository(
            number, owner, name, git, default_branch, self.now(), private=private
        )
        repository.labels = [
            Label(self.next_id(), "bug", "d73a4a", "Something isn't working"),
            Label(self.next_id(), "enhancement", "a2eeef", "New feature or request"),
        ]
        self.state.repositories[number] = repository
        return repository

    def installation_for(self, app: App, repository: Repository) -> Installation | None:
        """The installation through which an App reaches a repository."""
        return next((i for i in self.state.covering(repository) if i.app is app), None)

    async def diff_base(self, repository: Repository, pull: PullRequest) -> str:
        """The commit a pull request is compared with: the merge base, as in a three-dot diff."""
        return await repository.git.merge_base(pull.base_sha, pull.head_sha) or pull.base_sha


def node_id(prefix: str, number: int) -> str:
    """A global node identifier in the shape of GitHub's: a type prefix and an opaque tail."""
    tail = base64.urlsafe_b64encode(b"\x92\xcd" + number.to_bytes(8, "big")).decode().rstrip("=")
    return f"{prefix}_{tail}"


def node_number(node: str) -> int | None:
    """The number in a node identifier; None if it is not one."""
    _, _, tail = node.partition("_")
    try:
        raw = base64.urlsafe_b64decode(tail + "=" * (-len(tail) % 4))
    except ValueError:
        return None
    return int.from_bytes(raw[2:], "big") if len(raw) == 10 else None
