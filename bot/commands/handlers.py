"""What each command means: the scene it is given in → what is to be done and what is answered.

Nothing is carried out here. A handler is a pure function, so what a command does to a run can be
read and tested without one; ``bot/intake`` turns acts into transitions and the answer into effects.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import AwareDatetime

from bot.commands import replies
from bot.commands.permissions import Level, deployment_objection
from bot.commands.table import help_markdown
from pipelines.config.diagnostics import nearest
from pipelines.model import (
    Actor,
    Change,
    Conclusion,
    Dismissal,
    EnvironmentPlan,
    Finding,
    Pause,
    StepState,
    WorkflowRun,
)

# --- what is to be done --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Evaluate:
    """Run the workflows of this pull request on its head, also if they have run before."""


@dataclass(frozen=True, slots=True)
class Launch:
    """Run the workflows that this verb starts: the repository's own, else the built-in one."""

    verb: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop these runs."""

    runs: tuple[WorkflowRun, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Rerun:
    """Run these once more."""

    runs: tuple[WorkflowRun, ...]


@dataclass(frozen=True, slots=True)
class Approve:
    """Consent to these waiting steps, each a run and a step's name."""

    steps: tuple[tuple[WorkflowRun, str], ...]


@dataclass(frozen=True, slots=True)
class Remember:
    """Keep a finding dismissed from now on."""

    dismissal: Dismissal
    category: str = ""
    """Of the finding, where its details are still stored."""


@dataclass(frozen=True, slots=True)
class SetPause:
    """Turn automatic runs off, or with None on again."""

    pause: Pause | None


