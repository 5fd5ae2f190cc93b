"""Commands in comments and buttons of checks: permission, handler, acts, answer."""

from dataclasses import dataclass, replace
from typing import Literal

from bot.commands.handlers import (
    Act,
    Answer,
    Approve,
    Cancel,
    Evaluate,
    Launch,
    Remember,
    Rerun,
    Scene,
    SetPause,
    answer,
)
from bot.commands.permissions import Level, Permissions, level_of, objection
from bot.commands.replies import refusal
from bot.commands.table import VERBS
from bot.intake import configuration
from bot.intake.evaluation import Evaluation, Outcome, as_pull_request
from bot.intake.learning import of_dismissal
from pipelines.config.diagnostics import nearest, shown
from pipelines.config.plan import environments_of
from pipelines.errors import Ignorable
from pipelines.model import (
    Actor,
    Approval,
    Change,
    CheckTrigger,
    CommandTrigger,
    Conclusion,
    Effect,
    EnvironmentPlan,
    Finding,
    PostComment,
    React,
    Step,
    TaskResult,
    WorkflowRun,
)
from pipelines.orchestration.changes import ANSWERS, DESK, Changes, Plan
from pipelines.orchestration.coordinator import Coordinator
from pipelines.orchestration.standing import Standing, dismissing, pausing, subject_of
from pipelines.orchestration.state import StateManager
from pipelines.orchestration.transitions import CancelRequested, StepApproved
from pipelines.ports import Clock, Source

BUTTONS = frozenset({"cancel", "retry", "approve"})
"""Buttons that do what the verb of that name does; others start the workflows that name them."""


@dataclass(frozen=True, slots=True)
class Ordered:
    """What a command or button came to: the runs it touched, and why if it was refused."""

    run_ids: tuple[str, ...] = ()
    refusal: str = ""


