"""No text from outside reaches another tenant's records."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.orchestration import keys
from pipelines.stores.backend import MAX_KEY, key
from pipelines.stores.checks import check_key

texts = st.text(st.characters()) | st.sampled_from(["", "..", "a/b", "%2F", "%", "%h", "\ud800"])


@given(st.lists(texts, min_size=1, max_size=4), st.lists(texts, min_size=1, max_size=4))
def test_two_lists_of_segments_never_share_a_key(one: list[str], two: list[str]) -> None:
    assert (key(*one) == key(*two)) == (one == two)


@given(st.lists(texts, min_size=1, max_size=4))
def test_every_text_makes_a_key_that_can_be_stored(segments: list[str]) -> None:
    made = key(*segments)
    check_key(made)
    assert len(made) <= MAX_KEY
    assert made.count("/") == len(segments) - 1


@pytest.mark.parametrize("long", ["x" * 101, "é" * 200, "/" * 5000])
def test_a_long_segment_is_shortened_to_its_digest(long: str) -> None:
    assert len(key(long)) < 70
    assert key(long) != key(long + "x")


@pytest.mark.parametrize(
    "tenant", ["", "1", "1/2/3", "1/2/", "a/b", "1/2\n", "01/2", "1/-2", "١/٢"]
)
def test_a_tenant_is_two_numbers_and_nothing_else(tenant: str) -> None:
    with pytest.raises(ValueError, match="a tenant is"):
        keys.run_key(tenant, "run")


@given(texts, texts)
def test_the_records_of_a_tenant_stay_under_its_prefix(run_id: str, step: str) -> None:
    assert keys.result_key("1/2", run_id, step).startswith("result/1/2/")
    assert keys.effect_key("1/2", step).startswith("effect/1/2/")


def test_spending_is_in_time_order_and_under_its_day() -> None:
    start = datetime(2026, 1, 5, 23, 59, 59, tzinfo=UTC)
    moments = [start + timedelta(milliseconds=400 * n) for n in range(5)]
    listed = [keys.spend_key(moment, "1/2", "run", 1) for moment in moments]
    assert sorted(listed) == listed
    days = [k.startswith(keys.spending_prefix(date(2026, 1, 5))) for k in listed]
    assert days == [True, True, True, False, False]


def test_newer_runs_come_first_in_key_order() -> None:
    moments = [datetime(2026, 1, 5, 9, 0, 0, micro, tzinfo=UTC) for micro in (0, 1000, 999_000)]
    listed = [keys.recent_key(moment, "1/2", "run") for moment in moments]
    assert sorted(listed, reverse=True) == listed
