"""What ``conductor runs`` does: opens the store, finds the run, and says what is there."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from bot.cli.opened import Opened, with_store
from bot.cli.words import as_table, in_short, to_json
from pipelines.agents.registry import AGENTS
from pipelines.errors import UserError
from pipelines.model import Step, TaskResult, WorkflowRun
from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.changes import Admission, Changes, Plan
from pipelines.orchestration.coordinator import Coordinator
from pipelines.orchestration.engine import WorkflowEngine
from pipelines.orchestration.records import RunSummary
from pipelines.orchestration.state import StateManager
from pipelines.orchestration.transitions import CancelRequested
from pipelines.replay.judgement import Judgement
from pipelines.replay.replay import RunReplay, StepReplay, replay_run
from pipelines.replay.tape import Tape
from pipelines.stores.backend import StorageBackend
from pipelines.system import SortableIds, SystemClock

T = TypeVar("T")

_BESIDE = (
    "A server is running on this store, so it alone may change it: use a button of the check, or "
    "`/conductor {verb}` in the pull request, stop the server first, or keep the store in Redis."
)
_BY_OPERATOR = "Cancelled by the operator."


class Desk:
    """One opened store and the runs in it."""

    def __init__(self, store: StorageBackend, bus: MessageBus) -> None:
        clock = SystemClock()
        self.state = StateManager(store, bus, clock)
        self.tape = Tape(store)
        self.coordinator = Coordinator(
            state=self.state,
            engine=WorkflowEngine(),
            bus=bus,
            clock=clock,
            ids=SortableIds(clock),
            agents=frozenset(AGENTS),
            tape=self.tape,
        )

    async def summaries(self, limit: int, repository: str, *, live: bool) -> list[RunSummary]:
        """Return the newest runs, newest first."""
        found: list[RunSummary] = []
        after = ""
        while True:
            page = await self.state.recent(200, after)
            found += [
                run
                for run in page.runs
                if repository in ("", run.repository) and not (live and run.conclusion)
            ]
            if len(found) >= limit or not page.after:
                return found[:limit]
            after = page.after

    async def run(self, name: str) -> WorkflowRun:
        """Return the one run whose id begins so; UserError if there is none or more than one."""
        found: dict[str, RunSummary] = {}
        after = ""
        while True:
            page = await self.state.recent(500, after)
            found |= {run.run_id: run for run in page.runs if name and run.run_id.startswith(name)}
            if not page.after:
                break
            after = page.after
        exact = found.get(name)
        if exact is None and len(found) > 1:
            raise UserError(f"{len(found)} runs begin with {name!r}; give more of the id.")
        line = exact or next(iter(found.values()), None)
        run = await self.state.get(line.tenant, line.run_id) if line else None
        if run is None:
            raise UserError(
                f"There is no run {name!r}; `conductor runs list` shows those there are."
            )
        return run


def _at_desk(work: Callable[[Desk], Awaitable[T]], verb: str = "") -> T:
    """Return what the work returns; with a verb it changes the store."""

    async def working(opened: Opened) -> T:
        return await work(Desk(opened.store, opened.bus))

    return with_store(working, change=bool(verb), beside=_BESIDE.format(verb=verb))


# --- list and show -------------------------------------------------------------------------------


def listing(limit: int, repository: str, *, live: bool, as_json: bool) -> str:
    """Return the newest runs as a table or as JSON."""
    found = _at_desk(lambda desk: desk.summaries(limit, repository, live=live))
    if as_json:
        return to_json([summary.model_dump(mode="json") for summary in found])
    if not found:
        return "There are no such runs."
    rows = [
        (
            run.run_id,
            run.conclusion or run.state,
            run.repository,
            run.workflow,
            run.subject,
            run.head_sha[:10],
            f"${run.cost_usd:.4f}",
            in_short(run.created_at),
        )
        for run in found
    ]
    return as_table(rows)


def details(name: str, *, as_json: bool) -> str:
    """Return a run with its steps' results."""
    run, results = _at_desk(lambda desk: _with_results(desk, name))
    if as_json:
        told = {step: result.model_dump(mode="json") for step, result in results.items()}
        return to_json({"run": run.model_dump(mode="json"), "results": told})
    change, subject = run.change, run.trigger.subject
    lines = [
        f"{run.id}  {run.conclusion or run.state}",
        f"{change.repository.full_name}  {run.workflow}  {subject}  {change.head_sha[:10]}",
        f"started {in_short(run.created_at)}, last changed {in_short(run.updated_at)}, "
        f"cost ${run.usage.cost_usd:.4f}",
        *([run.reason] if run.reason else []),
        "",
    ]
    for step in run.steps:
        lines += _step_lines(step, results.get(step.name))
    return "\n".join(lines)


