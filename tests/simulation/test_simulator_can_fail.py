"""A simulator that finds nothing proves nothing, so here it is given something to find.

Each test breaks one thing on purpose and expects the invariant that guards it to say so.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from pipelines.model import Approval, StepState, WorkflowRun
from pipelines.orchestration.engine import WorkflowEngine
from pipelines.orchestration.policy import DEFAULT_RULES, CommitBinding, PolicyEngine
from pipelines.orchestration.policy.writing import PathRule
from pipelines.orchestration.transitions import (
    Dispatch,
    EffectsHeld,
    Publish,
    Report,
    RunEvent,
    StepApproved,
    StepClaimed,
    StepFinished,
    Superseded,
    Transition,
    Wake,
)
from tests.simulation.simulator import Simulation
from tests.simulation.world import Broken
from tests.support.clock import EPOCH

SEEDS_TO_FIND_IT = 5000


def broken_by(simulation: Simulation) -> Broken | None:
    try:
        simulation.run()
    except Broken as broken:
        return broken
    return None


def finding(make: Callable[[int], Simulation], *, first: int = 0) -> Broken:
    """Return the first broken invariant, and check that its seed shows it again.

    ``first`` spares seconds where it is known which seed shows it, and need not be right.
    """
    for seed in range(first, first + SEEDS_TO_FIND_IT):
        if broken := broken_by(make(seed)):
            assert str(broken_by(make(seed))) == str(broken)
            return broken
    pytest.fail(f"{SEEDS_TO_FIND_IT} histories did not show it")


def found_with(engine: WorkflowEngine) -> str:
    return finding(lambda seed: Simulation(seed, engine=engine)).invariant


class NoFencing(WorkflowEngine):
    """Takes every event as being about the current attempt."""

    def advance(self, run: WorkflowRun, event: RunEvent, now: datetime) -> Transition:
        if isinstance(event, StepClaimed | StepFinished):
            event = event.model_copy(update={"attempt": run.step(event.step).attempt})
        return super().advance(run, event, now)


class NoConditions(WorkflowEngine):
    """Runs every step once its needs are done, however they ended."""

    def advance(self, run: WorkflowRun, event: RunEvent, now: datetime) -> Transition:
        steps = tuple(s.model_copy(update={"condition": "always()"}) for s in run.steps)
        result = super().advance(run.model_copy(update={"steps": steps}), event, now)
        if result.run.version == run.version:
            return Transition(run=run, commands=result.commands)
        plan = {s.name: s.condition for s in run.steps}
        after = tuple(s.model_copy(update={"condition": plan[s.name]}) for s in result.run.steps)
        return replace(result, run=result.run.model_copy(update={"steps": after}))


class NoNeeds(WorkflowEngine):
    """Dispatches every step at once."""

    def advance(self, run: WorkflowRun, event: RunEvent, now: datetime) -> Transition:
        steps = tuple(
            s.model_copy(update={"state": StepState.QUEUED, "attempt": 1})
            if s.state is StepState.PENDING
            else s
            for s in run.steps
        )
        result = super().advance(run.model_copy(update={"steps": steps}), event, now)
        early = [
            Dispatch(step=new.name, attempt=1)
            for old, new in zip(run.steps, result.run.steps, strict=True)
            if old.state is StepState.PENDING and not new.done
        ]
        return replace(result, commands=(*result.commands, *early))


class NoSupersession(WorkflowEngine):
    """Lets the runs of older commits go on."""

    def advance(self, run: WorkflowRun, event: RunEvent, now: datetime) -> Transition:
        if isinstance(event, Superseded):
            return Transition(run=run)
        return super().advance(run, event, now)


class WholeBudget(WorkflowEngine):
    """Lets each step spend all that is left, as if it were alone."""

    def advance(self, run: WorkflowRun, event: RunEvent, now: datetime) -> Transition:
        result = super().advance(run, event, now)
        if result.run.version == run.version:
            return result
        left = max(0.0, run.budget_usd - run.usage.cost_usd)
        steps = tuple(
            s.model_copy(update={"budget_usd": left}) if s.state is StepState.RUNNING else s
            for s in result.run.steps
        )
        return replace(result, run=result.run.model_copy(update={"steps": steps}))


class NoWake(WorkflowEngine):
    """Never asks to be woken."""

    def advance(self, run: WorkflowRun, event: RunEvent, now: datetime) -> Transition:
        return without(Wake, super().advance(run, event, now))


class NoReport(WorkflowEngine):
    """Forgets to say how a run ended."""

    def advance(self, run: WorkflowRun, event: RunEvent, now: datetime) -> Transition:
        result = super().advance(run, event, now)
        return result if result.run.live else without(Report, result)


class NoLateBill(WorkflowEngine):
    """Ignores what an aborted step had spent."""

    def advance(self, run: WorkflowRun, event: RunEvent, now: datetime) -> Transition:
        if not run.live:
            return Transition(run=run)
        return super().advance(run, event, now)


class RunsAgain(WorkflowEngine):
    """Takes consent to a result for consent to another attempt."""

    def advance(self, run: WorkflowRun, event: RunEvent, now: datetime) -> Transition:
        if not isinstance(event, StepApproved):
            return super().advance(run, event, now)
        steps = tuple(s.model_copy(update={"held": False}) for s in run.steps)
        result = super().advance(run.model_copy(update={"steps": steps}), event, now)
        return result if result.run.version != run.version else Transition(run=run)


class OldConsent(WorkflowEngine):
    """Publishes what is held without waiting for anybody."""

    def advance(self, run: WorkflowRun, event: RunEvent, now: datetime) -> Transition:
        result = super().advance(run, event, now)
        if not isinstance(event, EffectsHeld) or result.run.version == run.version:
            return result
        publish = Publish(step=event.step, attempt=event.attempt)
        steps = tuple(
            s.model_copy(update={"state": StepState.PUBLISHING, "approvals": (CARELESS,)})
            if s.name == event.step
            else s
            for s in result.run.steps
        )
        held = result.run.model_copy(update={"steps": steps})
        return Transition(run=held, commands=(*result.commands, publish))


CARELESS = Approval(by_id=1, by_login="nobody", level="write", at=EPOCH)


def without(kind: type[Any], result: Transition) -> Transition:
    commands = tuple(c for c in result.commands if not isinstance(c, kind))
    return replace(result, commands=commands)


@pytest.mark.parametrize(
    ("engine", "invariant"),
    [
        (NoFencing(), "I8"),
        (NoConditions(), "I4"),
        (NoNeeds(), "I4"),
        (NoSupersession(), "I5"),
        (WholeBudget(), "I6"),
        (NoLateBill(), "I6"),
        (NoWake(), "liveness"),
        (RunsAgain(), "held"),
        (OldConsent(), "T05"),
        (NoReport(), "I11"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, WorkflowEngine) else value,
)
def test_a_broken_engine_is_found_out(engine: WorkflowEngine, invariant: str) -> None:
    assert found_with(engine) == invariant


class NoInbox(Simulation):
    """Takes every delivery as new."""

    def _deliver(self) -> bool:
        self.world.accepted.clear()
        return super()._deliver()


def test_an_inbox_that_takes_a_delivery_twice_is_found_out() -> None:
    assert finding(NoInbox).invariant == "I1"


def test_a_publisher_that_does_not_look_before_it_repeats_is_found_out() -> None:
    broken = finding(lambda seed: Simulation(seed, looks_first=False))
    assert broken.invariant == "I2"


def test_publishers_that_do_not_wait_for_each_other_are_found_out() -> None:
    broken = finding(lambda seed: Simulation(seed, waits_for_others=False), first=3942)
    assert broken.invariant == "I2"


def test_a_policy_that_does_not_bind_effects_to_the_commit_is_found_out() -> None:
    careless = PolicyEngine([rule for rule in DEFAULT_RULES if not isinstance(rule, CommitBinding)])
    broken = finding(lambda seed: Simulation(seed, policy=careless))
    assert broken.invariant == "I3"


def test_a_policy_that_asks_nobody_before_it_writes_what_ships_is_found_out() -> None:
    careless = PolicyEngine([rule for rule in DEFAULT_RULES if not isinstance(rule, PathRule)])
    broken = finding(lambda seed: Simulation(seed, policy=careless))
    assert broken.invariant == "T24"
