"""A small stateful forge: what a test's Source, Reporter and Permissions read and write.

It keeps GitHub's rules that matter to orchestration: a completed check never reopens, a write to a
commit that is not the head says so, an unlooked-up repeat doubles what it writes.
"""

import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from bot.commands.permissions import Level
from pipelines.errors import ConductorError, Dropped, Ignorable
from pipelines.model import (
    Actor,
    AnswerFinding,
    Change,
    ChangedFile,
    ChangedFiles,
    ConfigFile,
    Contribution,
    CreateDeployment,
    Effect,
    FileStatus,
    Finding,
    OpenFeedback,
    OpenIssue,
    PostComment,
    PriorFinding,
    PushTrigger,
    React,
    Repository,
    SubmitReview,
    TaskResult,
    Trigger,
    WorkflowRun,
)
from pipelines.ports import CheckState, FileText, Receipt, Snapshot, Tree, TreeEntry

REPOSITORY = Repository(installation_id=7, id=70, owner="acme", name="shop")
ALICE = Actor(id=1, login="alice")
BOB = Actor(id=2, login="bob")


def sha(name: str) -> str:
    """A commit id that reads well in a test and looks real to the code."""
    return hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()


class Crash(BaseException):
    """The process died here; no handler may catch it."""


class Faults:
    """Every await that touches the outside passes here; the n-th one may be where it all ends."""

    def __init__(self) -> None:
        self.passed: list[str] = []
        self.crash_at: int | None = None
        self.planned: dict[str, list[Exception]] = {}

    def point(self, name: str) -> None:
        self.passed.append(name)
        if self.crash_at is not None and len(self.passed) > self.crash_at:
            raise Crash(name)
        if self.planned.get(name):
            raise self.planned[name].pop(0)

    def plan(self, name: str, *errors: Exception) -> None:
        """The next visits of the point raise these, one each."""
        self.planned.setdefault(name, []).extend(errors)


@dataclass
class Pull:
    """A pull request as the forge has it now."""

    number: int
    head: str
    open: bool = True
    merged: bool = False
    draft: bool = False
    author: Actor = ALICE
    files: dict[str, str] = field(default_factory=lambda: {"src/app.py": "print('hi')\n"})
    prior: tuple[PriorFinding, ...] = ()
    branch: str = "topic"
    fork: bool = False


@dataclass
class Check:
    """One check run; ``states`` is everything that it was set to, oldest first."""

    id: int
    name: str
    head: str
    external_id: str
    states: list[str]

    @property
    def state(self) -> str:
        return self.states[-1]


