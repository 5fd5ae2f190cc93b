"""Organisations that each wait for the review of one pull request, and what they must be given."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bot.simulator import NewApp, Simulator
from bot.simulator.state import Account, PullRequest, Repository
from tests.support.town_model import BROKEN_CART, CART, FIXED_CART, answers, finding

CHECK = "conductor / pull-request / review"
LOST = "The run of this check was lost"
"""What the check is called of a run that was lost with the store."""


@dataclass
class House:
    """An organisation, its repository and the pull request that it waits to have reviewed."""

    github: Simulator
    repo: Repository
    ada: Account
    pull: PullRequest | None = None

    @property
    def request(self) -> PullRequest:
        """The pull request that was opened."""
        assert self.pull
        return self.pull

    async def open(self) -> None:
        """Open the pull request, whose one mistake is to be found."""
        await self.github.push(self.repo, "topic", {"cart.py": BROKEN_CART}, self.ada)
        self.pull = await self.github.open_pull_request(self.repo, "topic", self.ada)

    async def mend(self) -> None:
        """Push what the review asks for."""
        await self.github.push(self.repo, "topic", {"cart.py": FIXED_CART}, self.ada)

    async def note(self, text: str) -> None:
        """Push something that nobody is to look at."""
        await self.github.push(self.repo, "notes", {"notes.md": text}, self.ada)

    @property
    def judged(self) -> bool:
        """Whether the head has its checks, all completed, and what was found is told of."""
        if self.pull is None:
            return True
        pull = self.pull
        checks = [c for c in self.repo.checks.values() if c.head_sha == pull.head_sha]
        fixed = len(pull.heads) > 1
        answered = all(thread.resolved_by for thread in pull.threads) if fixed else True
        done = bool(checks) and all(check.status == "completed" for check in checks)
        return done and bool(pull.threads) and answered

    @property
    def effects(self) -> int:
        """How much stands on GitHub: checks, reviews and comments in threads."""
        pull = self.request
        return len(self.repo.checks) + len(pull.reviews) + len(pull.comments())

    @property
    def doubled(self) -> int:
        """How much of that stands there a second time."""
        pull = self.request
        checks = [c for c in self.repo.checks.values() if c.title != LOST]
        keys = Counter[str](f"check {c.head_sha} {c.name}" for c in checks)
        keys.update(f"review {r.commit}" for r in pull.reviews if r.body)
        keys.update(
            f"{thread.id} {comment.body}" for thread in pull.threads for comment in thread.comments
        )
        return keys.total() - len(keys)

    def check(self, bot: Account, *, lossy: bool = False) -> None:
        """Nothing is lost and nothing is doubled on GitHub.

        After a loss of the store (``lossy``), a check may be followed by another of its name.
        """
        pull = self.request
        checks = [c for c in self.repo.checks.values() if not (lossy and c.title == LOST)]
        mended = len(pull.heads) > 1
        # An answer in a thread is a review without a text.
        reviews = [r.commit for r in pull.reviews if r.user is bot and r.body]
        assert reviews == [pull.heads[0]]
        (thread,) = pull.threads
        assert [comment.user for comment in thread.comments] == [bot] * (2 if mended else 1)
        assert thread.resolved_by is (bot if mended else None)
        made = Counter((check.head_sha, check.name) for check in checks)
        assert made == Counter((sha, CHECK) for sha in pull.heads), made
        ended = [(check.conclusion, check.title) for check in checks]
        expected = [("neutral", "1 new finding (1 high)"), ("success", "0 new findings, 1 fixed")]
        assert ended == expected[: len(pull.heads)]

    @property
    def state(self) -> str:
        """Where it stands, for whoever has to find out why it is not done."""
        checks = [(c.head_sha[:7], c.status, c.title) for c in self.repo.checks.values()]
        pull = self.pull
        if pull is None:
            return f"{self.repo.full_name}: no pull request"
        threads = [(len(t.comments), bool(t.resolved_by)) for t in pull.threads]
        return f"{self.repo.full_name}: {[sha[:7] for sha in pull.heads]} {checks} {threads}"


async def built(github: Simulator, app: NewApp, count: int) -> list[House]:
    """So many organisations with the App installed: GitHub takes one write a second from each."""
    houses: list[House] = []
    for number in range(count):
        owner = github.create_organization(f"house-{number}")
        ada = github.create_user("ada" if number == 0 else f"ada-{number}")
        repo = await github.create_repository(owner, "shop", {"cart.py": CART})
        github.set_role(repo, ada, "write")
        github.install(app.app, owner, [repo])
        houses.append(House(github, repo, ada))
    return houses


def model_file(folder: Path, *, delay: float = 0.3) -> Path:
    """The script of a model that sees the mistake, and answers after so many seconds."""
    found = answers(finding(path="cart.py"), contains=["+     return sum(prices) / len(prices)"])
    rules = [found, answers()]
    for rule in rules:
        rule["replies"][0]["delay"] = delay
    path = folder / "model.json"
    path.write_text(json.dumps({"rules": rules}))
    return path
