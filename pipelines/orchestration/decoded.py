"""Runs that this process read or wrote lately, so that the same bytes are not decoded again."""

from collections import OrderedDict

from pipelines.model import WorkflowRun
from pipelines.orchestration.records import read
from pipelines.ports import Versioned

_KEPT = 256
"""More than one process has at work at a time; each takes some ten kilobytes."""


class DecodedRuns:
    """What stored bytes mean; the store alone says which bytes those are, so nothing is stale."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, WorkflowRun] = OrderedDict()

    def run(self, key: str, record: Versioned) -> WorkflowRun:
        """Return the stored run with the version under which it is stored."""
        run = self._kept.get(record.value) or read(WorkflowRun, key, record)
        self.keep(record.value, run)
        if run.version != record.version:
            return run.model_copy(update={"version": record.version})
        return run

    def keep(self, value: bytes, run: WorkflowRun) -> None:
        """Remember what these bytes mean, as long as others are not more recent."""
        self._kept[value] = run
        self._kept.move_to_end(value)
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