Act = Evaluate | Launch | Cancel | Rerun | Approve | Remember | SetPause


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command came to; a refusal has a text and no acts."""

    text: str = ""
    acts: tuple[Act, ...] = ()
    refused: bool = False


# --- what it is given in -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scene:
    """A command and everything that it may look at, as it is now."""

    verb: str
    arguments: tuple[str, ...]
    actor: Actor
    now: AwareDatetime
    kind: Literal["pull request", "issue"]
    change: Change
    app: str
    """How comments address the App, for the help text."""
    runs: tuple[WorkflowRun, ...] = ()
    """The newest run of each workflow on this subject."""
    findings: tuple[Finding, ...] = ()
    dismissals: Mapping[str, Dismissal] = field(default_factory=dict[str, Dismissal])
    pause: Pause | None = None
    level: Level = Level.NONE
    """What the actor may do to the repository, as GitHub says now."""
    environments: tuple[EnvironmentPlan, ...] = ()

    @property
    def live(self) -> tuple[WorkflowRun, ...]:
        """The runs that still go on."""
        return tuple(run for run in self.runs if run.live)


def answer(scene: Scene) -> Answer:
    """Return what the command comes to; every verb of the table has a handler."""
    return HANDLERS[scene.verb](scene)


def _refuse(text: str) -> Answer:
    return Answer(text=text, refused=True)


def _help(scene: Scene) -> Answer:
    return Answer(text=help_markdown(scene.app))


def _status(scene: Scene) -> Answer:
    return Answer(text=replies.status(scene.runs, scene.pause.by if scene.pause else None))


def _review(scene: Scene) -> Answer:
    if scene.kind == "issue":
        return _refuse("There is nothing to review here: this is an issue, not a pull request.")
    if not scene.change.open:
        return _refuse("This pull request is closed; reopen it to have it reviewed.")
    return Answer(acts=(Evaluate(),))


def _cancel(scene: Scene) -> Answer:
    if not scene.live:
        return _refuse("Nothing is running here, so there is nothing to cancel.")
    reason = f"Cancelled by @{scene.actor.login}."
    names = replies.listed(run.workflow for run in scene.live)
    return Answer(text=f"Cancelled {names}.", acts=(Cancel(scene.live, reason),))


def _retry(scene: Scene) -> Answer:
    if scene.kind == "pull request" and not scene.change.open:
        return _refuse("This pull request is closed; reopen it to run anything again.")
    wanted = scene.arguments[0] if scene.arguments else None
    if wanted is None:
        runs = tuple(run for run in scene.runs if _unsuccessful(run))
        if not runs:
            return _refuse("Nothing ended badly here; `review` runs everything once more.")
        return Answer(acts=(Rerun(runs),))
    runs = tuple(run for run in scene.runs if any(step.name == wanted for step in run.steps))
    if not runs:
        steps = replies.listed(step.name for run in scene.runs for step in run.steps)
        return _refuse(f"No run here has a step {replies.quoted(wanted)}; there is {steps}.")
    if any(run.live for run in runs):
        return _refuse(f"{replies.quoted(wanted)} is still running; `cancel` stops it.")
    return Answer(acts=(Rerun(runs),))


def _unsuccessful(run: WorkflowRun) -> bool:
    fine = (Conclusion.SUCCESS, Conclusion.SKIPPED)
    return not run.live and run.conclusion not in fine


def _approve(scene: Scene) -> Answer:
    waiting = tuple(
        (run, step.name)
        for run in scene.live
        for step in run.steps
        if step.state is StepState.WAITING
    )
    if not waiting:
        return _refuse("Nothing here is waiting for an approval.")
    names = replies.listed(name for _, name in waiting)
    commit = scene.change.head_sha[:10]
    return Answer(text=f"Approved {names} at {commit}.", acts=(Approve(waiting),))


def _dismiss(scene: Scene) -> Answer:
    if len(scene.arguments) < 2:
        return _refuse("Say which finding and why: `dismiss FINDING why`.")
    found = _find(scene)
    if isinstance(found, Answer):
        return found
    why = " ".join(scene.arguments[1:])
    dismissal = Dismissal(
        fingerprint=found.fingerprint,
        path=found.path,
        title=found.title,
        why=why,
        by=scene.actor,
        at=scene.now,
    )
    category = found.category if isinstance(found, Finding) else ""
    text = f"Dismissed {replies.quoted(found.title)}. Later reviews leave it out."
    return Answer(text=text, acts=(Remember(dismissal, category),))


def _explain(scene: Scene) -> Answer:
    if not scene.arguments:
        return _refuse("Say which finding: `explain FINDING`.")
    found = _find(scene)
    if isinstance(found, Answer):
        return found
    if isinstance(found, _Posted):
        return _refuse("That finding is from a review whose details are no longer stored.")
    return Answer(text=replies.explained(found, scene.dismissals.get(found.fingerprint)))


@dataclass(frozen=True, slots=True)
class _Posted:
    """A finding of which only what was posted is known."""

    fingerprint: str
    path: str
    title: str


def _find(scene: Scene) -> Finding | _Posted | Answer:
    """Return the one finding whose identity starts with the first argument, or the refusal."""
    wanted = scene.arguments[0].strip("`")
    known: dict[str, Finding | _Posted] = {
        prior.fingerprint: _Posted(prior.fingerprint, prior.path, prior.title)
        for prior in scene.change.prior_findings
    }
    known |= {found.fingerprint: found for found in scene.findings}
    matches = [found for key, found in known.items() if wanted and key.startswith(wanted)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        return _refuse(f"{replies.quoted(wanted)} fits {len(matches)} findings; write more of it.")
    return _refuse(
        f"No finding here is called {replies.quoted(wanted)}; each one shows its name at its end."
    )


def _pause(scene: Scene) -> Answer:
    if scene.pause is not None:
        return Answer(text=f"Already paused by @{scene.pause.by.login}; `resume` ends it.")
    pause = Pause(by=scene.actor, at=scene.now, why=" ".join(scene.arguments))
    text = "Paused: nothing automatic is run or written here until `resume`."
    return Answer(text=text, acts=(SetPause(pause),))


def _resume(scene: Scene) -> Answer:
    if scene.pause is None:
        return _refuse("Nothing is paused here.")
    on: tuple[Act, ...] = (SetPause(None),)
    if scene.kind == "pull request" and scene.change.open:
        return Answer(text="Resumed.", acts=(*on, Evaluate()))
    return Answer(text="Resumed.", acts=on)


def _launch(scene: Scene) -> Answer:
    return Answer(acts=(Launch(scene.verb),))


def _deploy(scene: Scene) -> Answer:
    known = {plan.name: plan for plan in scene.environments}
    if not known:
        return _refuse("`.conductor.yml` has no `environments`, so there is nowhere to deploy to.")
    if len(scene.arguments) != 1:
        return _refuse(f"Say where: `{scene.verb} ENV`; there is {replies.listed(known)}.")
    (name,) = scene.arguments
    if name not in known:
        close = nearest(name, known)
        hint = f" Did you mean {replies.quoted(close)}?" if close else ""
        there = replies.listed(known)
        return _refuse(f"There is no environment {replies.quoted(name)}, only {there}.{hint}")
    if (why := deployment_objection(scene.verb, known[name], scene.actor, scene.level)) is not None:
        return _refuse(why)
    return Answer(acts=(Launch(scene.verb),))


HANDLERS: Mapping[str, Callable[[Scene], Answer]] = {
    "help": _help,
    "status": _status,
    "explain": _explain,
    "review": _review,
    "dismiss": _dismiss,
    "pause": _pause,
    "resume": _resume,
    "cancel": _cancel,
    "retry": _retry,
    "approve": _approve,
    "fix": _launch,
    "test": _launch,
    "deploy": _deploy,
    "rollback": _deploy,
}
"""One function a verb; a test holds this table and the grammar's together."""
