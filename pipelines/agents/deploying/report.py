"""Tells how a deployment went: to people, to the steps after it, and to the stores."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from pydantic import JsonValue

from pipelines.agents.deploying.rollout import Rollout
from pipelines.agents.deploying.watch import NO_HEALTH_CHECK, PROBES
from pipelines.agents.deploying.words import line
from pipelines.model import (
    Artifact,
    Conclusion,
    EnvironmentState,
    ExecutionRecord,
    Learned,
    Notify,
    Outcome,
    Task,
    TaskResult,
)


@dataclass(frozen=True, slots=True)
class Story:
    """What happened: a rollout, a rollback, or one after the other."""

    task: Task
    first: Rollout | None
    began: datetime
    back: Rollout | None = None
    bad: str | None = None
    """The commit that a rollback without a rollout before it leads away from."""
    paths: tuple[str, ...] = ()
    explanation: str = ""
    notes: tuple[str, ...] = ()

    @property
    def main(self) -> Rollout:
        """The rollout that was asked for."""
        main = self.first or self.back
        assert main is not None, "a story has a rollout or a rollback"
        return main

    @property
    def environment(self) -> str:
        """Where it happened."""
        return self.main.order.plan.name

    @property
    def came_back(self) -> bool:
        """Whether an earlier commit runs again."""
        return self.back is not None and self.back.ok

    @property
    def conclusion(self) -> Conclusion:
        """How the step ends."""
        if self.main.ok:
            return Conclusion.SUCCESS
        without_harm = self.main.denied or self.main.superseded
        return Conclusion.NEUTRAL if without_harm else Conclusion.FAILURE


def result(story: Story, now: datetime) -> TaskResult:
    """Return what the task hands back."""
    title = _title(story)
    summary = "\n\n".join(_summary(story))
    return TaskResult(
        task_id=story.task.id,
        status="completed",
        conclusion=story.conclusion,
        title=title,
        summary=summary,
        effects=tuple(_notifications(story, title, summary)),
        outputs=_outputs(story),
        artifacts=tuple(_artifacts(story, now)),
    )


def no_way_back(task: Task, state: EnvironmentState) -> TaskResult:
    """Return that there is nothing to roll back to."""
    runs = state.current_sha or (state.last_good.sha if state.last_good else None)
    what = f"only {runs[:12]} was ever found good there" if runs else "nothing was deployed there"
    return TaskResult(
        task_id=task.id,
        status="completed",
        conclusion=Conclusion.NEUTRAL,
        title=f"Nothing to roll back to in {state.plan.name}",
        summary=f"There is no earlier good release of {state.plan.name}: {what}.",
        outputs={"environment": state.plan.name, "sha": runs, "rolled_back_to": None},
    )


def _title(story: Story) -> str:
    if story.first is None:
        assert story.back is not None, "a story has a rollout or a rollback"
        return _title_of_rollback(story.back)
    sha, where = story.first.order.sha[:12], story.environment
    if story.first.ok:
        return f"Deployed {sha} to {where}"
    if story.first.denied or story.first.refused:
        return f"{sha} was not deployed to {where}: {line(story.first.reason, 120)}"
    if story.first.superseded:
        return f"{sha} was superseded in {where}"
    return f"{sha} failed in {where}{_sequel(story.back)}"


def _title_of_rollback(back: Rollout) -> str:
    sha, where = back.order.sha[:12], back.order.plan.name
    if back.ok:
        return f"Rolled {where} back to {sha}"
    return f"The rollback of {where} to {sha} {_undone(back)}"


def _sequel(back: Rollout | None) -> str:
    if back is None:
        return ", and there is no good release to go back to"
    sha = back.order.sha[:12]
    return f"; rolled back to {sha}" if back.ok else f", and the rollback to {sha} {_undone(back)}"


def _undone(rollout: Rollout) -> str:
    return "was not allowed" if rollout.denied else "failed"


def _summary(story: Story) -> Iterator[str]:
    for rollout in (story.first, story.back):
        if rollout is not None:
            yield _told(rollout)
    if story.first is not None and story.first.refused:
        yield "What ran there before was left alone."
    if story.explanation:
        yield story.explanation
    yield from story.notes


def _told(rollout: Rollout) -> str:
    order = rollout.order
    what = "The rollback to" if order.rollback else "The deployment of"
    number = f" (deployment {rollout.deployment_id})" if rollout.deployment_id else ""
    head = f"{what} {order.sha[:12]} in {order.plan.name}{number}"
    if not rollout.ok:
        return f"{head} {_undone(rollout)}: {rollout.reason}"
    checked = NO_HEALTH_CHECK
    if order.plan.health is not None:
        checked = f"{order.plan.health} answered {PROBES} times in a row."
    where = f" It answers at {rollout.url}." if rollout.url else ""
    return f"{head} succeeded. {checked}{where}"


def _notifications(story: Story, title: str, summary: str) -> Iterator[Notify]:
    """Yield a message if something failed or was rolled back, which people should know at once."""
    if story.conclusion is Conclusion.NEUTRAL or (story.main.ok and story.back is None):
        return
    well = story.main.ok or story.came_back or story.main.refused
    yield Notify(
        head_sha=story.task.change.head_sha,
        level="warning" if well else "critical",
        title=line(title, 200),
        text=summary[:4000],
        url=story.main.url,
        occasion=f"{story.task.run_id}/{story.task.step}",
    )


def _outputs(story: Story) -> dict[str, JsonValue]:
    """Return what the steps after this one may want to know, e.g. what is to be watched."""
    main = story.main
    deployed = main.deployed_at or (story.back.deployed_at if story.back else None)
    runs = story.back.order.sha if story.back is not None and story.back.ok else None
    return {
        "environment": story.environment,
        "sha": main.order.sha,
        "deployment_id": main.deployment_id,
        "url": main.url,
        "deployed_at": deployed.isoformat() if deployed else None,
        "rolled_back_to": runs,
    }


def _artifacts(story: Story, now: datetime) -> Iterator[Artifact]:
    yield ExecutionRecord(
        subject="deployment",
        data={
            **_outputs(story),
            "ok": story.main.ok,
            "reason": story.main.reason,
            "rollback_deployment_id": story.back.deployment_id if story.back else None,
            "seconds": round((now - story.began).total_seconds(), 3),
        },
    )
    bad = story.first.order.sha if story.first is not None else story.bad
    if story.came_back and bad is not None:
        yield Learned(outcome=_lesson(story, bad, now))


def _lesson(story: Story, bad: str, now: datetime) -> Outcome:
    asked = "Somebody asked for the release before it."
    return Outcome(
        kind="deployment_rolled_back",
        agent=story.task.agent,
        subject=f"Deployment of {bad} to {story.environment}",
        why=line(story.first.reason if story.first else asked, 1_000),
        paths=story.paths,
        source=f"deployment/{story.environment}/{bad}",
        at=now,
    )