class Orders:
    """Carries out what people ask for, after asking what they may."""

    def __init__(
        self,
        *,
        coordinator: Coordinator,
        evaluation: Evaluation,
        state: StateManager,
        standing: Standing,
        source: Source,
        permissions: Permissions,
        clock: Clock,
        app: str,
    ) -> None:
        self._coordinator = coordinator
        self._evaluation = evaluation
        self._state = state
        self._standing = standing
        self._source = source
        self._permissions = permissions
        self._clock = clock
        self._app = app

    async def command(
        self, changes: Changes, trigger: CommandTrigger, change: Change, level: Level
    ) -> Ordered:
        """Carry out a command and answer it in its conversation."""
        answered = await self._answer(trigger, change, level)
        ordered, starts = Ordered(refusal=answered.text if answered.refused else ""), False
        if not answered.refused:
            ordered, starts = await self._act(changes, trigger, change, level, answered.acts)
        if ordered.refusal:
            answered = Answer(text=ordered.refusal, refused=True)
        result = _reply(trigger, answered, starts=starts)
        plan = Plan(
            workflow=ANSWERS,
            group=f"{ANSWERS}/{trigger.comment_kind}/{trigger.comment_id}/{trigger.delivery_id}",
            steps=(Step(name=trigger.verb[:40] or "help", agent=DESK),),
            budget_usd=0.0,
        )
        reply = await changes.conclude(plan, trigger, change, "", result)
        return replace(ordered, run_ids=(*ordered.run_ids, reply.run_id))

    async def button(
        self, changes: Changes, trigger: CheckTrigger, run: WorkflowRun, step: str
    ) -> Ordered:
        """Carry out what a button of one of the run's checks asks for."""
        verb = trigger.button or ""
        level = await self._permissions.level(trigger.repository, trigger.actor)
        why = objection(verb, level) if verb in VERBS else f"There is no button {verb!r}."
        if why is not None:
            return Ordered(refusal=why)
        if verb not in BUTTONS:
            change = await self._reread(trigger, run)
            outcome = await self._evaluation.start(changes, trigger, change, asked=True)
            nobody = "No workflow of this repository provides this button."
            return Ordered(outcome.started, "" if outcome.started else nobody)
        arguments = (step,) if verb == "retry" else ()
        scene = Scene(
            verb=verb,
            arguments=arguments,
            actor=trigger.actor,
            now=self._clock.now(),
            kind="issue" if run.change.number is None else "pull request",
            change=await self._reread(trigger, run),
            app=self._app,
            runs=(run,),
        )
        answered = answer(scene)
        if answered.refused:
            return Ordered(refusal=answered.text)
        ordered, _ = await self._act(changes, trigger, scene.change, level, answered.acts)
        return ordered

    async def rerun(self, changes: Changes, trigger: CheckTrigger, run: WorkflowRun) -> Ordered:
        """Run what a check stands for once more, on the commit that it stands on."""
        change = await self._reread(trigger, run)
        if change.head_sha != run.change.head_sha:
            raise Ignorable("The check is on a commit that is no longer the head.")
        outcome = await self._evaluation.rerun(changes, run, trigger, change)
        return Ordered(outcome.started, "" if outcome.started else outcome.reason)

    # --- answering -------------------------------------------------------------------------------

    async def _answer(self, trigger: CommandTrigger, change: Change, level: Level) -> Answer:
        if trigger.verb not in VERBS:
            close = nearest(trigger.verb, VERBS)
            hint = f" Did you mean `{close}`?" if close else ""
            text = f"There is no command `{shown(trigger.verb)}`.{hint} `help` lists them all."
            return Answer(text=text, refused=True)
        if (why := objection(trigger.verb, level)) is not None:
            return Answer(text=why, refused=True)
        return answer(await self._scene(trigger, change, level))

    async def _scene(self, trigger: CommandTrigger, change: Change, level: Level) -> Scene:
        tenant, subject = change.repository.tenant, subject_of(change)
        runs = [run async for run in self._evaluation.newest(trigger, change)]
        kind: Literal["pull request", "issue"] = (
            "pull request" if trigger.on_pull_request else "issue"
        )
        return Scene(
            verb=trigger.verb,
            arguments=trigger.arguments,
            actor=trigger.actor,
            now=self._clock.now(),
            kind=kind,
            change=change,
            app=self._app,
            runs=tuple(runs),
            findings=await self._findings(tenant, runs),
            dismissals=await self._standing.dismissals(tenant, subject) if subject else {},
            pause=await self._standing.pause(tenant, subject) if subject else None,
            level=level,
            environments=_environments(change),
        )

    async def _findings(self, tenant: str, runs: list[WorkflowRun]) -> tuple[Finding, ...]:
        found: list[Finding] = []
        for run in runs:
            if run.workflow != configuration.WORKFLOW:
                for result in (await self._state.results(run)).values():
                    found += result.findings
        return tuple(found)

    # --- acting ----------------------------------------------------------------------------------

    async def _act(
        self,
        changes: Changes,
        trigger: CommandTrigger | CheckTrigger,
        change: Change,
        level: Level,
        acts: tuple[Act, ...],
    ) -> tuple[Ordered, bool]:
        """Gather the acts; say which runs they touch and whether the command goes on as a run."""
        touched: list[str] = []
        for act in acts:
            outcome = await self._start(changes, trigger, change, act)
            if outcome is not None:
                if not outcome.started and len(acts) == 1:
                    return Ordered(refusal=outcome.reason or "Nothing here would run."), False
                touched += outcome.started
            elif isinstance(act, Cancel):
                for run in act.runs:
                    await changes.advance(
                        change.repository.tenant, run.id, CancelRequested(reason=act.reason)
                    )
                    touched.append(run.id)
            elif isinstance(act, Approve):
                refusal = await self._approve(changes, trigger, change, level, act)
                if refusal:
                    return Ordered(refusal=refusal), False
                touched += [run.id for run, _ in act.steps]
            else:
                self._remember(changes, change, act)
        starts = any(isinstance(act, Evaluate | Rerun | Launch) for act in acts) and bool(touched)
        return Ordered(tuple(dict.fromkeys(touched))), starts

    async def _start(
        self, changes: Changes, trigger: CommandTrigger | CheckTrigger, change: Change, act: Act
    ) -> Outcome | None:
        match act:
            case Evaluate():
                as_if = as_pull_request(trigger, change)
                return await self._evaluation.start(
                    changes, trigger, change, as_if=as_if, asked=True
                )
            case Launch():
                return await self._evaluation.start(changes, trigger, change, asked=True)
            case Rerun(runs=runs):
                outcomes = [
                    await self._evaluation.rerun(changes, run, trigger, change) for run in runs
                ]
                return Outcome(
                    tuple(a for outcome in outcomes for a in outcome.admissions),
                    " ".join(outcome.reason for outcome in outcomes if outcome.reason),
                )
            case _:
                return None

    async def _approve(
        self,
        changes: Changes,
        trigger: CommandTrigger | CheckTrigger,
        change: Change,
        level: Level,
        act: Approve,
    ) -> str:
        """Consent to every step, or to none and return why."""
        approval = Approval(
            by_id=trigger.actor.id,
            by_login=trigger.actor.login,
            level=level.name.lower(),
            at=self._clock.now(),
        )
        for run, name in act.steps:
            if (why := _no_consent(run, run.step(name), trigger.actor, level)) is not None:
                return why
            if run.change.head_sha != change.head_sha or _unseen(run, trigger):
                return "A newer commit was pushed meanwhile; look at it and approve that one."
        for run, name in act.steps:
            event = StepApproved(step=name, approval=approval, head_sha=change.head_sha)
            await changes.advance(change.repository.tenant, run.id, event)
        return ""

    def _remember(self, changes: Changes, change: Change, act: Act) -> None:
        tenant, subject = change.repository.tenant, subject_of(change)
        if subject is None:
            return
        if isinstance(act, Remember):
            changes.write(dismissing(tenant, subject, act.dismissal))
            changes.learn(tenant, of_dismissal(change, act.dismissal, act.category))
        elif isinstance(act, SetPause):
            changes.write(pausing(tenant, subject, act.pause))

    async def _reread(self, trigger: CheckTrigger, run: WorkflowRun) -> Change:
        """Read the run's subject again; what is not a pull request is still what it was."""
        cause = run.trigger if run.change.number is None else trigger
        change = await self._source.change(cause)
        return await self._standing.informed(change)


