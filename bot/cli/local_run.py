"""A local run: the same orchestration and agents as ever, on a store in memory."""

import asyncio
import random
import sys
from collections.abc import Generator, Mapping
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TextIO

import typer
from rich.console import Console

from bot.cli.formats import FORMATS
from bot.cli.formats.terminal import show
from bot.cli.report import RunReport
from bot.intake.configuration import in_force
from bot.intake.evaluation import config_sha, plan_of
from bot.redactor import Redactor
from bot.settings import ConductorConfig, load_settings
from bot.telemetry import Metrics, logging_to
from bot.wiring import local_worker, provider_settings
from bot.wiring.instruments import Surroundings, bubblewrap, docker, sandboxes
from pipelines.agents.runner import LocalRunner
from pipelines.checkout import CheckoutSource
from pipelines.config.matching import Match, workflows_for
from pipelines.config.plan import group_of
from pipelines.errors import Ignorable, UserError
from pipelines.integrations.llm.factory import build_chain
from pipelines.model import Change, Conclusion, Effect, PullRequestTrigger, TaskResult, WorkflowRun
from pipelines.orchestration.assembly import Orchestration, Outside, orchestrate
from pipelines.orchestration.bus.local import LocalBus
from pipelines.orchestration.changes import Changes, Plan
from pipelines.ports import CheckState, Receipt
from pipelines.stores.memory import MemoryBackend
from pipelines.system import SortableIds, SystemClock

POLL_SECONDS = 0.05
_FAILED = (Conclusion.FAILURE, Conclusion.TIMED_OUT)


class LocalReporter:
    """Implements ``ports.Reporter`` where nothing is told to anybody: the report is printed."""

    async def carry_out(self, run: WorkflowRun, effect: Effect, *, repeated: bool) -> Receipt:
        """Refuse: a local run has no pull request to write to."""
        del run, repeated
        return Receipt(key=effect.key, status="denied", message="A local run writes nothing.")

    async def report(
        self,
        run: WorkflowRun,
        results: Mapping[str, TaskResult],
        last: Mapping[str, CheckState],
        *,
        repeated: bool,
    ) -> Mapping[str, CheckState]:
        """Report nothing."""
        del run, results, repeated
        return last


class LocalRun:
    """One `conductor run`."""

    def __init__(
        self, folder: Path, *, base: str | None, output_format: str, output: Path | None
    ) -> None:
        self._format = output_format
        self._output = output
        self._clock = SystemClock()
        self._source = CheckoutSource(folder, self._clock, base=base)

    def perform(self) -> None:
        """Run, print, and exit with 1 if something blocks."""
        settings = load_settings()
        try:
            with logging_to(
                sys.stderr,
                level="ERROR",
                log_format="console",
                redactor=Redactor(settings.secrets()),
                metrics=Metrics(),
            ):
                report = asyncio.run(self._run(settings))
        except Ignorable as nothing:
            typer.echo(str(nothing), err=True)
            return
        self._print(report)
        raise typer.Exit(1 if report.conclusion in _FAILED else 0)

    async def _run(self, settings: ConductorConfig) -> RunReport:
        change = await self._source.current_change()
        plans = _plans(change)
        store = MemoryBackend(self._clock)
        bus = LocalBus(store, self._clock)
        ids = SortableIds(self._clock)
        async with AsyncExitStack() as opened:
            opened.push_async_callback(store.close)
            opened.push_async_callback(bus.close)
            runner = self._runner(settings)
            opened.push_async_callback(runner.close)
            around = Surroundings(settings, self._clock, ids, opened)
            choice = sandboxes(around, docker(around), bubblewrap(around))
            outside = Outside(
                store=store,
                bus=bus,
                source=self._source,
                reporter=LocalReporter(),
                runner=runner,
                clock=self._clock,
                ids=ids,
                rng=random.SystemRandom(),
                sandboxes=choice.strongest,
                builders=choice.builder,
            )
            parts = orchestrate(outside)
            await bus.start()
            runs = await self._work(outside, parts, plans, change)
            results = [await parts.state.results(run) for run in runs]
        notes = await self._notes(change)
        return RunReport(runs=tuple(runs), results=tuple(dict(r) for r in results), notes=notes)

    def _runner(self, settings: ConductorConfig) -> LocalRunner:
        providers = provider_settings(settings)
        return LocalRunner(
            lambda names: build_chain(names, providers, clock=self._clock), self._clock
        )

    async def _work(
        self, outside: Outside, parts: Orchestration, plans: list[Plan], change: Change
    ) -> list[WorkflowRun]:
        async def start(changes: Changes) -> list[str]:
            trigger, sha = _trigger(change), config_sha(change)
            return [(await changes.start(plan, trigger, change, sha)).run_id for plan in plans]

        ids = await parts.coordinator.decide(start)
        worker = local_worker(outside, parts)
        working = asyncio.create_task(worker.run())
        try:
            with Console(stderr=True).status("looking at the change"):
                return [await self._finished(parts, change, run_id, working) for run_id in ids]
        finally:
            worker.stop()
            await working

    async def _finished(
        self, parts: Orchestration, change: Change, run_id: str, working: "asyncio.Task[None]"
    ) -> WorkflowRun:
        tenant = change.repository.tenant
        while not working.done():
            run = await parts.coordinator.run(tenant, run_id)
            if run is not None and not run.live:
                return run
            await self._clock.sleep(POLL_SECONDS)
        raise UserError("The worker ended before the run did; its message is above.")

    async def _notes(self, change: Change) -> tuple[str, ...]:
        notes: list[str] = []
        if await self._source.dirty():
            notes.append("Changes that are not committed were not looked at.")
        if change.config is None:
            notes.append("The base has no .conductor.yml, so the defaults held: advice only.")
        return tuple(notes)

    def _print(self, report: RunReport) -> None:
        if self._format == "terminal":
            with _opened(self._output) as stream:
                show(report, Console(file=stream, highlight=False))
            return
        text = FORMATS[self._format](report)
        with _opened(self._output) as stream:
            stream.write(text if text.endswith("\n") else text + "\n")


@contextmanager
def _opened(output: Path | None) -> Generator[TextIO]:
    """Yield the output file, or standard output, which stays open."""
    if output is None:
        yield sys.stdout
        return
    try:
        stream = output.open("w", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{str(output)!r} cannot be written: {error.strerror}.") from error
    with stream:
        yield stream


def _trigger(change: Change) -> PullRequestTrigger:
    assert change.author is not None
    return PullRequestTrigger(
        repository=change.repository,
        actor=change.author,
        delivery_id="local",
        action="opened",
        number=0,
        head_sha=change.head_sha,
        head_ref=change.head_ref,
        base_ref=change.base_ref,
        base_sha=change.base_sha,
        head_repository_id=change.repository.id,
        author=change.author,
    )


def _plans(change: Change) -> list[Plan]:
    loaded, trigger = in_force(change), _trigger(change)
    if loaded.file is None:
        mistakes = "\n".join(str(diagnostic) for diagnostic in loaded.diagnostics)
        raise UserError(f"The configuration of the base has mistakes:\n{mistakes}")
    answers = workflows_for(loaded.file, trigger, change)
    names = [answer.workflow for answer in answers if isinstance(answer, Match)]
    if not names:
        raise Ignorable("No workflow of the configuration is for pull requests like this one.")
    return [plan_of(loaded.file, name, group_of(name, trigger)) for name in names]
