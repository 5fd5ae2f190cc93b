"""Deployments that were begun and left: each gets its last status, so that none looks under way.

A run that is cancelled, superseded or given up frees its environment by ending, and its agent can
say nothing more. What is on record of the environment says which deployment that was.
"""

import structlog

from pipelines.errors import ConductorError
from pipelines.model import SetDeploymentStatus, WorkflowRun
from pipelines.orchestration import environments
from pipelines.orchestration.acting import Acting
from pipelines.orchestration.leases import LEASE_SECONDS
from pipelines.orchestration.records import EnvironmentRecord, Tenure
from pipelines.orchestration.state import StateManager
from pipelines.ports import Clock

_MAX_DESCRIPTION = 140

log = structlog.get_logger(__name__)


class Tidying:
    """Ends the deployments whose runs ended without doing so."""

    def __init__(self, *, state: StateManager, acting: Acting, clock: Clock) -> None:
        self._state = state
        self._acting = acting
        self._clock = clock

    async def sweep(self) -> None:
        """Look at every environment; what cannot be said now is left to the next sweep."""
        async for tenant, record in self._state.environments():
            left = [each for each in record.tenures if not each.ended and each.deployment_id]
            if left and not await self._rolling_back(tenant, record):
                for tenure in left:
                    run = await self._state.get(tenant, tenure.run_id)
                    if run is not None and self._left(run, tenure):
                        await self._end(run, tenure)

    async def _rolling_back(self, tenant: str, record: EnvironmentRecord) -> bool:
        """Whether a rollback is at work, which has its own say about what it leads away from."""
        holder = record.holder
        if holder is None or not holder.rollback:
            return False
        return not environments.over(await self._state.get(tenant, holder.run_id), holder)

    def _left(self, run: WorkflowRun, tenure: Tenure) -> bool:
        """Whether its step is over for so long that nothing it asked for is still on its way."""
        if not environments.over(run, tenure):
            return False
        since = run.step(tenure.step).finished_at or run.updated_at
        return (self._clock.now() - since).total_seconds() >= LEASE_SECONDS

    async def _end(self, run: WorkflowRun, tenure: Tenure) -> None:
        step, number = run.step(tenure.step), tenure.deployment_id
        plan = run.environment_of(step)
        if plan is None or number is None:
            return
        reason = run.reason or step.title or "The deployment was not brought to its end."
        effect = SetDeploymentStatus(
            head_sha=run.change.head_sha,
            environment=plan.name,
            deployment_id=number,
            state="error",
            description=reason[:_MAX_DESCRIPTION],
        )
        try:
            await self._acting.give_up(run, effect)
        except (ConductorError, TimeoutError) as error:
            log.warning("deployment not ended", run_id=run.id, number=number, reason=str(error))
