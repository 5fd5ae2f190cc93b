"""What queries say about scrapes: the same as Prometheus, or that they need one."""

import contextlib
import math
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.integrations.observability.evaluation import Evaluator, SeveralSeries, series_key
from pipelines.integrations.observability.expression import NeedsPrometheus, names, parse, reach
from pipelines.integrations.observability.samples import Scrape
from pipelines.integrations.observability.signals import SIGNALS


def scrapes(**tracks: list[float]) -> list[Scrape]:
    """One scrape every ten seconds; a key is a name and, after two underscores, a code."""
    longest = max(len(track) for track in tracks.values())
    return [
        Scrape(at=10.0 * index, values=dict(at_index(tracks, index))) for index in range(longest)
    ]


def at_index(tracks: Mapping[str, list[float]], index: int) -> Iterator[tuple[str, float]]:
    for key, track in tracks.items():
        name, _, code = key.partition("__")
        if index < len(track) and not math.isnan(track[index]):
            yield series_key(name, {"code": code} if code else {}), track[index]


def value(query: str, history: list[Scrape], at: float) -> float | None:
    return Evaluator(history, lookback=50.0).value(parse(query), at)


GROWING = [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("3", 3.0),
        ("-2 + 5", 3.0),
        ("2 + 3 * 4", 14.0),
        ("(2 + 3) * 4", 20.0),
        ("8 - 4 - 2", 2.0),
        ("1e2 / 4", 25.0),
        ("x_total", 50.0),
        ("x_total{}", 50.0),
        ("rate(x_total[20s])", 1.0),
        ("rate(x_total[50s])", 1.0),
        ("increase(x_total[20s])", 20.0),
        ("sum(rate(x_total[20s]))", 1.0),
        ("rate(x_total[20s]) * 60", 60.0),
        ("changes(x_total[20s])", 2.0),
        ("missing", None),
        ("missing or x_total", 50.0),
        ("sum(missing) / sum(x_total)", None),
        ("up", 1.0),
    ],
)
def test_a_query_gives_the_number_that_prometheus_gives(query: str, expected: float | None) -> None:
    assert value(query, scrapes(x_total=GROWING), 50.0) == (
        None if expected is None else pytest.approx(expected)
    )


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ('sum(rate(r_total{code=~"5.."}[20s])) / sum(rate(r_total[20s]))', 1 / 11),
        ('sum(rate(r_total{code!~"5.."}[20s]))', 1.0),
        ('r_total{code="500"}', 5.0),
        ('sum(r_total{code!="500"})', 50.0),
        ("sum(r_total)", 55.0),
        ("max(r_total) - min(r_total)", 45.0),
        ("avg(r_total)", 27.5),
        ("count(r_total)", 2.0),
        ('max(sum by (code) (r_total{code=~".+"}))', 50.0),
        ("max(sum(r_total) by (code))", 50.0),
        ('min(r_total{code="200"} / r_total)', 1.0),
    ],
)
def test_labels_choose_and_group(query: str, expected: float) -> None:
    history = scrapes(r_total__200=GROWING, r_total__500=[v / 10 for v in GROWING])
    assert value(query, history, 50.0) == pytest.approx(expected)


@pytest.mark.parametrize(
    "query",
    [
        "topk(3, x)",
        "sum without (code) (x)",
        "x offset 5m",
        "x > 3",
        "rate(x[5m:1m])",
        "avg_over_time(x[5m])",
        "x and y",
        "x unless y",
        "x @ 3",
        '{__name__="x"}',
        "x{",
        'x{code="1"',
        "sum(",
        "sum()",
        "",
        "x y",
        "3 or x",
        "rate(x)",
        "rate(x[0s])",
        "rate(sum(x)[5m])",
        "x ^ 2",
        'x{code=~"(a+)+b"}',
        'x{code=~"[0-9]+"}',
        "'x'",
        "absent(x)",
        'label_replace(x, "a", "b", "c", "d")',
        "x / on(a) y",
        "sum(3)",
        "(" * 200 + "x" + ")" * 200,
        "x" * 5000,
        "\x00",
        'x{code="a\nb"}',
    ],
)
def test_anything_else_is_said_to_need_prometheus(query: str) -> None:
    with pytest.raises(NeedsPrometheus):
        value(query, scrapes(x=GROWING), 50.0)


def test_several_series_are_not_one_number() -> None:
    history = scrapes(r_total__200=GROWING, r_total__500=GROWING)
    with pytest.raises(SeveralSeries, match=r"gives 2 series; wrap it in sum\(\)"):
        value("rate(r_total[20s])", history, 50.0)


