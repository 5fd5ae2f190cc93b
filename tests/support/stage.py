"""The whole inside of Conductor with its real agents, where every touch of the outside can be last.

What is not real: GitHub (``tests/support/forge.py``), the model's words, the deployment target, the
metrics and the operators' channel. All of these outlive a crash, as they do in life.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from bot.events.filters import AppIdentity
from bot.github.markers import Feedback, feedback_marker
from pipelines.agents.registry import AGENTS
from pipelines.agents.runner import LocalRunner
from pipelines.integrations.cloud.mock import Behaviour, MockCloud
from pipelines.integrations.containers.base import Sandbox
from pipelines.integrations.containers.layout import Layout
from pipelines.integrations.containers.mock import MockSandbox
from pipelines.integrations.llm.base import LanguageModel, ModelRequest, ModelResponse
from pipelines.integrations.llm.chain import ModelChain
from pipelines.integrations.llm.mock import MockModel, Script
from pipelines.integrations.llm.prices import price_table
from pipelines.integrations.notifications.mock import MockNotifier
from pipelines.integrations.observability.mock import MockMetrics, MockTraces
from pipelines.integrations.observability.observatory import Instruments, Observatory
from pipelines.integrations.target import DeploymentTarget
from pipelines.model import (
    Actor,
    Change,
    ChangedFile,
    ChangedFiles,
    CloseIssue,
    CreateDeployment,
    DeploymentTrigger,
    Effect,
    EnvironmentPlan,
    FeedbackPayload,
    FileStatus,
    Notify,
    OpenFeedback,
    OpenIssue,
    Provenance,
    PushTrigger,
    Release,
    ReleaseState,
    SandboxInfo,
    SandboxJob,
    SandboxResult,
    Series,
    SetDeploymentStatus,
    TraceReport,
    Trigger,
    WorkflowRun,
)
from pipelines.net import AllowedHosts, GuardedClient
from pipelines.orchestration.assembly import Outside
from pipelines.orchestration.scrapes import StoredScrapes
from pipelines.ports import (
    Batch,
    FileText,
    Message,
    Receipt,
    Snapshot,
    Tree,
    TreeEntry,
    Versioned,
)
from pipelines.replay.tape import Tape
from pipelines.stores.archive import Archive
from pipelines.stores.backend import StorageBackend
from tests.support.clock import VirtualClock
from tests.support.forge import REPOSITORY, Faults, Forge, Pull, sha
from tests.support.workplace import blob_sha, patch_of
from tests.support.world import IDENTITY, World

MARKER_KEY = b"k" * 32
BOT = {"id": IDENTITY.bot_user_id, "login": "conductor[bot]", "type": "Bot"}
ME = Actor(id=IDENTITY.bot_user_id, login="conductor[bot]", type="Bot")
T = TypeVar("T")
Side = Literal["head", "base"]


@dataclass
class LiveForge(Forge):
    """A forge with pushes, deployments and issues as well, and files at two commits."""

    base: dict[str, str] = field(default_factory=dict[str, str])
    head: dict[str, str] = field(default_factory=dict[str, str])
    title: str = "A change"
    body: str = ""
    branch: str = "topic"
    effects: list[Effect] = field(default_factory=list[Effect])
    """Every effect really written."""
    statuses: dict[int, list[str]] = field(default_factory=dict[int, list[str]])
    """By deployment, oldest first."""

    async def change(self, trigger: Trigger) -> Change:
        self.faults.point("source.change")
        plain = Change(
            repository=REPOSITORY,
            head_sha=sha("base"),
            base_sha=sha("base"),
            base_ref="main",
            author_can_write=True,
            paths=self._paths(),
            config=self._config(),
        )
        match trigger:
            case PushTrigger():
                found: dict[str, Any] = {"head_sha": trigger.after, "base_sha": trigger.before}
            case DeploymentTrigger():
                found = {"head_sha": trigger.sha, "head_ref": trigger.ref}
            case _ if (number := getattr(trigger, "number", None)) in self.pulls:
                found = {**self._of_pull(self.pulls[number])}
            case _:
                author = getattr(trigger, "author", ME)
                found = {"issue": getattr(trigger, "number", None), "author": author}
                found |= {"title": self.title, "body": self.body, "paths": ()}
        return plain.model_copy(update=found)

    def _of_pull(self, pull: Pull) -> dict[str, Any]:
        return {
            "number": pull.number,
            "head_sha": sha(pull.head),
            "head_ref": self.branch,
            "head_repository_id": REPOSITORY.id,
            "title": self.title,
            "body": self.body,
            "author": pull.author,
            "author_can_write": not self.stranger,
            "open": pull.open,
            "prior_findings": pull.prior,
        }

    def _paths(self) -> tuple[str, ...]:
        both = sorted({*self.base, *self.head})
        return tuple(path for path in both if self.base.get(path) != self.head.get(path))

    def side(self, change: Change, at: Side) -> dict[str, str]:
        """The files at a side; where nothing changed, both are the base."""
        same = change.issue is not None
        return self.base if at == "base" or same else self.head

    def reader(self, change: Change) -> "LiveReader":  # pyright: ignore[reportIncompatibleMethodOverride]
        return LiveReader(self, change)

    async def snapshot(self, change: Change, *, at: Side = "head") -> Snapshot:
        self.faults.point("source.snapshot")
        files = {path: text.encode() for path, text in self.side(change, at).items()}
        return Snapshot(sha=change.head_sha if at == "head" else change.base_sha, files=files)

    async def carry_out(self, run: WorkflowRun, effect: Effect, *, repeated: bool) -> Receipt:
        before = len(self.done)
        try:
            return await super().carry_out(run, effect, repeated=repeated)
        finally:
            if len(self.done) > before:
                self._happened(effect)

    def _happened(self, effect: Effect) -> None:
        self.effects.append(effect)
        match effect:
            case CreateDeployment():
                self.statuses[self.numbers[effect.key]] = []
            case SetDeploymentStatus():
                self.statuses[effect.deployment_id].append(effect.state)
            case OpenIssue():
                number = self.numbers[effect.key]
                self.issues.append(OpenFeedback(number=number, payload=effect.payload))
            case CloseIssue():
                self.issues = [each for each in self.issues if each.number != effect.number]
            case _:
                pass


class LiveReader:
    """What one agent may read."""

    def __init__(self, forge: LiveForge, change: Change) -> None:
        self._forge = forge
        self._change = change

    def _files(self, at: Side) -> dict[str, str]:
        return self._forge.side(self._change, at)

    async def changed_files(self) -> ChangedFiles:
        self._forge.faults.point("reader.changed_files")
        base, head = self._files("base"), self._files("head")
        changed = [path for path in sorted({*base, *head}) if base.get(path) != head.get(path)]
        return ChangedFiles(
            files=tuple(
                ChangedFile(
                    path=path,
                    status=FileStatus.MODIFIED if path in base else FileStatus.ADDED,
                    patch=patch_of(base.get(path, ""), head.get(path, "")),
                )
                for path in changed
            )
        )

    async def read(self, paths: Sequence[str], *, at: Side = "head") -> Mapping[str, FileText]:
        self._forge.faults.point("reader.read")
        files = self._files(at)
        return {
            path: FileText(path=path, text=files[path], size=len(files[path].encode()))
            if path in files
            else FileText(path=path, text=None, reason="missing")
            for path in paths
        }

    async def tree(self, *, at: Side = "head") -> Tree:
        self._forge.faults.point("reader.tree")
        return Tree(
            entries=tuple(
                TreeEntry(path=path, mode="100644", sha=blob_sha(text), size=len(text.encode()))
                for path, text in sorted(self._files(at).items())
            )
        )


class TouchedModel(LanguageModel):
    """A model that the process may die before or after asking."""

    def __init__(self, inner: LanguageModel, faults: Faults) -> None:
        self.name = inner.name
        self._inner = inner
        self._faults = faults
        self.requests: list[ModelRequest] = []

    @property
    def context_tokens(self) -> int:
        return self._inner.context_tokens

    async def complete(self, request: ModelRequest) -> ModelResponse:
        self._faults.point("before model")
        self.requests.append(request)
        response = await self._inner.complete(request)
        self._faults.point("after model")
        return response

    def estimate_tokens(self, text: str) -> int:
        return self._inner.estimate_tokens(text)

    def worst_cost_usd(self, request: ModelRequest) -> float:
        return self._inner.worst_cost_usd(request)

    async def close(self) -> None:
        """It outlives the process."""


class TouchedTarget(DeploymentTarget):
    """A cloud that remembers when each release was begun, whoever is told of it."""

    name = "mock"

    def __init__(self, clock: VirtualClock, faults: Faults, failing: Mapping[str, str]) -> None:
        behaviours = {commit: Behaviour(failure=reason) for commit, reason in failing.items()}
        self._inner = MockCloud(behaviours)
        self._clock = clock
        self._faults = faults
        self.begun: dict[str, tuple[str, datetime]] = {}
        """Commit and moment, by key."""

    async def release(self, release: Release) -> ReleaseState:
        self._faults.point("before release")
        state = await self._inner.release(release)
        self.begun.setdefault(release.key, (release.sha, self._clock.now()))
        self._faults.point("after release")
        return state

    async def state(self, environment: EnvironmentPlan, *, repository: str) -> ReleaseState:
        self._faults.point("state")
        return await self._inner.state(environment, repository=repository)

    async def log(self, environment: EnvironmentPlan, *, repository: str, lines: int) -> str:
        self._faults.point("log")
        return await self._inner.log(environment, repository=repository, lines=lines)

    async def close(self) -> None:
        """It outlives the process."""


class TouchedSandbox(MockSandbox):
    """A sandbox that the process may die before or after using."""

    def __init__(self, faults: Faults, answer: Callable[[SandboxJob, Layout], SandboxResult]):
        super().__init__(answer)
        self._faults = faults

    async def run(self, job: SandboxJob, snapshot: Snapshot) -> SandboxResult:
        self._faults.point("before sandbox")
        result = await super().run(job, snapshot)
        self._faults.point("after sandbox")
        return result


class TouchedMetrics(MockMetrics):
    """Numbers that the process may die over."""

    def __init__(self, faults: Faults, curves: Mapping[str, Callable[[datetime], float | None]]):
        super().__init__(curves)
        self._faults = faults

    async def range(
        self, query: str, *, start: datetime, end: datetime, step_seconds: float
    ) -> Series:
        self._faults.point("metrics")
        return await super().range(query, start=start, end=end, step_seconds=step_seconds)


class TouchedNotifier(MockNotifier):
    """A channel that the process may die before or after using."""

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self._faults = faults

    async def send(self, notification: Notify) -> None:
        self._faults.point("before notify")
        await super().send(notification)
        self._faults.point("after notify")


class Watched(StorageBackend):
    """Tells whether the store is at work, during which no time passes."""

    def __init__(self, inner: StorageBackend) -> None:
        self._inner = inner
        self.busy = 0
        """Questions under way."""
        self.asked = 0
        """Moves with each question and each answer."""

    async def _while(self, work: Awaitable[T]) -> T:
        self.busy += 1
        self.asked += 1
        try:
            return await work
        finally:
            self.busy -= 1
            self.asked += 1

    async def get(self, key: str) -> Versioned | None:
        return await self._while(self._inner.get(key))

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, Versioned]:
        return await self._while(self._inner.get_many(keys))

    async def scan(self, prefix: str, *, after: str = "") -> AsyncIterator[tuple[str, Versioned]]:
        found = self._inner.scan(prefix, after=after)
        while (each := await self._while(anext(found, None))) is not None:
            yield each

    async def read_log(
        self, log: str, *, after: int = 0, limit: int = 1000
    ) -> Sequence[tuple[int, bytes]]:
        return await self._while(self._inner.read_log(log, after=after, limit=limit))

    async def messages(self) -> Sequence[Message]:
        return await self._while(self._inner.messages())

    async def commit(self, batch: Batch) -> None:
        await self._while(self._inner.commit(batch))

    async def sweep(self) -> int:
        return await self._while(self._inner.sweep())

    async def ping(self) -> None:
        await self._while(self._inner.ping())

    async def close(self) -> None:
        await self._inner.close()


class Inline(ThreadPoolExecutor):
    """Does at once what is meant for a thread, so that nothing happens beside the virtual time."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> "Future[T]":
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


