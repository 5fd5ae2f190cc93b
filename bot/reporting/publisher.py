"""The one place that decides how an effect becomes a call."""

from collections.abc import Mapping, Sequence

from bot.github.gateway import GitHub
from bot.reporting import (
    answers,
    check_runs,
    comments,
    commits,
    deployments,
    issues,
    pulls,
    reactions,
    reviews,
)
from bot.reporting.outlet import Outlet, Redact
from pipelines.model import (
    AnswerFinding,
    CloseIssue,
    CreateDeployment,
    Effect,
    Notify,
    OpenIssue,
    OpenPullRequest,
    PostComment,
    PushCommit,
    React,
    ReleaseService,
    SetDeploymentStatus,
    SubmitReview,
    TaskResult,
    WorkflowRun,
)
from pipelines.ports import CheckState, Receipt


class GitHubReporter:
    """Implements ``pipelines.ports.Reporter``.

    ``redact`` takes secrets out of any text; ``base_url`` is Conductor's own public address, empty
    if it has none. ``marker_keys`` verify signed markers, and the first of them signs; without any,
    nothing that needs a signature is written.
    """

    def __init__(
        self,
        github: GitHub,
        *,
        redact: Redact,
        base_url: str = "",
        marker_keys: Sequence[bytes] = (),
    ) -> None:
        self._github = github
        self._redact = redact
        self._base_url = base_url
        self._marker_keys = tuple(marker_keys)

    async def carry_out(self, run: WorkflowRun, effect: Effect, *, repeated: bool) -> Receipt:
        """Do one effect; with ``repeated`` an earlier try may have succeeded, so look first."""
        outlet = self._outlet(run)
        match effect:
            case SubmitReview():
                work = reviews.submit(outlet, effect)
            case AnswerFinding():
                work = answers.answer(outlet, effect, repeated=repeated)
            case PostComment():
                work = comments.post(
                    outlet,
                    effect,
                    addressee=run.trigger.actor.login,
                    pull_request=run.change.number == effect.number,
                    repeated=repeated,
                )
            case React():
                work = reactions.react(outlet, effect)
            case PushCommit():
                work = commits.push(outlet, effect)
            case OpenPullRequest():
                key = self._signing_keys()[0]
                work = pulls.open_pull(outlet, effect, key=key, repeated=repeated)
            case OpenIssue():
                work = issues.open_issue(outlet, effect, keys=self._signing_keys())
            case CloseIssue():
                work = issues.close_issue(outlet, effect, keys=self._signing_keys())
            case CreateDeployment():
                work = deployments.create(outlet, effect, repeated=repeated)
            case SetDeploymentStatus():
                work = deployments.set_status(outlet, effect)
            case ReleaseService() | Notify():
                raise TypeError(f"`{effect.kind}` is not GitHub's to carry out.")
        return await work

    def _signing_keys(self) -> tuple[bytes, ...]:
        if not self._marker_keys:
            raise ValueError("The reporter was built without keys to sign markers with.")
        return self._marker_keys

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
