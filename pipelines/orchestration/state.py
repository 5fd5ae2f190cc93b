"""The repository of runs and of everything that is stored beside them.

What a transition changes is gathered as writes, so that the run, its results, the list of runs and
the messages that follow from it are one batch: all of it is stored or none.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType

from pipelines.errors import Conflict
from pipelines.model import TaskResult, Usage, WorkflowRun
from pipelines.orchestration import keys
from pipelines.orchestration.bus.base import MessageBus
from pipelines.orchestration.decoded import DecodedResults, DecodedRuns
from pipelines.orchestration.records import (
    AgentRecord,
    EffectRecord,
    EnvironmentRecord,
    GroupRecord,
    IncidentsRecord,
    RunSummary,
    StoredChecks,
    StoredResult,
    read,
)
from pipelines.orchestration.spending import SpendingLedger
from pipelines.ports import ABSENT, Batch, CheckState, Clock, Lease, Message, Versioned, Write
from pipelines.stores.backend import StorageBackend
from pipelines.stores.codec import encode
from pipelines.stores.tenancy import tenant_of

DAY = 24 * 3600.0
RETENTION = 30 * DAY
"""Seconds for which a completed run is kept."""
EFFECTS_KEPT = 90 * DAY
"""After that an effect that is asked for again is looked up where it was carried out."""
INCIDENTS_KEPT = 90 * DAY
AGENTS_KEPT = 1 * DAY

_NOTHING: Mapping[str, TaskResult] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class RunChange:
    """A run before (None: it is new) and after, with the results that came, by step name."""

    before: WorkflowRun | None
    after: WorkflowRun
    results: Mapping[str, TaskResult] = field(default_factory=dict[str, TaskResult])

    @property
    def version(self) -> int:
        """The version under which ``after`` is stored, whatever it says itself."""
        return self.before.version + 1 if self.before else 1


@dataclass(frozen=True, slots=True)
class RecentRuns:
    """One page of the list of runs, newest first; ``after`` asks for the next, "" is the end."""

    runs: Sequence[RunSummary]
    after: str


class BusJournal:
    """``ports.Journal`` over the store and the bus of this process."""

    def __init__(self, backend: StorageBackend, bus: MessageBus) -> None:
        self._backend = backend
        self._bus = bus

    async def commit(self, batch: Batch) -> None:
        """Store all or nothing, then let the messages be claimed."""
        await self._bus.commit(batch)

    async def get(self, key: str) -> Versioned | None:
        """Return the record, or None if there is none or it expired."""
        return await self._backend.get(key)


class StateManager:
    """Reads runs and their records, and stores transitions by compare-and-set."""

    def __init__(
        self,
        backend: StorageBackend,
        bus: MessageBus,
        clock: Clock,
        *,
        retention: float = RETENTION,
    ) -> None:
        self._backend = backend
        self._bus = bus
        self._retention = retention
        self._ledger = SpendingLedger(backend, clock)
        self._decoded = DecodedRuns()
        self._results = DecodedResults()

    # --- reading ---------------------------------------------------------------------------------

    async def get(self, tenant: str, run_id: str) -> WorkflowRun | None:
        """Return the run with the version under which it is stored, or None."""
        key = keys.run_key(tenant, run_id)
        record = await self._backend.get(key)
        return self._decoded.run(key, record) if record else None

    def remembered(self, tenant: str, run_id: str) -> WorkflowRun | None:
        """Return the run as this process saw it last; whoever decides on that must compare."""
        return self._decoded.newest(keys.run_key(tenant, run_id))

    def remember(self, *stored: RunChange) -> None:
        """Note what these runs are now."""
        for change in stored:
            run = _stamped(change)
            self._decoded.saw(keys.run_key(run.change.repository.tenant, run.id), run)

    async def result(self, tenant: str, run_id: str, step: str) -> TaskResult | None:
        """Return the newest stored result of a step, or None."""
        key = keys.result_key(tenant, run_id, step)
        record = await self._backend.get(key)
        return self._results.result(key, record) if record else None

    async def results(self, run: WorkflowRun) -> Mapping[str, TaskResult]:
        """Return the results of the steps that have one, by step name."""
        tenant = run.change.repository.tenant
        wanted = {
            keys.result_key(tenant, run.id, s.name): s.name for s in run.steps if s.has_result
        }
        found = await self._backend.get_many(list(wanted))
        return {wanted[key]: self._results.result(key, r) for key, r in found.items()}

    async def group(self, tenant: str, group: str) -> GroupRecord | None:
        """Return what is known of the newest run of a group, or None if it never had one."""
        key = keys.group_key(tenant, group)
        record = await self._backend.get(key)
        return read(GroupRecord, key, record) if record else None

    async def record(self, key: str) -> Versioned | None:
        """Return a record that is not a run's own, for whoever knows its form."""
        return await self._backend.get(key)

    async def live(self, under: str = "") -> AsyncIterator[WorkflowRun]:
        """Yield every run that is not completed; of ``INSTALLATION/`` or ``TENANT/`` if given."""
        async for _, mark in self._backend.scan(keys.LIVE + under):
            key = mark.value.decode()
            record = await self._backend.get(key)
            if record is not None:
                yield self._decoded.run(key, record)

    async def recent(self, limit: int = 50, after: str = "") -> RecentRuns:
        """Return the newest runs of all tenants; ``after`` is where the page before it ended."""
        runs: list[RunSummary] = []
        start = keys.RECENT + after if after else ""
        async for key, record in self._backend.scan(keys.RECENT, after=start):
            runs.append(read(RunSummary, key, record))
            if len(runs) == limit:
                return RecentRuns(runs, key.removeprefix(keys.RECENT))
        return RecentRuns(runs, "")

    async def check_states(self, run: WorkflowRun) -> Mapping[str, CheckState]:
        """Return what users were last shown of each step, by step name."""
        key = keys.checks_key(run.change.repository.tenant, run.id)
        record = await self._backend.get(key)
        return read(StoredChecks, key, record).states if record else {}

    async def effect(self, tenant: str, effect: str) -> EffectRecord | None:
        """Return what became of the effect with that key, or None if it was never begun."""
        key = keys.effect_key(tenant, effect)
        record = await self._backend.get(key)
        if record is None:
            return None
        return read(EffectRecord, key, record).model_copy(update={"version": record.version})

    async def environment(self, tenant: str, name: str) -> EnvironmentRecord:
        """Return what is known of an environment, with the version under which it is stored."""
        key = keys.environment_key(tenant, name)
        record = await self._backend.get(key)
        if record is None:
            return EnvironmentRecord()
        known = read(EnvironmentRecord, key, record)
        return known.model_copy(update={"version": record.version})

    async def environments(self) -> AsyncIterator[tuple[str, EnvironmentRecord]]:
        """Yield what is known of every environment, with the tenant whose it is."""
        async for key, record in self._backend.scan(keys.ENVIRONMENTS):
            tenant, known = tenant_of(key), read(EnvironmentRecord, key, record)
            if tenant is not None:
                yield tenant, known.model_copy(update={"version": record.version})

    async def incidents(self, tenant: str) -> IncidentsRecord:
        """Return the monitor's incidents, with the version under which they are stored."""
        key = keys.incidents_key(tenant)
        record = await self._backend.get(key)
        if record is None:
            return IncidentsRecord()
        return read(IncidentsRecord, key, record).model_copy(update={"version": record.version})

    async def spent(self, tenant: str, day: date) -> Usage:
        """Return what the tenant's runs cost on a day (UTC)."""
        return (await self.spending(day)).get(tenant, Usage())

    async def spending(self, day: date) -> Mapping[str, Usage]:
        """Return what each tenant's runs cost on a day (UTC)."""
        return await self._ledger.totals(day)

    async def agents(self) -> Sequence[AgentRecord]:
        """Return where each agent of each worker is in its lifecycle."""
        found = self._backend.scan(keys.AGENTS)
        return [read(AgentRecord, key, record) async for key, record in found]

    # --- storing runs ----------------------------------------------------------------------------

    async def create(
        self,
        run: WorkflowRun,
        *,
        messages: Sequence[Message] = (),
        settled: Sequence[Lease] = (),
        writes: Sequence[Write] = (),
        results: Mapping[str, TaskResult] = _NOTHING,
    ) -> WorkflowRun:
        """Store a new run as the newest of its group and return it as stored.

        Raises Conflict if the group has a run of the same or a later generation.
        """
        return await self._store(RunChange(None, run, results), messages, settled, writes)

    async def commit(
        self,
        run: WorkflowRun,
        *,
        before: WorkflowRun,
        messages: Sequence[Message] = (),
        settled: Sequence[Lease] = (),
        writes: Sequence[Write] = (),
        results: Mapping[str, TaskResult] = _NOTHING,
    ) -> WorkflowRun:
        """Store a transition and return the run as stored.

        Raises Conflict if the run changed since ``before`` was read.
        """
        return await self._store(RunChange(before, run, results), messages, settled, writes)

    async def _store(
        self,
        change: RunChange,
        messages: Sequence[Message],
        settled: Sequence[Lease],
        writes: Sequence[Write],
    ) -> WorkflowRun:
        everything = [*await self.writes(change), *writes]
        await self._bus.commit(Batch(writes=everything, messages=messages, settled=settled))
        return _stamped(change)

    async def writes(self, *changes: RunChange) -> list[Write]:
        """Return everything to write for these runs, which then belongs in one batch.

        Raises Conflict if a new run's group has moved on; the batch raises it for all else.
        """
        writes = [write for change in changes for write in self._run_writes(change)]
        groups: dict[str, Write] = {}
        # New runs last: where one replaces a run that ends in the same batch, the group is its.
        for change in sorted(changes, key=lambda change: change.before is None):
            groups |= {write.key: write for write in await self._group_writes(change)}
        return [*writes, *groups.values()]

    def _run_writes(self, change: RunChange) -> list[Write]:
        before, run, ttl = change.before, _stamped(change), self._ttl(change.after)
        tenant = run.change.repository.tenant
        key = keys.run_key(tenant, run.id)
        expect = before.version if before else ABSENT
        value = encode(run)
        self._decoded.keep(value, run)
        writes = [Write(key, value, expect=expect, ttl=ttl)]
        if before is None or _listed(run) != _listed(before):
            line = keys.recent_key(run.created_at, tenant, run.id)
            writes.append(Write(line, encode(_summary(run)), ttl=ttl))
        if run.live != (before is not None and before.live):
            mark = key.encode() if run.live else None
            writes.append(Write(keys.live_key(tenant, run.id), mark))
        for step, result in change.results.items():
            # Twice as long: a run may outlive the result of its first step by weeks.
            stored = encode(StoredResult(result=result))
            self._results.keep(stored, result)
            writes.append(
                Write(keys.result_key(tenant, run.id, step), stored, ttl=2 * self._retention)
            )
        if before is None or run.usage is not before.usage:
            writes += self._ledger.write(before, run)
        return writes

    async def _group_writes(self, change: RunChange) -> list[Write]:
        """Point the group at a new run, and say so when its newest run ends."""
        run = change.after
        if change.before is not None and (run.live or not change.before.live):
            return []
        key = keys.group_key(run.change.repository.tenant, run.group)
        stored = await self._backend.get(key)
        known = read(GroupRecord, key, stored) if stored else None
        if change.before is None and known is not None and known.generation >= run.generation:
            raise Conflict(key, expected=run.generation - 1, actual=known.generation)
        if change.before is not None and (known is None or known.run_id != run.id):
            return []
        record = GroupRecord(
            run_id=run.id,
            generation=run.generation,
            head_sha=run.change.head_sha,
            live=run.live,
        )
        expect = stored.version if stored else ABSENT
        return [Write(key, encode(record), expect=expect, ttl=self._ttl(run))]

    def _ttl(self, run: WorkflowRun) -> float | None:
        return None if run.live else self._retention

    # --- writes that others put into their batches -----------------------------------------------

    def checks_write(self, run: WorkflowRun, states: Mapping[str, CheckState]) -> Write:
        """Return the write that keeps what users see now of each step."""
        key = keys.checks_key(run.change.repository.tenant, run.id)
        return Write(key, encode(StoredChecks(states=states)), ttl=2 * self._retention)

    def effect_write(self, tenant: str, effect: str, record: EffectRecord) -> Write:
        """Return the write that keeps an effect's record, unless it changed since it was read."""
        value = encode(record.model_copy(update={"version": 0}))
        key = keys.effect_key(tenant, effect)
        return Write(key, value, expect=record.version, ttl=EFFECTS_KEPT)

    def environment_write(self, tenant: str, name: str, record: EnvironmentRecord) -> Write:
        """Return the write that keeps an environment, unless it changed since it was read."""
        value = encode(record.model_copy(update={"version": 0}))
        return Write(keys.environment_key(tenant, name), value, expect=record.version)

    def incidents_write(self, tenant: str, record: IncidentsRecord) -> Write:
        """Return the write that keeps the incidents, unless they changed since they were read."""
        value = encode(record.model_copy(update={"version": 0}))
        key = keys.incidents_key(tenant)
        return Write(key, value, expect=record.version, ttl=INCIDENTS_KEPT)

    def agent_write(self, record: AgentRecord) -> Write:
        """Return the write that keeps where an agent is in its lifecycle."""
        key = keys.agent_key(record.worker, record.agent)
        return Write(key, encode(record), ttl=AGENTS_KEPT)


def _stamped(change: RunChange) -> WorkflowRun:
    if change.after.version == change.version:
        return change.after
    return change.after.model_copy(update={"version": change.version})


def _listed(run: WorkflowRun) -> tuple[object, ...]:
    """Return what a run's line in the list of runs says that can change."""
    return run.state, run.conclusion, run.reason, run.usage.cost_usd


def _summary(run: WorkflowRun) -> RunSummary:
    return RunSummary(
        run_id=run.id,
        tenant=run.change.repository.tenant,
        repository=run.change.repository.full_name,
        workflow=run.workflow,
        subject=run.trigger.subject,
        head_sha=run.change.head_sha,
        state=run.state,
        conclusion=run.conclusion,
        reason=run.reason,
        cost_usd=run.usage.cost_usd,
        created_at=run.created_at,
        updated_at=run.updated_at,
    )
