"""Outlets: who carries which kind of effect out, and how long that may take."""

import asyncio
from collections.abc import Callable, Mapping

from pydantic import JsonValue

from pipelines import fence
from pipelines.config.steps import MonitorOptions
from pipelines.errors import Retryable, UserError
from pipelines.integrations.notifications.base import Notifier
from pipelines.integrations.observability.observatory import Observatory
from pipelines.integrations.target import DeploymentTarget
from pipelines.model import (
    Effect,
    EnvironmentPlan,
    Notify,
    Release,
    ReleaseService,
    ReleaseState,
    WorkflowRun,
)
from pipelines.orchestration.error_handler import ErrorHandler
from pipelines.ports import Receipt, Reporter

TARGET_SECONDS = 120.0
"""Targets start what they are asked for and never wait for it, so this is plenty."""
STATE_SECONDS = 60.0
"""A target's answer to a question."""
NOTIFY_SECONDS = 30.0
SAMPLE_SECONDS = 15.0

Targets = Callable[[EnvironmentPlan], DeploymentTarget]
"""From an environment to what carries its deployments out; UserError if that is not set up."""
Observatories = Callable[[str], Observatory]
"""From a tenant to what measures its environments."""


class Outlets:
    """Routes effects: to GitHub, to deployment targets, to the operators."""

    def __init__(
        self,
        *,
        reporter: Reporter,
        errors: ErrorHandler,
        targets: Targets | None,
        observatories: Observatories | None,
        notifier: Notifier | None,
    ) -> None:
        self._reporter = reporter
        self._errors = errors
        self._targets = targets
        self._observatories = observatories
        self._notifier = notifier

    async def carry_out(self, run: WorkflowRun, effect: Effect, *, repeated: bool) -> Receipt:
        """Do what is not a release; with ``repeated`` look first whether it was done."""
        if isinstance(effect, Notify):
            return await self._notify(effect)
        receipt = await self._reporter.carry_out(run, effect, repeated=repeated)
        self._errors.succeeded("github")
        if receipt.escalate:
            await self._escalate(run, effect, receipt)
        return receipt

    async def release(
        self, run: WorkflowRun, plan: EnvironmentPlan, effect: ReleaseService, revision: int
    ) -> Receipt:
        """Have the environment's target run the commit; a target finds what it did by the key."""
        target, repository = self.target(plan), run.change.repository
        await self._sample(run, plan)
        release = Release(
            repository=repository.full_name,
            repository_id=repository.id,
            environment=plan,
            sha=effect.sha,
            revision=revision,
            key=effect.key,
        )
        fence.check()
        try:
            async with asyncio.timeout(TARGET_SECONDS):
                state: ReleaseState = await target.release(release)
        except TimeoutError as error:
            raise Retryable(
                f"The target `{plan.target}` did not answer within {TARGET_SECONDS:.0f} seconds.",
                dependency=plan.target,
            ) from error
        return Receipt(key=effect.key, status="done", message=state.message, url=state.url)

    def target(self, plan: EnvironmentPlan) -> DeploymentTarget:
        """Return what carries out the environment's deployments; UserError if nothing does."""
        if self._targets is None:
            raise UserError(f"This installation deploys nowhere, so not to `{plan.name}` either.")
        return self._targets(plan)

    async def address(self, run: WorkflowRun, plan: EnvironmentPlan) -> str | None:
        """Return where the service answers, if its plan does not say so but its target does."""
        if plan.url is not None:
            return None
        try:
            state = self.target(plan).state(plan, repository=run.change.repository.full_name)
            async with asyncio.timeout(STATE_SECONDS):
                return (await state).url
        except (Retryable, UserError, TimeoutError):
            return None  # then there is no address, and what is asked for says so

    def observatory(self, run: WorkflowRun) -> Observatory | None:
        """Return what measures the repository's environments, if anything does."""
        if self._observatories is None:
            return None
        return self._observatories(run.change.repository.tenant)

    async def _sample(self, run: WorkflowRun, plan: EnvironmentPlan) -> None:
        """Measure once before the release, so that there is something to compare with."""
        observatory = self.observatory(run)
        if observatory is None or not plan.metrics:
            return
        try:
            async with asyncio.timeout(SAMPLE_SECONDS):
                address = await self.address(run, plan)
                await observatory.sample(plan, watched(run), service_url=address)
        except TimeoutError:
            return  # a release does not wait for its measurements

    async def _escalate(self, run: WorkflowRun, effect: Effect, receipt: Receipt) -> None:
        """Tell the operators what an issue alone may not bring to their eyes."""
        news = Notify(
            level="critical",
            title=f"{run.change.repository.full_name}: people are needed"[:200],
            text=receipt.escalate[:4000],
            url=receipt.url,
            occasion=f"escalate/{effect.key}",
        )
        await self._notify(news)

    async def _notify(self, effect: Notify) -> Receipt:
        """Tell the operators; that a channel refuses is said, and nothing else depends on it."""
        if self._notifier is None:
            return Receipt(key=effect.key, status="done", message="No channel is set up.")
        fence.check()
        try:
            async with asyncio.timeout(NOTIFY_SECONDS):
                await self._notifier.send(effect)
        except TimeoutError as error:
            raise Retryable("The notification channel did not answer.") from error
        except UserError as error:
            return Receipt(key=effect.key, status="denied", message=str(error))
        return Receipt(key=effect.key, status="done")


def watched(run: WorkflowRun) -> dict[str, str]:
    """Return the queries of all rules that the run's monitor steps have, by name."""
    found: dict[str, str] = {}
    for step in run.steps:
        found |= rules_of(step.agent, step.options)
    return found


def rules_of(agent: str, options: Mapping[str, JsonValue]) -> dict[str, str]:
    """Return the queries of a monitor step's rules, by name; other steps have none."""
    if agent != "monitor":
        return {}
    return {rule.name: rule.query for rule in MonitorOptions.model_validate(options).rules}
