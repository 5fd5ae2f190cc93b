"""Acting: an effect from its verdict to its receipt, each allowed by policy, each at most once.

What is about to be done is written down, done, and written down as done. A crash in between leaves
the first note without the second, and then whoever does it looks for it before doing it again.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from pipelines import fence
from pipelines.errors import Conflict, Parked, Retryable
from pipelines.model import (
    CloseIssue,
    CreateDeployment,
    Effect,
    OpenIssue,
    ReleaseService,
    SetDeploymentStatus,
    Step,
    SubmitReview,
    WorkflowRun,
)
from pipelines.orchestration import environments, incidents
from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.environments import Deploying
from pipelines.orchestration.facts import FactFinder
from pipelines.orchestration.leases import LEASE_SECONDS
from pipelines.orchestration.outlets import Outlets
from pipelines.orchestration.policy import Deny, PolicyEngine, RequireApproval, Verdict
from pipelines.orchestration.records import EffectRecord, EnvironmentRecord, IncidentsRecord
from pipelines.orchestration.state import StateManager
from pipelines.ports import Batch, Clock, Receipt, Write

MAX_CONFLICTS = 20
HELD_SECONDS = 20.0
"""How long a deployment waits before it looks again whether its environment is free."""
DONE = frozenset({"done", "found"})

log = structlog.get_logger(__name__)


class Refused(Exception):
    """Policy does not allow the effect now; ``verdict`` says why."""

    def __init__(self, verdict: Deny | RequireApproval) -> None:
        super().__init__(verdict.reason)
        self.verdict = verdict


class Acting:
    """Carries effects out, for results that are published and for agents that are still at work."""

    def __init__(
        self,
        *,
        state: StateManager,
        outlets: Outlets,
        policy: PolicyEngine,
        facts: FactFinder,
        bus: MessageBus,
        clock: Clock,
    ) -> None:
        self._state = state
        self._outlets = outlets
        self._policy = policy
        self._facts = facts
        self._bus = bus
        self._clock = clock

    async def objection(
        self, run: WorkflowRun, step: Step, effects: Sequence[Effect]
    ) -> RequireApproval | None:
        """Return the first consent that is missing for any of a result's effects."""
        for effect in effects:
            verdict = await self._verdict(run, step, effect, during=False)
            if isinstance(verdict, RequireApproval):
                return verdict
        return None

    async def act(
        self, run: WorkflowRun, step: Step, effect: Effect, *, during: bool = False
    ) -> Receipt:
        """Carry the effect out unless that was done before; raises Refused if it may not be.

        Raises Parked while the environment that it needs belongs to another live run. ``during``
        is for an agent that is still at work, and asks the stricter rules.
        """
        turn = 0
        while True:
            turn += 1
            try:
                return await self._act(run, step, effect, during=during)
            except Conflict as conflict:
                log.debug("acted on what has changed", key=conflict.key, turn=turn)
                if turn == MAX_CONFLICTS:
                    raise

    async def _act(self, run: WorkflowRun, step: Step, effect: Effect, *, during: bool) -> Receipt:
        tenant, holder = run.change.repository.tenant, f"{run.id}/{step.name}"
        # Read before the verdict: what was counted since then makes the note a conflict.
        counted = await self._state.incidents(tenant) if isinstance(effect, OpenIssue) else None
        verdict = await self._verdict(run, step, effect, during=during)
        if isinstance(verdict, Deny | RequireApproval):
            log.warning("effect denied", run_id=run.id, key=effect.key, reason=verdict.reason)
            raise Refused(verdict)
        known = await self._state.effect(tenant, effect.key)
        if known is not None and known.receipt is not None:
            return known.receipt
        now = self._clock.now()
        if known is not None and known.holder != holder:
            _let_go_first(known, now)
        version = known.version if known else 0
        begun = EffectRecord(run_id=run.id, holder=holder, at=now, version=version)
        notes = await self._before(run, step, effect, counted)
        fence.check()
        await self._note(run, effect, begun, notes)
        repeated = known is not None or _posted_before(run, effect)
        receipt = await self._carry_out(run, step, effect, repeated=repeated)
        await self._done(run, effect, begun, receipt)
        return receipt

    async def give_up(self, run: WorkflowRun, effect: SetDeploymentStatus) -> None:
        """End a deployment that nobody is at work on any more, if nobody else is doing that.

        No rule is asked: nothing here comes from an agent, and a pause must not leave it pending.
        Whoever began the same lately is left alone; a later sweep finds out whether it got there.
        """
        tenant, now = run.change.repository.tenant, self._clock.now()
        known = await self._state.effect(tenant, effect.key)
        if known is not None and (known.receipt or _fresh(known, now)):
            return
        begun = EffectRecord(run_id=run.id, at=now, version=known.version if known else 0)
        try:
            await self._note(run, effect, begun, ())
        except Conflict:
            return
        async with asyncio.timeout(LEASE_SECONDS / 2):
            receipt = await self._outlets.carry_out(run, effect, repeated=True)
        await self._done(run, effect, begun, receipt)
        if receipt.status not in DONE:
            record = await self._state.environment(tenant, effect.environment)
            record = environments.ended(record, run.id, effect.deployment_id)
            write = self._state.environment_write(tenant, effect.environment, record)
            await self._bus.commit(Batch(writes=[write]))

    async def _verdict(
        self, run: WorkflowRun, step: Step, effect: Effect, *, during: bool
    ) -> Verdict:
        check = self._policy.check_during if during else self._policy.check_effect
        return check(run, step, effect, await self._facts(run, step, effect))

    async def _carry_out(
        self, run: WorkflowRun, step: Step, effect: Effect, *, repeated: bool
    ) -> Receipt:
        if not isinstance(effect, ReleaseService):
            return await self._outlets.carry_out(run, effect, repeated=repeated)
        plan = run.environment_of(step)
        assert plan is not None, "policy allows a release only where the step has an environment"
        record = await self._state.environment(run.change.repository.tenant, plan.name)
        if not environments.holds(record, run, effect):
            raise Refused(Deny(f"`{plan.name}` belongs to another deployment by now."))
        return await self._outlets.release(run, plan, effect, record.revision)

    # --- notes -----------------------------------------------------------------------------------

    async def _before(
        self, run: WorkflowRun, step: Step, effect: Effect, counted: IncidentsRecord | None
    ) -> list[Write]:
        """Return what is written with the note that the effect is begun."""
        if isinstance(effect, OpenIssue) and counted is not None:
            now, tenant = self._clock.now(), run.change.repository.tenant
            record = incidents.begun(counted, effect.payload.fingerprint, now)
            return [self._state.incidents_write(tenant, record)] if record != counted else []
        if isinstance(effect, CreateDeployment | ReleaseService | SetDeploymentStatus):
            return await self._take(run, step, effect)
        return []

    async def _take(self, run: WorkflowRun, step: Step, effect: Deploying) -> list[Write]:
        tenant = run.change.repository.tenant
        record = await self._state.environment(tenant, effect.environment)
        if not environments.takes(run, effect, record):
            return []
        await self._wait_for(run, step, effect.environment, record)
        record = environments.taken(record, run, step, effect, self._clock.now())
        return [self._state.environment_write(tenant, effect.environment, record)]

    async def _wait_for(
        self, run: WorkflowRun, step: Step, name: str, record: EnvironmentRecord
    ) -> None:
        """Raise Parked while whoever has the environment is still at work on it.

        A step takes it from itself, for a rollback; a run that ended without letting go has it no
        more.
        """
        holder = record.holder
        if holder is None or (holder.run_id, holder.step) == (run.id, step.name):
            return
        other = await self._state.get(run.change.repository.tenant, holder.run_id)
        if environments.over(other, holder):
            return
        until = self._clock.now() + timedelta(seconds=HELD_SECONDS)
        raise Parked(
            f"Waiting for `{name}`: {holder.sha[:12]} is being deployed there.",
            until=until,
            scope="",
        )

    async def _done(
        self, run: WorkflowRun, effect: Effect, begun: EffectRecord, receipt: Receipt
    ) -> None:
        """Write down that it was done and what follows from that; again if that has changed."""
        done = begun.model_copy(update={"receipt": receipt, "version": begun.version + 1})
        if receipt.status not in DONE:
            if notes := await self._after(run, effect, receipt):
                await self._bus.commit(Batch(writes=notes))
            return
        own = self._state.effect_write(run.change.repository.tenant, effect.key, done).key
        for turn in range(1, MAX_CONFLICTS + 1):
            try:
                await self._note(run, effect, done, await self._after(run, effect, receipt))
            except Conflict as conflict:
                if conflict.key == own or turn == MAX_CONFLICTS:
                    raise
            else:
                return

    async def _after(self, run: WorkflowRun, effect: Effect, receipt: Receipt) -> list[Write]:
        """Return what is written with the note that the effect is done."""
        tenant = run.change.repository.tenant
        if isinstance(effect, CloseIssue) and receipt.status in DONE:
            closed = incidents.closed(await self._state.incidents(tenant), effect.fingerprint)
            return [self._state.incidents_write(tenant, closed)]
        if not isinstance(effect, CreateDeployment | ReleaseService | SetDeploymentStatus):
            return []
        record = await self._state.environment(tenant, effect.environment)
        if receipt.status in DONE:
            now = self._clock.now()
            changed = environments.after(record, run, effect, receipt.number, now)
        elif isinstance(effect, CreateDeployment):
            changed = environments.let_go(record, run, effect)
        else:
            return []
        if changed == record:
            return []
        return [self._state.environment_write(tenant, effect.environment, changed)]

    async def _note(
        self, run: WorkflowRun, effect: Effect, record: EffectRecord, more: Sequence[Write]
    ) -> None:
        write = self._state.effect_write(run.change.repository.tenant, effect.key, record)
        await self._bus.commit(Batch(writes=[write, *more]))


def _let_go_first(known: EffectRecord, now: datetime) -> None:
    """Raise Retryable while another step may be in the middle of the same effect.

    Nobody sees that it was carried out before it is, so looking first does not help until whoever
    began it has lost its lease or is done.
    """
    if _fresh(known, now):
        rest = LEASE_SECONDS - (now - known.at).total_seconds()
        raise Retryable("Another step has just begun to publish the same.", retry_after=rest)


def _fresh(known: EffectRecord, now: datetime) -> bool:
    """Whether whoever began it may still be at it."""
    return (now - known.at).total_seconds() < LEASE_SECONDS


def _posted_before(run: WorkflowRun, effect: Effect) -> bool:
    """Whether the forge itself showed such an effect when the run began, whatever is on record."""
    return isinstance(effect, SubmitReview) and effect.head_sha in run.change.reviewed_shas
