"""Values in queries are values: nothing in them ends the string that they are in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import UserError
from pipelines.integrations.observability.expression import (
    Matcher,
    Selector,
    names,
    parse,
)
from pipelines.integrations.observability.signals import (
    SIGNALS,
    duration,
    matchers,
    quoted,
    rate_window,
)

INJECTIONS = [
    '"',
    '"}',
    '"} or up{job="',
    '"} or vector(1) #',
    "\\",
    '\\"',
    '\\\\"} or x',
    "\n",
    '\n"} or x{a="',
    "`",
    "'",
    "{}",
    "#",
    "\x00",
    "\u202e\u2028é😀",
]


@pytest.mark.parametrize("value", INJECTIONS)
def test_a_hostile_value_leaves_the_tree_as_it_is(value: str) -> None:
    assert parse(f"up{matchers({'job': value})}") == Selector("up", (Matcher("job", "=", value),))


@given(st.text(max_size=40))
def test_every_value_is_read_back_as_it_was(value: str) -> None:
    assert parse(f"up{matchers({'job': value})}") == Selector("up", (Matcher("job", "=", value),))
    assert "\n" not in quoted(value)


@pytest.mark.parametrize("value", INJECTIONS)
def test_no_value_changes_what_a_signal_reads(value: str) -> None:
    for signal in SIGNALS.values():
        plain = signal.build({"job": "shop"}, 60.0)
        assert names(parse(signal.build({"job": value}, 60.0))) == names(parse(plain))


@pytest.mark.parametrize("name", ["", "a-b", "a b", '"', "1a", "ä"])
def test_an_odd_label_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="cannot be the name of a label"):
        matchers({name: "x"})


def test_a_window_covers_four_steps_and_in_prometheus_two_minutes() -> None:
    assert rate_window(15.0, "scrape") == 60.0
    assert rate_window(15.0, "prometheus") == 120.0
    assert rate_window(60.0, "prometheus") == 240.0
    assert duration(0.8) == "800ms"
