"""The one place that decides how an effect becomes a call."""

from collections.abc import Mapping

from bot.github.gateway import GitHub
from bot.reporting import answers, check_runs, comments, reactions, reviews
from bot.reporting.outlet import Outlet, Redact
from pipelines.model import (
    AnswerFinding,
    Effect,
    PostComment,
    React,
    SubmitReview,
    TaskResult,
    WorkflowRun,
)
from pipelines.ports import CheckState, Receipt


class GitHubReporter:
    """Implements ``pipelines.ports.Reporter``.

    ``redact`` takes secrets out of any text; ``base_url`` is Conductor's own public address, empty
    if it has none.
    """

    def __init__(self, github: GitHub, *, redact: Redact, base_url: str = "") -> None:
        self._github = github
        self._redact = redact
        self._base_url = base_url

    async def carry_out(self, run: WorkflowRun, effect: Effect, *, repeated: bool) -> Receipt:
        """Do one effect; with ``repeated`` an earlier try may have succeeded, so look first."""
        outlet = self._outlet(run)
        match effect:
            case SubmitReview():
                return await reviews.submit(outlet, effect)
            case AnswerFinding():
                return await answers.answer(outlet, effect, repeated=repeated)
            case PostComment():
                return await comments.post(
                    outlet,
                    effect,
                    addressee=run.trigger.actor.login,
                    pull_request=run.change.number == effect.number,
                    repeated=repeated,
                )
            case React():
                return await reactions.react(outlet, effect)

    async def report(
        self,
        run: WorkflowRun,
        results: Mapping[str, TaskResult],
        last: Mapping[str, CheckState],
        *,
        repeated: bool,
    ) -> Mapping[str, CheckState]:
        """Bring the check runs of a run in line with it; only what changed costs a call.

        Any error carries the checks as they are by then in ``reported``.
        """
        outlet = self._outlet(run)
        return await check_runs.report(outlet, run, results, last, repeated=repeated)

    def _outlet(self, run: WorkflowRun) -> Outlet:
        return Outlet(self._github, run, self._redact, base_url=self._base_url)
