"""Changes, tasks and readers for agents, made from two versions of a few files."""

import difflib
import random
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Literal

from pipelines.agents.budget import MeteredModel
from pipelines.agents.context import AgentContext
from pipelines.diff import split_lines
from pipelines.integrations.llm.base import LanguageModel
from pipelines.model import (
    Actor,
    AnswerFinding,
    Change,
    ChangedFile,
    ChangedFiles,
    FileStatus,
    Finding,
    PriorFinding,
    PullRequestTrigger,
    Repository,
    SubmitReview,
    Task,
    TaskResult,
)
from pipelines.ports import FileText
from tests.support.carrying import carried_out
from tests.support.clock import VirtualClock
from tests.support.workplace import MemoryWorkplace

REPOSITORY = Repository(installation_id=1, id=2, owner="acme", name="shop")
ADA = Actor(id=7, login="ada")
BASE_SHA, HEAD_SHA = "b" * 40, "a" * 40

Tree = Mapping[str, str]


def patch_of(old: str, new: str) -> str:
    """The hunks that GitHub would give for the two texts."""
    rows: list[str] = []
    for row in list(difflib.unified_diff(split_lines(old), split_lines(new)))[2:]:
        rows.append(row if row.endswith("\n") else row + "\n\\ No newline at end of file\n")
    return "".join(rows).removesuffix("\n")


def changed_files(base: Tree, head: Tree) -> ChangedFiles:
    """The listing between two trees."""
    files: list[ChangedFile] = []
    for path in sorted({*base, *head}):
        old, new = base.get(path, ""), head.get(path, "")
        if path in base and path in head and old == new:
            continue
        status = FileStatus.MODIFIED
        if path not in base:
            status = FileStatus.ADDED
        elif path not in head:
            status = FileStatus.REMOVED
        files.append(ChangedFile(path=path, status=status, patch=patch_of(old, new)))
    return ChangedFiles(files=tuple(files))


class TreeReader(MemoryWorkplace):
    """A workplace over two trees; counts what it was asked."""

    def __init__(self, base: Tree, head: Tree, listing: ChangedFiles | None = None) -> None:
        super().__init__(head, base)
        self.base, self.head = base, head
        self.listing = listing or changed_files(base, head)
        self.unreadable: dict[str, Literal["binary", "too large"]] = {}
        self.calls = 0

    async def changed_files(self) -> ChangedFiles:
        self.calls += 1
        return self.listing

    async def read(
        self, paths: Sequence[str], *, at: Literal["head", "base"] = "head"
    ) -> Mapping[str, FileText]:
        self.calls += 1
        tree = self.head if at == "head" else self.base
        return {path: self._text(path, tree) for path in paths}

    def _text(self, path: str, tree: Tree) -> FileText:
        if path in self.unreadable:
            return FileText(path=path, text=None, reason=self.unreadable[path])
        if path not in tree:
            return FileText(path=path, text=None, reason="missing")
        return FileText(path=path, text=tree[path], size=len(tree[path]))


def change(**changes: object) -> Change:
    values: dict[str, object] = {
        "repository": REPOSITORY,
        "number": 5,
        "head_sha": HEAD_SHA,
        "base_sha": BASE_SHA,
        "head_ref": "feature",
        "title": "Add totals",
        "author": ADA,
        **changes,
    }
    return Change.model_validate(values)


def review_task(subject: Change | None = None, **changes: object) -> Task:
    trigger = PullRequestTrigger(
        repository=REPOSITORY,
        actor=ADA,
        delivery_id="d1",
        action="opened",
        number=5,
        head_sha=HEAD_SHA,
        head_ref="feature",
        base_ref="main",
        base_sha=BASE_SHA,
        head_repository_id=2,
        author=ADA,
    )
    values: dict[str, object] = {
        "run_id": "run1",
        "step": "review",
        "agent": "review",
        "attempt": 1,
        "trigger": trigger,
        "change": subject or change(),
        "budget_usd": 1.0,
        "deadline": VirtualClock().now() + timedelta(minutes=15),
        **changes,
    }
    return Task.model_validate(values)


def context_for(reader: TreeReader, model: LanguageModel, budget_usd: float = 1.0) -> AgentContext:
    meter = MeteredModel(model, budget_usd)
    return AgentContext(workplace=reader, model=meter, clock=VirtualClock(), rng=random.Random(4))


async def review(reader: TreeReader, model: LanguageModel, task: Task | None = None) -> TaskResult:
    """Run one review from start to stop."""
    return await carried_out(task or review_task(), reader, model)


def posted(result: TaskResult) -> tuple[Finding, ...]:
    """The findings of the one review, or none."""
    reviews = [effect for effect in result.effects if isinstance(effect, SubmitReview)]
    assert len(reviews) <= 1
    return reviews[0].findings if reviews else ()


def answered(result: TaskResult) -> list[str]:
    """The threads that are answered as fixed."""
    return [e.thread_id for e in result.effects if isinstance(e, AnswerFinding)]


def as_prior(finding: Finding, thread: str = "t1", **changes: object) -> PriorFinding:
    """What GitHub hands back about a finding that was posted."""
    values: dict[str, object] = {
        "fingerprint": finding.fingerprint,
        "anchor": finding.anchor,
        "thread_id": thread,
        "comment_id": 100,
        "path": finding.path,
        "line": finding.line,
        "title": finding.title,
        **changes,
    }
    return PriorFinding.model_validate(values)
