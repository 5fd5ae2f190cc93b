"""Where pauses and dismissals are kept, and how a change and policy come to know of them."""

from collections.abc import Mapping

from pipelines.model import Change, Dismissal, Pause, PriorFinding, WorkflowRun
from pipelines.ports import Write
from pipelines.stores.backend import StorageBackend, key
from pipelines.stores.codec import decode, encode


def subject_of(change: Change) -> str | None:
    """Return what people speak about when they pause or dismiss: a pull request."""
    return None if change.number is None else f"pr/{change.number}"


class Standing:
    """Reads what people said about a pull request; writing is part of somebody's batch."""

    def __init__(self, store: StorageBackend) -> None:
        self._store = store

    async def pause(self, tenant: str, subject: str) -> Pause | None:
        """Return the pause that holds, or None."""
        record = await self._store.get(_pause(tenant, subject))
        return decode(Pause, record.value) if record else None

    async def paused(self, run: WorkflowRun) -> bool:
        """Whether somebody paused what the run is about."""
        place = pause_of(run)
        return place is not None and await self._store.get(place) is not None

    async def dismissals(self, tenant: str, subject: str) -> Mapping[str, Dismissal]:
        """Return what was dismissed, by fingerprint."""
        prefix = f"{_dismissals(tenant, subject)}/"
        found: dict[str, Dismissal] = {}
        async for _, record in self._store.scan(prefix):
            dismissal = decode(Dismissal, record.value)
            found[dismissal.fingerprint] = dismissal
        return found

    async def informed(self, change: Change) -> Change:
        """Return the change with dismissed findings marked as resolved, and by whom."""
        subject = subject_of(change)
        if subject is None:
            return change
        dismissed = await self.dismissals(change.repository.tenant, subject)
        if not dismissed:
            return change
        known = {prior.fingerprint for prior in change.prior_findings}
        findings = [_marked(prior, dismissed) for prior in change.prior_findings]
        findings += [_alone(d) for d in dismissed.values() if d.fingerprint not in known]
        return change.model_copy(update={"prior_findings": tuple(findings)})


def pause_of(run: WorkflowRun) -> str | None:
    """Return where a pause of what the run is about is kept; None if nobody can pause it."""
    subject = subject_of(run.change)
    return None if subject is None else _pause(run.change.repository.tenant, subject)


def pausing(tenant: str, subject: str, pause: Pause | None) -> Write:
    """Return the write that pauses, or with None ends the pause."""
    return Write(_pause(tenant, subject), encode(pause) if pause else None)


def dismissing(tenant: str, subject: str, dismissal: Dismissal) -> Write:
    """Return the write that keeps a dismissal."""
    return Write(f"{_dismissals(tenant, subject)}/{key(dismissal.fingerprint)}", encode(dismissal))


def _marked(prior: PriorFinding, dismissed: Mapping[str, Dismissal]) -> PriorFinding:
    dismissal = dismissed.get(prior.fingerprint)
    if dismissal is None or prior.resolved:
        return prior
    return prior.model_copy(update={"resolved": True, "resolved_by": dismissal.by})


def _alone(dismissal: Dismissal) -> PriorFinding:
    """A finding that was posted without a thread, in the body of a review."""
    return PriorFinding(
        fingerprint=dismissal.fingerprint,
        thread_id="",
        comment_id=0,
        path=dismissal.path,
        title=dismissal.title,
        resolved=True,
        resolved_by=dismissal.by,
    )


def _pause(tenant: str, subject: str) -> str:
    return key("pause", *tenant.split("/"), subject)


def _dismissals(tenant: str, subject: str) -> str:
    return key("dismissal", *tenant.split("/"), subject)
