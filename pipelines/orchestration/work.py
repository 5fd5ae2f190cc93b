"""Work as messages: what each queue carries, under ids that make a repeat replace, not double."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from pydantic import Field

from pipelines.model import Frozen, Step, StepState, WorkflowRun
from pipelines.orchestration.transitions import Command, Dispatch, Publish, Wake
from pipelines.ports import PATIENT, URGENT, USUAL, Message

AGENT = "agent."
"""Prefix of the agents' queues."""
UNAVAILABLE = "agent.unavailable"
"""Tasks for agents that this installation does not have; they end at once, and visibly."""
EFFECTS = "effects"
REPORTS = "reports"
TIMERS = "timers"

DESK = "conductor"
"""Stands in for an agent where Conductor itself did the work of a step."""

_URGENT = frozenset({"command", "check_run"})
_PATIENT = frozenset({"schedule", "alert"})

RECOVERED = "recovered"
"""The action of a pull request that nobody touched: what was known of it was lost."""


class Job(Frozen):
    """The body of a message: which run, and what of it."""

    run: str
    step: str = ""
    attempt: int = Field(default=0, ge=0)
    failures: int = Field(default=0, ge=0)
    """How often handling it failed and was put off; crashes are counted by the message itself."""
    returns: int = Field(default=0, ge=0)


def job_of(message: Message) -> Job:
    """Return the message's body, checked."""
    return Job.model_validate(message.body)


def step_at(run: WorkflowRun | None, job: Job, *states: StepState) -> Step | None:
    """Return the step that a job is about, or None if the run has gone on without it."""
    if run is None or not run.live:
        return None
    found = next((step for step in run.steps if step.name == job.step), None)
    current = found and found.attempt == job.attempt and found.state in states
    return found if current else None


def priority_of(run: WorkflowRun) -> int:
    """What people wait for goes first, what a clock asked for goes last."""
    if run.trigger.kind in _URGENT:
        return URGENT
    recovered = getattr(run.trigger, "action", "") == RECOVERED
    return PATIENT if recovered or run.trigger.kind in _PATIENT else USUAL


def still_wanted(run: WorkflowRun, commands: Iterable[Command]) -> list[Command]:
    """Return the commands without those that a later one, or the run's end, made pointless."""
    wanted: dict[object, Command] = {}
    for command in commands:
        if isinstance(command, Dispatch) and run.step(command.step).agent == DESK:
            continue
        if isinstance(command, Wake) and not run.live:
            continue
        wanted[Wake if isinstance(command, Wake) else command] = command
    return list(wanted.values())


def messages_of(
    run: WorkflowRun, commands: Iterable[Command], *, agents: frozenset[str], now: datetime
) -> tuple[Message, ...]:
    """Return one message a command that is work; signals and reports have none."""
    made = (_message(run, command, agents, now) for command in commands)
    return tuple(message for message in made if message is not None)


def _message(
    run: WorkflowRun, command: Command, agents: frozenset[str], now: datetime
) -> Message | None:
    match command:
        case Dispatch(step=step, attempt=attempt, not_before=at):
            agent = run.step(step).agent
            queue = f"{AGENT}{agent}" if agent in agents else UNAVAILABLE
            return message(
                f"task/{run.id}/{step}/{attempt}",
                queue,
                run,
                Job(run=run.id, step=step, attempt=attempt),
                now=now,
                not_before=at,
            )
        case Publish(step=step, attempt=attempt):
            job = Job(run=run.id, step=step, attempt=attempt)
            return message(f"publish/{run.id}/{step}/{attempt}", EFFECTS, run, job, now=now)
        case Wake(at=at):
            return message(f"wake/{run.id}", TIMERS, run, Job(run=run.id), now=now, not_before=at)
        case _:
            return None


def report_of(run: WorkflowRun, now: datetime, *, after: timedelta = timedelta()) -> Message:
    """Return the reminder that users are to be shown the run, as it is when that is done."""
    name, due = f"report/{run.id}", now + after if after else None
    return message(name, REPORTS, run, Job(run=run.id), now=now, not_before=due)


def message(
    name: str,
    queue: str,
    run: WorkflowRun,
    job: Job,
    *,
    now: datetime,
    not_before: datetime | None = None,
) -> Message:
    """Return a message about the run, with ``name`` as its identity."""
    return Message(
        id=name,
        queue=queue,
        tenant=run.change.repository.tenant,
        body=job.model_dump(exclude_defaults=True),
        not_before=not_before,
        priority=priority_of(run),
        enqueued_at=now,
    )


def postponed(old: Message, *, until: datetime, failed: bool, now: datetime) -> Message:
    """Return the same work for later.

    It is a new message, so that its count of claims starts again: what is left in that count is
    crashes and lost leases, and handled failures are counted in the body.
    """
    returns = int(str(old.body.get("returns", 0))) + 1
    failures = int(str(old.body.get("failures", 0))) + (1 if failed else 0)
    return Message(
        id=f"{old.id.partition('~')[0]}~{returns}",
        queue=old.queue,
        tenant=old.tenant,
        body={**old.body, "failures": failures, "returns": returns},
        not_before=until,
        priority=old.priority,
        enqueued_at=now,
    )


def fresh(old: Message) -> Message:
    """Return the message as it was before anything failed, for whoever requeues it."""
    body = {name: value for name, value in old.body.items() if name not in ("failures", "returns")}
    return old.model_copy(update={"id": old.id.partition("~")[0], "body": body})
