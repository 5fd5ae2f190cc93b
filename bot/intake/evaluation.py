"""What a trigger starts: the configuration in force, the workflows that match, their plans."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta

from bot.intake import configuration
from bot.intake.pushes import with_paths
from pipelines.config.builtin import BUILT_IN, with_command
from pipelines.config.loader import Loaded
from pipelines.config.matching import Match, NoMatch, workflows_for
from pipelines.config.plan import concurrency_group_of, environments_of, group_of, steps_of
from pipelines.config.schema import ConductorFile
from pipelines.model import (
    Change,
    CheckTrigger,
    CommandTrigger,
    Conclusion,
    IssueTrigger,
    Provenance,
    PullRequestTrigger,
    Trigger,
    WorkflowRun,
)
from pipelines.orchestration.changes import Admission, Changes, Plan
from pipelines.orchestration.coordinator import Coordinator
from pipelines.orchestration.transitions import CancelRequested
from pipelines.ports import Source

OPENING = timedelta(seconds=10)
"""Within which an issue gets the labels that it is opened with."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a trigger; ``reason`` says why nothing started."""

    admissions: tuple[Admission, ...] = ()
    reason: str = ""

    @property
    def started(self) -> tuple[str, ...]:
        """The ids of the runs that are new."""
        return tuple(admission.run_id for admission in self.admissions if admission.new)


def as_pull_request(trigger: Trigger, change: Change) -> PullRequestTrigger:
    """Return the trigger as if its pull request had just been pushed to."""
    assert change.number is not None
    return PullRequestTrigger(
        repository=change.repository,
        actor=trigger.actor,
        delivery_id=trigger.delivery_id,
        occurred_at=trigger.occurred_at,
        provenance=trigger.provenance,
        action="synchronize",
        number=change.number,
        head_sha=change.head_sha,
        head_ref=change.head_ref,
        base_ref=change.base_ref,
        base_sha=change.base_sha,
        head_repository_id=change.head_repository_id,
        author=change.author or trigger.actor,
        draft=change.draft,
        labels=change.labels,
    )


class Evaluation:
    """Gathers the runs that a trigger starts; the caller stores them."""

    def __init__(self, coordinator: Coordinator, source: Source) -> None:
        self._coordinator = coordinator
        self._source = source

    async def start(
        self,
        changes: Changes,
        trigger: Trigger,
        change: Change,
        *,
        as_if: Trigger | None = None,
        asked: bool = False,
        anew: bool = False,
    ) -> Outcome:
        """Start what matches ``as_if`` (the trigger itself, if not given) on behalf of the trigger.

        With ``asked`` somebody wants it: drafts count and what ran before runs again. With ``anew``
        it runs unless a run is on record, whatever the forge shows of one that is not.
        """
        cause = as_if or trigger
        loaded = configuration.in_force(change)
        verdict = await self._configuration(changes, trigger, cause, change, loaded)
        if loaded.file is None:
            return Outcome(verdict, "The configuration in force has mistakes, so nothing runs.")
        seen = change.model_copy(update={"draft": False}) if asked else change
        file = offering(loaded.file, cause, seen)
        matching, reasons = _matching(file, cause, seen)
        listed, doubt = await with_paths(file, matching, cause, change, self._source)
        if listed is not change:
            change = listed
            matching, reasons = _matching(file, cause, change)
        found, tenant = list(verdict), change.repository.tenant
        for name in matching:
            group = group_of(name, cause)
            turn = concurrency_group_of(name, file, cause, change)
            again = asked or (anew and await self._coordinator.newest(tenant, group) is None)
            plan = plan_of(file, name, group, concurrency_group=turn, again=again)
            twin = await self._twin(plan, trigger, change)
            started = twin or await changes.start(plan, trigger, change, config_sha(change))
            found.append(started)
        said = [a.reason for a in found if not a.new and a.reason]
        said += [doubt] if matching and doubt else []
        said += [] if matching else reasons
        return Outcome(tuple(found), " ".join(dict.fromkeys(said)))

    async def rerun(
        self, changes: Changes, old: WorkflowRun, trigger: Trigger, change: Change
    ) -> Outcome:
        """Start the workflow of an older run once more, as the configuration has it now."""
        if old.workflow == configuration.WORKFLOW:
            cause = as_pull_request(trigger, change) if change.number else old.trigger
            loaded = configuration.in_force(change)
            found = await self._configuration(changes, trigger, cause, change, loaded, again=True)
            return Outcome(found)
        loaded = configuration.in_force(change)
        if loaded.file is None:
            return Outcome(reason="The configuration in force has mistakes, so nothing runs.")
        file = offering(loaded.file, old.trigger, change)
        if old.workflow not in file.workflows:
            return Outcome(reason=f"The configuration has no workflow `{old.workflow}` any more.")
        turn = concurrency_group_of(old.workflow, file, old.trigger, change)
        plan = plan_of(
            file, old.workflow, old.group, concurrency_group=turn, again=True, rerun_of=old.id
        )
        return Outcome((await changes.start(plan, trigger, change, config_sha(change)),))

    async def continued(self, trigger: Trigger, change: Change) -> Trigger:
        """Return a trigger that our own commit caused as one link further than the runs before it.

        The event alone cannot tell how long the chain is by now, the newest runs here can.
        """
        if trigger.provenance.depth != 1 or trigger.provenance.root_run is not None:
            return trigger
        before = [run async for run in self.newest(trigger, change)]
        if not before:
            return trigger
        longest = max(before, key=lambda run: run.trigger.provenance.depth)
        chain = longest.trigger.provenance
        provenance = Provenance(root_run=chain.root_run or longest.id, depth=chain.depth + 1)
        return trigger.model_copy(update={"provenance": provenance})

    async def close(self, changes: Changes, change: Change) -> tuple[str, ...]:
        """Cancel what still runs for a pull request that was closed; return the runs' ids."""
        assert change.number is not None
        tenant, stopped = change.repository.tenant, list[str]()
        reason = CancelRequested(reason="The pull request was closed.")
        async for run in self._coordinator.live_on(tenant, change.number):
            await changes.advance(tenant, run.id, reason)
            stopped.append(run.id)
        return tuple(stopped)

    async def newest(self, trigger: Trigger, change: Change) -> AsyncIterator[WorkflowRun]:
        """Yield the newest run of each workflow on the trigger's subject."""
        for name in _names(configuration.in_force(change)):
            run = await self._coordinator.newest(change.repository.tenant, group_of(name, trigger))
            if run is not None:
                yield run

    async def _twin(self, plan: Plan, trigger: Trigger, change: Change) -> Admission | None:
        """Return the run of the same opening of an issue, if that has started one already.

        GitHub tells of an issue that is opened with labels once for itself and once a label.
        """
        if not isinstance(trigger, IssueTrigger):
            return None
        older = await self._coordinator.newest(change.repository.tenant, plan.group)
        if older is None or not _one_opening(trigger, older.trigger):
            return None
        return Admission(older.id, new=False, reason="The issue was opened with this label.")

    async def _configuration(
        self,
        changes: Changes,
        trigger: Trigger,
        cause: Trigger,
        change: Change,
        loaded: Loaded,
        *,
        again: bool = False,
    ) -> tuple[Admission, ...]:
        """Judge the configuration where it is broken, proposed anew, or was broken before."""
        if change.number is not None and not change.open:
            return ()
        plan = configuration.plan_of(cause, again=again)
        before = await self._coordinator.newest(change.repository.tenant, plan.group)
        failed = before is not None and before.conclusion is Conclusion.FAILURE
        here = before is not None and before.change.head_sha == change.head_sha
        if loaded.file is None:
            result = configuration.broken(loaded)
            again = again or (here and not failed)
        elif configuration.edits_it(change):
            base = loaded if change.config else None
            result = await configuration.proposed(base, self._source.reader(change))
        elif here and failed:
            result, again = configuration.mended(), True
        else:
            return ()
        plan = configuration.plan_of(cause, again=again)
        sha = config_sha(change)
        return (await changes.conclude(plan, trigger, change, sha, result),)


