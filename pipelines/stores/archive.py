"""The five stores as one: what each attempt of an agent leaves, and what earlier ones taught."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TypeVar

from pipelines.model import (
    AnswerFinding,
    Artifact,
    CodeVersion,
    ExecutionRecord,
    Fixture,
    Learned,
    Lesson,
    LogLine,
    Measurement,
    Outcome,
    Step,
    Task,
    TaskResult,
    TestReport,
    WorkflowRun,
)
from pipelines.ports import Batch, Clock, Write
from pipelines.stores.backend import StorageBackend
from pipelines.stores.code_repository import CodeRepository
from pipelines.stores.codec import encode
from pipelines.stores.knowledge import KnowledgeBase
from pipelines.stores.logs import ExecutionMetrics, LogsAndMetrics
from pipelines.stores.metadata import Execution, MetadataStore
from pipelines.stores.relevance import Question
from pipelines.stores.tenants import Origin
from pipelines.stores.test_data import TestDataStore

MAX_ARTIFACTS = 500
MAX_BYTES = 8 * 1024 * 1024
"""What the stores take of one attempt; the rest is counted and left out."""

ESTABLISHED = frozenset(
    {"finding_fixed", "fix_verified", "deployment_rolled_back", "test_kept", "test_discarded"}
)
"""The outcomes that Conductor's own work can establish; all others are people's to say."""

_PAGE = 100
A = TypeVar("A")


class Archive:
    """Writes for the batch that stores a result, and reads for the task that comes next."""

    def __init__(self, backend: StorageBackend, clock: Clock) -> None:
        self.code = CodeRepository(backend)
        self.metadata = MetadataStore(backend)
        self.test_data = TestDataStore(backend)
        self.logs = LogsAndMetrics(backend)
        self.knowledge = KnowledgeBase(backend)
        self._backend = backend
        self._clock = clock

    async def records(
        self, run: WorkflowRun, step: Step, task: Task, result: TaskResult
    ) -> Sequence[Write]:
        """Return what one attempt leaves in the stores; repeated, it replaces itself."""
        del run, step  # the task says all that is kept of them
        return self.left(task, result)

    def left(self, task: Task, result: TaskResult) -> Sequence[Write]:
        """Return what stores all that an attempt leaves."""
        origin = Origin.of(task, self._clock.now())
        taken = _bounded(result.artifacts)
        writes = [
            self.metadata.execution(_execution(origin, result, taken)),
            self.logs.metrics(_metrics(origin, result)),
            *self.code.writes(origin, _of(CodeVersion, taken)),
            *self.metadata.records(origin, _of(ExecutionRecord, taken)),
            *self.test_data.fixtures(origin, _of(Fixture, taken)),
            *self.test_data.reports(origin, _of(TestReport, taken)),
            *self.logs.measurements(origin.tenant, _of(Measurement, taken)),
            *self.logs.lines(origin, _of(LogLine, taken)),
            *self.knowledge.writes(origin.tenant, tuple(_established(task, result, taken))),
        ]
        if task.agent == "review" and result.status == "completed":
            number = task.change.number
            review = self.metadata.review(origin, number, result.findings, result.coverage)
            writes.append(review)
        return writes

    async def measured(self, task: Task, measurements: Sequence[Measurement]) -> Sequence[Write]:
        """Return what stores measurements while their task still goes on."""
        return self.logs.measurements(task.change.repository.tenant, measurements[:MAX_ARTIFACTS])

    def learned(self, tenant: str, outcomes: Sequence[Outcome]) -> Sequence[Write]:
        """Return what stores outcomes; the caller answers for who said so."""
        return self.knowledge.writes(tenant, outcomes)

    async def lessons(self, run: WorkflowRun, step: Step) -> tuple[Lesson, ...]:
        """Return what earlier work in the same repository teaches for a step."""
        return await self.knowledge.lessons(
            run.change.repository.tenant, question_of(run, step, self._clock)
        )

    async def prune(self) -> int:
        """Delete what is more than each repository may have; return how many records that was."""
        stores = (self.code, self.metadata, self.test_data, self.logs, self.knowledge)
        surplus = [place for s in stores for shelf in s.shelves for place in await shelf.surplus()]
        for start in range(0, len(surplus), _PAGE):
            page = [Write(place, None) for place in surplus[start : start + _PAGE]]
            await self._backend.commit(Batch(writes=page))
        return len(surplus)


def question_of(run: WorkflowRun, step: Step, clock: Clock) -> Question:
    """Return what a step is about, as lessons are looked for."""
    change, payloads = run.change, list(run.feedback)
    if run.trigger.kind == "feedback":
        payloads.append(run.trigger.payload)
    words = [change.title, change.body[:4_000], *change.labels]
    words += [word for payload in payloads for word in (payload.title, *payload.findings)]
    paths = [*change.paths, *(path for payload in payloads for path in payload.suspected_paths)]
    return Question(
        agent=step.agent, now=clock.now(), text="\n".join(words), paths=tuple(paths[:3_000])
    )


def _of(kind: type[A], artifacts: Sequence[Artifact]) -> tuple[A, ...]:
    return tuple(artifact for artifact in artifacts if isinstance(artifact, kind))


def _bounded(artifacts: Sequence[Artifact]) -> Sequence[Artifact]:
    """Return the artifacts that are taken, in order: no more than fit."""
    taken: list[Artifact] = []
    left = MAX_BYTES
    for artifact in artifacts[:MAX_ARTIFACTS]:
        size = len(encode(artifact))
        if size <= left:
            left -= size
            taken.append(artifact)
    return taken


def _execution(origin: Origin, result: TaskResult, taken: Sequence[Artifact]) -> Execution:
    return Execution(
        origin=origin,
        completed=result.status == "completed",
        conclusion=result.conclusion,
        title=result.title,
        effects=tuple(effect.key for effect in result.effects),
        artifacts=dict(Counter(artifact.kind for artifact in taken)),
        left_out=len(result.artifacts) - len(taken),
        usage=result.usage,
    )


def _metrics(origin: Origin, result: TaskResult) -> ExecutionMetrics:
    return ExecutionMetrics(
        origin=origin,
        conclusion=result.conclusion,
        usage=result.usage,
        findings=len(result.findings),
        effects=len(result.effects),
    )


def _established(task: Task, result: TaskResult, taken: Sequence[Artifact]) -> Iterator[Outcome]:
    """Yield what the attempt established by itself; strangers' work teaches nothing."""
    if task.tainted or result.status != "completed":
        return
    for learned in _of(Learned, taken):
        if learned.outcome.kind in ESTABLISHED:
            yield learned.outcome
    titles = {prior.fingerprint: prior for prior in task.change.prior_findings}
    for effect in result.effects:
        prior = titles.get(effect.fingerprint) if isinstance(effect, AnswerFinding) else None
        if prior is not None and task.change.read_at is not None:
            yield Outcome(
                kind="finding_fixed",
                agent=task.agent,
                subject=prior.title[:300],
                paths=(prior.path,),
                source=f"pr/{task.change.number}/finding/{prior.fingerprint}",
                at=task.change.read_at,
            )
