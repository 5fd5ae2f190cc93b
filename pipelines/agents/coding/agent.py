"""Changes code for an issue, an incident, findings or a request, and proves what it can."""

from dataclasses import dataclass
from typing import ClassVar

from pipelines.agents import prompts
from pipelines.agents.base import BaseAgent
from pipelines.agents.coding.answer import CodingAnswer
from pipelines.agents.coding.assignment import Assignment, Nothing, assignment_of
from pipelines.agents.coding.outcome import could_not, propose
from pipelines.agents.coding.report import Work
from pipelines.agents.coding.tools import CodingTools, told
from pipelines.agents.coding.trials import Trial, Trials
from pipelines.agents.context import AgentContext
from pipelines.agents.fence import Fence, one_line, presentable
from pipelines.agents.lessons import lessons_block
from pipelines.agents.options import section
from pipelines.agents.toolloop import Outcome, ToolLoop
from pipelines.agents.workspace import Workspace
from pipelines.config.steps import CodingOptions
from pipelines.integrations.llm.base import ChatMessage, ModelRequest, Part
from pipelines.model import FileEdit, Task, TaskResult

MAX_OUTPUT_TOKENS = 8_192
_MAX_REASON = 300
_MAX_OVERVIEW = 200
_MAX_BROKEN = 10
_MAX_REPAIRS = 3
"""How often it goes back to the model with files that cannot be parsed."""


class CodingAgent(BaseAgent):
    """Proposes one commit, on the pull request's branch or in a pull request of its own.

    Options: as ``CodingOptions`` of the configuration.
    """

    name: ClassVar[str] = "coding"

    def _validate_task(self, task: Task) -> None:
        super()._validate_task(task)
        section(CodingOptions, task)

    async def _execute(self, task: Task, context: AgentContext) -> TaskResult:
        assignment = assignment_of(task)
        if isinstance(assignment, Nothing):
            return could_not(task, assignment.why)
        space = await Workspace.open(context.reader, protected=task.protected, ignore=task.ignore)
        trials = await Trials.prepare(task, section(CodingOptions, task), context, space)
        tools = CodingTools(space, trials)
        fence = Fence(context.rng)
        request = _request(task, assignment, space, context, fence)
        loop = ToolLoop(context, request, tools.all, fence, schema=CodingAnswer)
        session = _Session(task, context, assignment, space, trials, tools)
        outcome, trial = await _work(session, loop, fence)
        return _conclude(session, outcome, trial)


@dataclass(frozen=True, slots=True)
class _Session:
    """What every part of one task works with."""

    task: Task
    context: AgentContext
    assignment: Assignment
    space: Workspace
    trials: Trials
    tools: CodingTools


async def _work(
    session: _Session, loop: ToolLoop[CodingAnswer], fence: Fence
) -> tuple[Outcome[CodingAnswer], Trial | None]:
    """Let the model work, and go back to it with failing tests as often as the step allows.

    A model that then changes nothing has no more to say.
    """
    outcome = await loop.run()
    sent_back: list[tuple[FileEdit, ...]] = []
    while True:
        edits = session.space.edits
        given_up = outcome.answer is not None and outcome.answer.outcome == "unable"
        if not edits or given_up or outcome.ended == "refused":
            return outcome, None
        trial = await session.trials.run(edits)
        wrong = _wrong(session, trial, fence, len(sent_back))
        if outcome.ended != "answered" or not wrong or sent_back[-1:] == [edits]:
            return outcome, trial
        sent_back.append(edits)
        outcome = await loop.run(f"{wrong}Mend it and give your answer again, or answer `unable`.")


def _wrong(session: _Session, trial: Trial, fence: Fence, times: int) -> str:
    """Return what the model is told of edits that cannot stay like that; empty if it is not."""
    failed = trial.verdict == "failed"
    if failed and not session.trials.rounds_left:
        return ""
    said = ""
    if times < _MAX_REPAIRS and (broken := _broken(session, trial)):
        said = f"Some files cannot be parsed.\n\n{fence.block('broken', presentable(broken))}"
    if failed:
        output = fence.block("run_tests", presentable(told(trial)))
        said += "The tests fail over your edits and do not fail like that without them.\n\n"
        said += output
    return said


def _broken(session: _Session, trial: Trial) -> str:
    """Return which files the edits broke; tests that passed may know a newer language than we."""
    if trial.proves:
        return ""
    rows = [f"{path}: {reason}" for path, reason in session.space.broken.items()]
    return "; ".join(rows[:_MAX_BROKEN])


def _conclude(session: _Session, outcome: Outcome[CodingAnswer], trial: Trial | None) -> TaskResult:
    """Propose the commit if something speaks for it, and otherwise say what stood in the way."""
    answer = outcome.answer
    why = outcome.why
    if trial is None and answer is not None:
        said = one_line(answer.headline or answer.explanation, _MAX_REASON).rstrip(".")
        why = f"the model says: {said}" if answer.outcome == "unable" else "nothing was changed"
    elif trial is not None and trial.verdict == "failed" and trial.ran:
        early = f"{outcome.why}, and " if outcome.why else ""
        why = f"{early}the tests still fail (`{trial.ran.recipe.shown}` {trial.ran.ending})"
    elif trial is not None and outcome.ended != "answered" and not trial.proves:
        why = f"{outcome.why}, and the edits by then are not proven"
    elif trial is not None and (broken := _broken(session, trial)):
        why = f"files cannot be parsed after the edits ({one_line(broken, _MAX_REASON)})"
    elif trial is not None:
        work = _known(session, trial, outcome)
        return propose(work, outcome, session.space.edits, session.context.clock.now())
    refused = tuple(session.tools.refused.values())
    return could_not(
        session.task,
        why,
        answer=answer,
        refused=refused,
        trial=trial,
        outcome=outcome,
        now=session.context.clock.now(),
    )


def _known(session: _Session, trial: Trial, outcome: Outcome[CodingAnswer]) -> Work:
    changes = session.space.changes
    layout = session.trials.layout
    changed_tests = tuple(
        change.path
        for change in changes
        if change.before is not None and layout is not None and layout.is_test(change.path)
    )
    return Work(
        task=session.task,
        assignment=session.assignment,
        changes=changes,
        trial=trial,
        answer=outcome.answer,
        ended=outcome.why,
        changed_tests=changed_tests,
        refused=tuple(session.tools.refused.values()),
        complete=session.space.tree.complete,
    )


def _request(
    task: Task, assignment: Assignment, space: Workspace, context: AgentContext, fence: Fence
) -> ModelRequest:
    """Return the first request: what there is to do, and an overview of the files."""
    paths = space.paths
    rows = [presentable(path) for path in paths[:_MAX_OVERVIEW]]
    if len(paths) > _MAX_OVERVIEW:
        rows.append(f"({len(paths) - _MAX_OVERVIEW} more files; list_files shows them)")
    material = (*assignment.material, ("files", "\n".join(rows)))
    blocks = "".join(fence.block(kind, text) for kind, text in material)
    blocks += lessons_block(task.lessons, fence)
    room = context.model.context_tokens // 4
    return ModelRequest(
        purpose="coding",
        system=(Part(text=prompts.load("coding"), cache=True),),
        messages=(
            ChatMessage(
                role="user",
                parts=(Part(text=f"{fence.announcement}{blocks}Do this task.\n", cache=True),),
            ),
        ),
        max_output_tokens=max(1, min(MAX_OUTPUT_TOKENS, room)),
    )
