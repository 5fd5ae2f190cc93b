"""One decision as one atomic step: runs started and advanced, messages, records, settled leases."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipelines.errors import Conflict
from pipelines.model import (
    Change,
    EnvironmentPlan,
    Outcome,
    Step,
    TaskResult,
    Trigger,
    WorkflowRun,
)
from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.concurrency import Turns, waiting, waits_for_turn
from pipelines.orchestration.engine import WorkflowEngine
from pipelines.orchestration.memory import Memory
from pipelines.orchestration.news import ENDINGS, FEEDBACK, endings, sent_back
from pipelines.orchestration.runs import needless, new_run
from pipelines.orchestration.state import RunChange, StateManager
from pipelines.orchestration.telling import asked_in, waits
from pipelines.orchestration.transitions import (
    Abort,
    CancelRequested,
    Command,
    Feedback,
    Report,
    RunEvent,
    Started,
    StepClaimed,
    StepFinished,
    Superseded,
)
from pipelines.orchestration.work import (
    DESK,
    EFFECTS,
    Job,
    message,
    messages_of,
    report_of,
    still_wanted,
)
from pipelines.ports import ABSENT, Batch, Clock, Ids, Lease, Message, Write
from pipelines.replay.tape import Happening, Tape

ABORTS = "abort"
"""The topic on which the ids of tasks that must stop are published."""
ANSWERS = "/conductor"
"""The name of the runs that answer commands; no workflow can be called that."""
SUPERSEDED = "Superseded"
"""How the reason of a run that a newer one replaced begins."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One workflow that a trigger starts, planned from the configuration."""

    workflow: str
    group: str
    steps: tuple[Step, ...]
    budget_usd: float
    ignore: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()
    environments: tuple[EnvironmentPlan, ...] = ()
    cancel_superseded: bool = True
    concurrency_group: str | None = None
    """With it a newer run of the group waits for the older one, or with ``cancel_superseded``
    takes its place; what is of the same subject then counts no more than any other."""
    day_budget_usd: float | None = None
    rerun_of: str | None = None
    again: bool = False
    """Somebody asked for it: it runs also where it has run before."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What became of a plan: a new run, or the one that makes a new one unnecessary."""

    run_id: str
    new: bool
    reason: str = ""


