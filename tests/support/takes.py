"""Runs that are recorded: a task carried out on a scripted model, and the run it belongs to."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pipelines.agents.runner import LocalRunner
from pipelines.errors import Retryable
from pipelines.integrations.llm.base import LanguageModel, ModelRequest
from pipelines.integrations.llm.chain import ModelChain
from pipelines.integrations.llm.mock import MockModel, Script
from pipelines.integrations.llm.prices import price_table
from pipelines.integrations.llm.streaming import prompt_tokens
from pipelines.integrations.llm.tokens import estimate_tokens
from pipelines.model import Step, Task, TaskResult, WorkflowRun
from pipelines.orchestration.engine import WorkflowEngine
from pipelines.orchestration.runs import new_run
from pipelines.orchestration.transitions import (
    EffectsPublished,
    RunEvent,
    Started,
    StepClaimed,
    StepFailed,
    StepFinished,
)
from pipelines.ports import Clock, Workplace
from pipelines.replay.recording import Recorder, Recording
from pipelines.replay.tape import Happening, Passage
from tests.support.clock import VirtualClock
from tests.support.models import Answer, ScriptedModel


class BriskClock(VirtualClock):
    """Time passes a little with every look at it, and exactly as fast as somebody waits for it."""

    def now(self) -> datetime:
        self._elapsed += 0.001
        return super().now()

    async def sleep(self, seconds: float) -> None:
        self._elapsed += max(0.0, seconds)
        await asyncio.sleep(0)


class Voice(ScriptedModel):
    """A scripted model that counts tokens and dollars as real ones do, as a replay will."""

    def __init__(self, *answers: Answer) -> None:
        super().__init__(*answers)
        self.name = "mock:voice"

    @property
    def context_tokens(self) -> int:
        return price_table().context_tokens(self.name)

    def estimate_tokens(self, text: str) -> int:
        return estimate_tokens(text)

    def worst_cost_usd(self, request: ModelRequest) -> float:
        size = prompt_tokens(request)
        return price_table().worst_cost(self.name, size, request.max_output_tokens)


def scripted(script: Script, clock: Clock) -> LanguageModel:
    """The model that answers from a script, behind a chain as in production."""
    model = MockModel("script.json", script, clock=clock, prices=price_table())
    return ModelChain([model], clock=clock)


async def record(
    task: Task, workplace: Workplace, model: LanguageModel | Script, clock: Clock | None = None
) -> Recording:
    """Carry a task out and return its recording; an exception of the runner leaves no result."""
    clock = clock or BriskClock()
    speaking = scripted(model, clock) if isinstance(model, Script) else model
    recorder = Recorder(task, workplace)
    runner = LocalRunner(lambda _: speaking, clock)
    try:
        result = await runner.run(task, recorder.workplace, notes=recorder.note)
    except Retryable:
        return recorder.recording(None)
    finally:
        await runner.close()
    return recorder.recording(result)


@dataclass
class Take:
    """A run as it is stored, and its history and recordings."""

    run: WorkflowRun
    history: Sequence[Passage]
    recordings: Sequence[Recording]


class Stage:
    """Lets events happen to a run as orchestration does, one stored transition each."""

    def __init__(self, task: Task, steps: Sequence[Step]) -> None:
        self.clock = BriskClock()
        self.history: list[Passage] = []
        now = self.clock.now()
        self.run = new_run(
            run_id=task.run_id,
            workflow="golden",
            trigger=task.trigger,
            change=task.change,
            config_sha="c" * 40,
            group="golden/1",
            generation=1,
            steps=steps,
            budget_usd=5.0,
            now=now,
        )

    def happen(self, *events: RunEvent) -> None:
        start = None if self.history else self.run
        version = len(self.history) + 1
        happened: list[Happening] = []
        for event in events:
            at = self.clock.now()
            self.run = WorkflowEngine().advance(self.run, event, at).run
            happened.append(Happening(event=event, at=at))
        self.run = self.run.model_copy(update={"version": version})
        passage = Passage(
            version=version, happened=tuple(happened), start=start, at=self.clock.now()
        )
        self.history.append(passage)

    def end(self, step: Step, result: TaskResult) -> None:
        """Store a result as orchestration does: its effects are published, a failure ends it."""
        if result.failure is not None:
            self.happen(
                StepFailed(
                    step=step.name,
                    attempt=1,
                    conclusion=result.conclusion,
                    title=result.title,
                    usage=result.usage,
                )
            )
            return
        self.happen(
            StepFinished(
                step=step.name,
                attempt=1,
                conclusion=result.conclusion,
                title=result.title,
                outputs=result.outputs,
                usage=result.usage,
                effects=len(result.effects),
            )
        )
        if result.effects:
            self.happen(EffectsPublished(step=step.name, attempt=1))


async def take(
    task: Task, workplace: Workplace, model: LanguageModel | Script, clock: Clock | None = None
) -> Take:
    """Record a run of one step."""
    step = Step(name=task.step, agent=task.agent, options=task.options)
    stage = Stage(task, [step])
    stage.happen(Started())
    stage.happen(StepClaimed(step=step.name, attempt=1))
    recording = await record(task, workplace, model, clock)
    assert recording.result is not None
    stage.end(step, recording.result)
    return Take(stage.run, stage.history, [recording])