Curve = Callable[["Stage", datetime], float | None]


@dataclass(frozen=True)
class Play:
    """What an installation meets: files, configuration, a model's words and the world's answers."""

    base: Mapping[str, str]
    head: Mapping[str, str]
    config: str | None = None
    rules: tuple[Mapping[str, Any], ...] = ({"replies": [{"text": "{}"}]},)
    answer: Callable[[SandboxJob, Layout], SandboxResult] | None = None
    failing: Mapping[str, str] = field(default_factory=dict[str, str])
    """What goes wrong with the release of a commit."""
    curves: Mapping[str, Curve] = field(default_factory=dict[str, Curve])
    model: Callable[[], LanguageModel] | None = None
    """Instead of the rules."""
    traces: TraceReport | None = None


class Stage(World):
    """A world with the real agents; time passes when nothing else is left to happen."""

    identity: AppIdentity = IDENTITY.model_copy(update={"marker_keys": (MARKER_KEY,)})

    def __init__(self, play: Play, path: Path | None = None) -> None:
        faults = Faults()
        forge = LiveForge(
            faults=faults,
            pulls={5: Pull(5, "one")},
            config=play.config,
            base=dict(play.base),
            head=dict(play.head),
        )
        super().__init__(forge, VirtualClock(), path, agents=AGENTS)
        self.live, self.play = forge, play
        self.target = TouchedTarget(self.clock, faults, play.failing)
        self.notifier = TouchedNotifier(faults)
        self.model = TouchedModel(self._model(), faults)
        curves = {query: self._curve(draw) for query, draw in play.curves.items()}
        self._instruments = Instruments(
            clock=self.clock,
            web=GuardedClient(AllowedHosts.parse([])),
            metrics=TouchedMetrics(faults, curves),
            traces=MockTraces(play.traces) if play.traces else None,
        )
        self._sandbox = TouchedSandbox(faults, play.answer) if play.answer else None
        self._runner: LocalRunner | None = None

    def _model(self) -> LanguageModel:
        if self.play.model is not None:
            return self.play.model()
        script = Script.model_validate({"rules": list(self.play.rules)})
        model = MockModel("play.json", script, clock=self.clock, prices=price_table())
        return ModelChain([model], clock=self.clock)

    def _curve(self, draw: Curve) -> Callable[[datetime], float | None]:
        return lambda at: draw(self, at)

    async def start(self) -> None:
        asyncio.get_running_loop().set_default_executor(Inline())
        await super().start()

    def opened(self) -> StorageBackend:
        self._watched = Watched(super().opened())
        return self._watched

    def outside(self) -> Outside:
        self._runner = LocalRunner(lambda _: self.model, self.clock)
        return replace(
            super().outside(),
            runner=self._runner,
            sandboxes=self._sandboxes if self._sandbox else None,
            targets=lambda plan: self.target,
            observatories=lambda tenant: Observatory(
                self._instruments, StoredScrapes(self.store, tenant)
            ),
            notifier=self.notifier,
            memory=Archive(self.store, self.clock),
            tape=Tape(self.store),
        )

    async def _sandboxes(self, trusted: bool) -> Sandbox | SandboxInfo:
        assert self._sandbox is not None
        return self._sandbox

    async def close(self) -> None:
        await super().close()
        await self._instruments.close()

    # --- time ------------------------------------------------------------------------------------

    async def work(self, *queues: str) -> int:
        """As of every world, but while nothing else can happen, time goes by."""
        count = 0
        while (lease := await self.claim(*queues)) is not None:
            await self._through(self.dispatcher.handle(lease))
            count += 1
            assert count < 500, "the work never ends"
        return count

    async def _through(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        while not task.done():
            before = self._watched.asked
            await self.clock.settle()
            idle = not self._watched.busy and self._watched.asked == before
            if idle and not task.done():
                await self.clock.skip()
        await task

    # --- what happens outside --------------------------------------------------------------------

    async def push(self, head: str, guid: str, before: str = "base") -> None:
        """Somebody pushes to the default branch."""
        await self.deliver(
            "push", guid, ref="refs/heads/main", before=sha(before), after=sha(head),
            created=False, deleted=False, forced=False,
        )  # fmt: skip

    async def deployment(self, number: int, head: str, guid: str) -> None:
        """Somebody creates a deployment on GitHub."""
        self.live.statuses.setdefault(number, [])
        created = self.clock.now().isoformat()
        about = {"id": number, "sha": sha(head), "ref": "main", "environment": "staging"}
        await self.deliver(
            "deployment", guid, action="created", deployment={**about, "created_at": created}
        )

    async def feedback(self, number: int, payload: FeedbackPayload, guid: str) -> None:
        """An issue that our own monitor opened gets its marker."""
        said = Feedback(payload=payload, provenance=Provenance(root_run="run", depth=1))
        marker = feedback_marker(
            MARKER_KEY, repository_id=REPOSITORY.id, number=number, feedback=said
        )
        issue = {"number": number, "user": BOT, "labels": [], "body": f"It broke.\n\n{marker}"}
        await self.deliver("issues", guid, action="edited", issue=issue, sender=BOT)

    # --- what tests ask --------------------------------------------------------------------------

    async def facts(self) -> dict[str, Any]:
        """What the outside sees in the end, without the names that differ from time to time."""
        runs = await self.runs()
        return {
            "written": sorted(_nameless(key, runs) for key in self.forge.written()),
            "releases": [commit for commit, _ in self.target.begun.values()],
            "told": len(self.notifier.sent),
            "runs": [(run.workflow, run.state, run.conclusion) for run in runs],
            "statuses": list(self.live.statuses.values()),
        }


def _nameless(key: str, runs: Sequence[WorkflowRun]) -> str:
    for run in runs:
        key = key.replace(run.id, "RUN").replace(run.id[-10:].lower(), "RUN")
    return key
