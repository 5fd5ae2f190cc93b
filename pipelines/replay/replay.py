"""Goes through a whole run again: engine, agents, policy; and says what is different."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

from pydantic import ValidationError

from pipelines.errors import ConductorError, UserError
from pipelines.model import Effect, Frozen, Step, WorkflowRun
from pipelines.orchestration.engine import WorkflowEngine
from pipelines.replay.comparison import Difference, first_difference
from pipelines.replay.player import replay
from pipelines.replay.recording import Recording
from pipelines.replay.tape import Passage, Tape

Judge = Callable[[WorkflowRun, Step, Effect], Awaitable[str]]
"""Says what policy says of an effect now: ``allow``, ``unknown`` or ``deny`` and why."""
Verdicts = Callable[[WorkflowRun, Effect], Awaitable[str | None]]
"""Says what policy said then: ``allow``, ``deny``, or None if that is not known."""

Outcome = Literal["equal", "drifted", "diverged", "not replayed"]


class EffectReplay(Frozen):
    """One effect that a step asked for, and what policy said of it then and says now."""

    key: str
    recorded: str | None
    now: str

    @property
    def same(self) -> bool:
        """Whether policy has not changed its mind, as far as its mind is known."""
        known = self.recorded is not None and self.now != "unknown"
        return not known or self.recorded == self.now.partition(":")[0]


class StepReplay(Frozen):
    """One attempt at a step, gone through again."""

    step: str
    attempt: int
    agent: str
    outcome: Outcome
    drift: tuple[str, ...] = ()
    """What the code asks for otherwise now, e.g. with another prompt."""
    difference: Difference | None = None
    note: str = ""
    effects: tuple[EffectReplay, ...] = ()


class RunReplay(Frozen):
    """A run gone through again."""

    run_id: str
    tenant: str
    transitions: int
    engine: Difference | None = None
    note: str = ""
    steps: tuple[StepReplay, ...] = ()

    def ok(self, *, allow_drift: bool = False) -> bool:
        """Whether everything is as it was; with ``allow_drift`` changed prompts do not count."""
        fine = {"equal", "drifted"} if allow_drift else {"equal"}
        policy = all(effect.same for step in self.steps for effect in step.effects)
        whole = self.engine is None and not self.note
        return whole and policy and all(step.outcome in fine for step in self.steps)


async def replay_run(
    tape: Tape, run: WorkflowRun, *, judge: Judge | None = None, verdicts: Verdicts | None = None
) -> RunReplay:
    """Go through everything that is recorded of a run; UserError if nothing is."""
    tenant = run.change.repository.tenant
    history = await tape.history(tenant, run.id)
    recordings = await tape.recordings(tenant, run.id)
    if not history and not recordings:
        raise UserError(
            f"Nothing is recorded of run {run.id}: recordings are kept for 30 days, and runs of "
            "before recording began have none."
        )
    engine, note = fold(history, run)
    steps = [await _step(recording, run, judge, verdicts) for recording in recordings]
    return RunReplay(
        run_id=run.id,
        tenant=tenant,
        transitions=len(history),
        engine=engine,
        note=note,
        steps=tuple(steps),
    )


def fold(history: Sequence[Passage], run: WorkflowRun) -> tuple[Difference | None, str]:
    """Let the recorded events happen again; return where the run ends otherwise, or why not."""
    if not history or history[0].start is None:
        return None, "the history of this run does not begin at its start"
    if [passage.version for passage in history] != list(range(1, len(history) + 1)):
        return None, "a part of the history of this run is missing"
    engine, now = WorkflowEngine(), history[0].start
    for passage in history:
        for happened in passage.happened:
            now = engine.advance(now, happened.event, happened.at).run
        now = now.model_copy(update={"version": passage.version})
    return first_difference(run, now), ""


async def _step(
    recording: Recording, run: WorkflowRun, judge: Judge | None, verdicts: Verdicts | None
) -> StepReplay:
    task, result = recording.task, recording.result
    told = StepReplay(step=task.step, attempt=task.attempt, agent=task.agent, outcome="equal")
    if not recording.complete:
        return told.model_copy(
            update={"outcome": "not replayed", "note": "it saw more than is recorded of one task"}
        )
    if result is None:
        return told.model_copy(
            update={"outcome": "not replayed", "note": "it ended by a failure outside the agent"}
        )
    try:
        replayed = await replay(recording)
    except (ConductorError, ValidationError) as error:
        return told.model_copy(update={"outcome": "diverged", "note": str(error)[:300]})
    difference = first_difference(result, replayed.result)
    outcome: Outcome = "drifted" if replayed.drift else "equal"
    note = f"{recording.masked} secrets were masked when it was recorded" * bool(recording.masked)
    return told.model_copy(
        update={
            "outcome": "diverged" if difference else outcome,
            "drift": replayed.drift,
            "difference": difference,
            "note": note,
            "effects": await _effects(recording, run, judge, verdicts),
        }
    )


async def _effects(
    recording: Recording, run: WorkflowRun, judge: Judge | None, verdicts: Verdicts | None
) -> tuple[EffectReplay, ...]:
    """Ask policy again about what the last attempt of a step asked for."""
    step = next((step for step in run.steps if step.name == recording.task.step), None)
    if judge is None or step is None or step.attempt != recording.task.attempt:
        return ()
    effects = recording.result.effects if recording.result else ()
    found: list[EffectReplay] = []
    for effect in effects:
        recorded = await verdicts(run, effect) if verdicts else None
        now = await judge(run, step, effect)
        found.append(EffectReplay(key=effect.key, recorded=recorded, now=now))
    return tuple(found)