def test_a_counter_that_starts_over_goes_on_growing() -> None:
    history = scrapes(x_total=[100.0, 110.0, 120.0, 3.0, 13.0, 23.0])
    # 120 - 100, then 3 from nothing, then 20; over the fifty seconds that were seen.
    assert value("increase(x_total[50s])", history, 50.0) == pytest.approx(43.0)


def test_a_gap_at_the_edge_is_filled_by_half_a_step_only() -> None:
    history = scrapes(x_total=[1000.0, 1010.0, 1020.0])
    # 20 over 20 s, exactly at the left edge, and 5 s of the 30 s that are missing at the right.
    assert value("increase(x_total[50s])", history, 50.0) == pytest.approx(25.0)


def test_one_sample_gives_no_rate() -> None:
    assert value("rate(x_total[20s])", scrapes(x_total=[5.0]), 0.0) is None


def test_what_the_newest_page_no_longer_has_is_gone() -> None:
    history = scrapes(x=[1.0, 2.0, math.nan], y=[1.0, 1.0, 1.0])
    assert value("x", history, 15.0) == 2.0
    assert value("x", history, 20.0) is None
    assert value("y", history, 20.0) == 1.0


def test_an_old_value_is_not_believed_after_the_lookback() -> None:
    history = scrapes(x=[1.0])
    assert value("x", history, 50.0) == 1.0
    assert value("x", history, 50.1) is None


def test_a_page_that_did_not_answer_is_down() -> None:
    history = [Scrape(at=0.0, values={"x{}": 1.0}), Scrape(at=10.0, up=False)]
    assert value("up", history, 10.0) == 0.0
    assert value("x", history, 10.0) is None


def bucket(le: str, count: float) -> tuple[str, float]:
    return series_key("d_bucket", {"le": le}), count


@pytest.mark.parametrize(
    ("q", "expected"),
    [(0.5, 0.1), (0.25, 0.05), (0.95, 0.45 / 0.5 * 0.4 + 0.1), (1.0, 0.5), (0.0, 0.0)],
)
def test_a_quantile_is_interpolated_inside_its_bucket(q: float, expected: float) -> None:
    values = dict([bucket("0.1", 50), bucket("0.5", 100), bucket("+Inf", 100)])
    found = value(f"histogram_quantile({q}, d_bucket)", [Scrape(at=0.0, values=values)], 0.0)
    assert found == pytest.approx(expected)


def test_a_quantile_beyond_the_last_bound_is_that_bound() -> None:
    values = dict([bucket("0.1", 1), bucket("+Inf", 100)])
    page = [Scrape(at=0.0, values=values)]
    assert value("histogram_quantile(0.95, d_bucket)", page, 0.0) == 0.1


@pytest.mark.parametrize("values", [[bucket("0.1", 1)], [bucket("+Inf", 0), bucket("1", 0)]])
def test_a_quantile_of_nothing_is_no_number(values: list[tuple[str, float]]) -> None:
    page = [Scrape(at=0.0, values=dict(values))]
    found = value("histogram_quantile(0.95, d_bucket)", page, 0.0)
    assert found is not None
    assert math.isnan(found)


def test_a_tree_knows_what_it_reads_and_how_far_back() -> None:
    tree = parse(
        "histogram_quantile(0.9, sum by (le) (rate(a_bucket[1h30m]))) / sum(b) or rate(c[5m])"
    )
    assert names(tree) == {"a_bucket", "b", "c"}
    assert reach(tree) == 5400.0


def test_every_built_in_signal_can_be_read_off_a_page() -> None:
    for signal in SIGNALS.values():
        assert names(parse(signal.build({}, 60.0)))


@given(st.text(max_size=60))
def test_no_text_does_anything_but_parse_or_need_prometheus(query: str) -> None:
    with contextlib.suppress(NeedsPrometheus):
        assert reach(parse(query)) >= 0


@given(
    st.lists(st.floats(min_value=0, max_value=1e9), min_size=2, max_size=30),
    st.floats(min_value=1.0, max_value=1000.0),
)
def test_a_rate_is_never_negative_whatever_a_counter_does(values: list[float], span: float) -> None:
    history = scrapes(x_total=values)
    found = value(f"rate(x_total[{round(span * 1000)}ms])", history, 10.0 * (len(values) - 1))
    assert found is None or found >= 0