@dataclass
class Forge:
    """The truth outside, and a record of every write."""

    faults: Faults = field(default_factory=Faults)
    pulls: dict[int, Pull] = field(default_factory=dict[int, Pull])
    config: str | None = None
    levels: dict[int, Level] = field(default_factory=lambda: {ALICE.id: Level.WRITE})
    done: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Every effect really written: key and commit."""
    bodies: list[str] = field(default_factory=list[str])
    denied: set[str] = field(default_factory=set[str])
    """Kinds of effect that it does not take."""
    numbers: dict[str, int] = field(default_factory=dict[str, int])
    """Of deployments and issues, by effect."""
    checks: dict[int, Check] = field(default_factory=dict[int, Check])
    gone: bool = False
    stranger: bool = False
    findings: dict[str, tuple[Finding, ...]] = field(default_factory=dict[str, tuple[Finding, ...]])
    """Annotations by check name."""
    issues: list[OpenFeedback] = field(default_factory=list[OpenFeedback])
    """Open issues of the monitor."""
    commits: dict[str, Contribution] = field(default_factory=dict[str, Contribution])
    """Who brought in which commit, by id."""
    after_reading: Callable[[], Awaitable[None]] | None = None

    # Source

    async def change(self, trigger: Trigger) -> Change:
        self.faults.point("source.change")
        number = getattr(trigger, "number", None)
        head = getattr(trigger, "head_sha", None)
        if number is None and head is not None:
            number = next((n for n, p in self.pulls.items() if sha(p.head) == head), None)
        pull = self.pulls.get(number) if isinstance(number, int) else None
        if pull is None:
            raise Ignorable("There is no such pull request any more.")
        change = self._change(pull)
        if self.after_reading is not None:
            await self.after_reading()
        return change

    def _change(self, pull: Pull) -> Change:
        reviewed = [commit for key, commit in self.done if key.startswith(f"review/{pull.number}/")]
        return Change(
            repository=REPOSITORY,
            number=pull.number,
            head_sha=sha(pull.head),
            base_sha=sha("base"),
            head_ref=pull.branch,
            base_ref="main",
            head_repository_id=REPOSITORY.id + pull.fork,
            title="A change",
            author=pull.author,
            author_can_write=not self.stranger,
            draft=pull.draft,
            open=pull.open,
            merged=pull.merged,
            paths=tuple(pull.files),
            config=self._config(),
            prior_findings=pull.prior,
            reviewed_shas=tuple(dict.fromkeys(reviewed)),
        )

    def _config(self) -> ConfigFile | None:
        if self.config is None:
            return None
        return ConfigFile(path=".conductor.yml", text=self.config, sha=sha(self.config))

    def reader(self, change: Change) -> "ForgeReader":
        assert change.number is not None
        return ForgeReader(self, self.pulls[change.number])

    async def snapshot(self, change: Change, *, at: Literal["head", "base"] = "head") -> Snapshot:
        self.faults.point("source.snapshot")
        assert change.number is not None
        files = {path: text.encode() for path, text in self.pulls[change.number].files.items()}
        return Snapshot(sha=change.head_sha if at == "head" else change.base_sha, files=files)

    async def feedback(self, change: Change, environment: str | None) -> Sequence[OpenFeedback]:
        self.faults.point("source.feedback")
        return [
            issue
            for issue in self.issues
            if environment is None or issue.payload.environment == environment
        ]

    async def contributions(
        self, trigger: PushTrigger, shas: Sequence[str]
    ) -> Sequence[Contribution]:
        self.faults.point("source.contributions")
        assert trigger.repository.id == REPOSITORY.id
        return [self.commits[sha] for sha in shas if sha in self.commits]

    # Permissions

    async def level(self, repository: Repository, actor: Actor) -> Level:
        self.faults.point("permissions.level")
        assert repository.id == REPOSITORY.id
        return self.levels.get(actor.id, Level.NONE)

    # Reporter

    async def carry_out(self, run: WorkflowRun, effect: Effect, *, repeated: bool) -> Receipt:
        self.faults.point(f"before {effect.kind}")
        head = effect.head_sha or run.change.head_sha
        if effect.kind in self.denied:
            return Receipt(key=effect.key, status="denied", message="The forge says no.")
        number = self._number(effect)
        if repeated and effect.key in {key for key, _ in self.done}:
            return Receipt(key=effect.key, status="found", number=number)
        pull = self.pulls.get(run.change.number or 0)
        pinned = isinstance(effect, SubmitReview | AnswerFinding)
        if pinned and pull is not None and sha(pull.head) != head:
            return Receipt(key=effect.key, status="moved", message="The head moved on.")
        if isinstance(effect, React) and effect.key in {key for key, _ in self.done}:
            return Receipt(key=effect.key, status="done")  # GitHub makes a repeat a no-op
        self.done.append((effect.key, head))
        if isinstance(effect, PostComment):
            self.bodies.append(effect.body)
        self.faults.point(f"after {effect.kind}")
        url = f"https://forge.test/{effect.key}"
        return Receipt(key=effect.key, status="done", url=url, number=number)

    def _number(self, effect: Effect) -> int | None:
        """What the forge calls what is made; the same effect makes the same thing."""
        if not isinstance(effect, CreateDeployment | OpenIssue):
            return None
        return self.numbers.setdefault(effect.key, 100 + len(self.numbers))

    async def report(
        self,
        run: WorkflowRun,
        results: Mapping[str, TaskResult],
        last: Mapping[str, CheckState],
        *,
        repeated: bool,
    ) -> Mapping[str, CheckState]:
        seen = dict(last)
        if self.gone:
            raise Dropped("The installation is gone.")
        try:
            for step in run.steps:
                state = step.conclusion.value if step.done and step.conclusion else step.state.value
                title = step.title or (results[step.name].title if step.name in results else "")
                digest = f"{state}: {title}"
                before = seen.get(step.name)
                if before is None or before.digest != digest:
                    check = self._check(run, step.name, before, repeated=repeated)
                    self._set(check, digest, done=step.done)
                    if step.name in results:
                        self.findings[check.name] = results[step.name].findings
                    seen[step.name] = CheckState(
                        check_run_id=check.id, digest=digest, completed=step.done
                    )
        except ConductorError as error:
            error.reported = seen
            raise
        return seen

    def _check(
        self, run: WorkflowRun, step: str, last: CheckState | None, *, repeated: bool
    ) -> Check:
        self.faults.point("before check")
        if last is not None:
            return self.checks[last.check_run_id]
        external = f"{run.id}/{step}"
        if repeated:
            for check in self.checks.values():
                if check.external_id == external:
                    return check
        number = len(self.checks) + 1
        self.checks[number] = Check(
            number, f"{run.workflow} / {step}", run.change.head_sha, external, []
        )
        return self.checks[number]

    def _set(self, check: Check, digest: str, *, done: bool) -> None:
        if check.states and check.state.startswith("#"):
            assert check.state == f"#{digest}", f"reopened a completed check: {check}"
        else:
            check.states.append(f"#{digest}" if done else digest)
        self.faults.point("after check")

    # what tests ask

    def written(self) -> Counter[str]:
        """How often each effect was really written."""
        return Counter(key for key, _ in self.done)

    def conclusions(self, head: str) -> dict[str, str]:
        """The newest check of each name on a commit, ``conclusion: title`` or its live state."""
        return {c.name: c.state.lstrip("#") for c in self.checks.values() if c.head == sha(head)}

    def unfinished(self) -> list[Check]:
        """Checks that would spin for ever."""
        return [check for check in self.checks.values() if not check.state.startswith("#")]


class ForgeReader:
    """What one agent may read."""

    def __init__(self, forge: Forge, pull: Pull) -> None:
        self._forge = forge
        self._pull = pull

    async def changed_files(self) -> ChangedFiles:
        return ChangedFiles(
            files=tuple(ChangedFile(path=p, status=FileStatus.MODIFIED) for p in self._pull.files)
        )

    async def read(
        self, paths: Sequence[str], *, at: Literal["head", "base"] = "head"
    ) -> Mapping[str, FileText]:
        self._forge.faults.point("reader.read")
        files = self._pull.files
        return {
            path: FileText(path=path, text=files[path], size=len(files[path]))
            if path in files
            else FileText(path=path, text=None, reason="missing")
            for path in paths
        }

    async def tree(self, *, at: Literal["head", "base"] = "head") -> Tree:
        self._forge.faults.point("reader.tree")
        return Tree(
            entries=tuple(
                TreeEntry(path=path, mode="100644", sha=sha(text), size=len(text))
                for path, text in self._pull.files.items()
            )
        )
