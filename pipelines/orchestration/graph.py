"""The order that needs impose on steps: validation, topological order and readiness."""

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter

from pipelines.errors import UserError
from pipelines.model import Step


class GraphError(UserError):
    """The steps of a workflow cannot be put in an order."""


class UnknownNeed(GraphError):
    """A step needs one that does not exist."""

    def __init__(self, step: str, need: str) -> None:
        super().__init__(f"Step `{step}` needs `{need}`, but the workflow has no such step.")
        self.step = step
        self.need = need


class Cycle(GraphError):
    """Steps need each other in a circle; ``path`` starts and ends with the same step."""

    def __init__(self, path: tuple[str, ...]) -> None:
        arrows = " → ".join(path)
        super().__init__(f"Steps need each other in a circle ({arrows}); remove one `needs`.")
        self.path = path


class DuplicateStep(GraphError):
    """Two steps of a workflow have the same name."""

    def __init__(self, step: str) -> None:
        super().__init__(f"The workflow has two steps named `{step}`; rename one.")
        self.step = step


class Graph:
    """A validated directed acyclic graph of step names."""

    def __init__(self, needs: Mapping[str, Collection[str]]) -> None:
        """Build from each step's needs; raises ``UnknownNeed`` or ``Cycle``."""
        for step, wanted in needs.items():
            for need in wanted:
                if need not in needs:
                    raise UnknownNeed(step, need)
        self._needs = {step: frozenset(wanted) for step, wanted in needs.items()}
        try:
            self.order: tuple[str, ...] = tuple(TopologicalSorter(needs).static_order())
        except CycleError as error:
            # graphlib names each node before the one that needs it; people read "a needs b".
            raise Cycle(tuple(reversed(error.args[1]))) from error

    def ready(self, done: Collection[str]) -> tuple[str, ...]:
        """Return the steps that are not done and whose needs all are, in topological order."""
        finished = frozenset(done)
        return tuple(
            name for name in self.order if name not in finished and self._needs[name] <= finished
        )


def graph_of(steps: Iterable[Step]) -> Graph:
    """Return the graph of a plan; raises ``GraphError``. Graphs of equal plans are built once."""
    return _graph(tuple((step.name, step.needs) for step in steps))


@lru_cache(maxsize=1024)
def _graph(plan: tuple[tuple[str, tuple[str, ...]], ...]) -> Graph:
    needs: dict[str, tuple[str, ...]] = {}
    for name, wanted in plan:
        if name in needs:
            raise DuplicateStep(name)
        needs[name] = wanted
    return Graph(needs)
