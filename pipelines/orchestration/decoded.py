"""Runs that this process read or wrote lately, so that the same bytes are not decoded again."""

from collections import OrderedDict

from pipelines.model import WorkflowRun
from pipelines.orchestration.records import read
from pipelines.ports import Versioned

_KEPT = 256
"""More than one process has at work at a time; each takes some ten kilobytes."""


class DecodedRuns:
    """Decodes what the store holds, which alone says what a run is: here nothing can be stale."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[bytes, WorkflowRun]] = OrderedDict()

    def run(self, key: str, record: Versioned) -> WorkflowRun:
        """Return the stored run with the version under which it is stored."""
        value, run = self._kept.get(key) or (b"", None)
        if run is None or value != record.value:
            run = read(WorkflowRun, key, record)
        run = run if run.version == record.version else _at(run, record.version)
        self.keep(key, record.value, run)
        return run

    def keep(self, key: str, value: bytes, run: WorkflowRun) -> None:
        """Remember what these bytes mean, as long as others are not more recent."""
        self._kept[key] = (value, run)
        self._kept.move_to_end(key)
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)


def _at(run: WorkflowRun, version: int) -> WorkflowRun:
    return run.model_copy(update={"version": version})
