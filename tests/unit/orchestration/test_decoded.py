"""What was decoded once is known, up to a limit."""

from pipelines.model import Conclusion, TaskResult
from pipelines.orchestration.decoded import DecodedResults
from pipelines.orchestration.records import StoredResult
from pipelines.ports import Versioned
from pipelines.stores.codec import encode


def a_result(title: str) -> tuple[TaskResult, Versioned]:
    result = TaskResult(task_id="t", status="completed", conclusion=Conclusion.SUCCESS, title=title)
    return result, Versioned(encode(StoredResult(result=result)), 1)


def test_a_result_that_this_process_stored_is_not_decoded_again() -> None:
    decoded = DecodedResults()
    result, stored = a_result("one")
    decoded.keep(stored.value, result)
    assert decoded.result("k", stored) is result
    other, elsewhere = a_result("another process's")
    read = decoded.result("k", elsewhere)
    assert read == other
    assert decoded.result("k", elsewhere) is read


def test_results_are_forgotten_beyond_a_size_who_was_not_asked_for_longest_first() -> None:
    kept = [a_result(f"result {number}") for number in range(4)]
    size = len(kept[0][1].value)
    decoded = DecodedResults(limit=3 * size)
    for result, stored in kept[:3]:
        decoded.keep(stored.value, result)
    assert decoded.result("k", kept[0][1]) is kept[0][0]
    decoded.keep(kept[0][1].value, kept[0][0])
    decoded.keep(kept[3][1].value, kept[3][0])
    for number in (0, 2, 3):
        assert decoded.result("k", kept[number][1]) is kept[number][0]
    forgotten = decoded.result("k", kept[1][1])
    assert forgotten is not kept[1][0]
    assert forgotten == kept[1][0]


def test_a_result_larger_than_the_limit_is_not_kept() -> None:
    decoded = DecodedResults(limit=10)
    result, stored = a_result("large")
    decoded.keep(stored.value, result)
    assert decoded.result("k", stored) is not result
    assert decoded.result("k", stored) == result