async def _with_results(desk: Desk, name: str) -> tuple[WorkflowRun, dict[str, TaskResult]]:
    run = await desk.run(name)
    return run, dict(await desk.state.results(run))


def _step_lines(step: Step, result: TaskResult | None) -> list[str]:
    lines = [f"{step.name} ({step.agent}): {step.conclusion or step.state}  {step.title}".rstrip()]
    for finding in result.findings if result else ():
        where = f"{finding.path}:{finding.start_line}"
        lines.append(f"  {where}: {finding.severity}: {finding.title}")
    return lines


# --- cancel and retry ----------------------------------------------------------------------------


def cancelled(name: str, reason: str, *, as_json: bool) -> str:
    """Cancel a live run and say so; UserError if it is over."""

    async def cancelling(desk: Desk) -> WorkflowRun:
        run = await desk.run(name)
        if not run.live:
            raise UserError(f"Run {run.id} is over already ({run.conclusion}).")
        event = CancelRequested(reason=reason or _BY_OPERATOR)
        after = await desk.coordinator.apply(run.change.repository.tenant, run.id, event)
        return after or run

    run = _at_desk(cancelling, "cancel")
    if as_json:
        return to_json({"run": run.id, "conclusion": run.conclusion})
    return f"Run {run.id} is {run.conclusion}."


def retried(name: str, *, as_json: bool) -> str:
    """Start a completed run again and say which one it is now; UserError if it still runs."""

    async def retrying(desk: Desk) -> tuple[WorkflowRun, str]:
        run = await desk.run(name)
        if run.live:
            raise UserError(f"Run {run.id} still goes on; cancel it first.")

        # What one delivery started is not started twice, so the operator's wish is one of its own.
        order = {"delivery_id": f"operator-{SortableIds()()}"}
        trigger = run.trigger.model_copy(update=order)

        async def decide(changes: Changes) -> Admission:
            return await changes.start(again(run), trigger, run.change, run.config_sha)

        admission = await desk.coordinator.decide(decide)
        if not admission.new:
            raise UserError(f"Run {run.id} cannot be started again: {admission.reason}")
        return run, admission.run_id

    run, new = _at_desk(retrying, "retry")
    if as_json:
        return to_json({"run": new, "rerun_of": run.id})
    return f"Run {new} does what {run.id} did; it begins when a server starts."


def again(run: WorkflowRun) -> Plan:
    """Return the plan of a run as it was before anything happened."""
    progress = ("name", "agent", "needs", "condition", "timeout_seconds", "retries", "options")
    steps = [
        Step.model_validate({name: getattr(step, name) for name in (*progress, "models")})
        for step in run.steps
    ]
    return Plan(
        workflow=run.workflow,
        group=run.group,
        steps=tuple(steps),
        budget_usd=run.budget_usd,
        ignore=run.ignore,
        protected=run.protected,
        environments=run.environments,
        cancel_superseded=run.cancel_superseded,
        day_budget_usd=run.day_budget_usd,
        rerun_of=run.id,
        again=True,
    )


# --- replay --------------------------------------------------------------------------------------


def replayed(name: str) -> RunReplay:
    """Go through a run again; UserError if nothing of it is recorded."""

    async def replaying(desk: Desk) -> RunReplay:
        judgement = Judgement(desk.state, frozenset(AGENTS))
        run = await desk.run(name)
        return await replay_run(desk.tape, run, judge=judgement.now, verdicts=judgement.then)

    return _at_desk(replaying)


def replay_text(report: RunReplay) -> str:
    """Return what is equal and what is not, for people."""
    engine = report.note or (str(report.engine) if report.engine else "equal")
    lines = [f"run {report.run_id}", f"engine, {report.transitions} transitions: {engine}"]
    for step in report.steps:
        lines += _replay_lines(step)
    if not report.steps:
        lines.append("no attempt of an agent is recorded")
    return "\n".join(lines)


def _replay_lines(step: StepReplay) -> Sequence[str]:
    head = f"{step.step}, attempt {step.attempt} ({step.agent}): {step.outcome}"
    lines = [f"{head}: {step.note}" if step.note else head]
    lines += [f"  {step.difference}"] if step.difference else []
    lines += [f"  {drift}" for drift in step.drift]
    lines += [
        f"  policy on {effect.key}: recorded {effect.recorded}, now {effect.now}"
        for effect in step.effects
        if not effect.same
    ]
    return lines
