"""Writes Dockerfile, pipelines and manifests for a repository, and checks them before they go."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from pipelines.agents import prompts
from pipelines.agents.base import BaseAgent
from pipelines.agents.branches import unwritable
from pipelines.agents.context import AgentContext
from pipelines.agents.devops.building import Builds
from pipelines.agents.devops.deliverables import KINDS, is_ignore_file, kind_of, there
from pipelines.agents.devops.hadolint import binary
from pipelines.agents.devops.report import Work, could_not, nothing_to_do, propose
from pipelines.agents.devops.stack import Stack, detect
from pipelines.agents.devops.survey import Survey, survey, vouched
from pipelines.agents.devops.verification import Verdict, Verifier
from pipelines.agents.devops.writing import DevopsAnswer, WritingTools
from pipelines.agents.fence import Fence, presentable
from pipelines.agents.lessons import lessons_block
from pipelines.agents.options import section
from pipelines.agents.toolloop import LoopLimits, Outcome, ToolLoop
from pipelines.agents.workspace import Workspace
from pipelines.config.steps import Deliverable, DevopsOptions
from pipelines.integrations.llm.base import ChatMessage, ModelRequest, Part
from pipelines.model import Task, TaskResult

MAX_OUTPUT_TOKENS = 16_384
MAX_REPAIRS = 2
_LIMITS = LoopLimits(turns=30)
_MAX_PRESENT = 32_000
_MAX_OVERVIEW = 200
_MAX_REQUEST = 8_000


class DevopsAgent(BaseAgent):
    """Proposes one pull request with what builds and ships the repository.

    Options: as ``DevopsOptions`` of the configuration.
    """

    name: ClassVar[str] = "devops"

    def _validate_task(self, task: Task) -> None:
        super()._validate_task(task)
        section(DevopsOptions, task)

    async def _execute(self, task: Task, context: AgentContext) -> TaskResult:
        session = await _Session.open(task, context)
        if why := unwritable(task.change):
            return could_not(session.work({}), why)
        if not session.survey.wanting and not task.instruction.strip():
            return nothing_to_do(session.work({}))
        return await session.carry_out()


@dataclass(slots=True)
class _Session:
    """One task from its survey to its result."""

    task: Task
    context: AgentContext
    asked: tuple[Deliverable, ...]
    space: Workspace
    stack: Stack
    survey: Survey
    verifier: Verifier
    tools: WritingTools
    builds: Builds
    rounds: int = 0

    @classmethod
    async def open(cls, task: Task, context: AgentContext) -> "_Session":
        """Look at the repository; what the configuration protects is for a writer to consent to."""
        asked = tuple(dict.fromkeys(section(DevopsOptions, task).write))
        space = await Workspace.open(context.reader, ignore=task.ignore, ships=True)
        stack = await detect(space)
        verifier = Verifier(await vouched(space), binary())
        found = await survey(space, asked, stack, verifier)
        tools = WritingTools(space, asked)
        builds = Builds(context.workplace)
        return cls(task, context, asked, space, stack, found, verifier, tools, builds)

    async def carry_out(self) -> TaskResult:
        """Have the model write, check it, go back with what is wrong, and propose what is good."""
        fence = Fence(self.context.rng)
        request = self._request(fence)
        loop = ToolLoop(
            self.context, request, self.tools.all, fence, schema=DevopsAnswer, limits=_LIMITS
        )
        outcome = await loop.run()
        verdicts = await self._verify()
        while outcome.ended == "answered" and self.rounds < MAX_REPAIRS:
            rows = [f"{v.path}, {problem}" for v in verdicts.values() for problem in v.to_mend]
            if not rows:
                break
            self.rounds += 1
            block = fence.block("problems", presentable("\n".join(rows)))
            outcome = await loop.run(prompts.load("devops_repair").format(problems=block))
            verdicts = await self._verify()
        return self._conclude(outcome, verdicts)

    async def _verify(self) -> dict[str, Verdict]:
        verdicts: dict[str, Verdict] = {}
        for change in self.space.changes:
            kind = kind_of(change.path, self.asked)
            assert kind is not None, "the tools write nothing else"
            verdict = await self.verifier.verify(change.path, kind, change.after or "")
            verdicts[change.path] = self.survey.judged(verdict)
        return {path: await self._built(verdicts, path) for path in verdicts}

    async def _built(self, verdicts: Mapping[str, Verdict], path: str) -> Verdict:
        """Build what nothing speaks against, over everything else of which that is true."""
        verdict = verdicts[path]
        if verdict.kind != "dockerfile" or is_ignore_file(path) or not verdict.good:
            return verdict
        edits = [edit for edit in self.space.edits if verdicts[edit.path].good]
        found = await self.builds.problems(path, edits)
        return replace(verdict, problems=(*found, *verdict.problems))

    def _conclude(
        self, outcome: Outcome[DevopsAnswer], verdicts: Mapping[str, Verdict]
    ) -> TaskResult:
        work = self.work(verdicts, outcome)
        given_up = outcome.answer is not None and outcome.answer.outcome == "unable"
        if outcome.ended == "refused" or given_up:
            return could_not(work.without_changes(), outcome.why or "the model says it is unable")
        if work.proposed:
            return propose(work)
        if work.dropped:
            return could_not(work, "the checks still fail over what was written")
        if outcome.ended == "answered" and not self.survey.wanting:
            return nothing_to_do(work)
        return could_not(work, outcome.why or "the model wrote nothing")

    def work(
        self, verdicts: Mapping[str, Verdict], outcome: Outcome[DevopsAnswer] | None = None
    ) -> Work:
        """Return all that is known by now."""
        return Work(
            task=self.task,
            asked=self.asked,
            stack=self.stack,
            survey=self.survey,
            verdicts=verdicts,
            changes=self.space.changes,
            edits=self.space.edits,
            builds={p: b for p, b in self.builds.newest.items() if p in verdicts},
            answer=outcome.answer if outcome else None,
            why=outcome.why if outcome else "",
            refused=tuple(self.tools.refused.values()),
            rounds=self.rounds,
        )

    def _request(self, fence: Fence) -> ModelRequest:
        blocks = "".join(fence.block(kind, text) for kind, text in self._material() if text.strip())
        blocks += lessons_block(self.task.lessons, fence)
        text = f"{fence.announcement}{blocks}Do this task.\n"
        room = self.context.model.context_tokens // 4
        return ModelRequest(
            purpose="devops",
            system=(Part(text=prompts.load("devops"), cache=True),),
            messages=(ChatMessage(role="user", parts=(Part(text=text, cache=True),)),),
            max_output_tokens=max(1, min(MAX_OUTPUT_TOKENS, room)),
        )

    def _material(self) -> tuple[tuple[str, str], ...]:
        paths = self.space.paths
        overview = [presentable(path) for path in paths[:_MAX_OVERVIEW]]
        if len(paths) > _MAX_OVERVIEW:
            overview.append(f"({len(paths) - _MAX_OVERVIEW} more files; list_files shows them)")
        return (
            ("request", presentable(self.task.instruction)[:_MAX_REQUEST]),
            ("wanted", presentable(json.dumps(self._wanted(), ensure_ascii=False, indent=1))),
            ("stack", presentable(self.stack.described())),
            ("present", presentable(self._present())),
            ("files", "\n".join(overview)),
        )

    def _wanted(self) -> list[dict[str, object]]:
        return [
            {
                "what": KINDS[name].title,
                "write to": list(there(self.space.paths, name)[:10] or KINDS[name].usual),
                "what is wrong": list(self.survey.wanting.get(name, ())[:20]),
            }
            for name in self.asked
        ]

    def _present(self) -> str:
        """Return the files that are there, as far as they fit; read_file shows the others."""
        parts: list[str] = []
        room = _MAX_PRESENT
        for path, text in self.survey.texts.items():
            shown = f"--- {path}\n{text}\n"
            if len(shown) <= room:
                room -= len(shown)
                parts.append(shown)
            else:
                parts.append(f"--- {path}\n(too long to be shown here; read_file shows it)\n")
        return "".join(parts)
