"""Who tells the outside, and what it is told."""

from collections.abc import Mapping
from typing import Literal, Protocol

from pipelines.model import Effect, Frozen, Sha, TaskResult, WorkflowRun


class Receipt(Frozen):
    """What became of one effect."""

    key: str
    status: Literal["done", "found", "denied", "moved"]
    """``found``: it had been done before; ``moved``: the commit is no longer the head."""
    message: str = ""
    escalate: str = ""
    """What the operators must be told besides; empty if nothing."""
    url: str | None = None
    number: int | None = None
    """Of what was made: the issue, the pull request, the deployment."""
    sha: Sha | None = None
    """Of the commit that was made."""


class CheckState(Frozen):
    """What was last reported for one step, so that only changes cost a call."""

    check_run_id: int
    digest: str
    completed: bool


class Reporter(Protocol):
    """Who tells the outside; the only port through which anything is written."""

    async def carry_out(self, run: WorkflowRun, effect: Effect, *, repeated: bool) -> Receipt:
        """Do one effect; with ``repeated`` an earlier try may have succeeded, so look first."""
        ...

    async def report(
        self,
        run: WorkflowRun,
        results: Mapping[str, TaskResult],
        last: Mapping[str, CheckState],
        *,
        repeated: bool,
    ) -> Mapping[str, CheckState]:
        """Bring what users see of each step in line with the run; return what they see now.

        ``results`` and ``last`` are by step name. Raises Parked or Retryable after a part of the
        work: what was done by then is in the exception's ``reported`` attribute.
        """
        ...