def plan_of(
    file: ConductorFile,
    name: str,
    group: str,
    *,
    concurrency_group: str | None = None,
    again: bool = False,
    rerun_of: str | None = None,
) -> Plan:
    """Return the plan of one workflow of the file."""
    workflow = file.workflows[name]
    return Plan(
        workflow=name,
        group=group,
        steps=steps_of(workflow, file),
        budget_usd=file.budget.per_run,
        day_budget_usd=file.budget.per_day,
        ignore=file.paths.ignore,
        protected=file.paths.protected,
        environments=environments_of(file),
        cancel_superseded=workflow.concurrency.cancel_superseded,
        concurrency_group=concurrency_group,
        rerun_of=rerun_of,
        again=again,
    )


def _matching(file: ConductorFile, cause: Trigger, change: Change) -> tuple[list[str], list[str]]:
    """Return which workflows the cause starts, and why not the others."""
    answers = workflows_for(file, cause, change)
    matching = [answer.workflow for answer in answers if isinstance(answer, Match)]
    return matching, [answer.reason for answer in answers if isinstance(answer, NoMatch)]


def offering(file: ConductorFile, cause: Trigger, change: Change) -> ConductorFile:
    """Return the file with the built-in workflow of a command or button that nothing answers."""
    if not isinstance(cause, CommandTrigger | CheckTrigger):
        return file
    if any(isinstance(answer, Match) for answer in workflows_for(file, cause, change)):
        return file
    if isinstance(cause, CheckTrigger):
        return with_command(file, cause.button or "")
    where = cause.arguments[0] if cause.arguments else None
    return with_command(file, cause.verb, where if where in file.environments else None)


def config_sha(change: Change) -> str:
    """Return the blob id of the configuration in force; empty for the default."""
    return change.config.sha if change.config else ""


def _one_opening(one: Trigger, other: Trigger) -> bool:
    """Whether one says that an issue was opened, and the other that it then had a label."""
    if not (isinstance(one, IssueTrigger) and isinstance(other, IssueTrigger)):
        return False
    opened, labeled = (one, other) if one.action == "opened" else (other, one)
    known = opened.action == "opened" and labeled.action == "labeled"
    if not known or labeled.occurred_at is None or opened.occurred_at is None:
        return False
    late = abs(labeled.occurred_at - opened.occurred_at)
    return labeled.label in opened.labels and late <= OPENING


def _names(loaded: Loaded) -> Iterator[str]:
    own = loaded.file.workflows if loaded.file else {}
    yield from dict.fromkeys((*own, *BUILT_IN, configuration.WORKFLOW))