def _no_consent(run: WorkflowRun, step: Step, actor: Actor, level: Level) -> str | None:
    """Return why somebody's consent to a waiting step does not count, or None if it does."""
    environment = run.environment_of(step) if step.agent == "deploy" else None
    if environment is not None and environment.approval:
        author = run.change.author or run.trigger.actor
        if actor.id == author.id:
            return f"{step.name!r} deploys your own change; somebody else must approve it."
        if actor.id in environment.approvers:
            return None
    needs = step.approval_level
    if needs and level < level_of(needs):
        return f"{step.name!r} needs the consent of somebody with the permission {needs}."
    return None


def _unseen(run: WorkflowRun, trigger: CommandTrigger | CheckTrigger) -> bool:
    """Whether the run began after the comment was written, so that nobody consented to its commit.

    GitHub's times are whole seconds. A button belongs to the commit that it is on.
    """
    said = trigger.occurred_at if isinstance(trigger, CommandTrigger) else None
    return said is not None and run.created_at.replace(microsecond=0) > said


def _environments(change: Change) -> tuple[EnvironmentPlan, ...]:
    file = configuration.in_force(change).file
    return environments_of(file) if file else ()


def _reply(trigger: CommandTrigger, answered: Answer, *, starts: bool) -> TaskResult:
    """Return the result whose effects tell the person what became of the command.

    A command that goes on as a run gets its rocket when that run has ended.
    """
    effects: list[Effect] = [_react(trigger, "eyes")]
    if answered.text:
        refused = answered.refused
        text = refusal(trigger.actor, answered.text) if refused else answered.text
        reason = f"command/{trigger.comment_id}/{trigger.delivery_id}"
        effects.append(PostComment(number=trigger.number, body=text, reason=reason))
    if answered.refused:
        effects.append(_react(trigger, "confused"))
    elif not starts:
        effects.append(_react(trigger, "rocket"))
    return TaskResult(
        task_id="",
        status="completed",
        conclusion=Conclusion.NEUTRAL if answered.refused else Conclusion.SUCCESS,
        title="Refused" if answered.refused else "Done",
        summary=answered.text,
        effects=tuple(effects),
    )


def _react(trigger: CommandTrigger, content: Literal["eyes", "rocket", "confused"]) -> React:
    return React(comment_id=trigger.comment_id, comment_kind=trigger.comment_kind, content=content)
