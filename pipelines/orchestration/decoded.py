"""What this process read or wrote lately, so that the same bytes are not decoded again."""

from collections import OrderedDict
from typing import TypeVar

from pipelines.model import TaskResult, WorkflowRun
from pipelines.orchestration.records import StoredResult, read
from pipelines.ports import Versioned

_KEPT = 256
"""More than one process has at work at a time; each takes some ten kilobytes."""

_RESULTS = 8 * 2**20
"""So many bytes of results are remembered; a result has a few hundred, or some hundred thousand."""

K = TypeVar("K", str, bytes)


class DecodedRuns:
    """What stored bytes mean, which cannot change, and which run was seen last, which can."""

    def __init__(self) -> None:
        self._meanings: OrderedDict[bytes, WorkflowRun] = OrderedDict()
        self._newest: OrderedDict[str, WorkflowRun] = OrderedDict()

    def run(self, key: str, record: Versioned) -> WorkflowRun:
        """Return the stored run with the version under which it is stored."""
        run = self._meanings.get(record.value) or read(WorkflowRun, key, record)
        self.keep(record.value, run)
        if run.version != record.version:
            run = run.model_copy(update={"version": record.version})
        self.saw(key, run)
        return run

    def keep(self, value: bytes, run: WorkflowRun) -> None:
        """Remember what these bytes mean, as long as others are not more recent."""
        _put(self._meanings, value, run)

    def saw(self, key: str, run: WorkflowRun) -> None:
        """Remember that the run was like this, unless it is known to have gone on."""
        known = self._newest.get(key)
        if known is None or known.version < run.version:
            _put(self._newest, key, run)

    def newest(self, key: str) -> WorkflowRun | None:
        """Return the run as it was seen last; it may have changed since."""
        return self._newest.get(key)


def _put(kept: OrderedDict[K, WorkflowRun], key: K, run: WorkflowRun) -> None:
    kept[key] = run
    kept.move_to_end(key)
    if len(kept) > _KEPT:
        kept.popitem(last=False)


class DecodedResults:
    """What stored results say: each report of a run shows all that there are so far."""

    def __init__(self, limit: int = _RESULTS) -> None:
        """``limit`` is in bytes as they are stored."""
        self._limit = limit
        self._size = 0
        self._meanings: OrderedDict[bytes, TaskResult] = OrderedDict()

    def result(self, key: str, record: Versioned) -> TaskResult:
        """Return the stored result."""
        known = self._meanings.get(record.value)
        if known is not None:
            self._meanings.move_to_end(record.value)
            return known
        result = read(StoredResult, key, record).result
        self.keep(record.value, result)
        return result

    def keep(self, value: bytes, result: TaskResult) -> None:
        """Remember what these bytes mean, and forget what was not asked for longest."""
        if value not in self._meanings:
            self._size += len(value)
        self._meanings[value] = result
        while self._size > self._limit:
            self._size -= len(self._meanings.popitem(last=False)[0])