class Changes:
    """Gathers what is to change; nothing is stored before ``commit``, and then everything."""

    def __init__(
        self,
        *,
        state: StateManager,
        engine: WorkflowEngine,
        bus: MessageBus,
        clock: Clock,
        ids: Ids,
        agents: frozenset[str],
        tape: Tape | None = None,
        memory: Memory | None = None,
        together: timedelta = timedelta(),
        fresh: bool = True,
    ) -> None:
        """``tape`` keeps what happens to each run, so that it can be gone through again.

        ``memory`` keeps what people teach; without it that is not kept.
        What changes within the time ``together`` is shown to users together.
        Unless ``fresh``, runs are taken as this process saw them last, which ``commit`` checks.
        """
        self.fresh = fresh
        self._absent: set[str] = set()
        self._assumed: set[str] = set()
        self._together = together
        self._tape = tape
        self._memory = memory
        self._happened: dict[str, list[Happening]] = {}
        self._starts: dict[str, WorkflowRun] = {}
        self._state = state
        self._engine = engine
        self._bus = bus
        self._clock = clock
        self._ids = ids
        self._agents = agents
        self._before: dict[str, WorkflowRun | None] = {}
        self._after: dict[str, WorkflowRun] = {}
        self._results: dict[str, dict[str, TaskResult]] = {}
        self._writes: list[Write] = []
        self._messages: list[Message] = []
        self._settled: list[Lease] = []
        self._commands: dict[str, list[Command]] = {}
        self._turns = Turns(state.record, self._live)

    # --- gathering -------------------------------------------------------------------------------

    def write(self, *writes: Write) -> None:
        """Store these records as well."""
        self._writes += writes

    def expect_absent(self, key: str) -> None:
        """Take it that there is no such record; ``commit`` raises Conflict if there is one."""
        self._absent.add(key)

    def learn(self, tenant: str, *outcomes: Outcome) -> None:
        """Keep what people brought about; whoever calls answers for who they are."""
        if self._memory is not None:
            self._writes += self._memory.learned(tenant, outcomes)

    def settle(self, lease: Lease | None) -> None:
        """Count the message as done once everything is stored."""
        self._settled += [lease] if lease else []

    async def run(self, tenant: str, run_id: str) -> WorkflowRun | None:
        """Return the run as it will be, or None if there is none."""
        run = self._after.get(run_id)
        if run is None and not self.fresh:
            run = self._state.remembered(tenant, run_id)
            self._assumed |= {run_id} if run is not None else set()
        run = run or await self._state.get(tenant, run_id)
        if run is not None:
            self._before.setdefault(run_id, run)
            self._after.setdefault(run_id, run)
        return run

    async def advance(
        self,
        tenant: str,
        run_id: str,
        *events: RunEvent,
        result: tuple[str, TaskResult] | None = None,
    ) -> WorkflowRun | None:
        """Let events happen to a run; returns it as it will be, or None if there is none."""
        run = await self.run(tenant, run_id)
        if run is None:
            return None
        if result is not None:
            self._results.setdefault(run_id, {})[result[0]] = result[1]
        for event in events:
            now = self._clock.now()
            transition = self._engine.advance(run, event, now)
            if self._tape is not None and transition.run is not run:
                self._happened.setdefault(run_id, []).append(Happening(event=event, at=now))
            self._keep(run, transition.run, transition.commands)
            run = transition.run
        return run

    async def start(
        self, plan: Plan, trigger: Trigger, change: Change, config_sha: str
    ) -> Admission:
        """Start a run of the plan, unless one makes it unnecessary; supersede the older one."""
        run, older, reason = await self._admit(plan, trigger, change, config_sha)
        if run is None:
            return Admission(older.id if older else "", new=False, reason=reason)
        if run.concurrency_group is None:
            await self._begin(run, older, Started())
        else:
            await self._begin(waiting(run), older)
            await self._enter(run, cancel=plan.cancel_superseded)
        return Admission(run.id, new=True)

    async def resume(self, tenant: str, run_id: str) -> None:
        """Let a run that waits for its turn begin if nobody is left to wait for."""
        run = await self._live(tenant, run_id)
        if run is not None and waits_for_turn(run) and await self._turns.resume(run):
            await self.advance(tenant, run.id, Started())

    async def conclude(
        self, plan: Plan, trigger: Trigger, change: Change, config_sha: str, result: TaskResult
    ) -> Admission:
        """Start a run of the plan whose one step is done already, with this result.

        Its effects are still to be carried out, like those of any result.
        """
        run, older, reason = await self._admit(plan, trigger, change, config_sha)
        if run is None:
            return Admission(older.id if older else "", new=False, reason=reason)
        (step,) = run.steps
        self._results[run.id] = {step.name: result}
        finished = StepFinished(
            step=step.name,
            attempt=1,
            conclusion=result.conclusion,
            title=result.title,
            outputs=result.outputs,
            effects=len(result.effects),
            feedback=result.feedback,
        )
        claimed = StepClaimed(step=step.name, attempt=1)
        await self._begin(run, older, Started(), claimed, finished)
        return Admission(run.id, new=True)

    # --- storing ---------------------------------------------------------------------------------

    async def commit(self) -> None:
        """Store everything or nothing; raises Conflict if a run changed since it was read."""
        self._check_assumed()
        await self._pass_turns()
        changed = [
            RunChange(self._before[run.id], run, self._results.get(run.id, {}))
            for run in self._after.values()
            if run is not self._before[run.id]
        ]
        writes = [*self._writes, *await self._state.writes(*changed), *self._history(changed)]
        writes += [*self._turns.writes(), *self._guards()]
        now = self._clock.now()
        work, reports = self._work(now), self._reports(now)
        if not (writes or work or reports or self._settled):
            return
        await self._bus.commit(
            Batch(writes=writes, messages=work, settled=self._settled, reminders=reports)
        )
        self._state.remember(*changed)
        for run_id, commands in self._commands.items():
            for command in commands:
                await self._tell(run_id, command)
        for change in changed:
            for ending in endings(change.before, change.after):
                await self._bus.publish(ENDINGS, ending)

    def _check_assumed(self) -> None:
        """Raise Conflict if a run that nobody looked up stays as it is: the store cannot object."""
        for run_id in self._assumed:
            before = self._before[run_id]
            if before is not None and self._after[run_id] is before:
                raise Conflict(run_id, expected=before.version, actual=before.version)

    def _guards(self) -> list[Write]:
        return [Write(key, None, expect=ABSENT) for key in self._absent]

    def _history(self, changed: Sequence[RunChange]) -> list[Write]:
        if self._tape is None:
            return []
        return [
            self._tape.passed(
                change.before,
                self._starts.get(change.after.id, change.after),
                self._happened.get(change.after.id, ()),
            )
            for change in changed
        ]

    async def _tell(self, run_id: str, command: Command) -> None:
        """Publish what is news and no work."""
        if isinstance(command, Abort):
            await self._bus.publish(ABORTS, f"{run_id}/{command.step}/{command.attempt}")
        if isinstance(command, Feedback):
            await self._bus.publish(FEEDBACK, sent_back(self._after[run_id], command))

    # --- what gathering consists of --------------------------------------------------------------

    async def _admit(
        self, plan: Plan, trigger: Trigger, change: Change, config_sha: str
    ) -> tuple[WorkflowRun | None, WorkflowRun | None, str]:
        """Return the run to start (None with the reason if it is not needed) and the one before."""
        tenant = change.repository.tenant
        record = await self._state.group(tenant, plan.group)
        older = await self._state.get(tenant, record.run_id) if record else None
        agents = {step.agent for step in plan.steps}
        reason = needless(trigger, change, older, agents=agents, again=plan.again)
        if reason:
            return None, older, reason
        run = new_run(
            run_id=self._ids(),
            workflow=plan.workflow,
            trigger=trigger,
            change=change,
            config_sha=config_sha,
            group=plan.group,
            generation=record.generation + 1 if record else 1,
            steps=plan.steps,
            budget_usd=plan.budget_usd,
            now=self._clock.now(),
            ignore=plan.ignore,
            cancel_superseded=plan.cancel_superseded and plan.concurrency_group is None,
            rerun_of=plan.rerun_of,
        )
        pinned = {
            "concurrency_group": plan.concurrency_group,
            "day_budget_usd": plan.day_budget_usd,
            "protected": plan.protected,
            "environments": plan.environments,
        }
        return run.model_copy(update=pinned), older, ""

    async def _begin(self, run: WorkflowRun, older: WorkflowRun | None, *events: RunEvent) -> None:
        """Set the run going and supersede the older one, so that no moment has both or none."""
        self._before[run.id] = None
        self._after[run.id] = self._starts[run.id] = run
        tenant = run.change.repository.tenant
        await self.advance(tenant, run.id, *events)
        if older is not None and older.live:
            reason = f"{SUPERSEDED} by a run for {run.change.head_sha[:10]}."
            await self.advance(
                tenant, older.id, Superseded(generation=run.generation, reason=reason)
            )

    async def _enter(self, run: WorkflowRun, *, cancel: bool) -> None:
        """Let the run begin, wait, or take the place of the others of its concurrency group."""
        tenant = run.change.repository.tenant
        entry = await self._turns.enter(run, cancel=cancel)
        reason = (
            f"{SUPERSEDED} in the concurrency group {run.concurrency_group!r} by a run for "
            f"{run.change.head_sha[:10]}."
        )
        for replaced in entry.replaced:
            await self.advance(tenant, replaced, CancelRequested(reason=reason))
        if entry.begins is not None:
            await self.advance(tenant, entry.begins, Started())
        if entry.begins != run.id:
            self._commands.setdefault(run.id, []).append(Report())

    async def _pass_turns(self) -> None:
        """Let the runs begin that wait for those that end here; one that ends at once passes on."""
        left: set[str] = set()
        while ended := [run for run in self._after.values() if self._leaves(run, left)]:
            for run in ended:
                left.add(run.id)
                begins = await self._turns.leave(run)
                if begins is not None:
                    await self.advance(run.change.repository.tenant, begins, Started())

    def _leaves(self, run: WorkflowRun, left: set[str]) -> bool:
        before = self._before[run.id]
        ends = not run.live and (before is None or before.live)
        return ends and run.concurrency_group is not None and run.id not in left

    async def _live(self, tenant: str, run_id: str) -> WorkflowRun | None:
        run = self._after.get(run_id) or await self._state.get(tenant, run_id)
        return run if run is not None and run.live else None

    def _keep(self, before: WorkflowRun, after: WorkflowRun, commands: Sequence[Command]) -> None:
        self._after[after.id] = after
        self._commands.setdefault(after.id, []).extend(commands)
        ended = before.live and not after.live
        if _owes_an_answer(after) and (ended or waits(before, after)):
            name = f"answer/{after.id}" if ended else f"answer/{after.id}/waits"
            job = Job(run=after.id)
            self._messages.append(message(name, EFFECTS, after, job, now=self._clock.now()))

    def _work(self, now: datetime) -> list[Message]:
        """Return the messages that are left to do after the last of each run's events."""
        found = list(self._messages)
        for run in self._after.values():
            wanted = still_wanted(run, self._commands.get(run.id, ()))
            found += messages_of(run, wanted, agents=self._agents, now=now)
        return found

    def _reports(self, now: datetime) -> list[Message]:
        """Return a reminder for each run of which users are to see something new."""
        return [
            report_of(self._after[run_id], now, after=self._together)
            for run_id, commands in self._commands.items()
            if any(isinstance(command, Report) for command in commands)
        ]


def _owes_an_answer(run: WorkflowRun) -> bool:
    """Whether somebody asked for this run and waits for it; not one that itself is an answer."""
    return asked_in(run) is not None and run.steps[0].agent != DESK
