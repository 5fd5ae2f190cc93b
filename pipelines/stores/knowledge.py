"""Knowledge Base: what people and production said about earlier work, found again by relevance."""

from collections.abc import Sequence

from pipelines.model import Frozen, Lesson, Outcome, OutcomeKind
from pipelines.ports import Write
from pipelines.stores.backend import StorageBackend
from pipelines.stores.relevance import Question, rank
from pipelines.stores.shelf import DAY, Keep, Shelf, redacted

OUTCOMES_KEPT = Keep(seconds=400 * DAY, count=2_000)


class StoredOutcome(Frozen):
    """One outcome of one repository."""

    outcome: Outcome
    schema_version: int = 1


class KnowledgeBase:
    """Outcomes of each repository, one a source and kind; never of another repository."""

    def __init__(self, backend: StorageBackend, keep: Keep = OUTCOMES_KEPT) -> None:
        self._outcomes = Shelf(
            backend, "knowledge", StoredOutcome, keep, lambda stored: stored.outcome.at
        )

    @property
    def shelves(self) -> tuple[Shelf[StoredOutcome]]:
        """The kinds of record that this store has."""
        return (self._outcomes,)

    def writes(self, tenant: str, outcomes: Sequence[Outcome]) -> list[Write]:
        """Return what stores outcomes; of the same kind the same source teaches once.

        The caller answers for who said it: people with triage permission, or Conductor itself from
        facts that it verified. What strangers wrote is never an outcome.
        """
        writes: dict[str, Write] = {}
        for outcome in outcomes:
            clean, _ = redacted(StoredOutcome(outcome=outcome))
            write = self._outcomes.write(tenant, (outcome.kind, outcome.source), clean)
            writes[write.key] = write
        return list(writes.values())

    async def outcomes(self, tenant: str, *kinds: OutcomeKind) -> Sequence[Outcome]:
        """Return what is known of a repository, the newest first, at most as many as are kept."""
        found = [
            stored.outcome
            async for stored in self._outcomes.all(tenant)
            if not kinds or stored.outcome.kind in kinds
        ]
        found.sort(key=lambda outcome: (outcome.at, outcome.source), reverse=True)
        return found[: self._outcomes.keep.count]

    async def lessons(self, tenant: str, question: Question) -> tuple[Lesson, ...]:
        """Return what earlier work taught about a question, the most relevant first."""
        return rank(await self.outcomes(tenant), question)
