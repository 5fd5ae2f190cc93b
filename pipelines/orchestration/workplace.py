"""The workplace of one task, where the credentials are: it knows the task and asks for no names."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from pipelines import fence
from pipelines.errors import LeaseLost, Retryable, UserError
from pipelines.integrations.containers.base import Build, ContainerRuntime, Sandbox
from pipelines.integrations.containers.dockerfile import NoDockerfile, images_of
from pipelines.integrations.containers.layout import laid_out
from pipelines.integrations.observability.observatory import Observatory
from pipelines.integrations.target import DeploymentTarget
from pipelines.model import (
    BuildResult,
    ChangedFiles,
    Effect,
    EnvironmentPlan,
    EnvironmentState,
    FileEdit,
    Measurement,
    Probe,
    ReleaseState,
    SandboxInfo,
    SandboxJob,
    SandboxResult,
    Series,
    SignalRequest,
    Step,
    StepState,
    Task,
    TraceReport,
    WorkflowRun,
)
from pipelines.orchestration.acting import Acting, Refused
from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.environments import seen_by
from pipelines.orchestration.memory import Memory
from pipelines.orchestration.outlets import STATE_SECONDS, Outlets, rules_of
from pipelines.orchestration.policy import approved
from pipelines.orchestration.policy.rules import has_strangers_text
from pipelines.orchestration.state import StateManager
from pipelines.orchestration.work import Job, step_at
from pipelines.paths import refused_shape
from pipelines.ports import Batch, FileText, Reader, Receipt, Snapshot, Source, Tree, Workplace

Sandboxes = Callable[[bool], Awaitable[Sandbox | SandboxInfo]]
"""From whether the code is trusted to what may run it, or to the reason why nothing may."""

Builders = Callable[[bool], Awaitable[ContainerRuntime | SandboxInfo]]
"""As ``Sandboxes``, for what builds images."""

Side = Literal["head", "base"]
T = TypeVar("T")

NO_ENGINE = SandboxInfo(name="none", level=0, reason="this installation has no engine")
NO_SANDBOX = SandboxInfo(name="none", level=0, reason="this installation has no sandbox")
MAX_LOG_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Site:
    """What all workplaces of an installation share."""

    source: Source
    state: StateManager
    acting: Acting
    outlets: Outlets
    bus: MessageBus
    sandboxes: Sandboxes | None = None
    builders: Builders | None = None
    memory: Memory | None = None


class TaskWorkplace(Workplace):
    """Answers one task of one run; every request ends with the task."""

    def __init__(self, site: Site, run: WorkflowRun, step: Step, task: Task) -> None:
        self._site = site
        self._run = run
        self._step = step
        self._task = task
        self._reader: Reader = site.source.reader(task.change)
        self._snapshots: dict[Side, asyncio.Task[Snapshot]] = {}
        self._turn = asyncio.Lock()
        # Who asks may be a task that outlives this one, and began under another lease.
        self._fence = fence.current()
        self._sandbox: Sandbox | SandboxInfo | None = None

    async def close(self) -> None:
        """End what was begun for the task and is of no use without it."""
        loading = tuple(self._snapshots.values())
        for each in loading:
            each.cancel()
        await asyncio.gather(*loading, return_exceptions=True)

    # --- reading ---------------------------------------------------------------------------------

    async def changed_files(self) -> ChangedFiles:
        """Return every file between base and head."""
        return await self._reader.changed_files()

    async def read(self, paths: Sequence[str], *, at: Side = "head") -> Mapping[str, FileText]:
        """Return the texts at these paths."""
        return await self._reader.read(paths, at=at)

    async def tree(self, *, at: Side = "head") -> Tree:
        """Return the tree of a commit."""
        return await self._reader.tree(at=at)

    # --- running ---------------------------------------------------------------------------------

    async def sandbox(self) -> SandboxInfo:
        """Return the isolation for this change: a stranger's code needs more of it."""
        chosen = await self._chosen()
        return chosen.info if isinstance(chosen, Sandbox) else chosen

    async def run(self, job: SandboxJob) -> SandboxResult:
        """Run a command over the task's files; edits lie where a file of a repository can lie."""
        chosen = await self._chosen()
        if not isinstance(chosen, Sandbox):
            raise UserError(f"Nothing can be run here: {chosen.reason or 'there is no sandbox'}.")
        _refuse_odd(job.edits)
        return await chosen.run(job, await self._snapshot(job.at))

    async def build(self, dockerfile: str, edits: Sequence[FileEdit]) -> BuildResult:
        """Build an image without network, from images that are there, and drop it."""
        provide = self._site.builders
        builder = await provide(self._trusted) if provide else NO_ENGINE
        if not isinstance(builder, ContainerRuntime):
            return BuildResult(ok=False, reason=builder.reason or "nothing here builds images")
        _refuse_odd(edits)
        files = await self._snapshot("head")
        try:
            layout = laid_out(files, edits)
            bases = images_of(layout.files.get(dockerfile, b"").decode("utf-8", "replace"))
            tag = f"conductor-build-{self._task.run_id}:{self._task.attempt}".lower()
            order = Build(dockerfile=dockerfile, tag=tag, bases=bases, keep=False)
            over = Snapshot(sha=files.sha, files=layout.files, executables=layout.executables)
            built = await builder.build(order, over)
        except (NoDockerfile, UserError) as error:
            return BuildResult(ok=False, reason=str(error).rstrip("."))
        return BuildResult(ok=built.ok, image=built.image, output=built.output)

    @property
    def _trusted(self) -> bool:
        return not has_strangers_text(self._run) or approved(self._step, "write")

    async def _chosen(self) -> Sandbox | SandboxInfo:
        if self._sandbox is None:
            provide = self._site.sandboxes
            self._sandbox = await provide(self._trusted) if provide else NO_SANDBOX
        return self._sandbox

    async def _snapshot(self, at: Side) -> Snapshot:
        """Return the files of a side, loaded once; whoever waits no longer stops nobody else."""
        loading = self._snapshots.get(at)
        if loading is None or (loading.done() and (loading.cancelled() or loading.exception())):
            load = self._site.source.snapshot(self._task.change, at=at)
            loading = self._snapshots[at] = asyncio.ensure_future(load)
        return await asyncio.shield(loading)

    # --- acting ----------------------------------------------------------------------------------

    async def perform(self, effect: Effect) -> Receipt:
        """Carry an effect out, one at a time; raises LeaseLost once the run went on without this.

        Raises Parked while another run has the environment.
        """
        async with self._turn:
            run, step = await self._current()
            try:
                with fence.behind(self._fence):
                    return await self._site.acting.act(run, step, effect, during=True)
            except Refused as refused:
                return Receipt(key=effect.key, status="denied", message=refused.verdict.reason)

    async def _current(self) -> tuple[WorkflowRun, Step]:
        tenant, task = self._run.change.repository.tenant, self._task
        run = await self._site.state.get(tenant, task.run_id)
        job = Job(run=task.run_id, step=task.step, attempt=task.attempt)
        step = step_at(run, job, StepState.RUNNING)
        if run is None or step is None:
            raise LeaseLost(task.id)
        return run, step

    # --- the environment -------------------------------------------------------------------------

    async def environment(self) -> EnvironmentState:
        """Return what is on record of the task's environment."""
        plan = self._plan()
        record = await self._site.state.environment(self._run.change.repository.tenant, plan.name)
        return seen_by(self._run, plan, record)

    async def release_state(self) -> ReleaseState:
        """Return what runs there now."""
        target, plan = self._target()
        return await _within(target.state(plan, repository=self._full_name), plan)

    async def release_log(self, lines: int = 100) -> str:
        """Return the newest output of what runs there."""
        target, plan = self._target()
        text = await _within(target.log(plan, repository=self._full_name, lines=lines), plan)
        return text.encode()[-MAX_LOG_BYTES:].decode("utf-8", "ignore")

    async def probe(self) -> Probe:
        """Do one health check."""
        plan, observatory = self._plan(), self._site.outlets.observatory(self._run)
        if observatory is None:
            return Probe(ok=False, message="Nothing is set up to check the service with.")
        return await observatory.probe(plan, await self._site.outlets.address(self._run, plan))

    # --- measuring -------------------------------------------------------------------------------

    async def series(self, requests: Sequence[SignalRequest]) -> Sequence[Series]:
        """Return one series a request; queries are those of the step's own rules."""
        plan, observatory = self._plan(), self._site.outlets.observatory(self._run)
        if observatory is None:
            reason = "nothing is set up to measure with"
            return [Series(name=each.name, reason=reason) for each in requests]
        rules = rules_of(self._step.agent, self._step.options)
        address = await self._site.outlets.address(self._run, plan)
        return await observatory.series(plan, rules, requests, service_url=address)

    async def traces(self, request: SignalRequest) -> TraceReport:
        """Return what traces say about a span."""
        observatory: Observatory | None = self._site.outlets.observatory(self._run)
        if observatory is None:
            return TraceReport(reason="nothing is set up to trace with")
        return await observatory.traces(self._plan(), request)

    async def keep(self, measurements: Sequence[Measurement]) -> None:
        """Store measurements now."""
        if self._site.memory is not None:
            writes = await self._site.memory.measured(self._task, measurements)
            await self._site.bus.commit(Batch(writes=writes))

    # --- what these share ------------------------------------------------------------------------

    @property
    def _full_name(self) -> str:
        return self._run.change.repository.full_name

    def _plan(self) -> EnvironmentPlan:
        if self._task.environment is None:
            raise UserError("This step has no environment: name one of `environments`.")
        return self._task.environment

    def _target(self) -> tuple[DeploymentTarget, EnvironmentPlan]:
        plan = self._plan()
        return self._site.outlets.target(plan), plan


def _refuse_odd(edits: Sequence[FileEdit]) -> None:
    for edit in edits:
        if reason := refused_shape(edit.path):
            raise UserError(f"{edit.path[:200]!r} cannot be laid over the files: {reason}.")


async def _within(answer: Awaitable[T], plan: EnvironmentPlan) -> T:
    try:
        async with asyncio.timeout(STATE_SECONDS):
            return await answer
    except TimeoutError as error:
        message = f"The target `{plan.target}` did not answer within {STATE_SECONDS:.0f} seconds."
        raise Retryable(message, dependency=plan.target) from error
