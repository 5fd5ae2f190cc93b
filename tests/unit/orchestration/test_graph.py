from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.orchestration.graph import Cycle, DuplicateStep, Graph, UnknownNeed, graph_of
from tests.simulation.plans import a_step


def test_steps_come_after_what_they_need() -> None:
    graph = Graph({"ship": ["build", "test"], "test": ["build"], "build": []})
    assert graph.order == ("build", "test", "ship")


def test_a_step_is_ready_when_all_its_needs_are_done_and_it_is_not() -> None:
    graph = Graph({"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]})
    assert graph.ready([]) == ("a",)
    assert set(graph.ready(["a"])) == {"b", "c"}
    assert graph.ready(["a", "b"]) == ("c",)
    assert graph.ready(["a", "b", "c", "d"]) == ()


def test_a_cycle_is_named_as_the_path_of_needs() -> None:
    needs = {"lint": [], "a": ["b", "lint"], "b": ["c"], "c": ["a"]}
    with pytest.raises(Cycle) as caught:
        Graph(needs)
    path = caught.value.path
    assert path[0] == path[-1]
    assert sorted(path[1:]) == ["a", "b", "c"]
    assert all(after in needs[before] for before, after in pairwise(path))
    assert " → ".join(path) in str(caught.value)


def test_a_step_that_needs_itself_is_a_cycle() -> None:
    with pytest.raises(Cycle) as caught:
        Graph({"a": ["a"]})
    assert caught.value.path == ("a", "a")


def test_a_need_that_does_not_exist_is_named() -> None:
    with pytest.raises(UnknownNeed, match="`ship` needs `bild`"):
        Graph({"ship": ["bild"], "build": []})


def test_two_steps_of_one_name_are_refused() -> None:
    with pytest.raises(DuplicateStep, match="two steps named `a`"):
        graph_of([a_step("a"), a_step("b"), a_step("a", "b")])


@given(st.data())
def test_any_plan_without_backward_needs_runs_to_its_end(data: st.DataObject) -> None:
    names = [f"s{i}" for i in range(data.draw(st.integers(1, 8)))]
    needs = {
        name: data.draw(st.lists(st.sampled_from(names[:i]), unique=True)) if i else []
        for i, name in enumerate(names)
    }
    graph, done = Graph(needs), list[str]()
    while ready := graph.ready(done):
        assert all(set(needs[name]) <= set(done) for name in ready)
        done += ready
    assert sorted(done) == sorted(names)
