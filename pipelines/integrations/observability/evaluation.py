"""What a query's tree says about scrapes at a moment, with the results that Prometheus gives.

Rates follow Prometheus' ``extrapolatedRate``, quantiles its ``bucketQuantile``
(https://prometheus.io/docs/prometheus/latest/querying/functions/).
"""

import json
import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import cast

from pipelines.integrations.observability.expression import (
    Aggregate,
    AggregateOp,
    ArithmeticOp,
    Binary,
    Expression,
    NeedsPrometheus,
    Number,
    OverRange,
    Quantile,
    RangeFunction,
    Selector,
)
from pipelines.integrations.observability.samples import Scrape

Labels = tuple[tuple[str, str], ...]
Vector = dict[Labels, float]
Track = tuple[list[float], list[float]]
"""Moments and values of one series."""


def series_key(name: str, labels: Mapping[str, str]) -> str:
    """Return the one text that names a series in a scrape."""
    return name + json.dumps(dict(labels), sort_keys=True, separators=(",", ":"))


@lru_cache(maxsize=8192)
def _split(key: str) -> tuple[str, Labels]:
    name, _, rest = key.partition("{")
    labels = cast("dict[str, str]", json.loads("{" + rest))
    return name, tuple(sorted(labels.items()))


class Evaluator:
    """Answers trees from scrapes, oldest first; a value is stale after ``lookback`` seconds."""

    def __init__(self, scrapes: Sequence[Scrape], lookback: float) -> None:
        self._lookback = lookback
        self._moments = [scrape.at for scrape in scrapes]
        self._selected: dict[Selector, Mapping[Labels, Track]] = {}
        self._by_name: dict[str, dict[Labels, Track]] = defaultdict(dict)
        for scrape in scrapes:
            self._note("up", (), scrape.at, float(scrape.up))
            for key, value in scrape.values.items():
                self._note(*_split(key), scrape.at, value)

    def value(self, tree: Expression, at: float) -> float | None:
        """Return the one number at a moment, None if there is none; NeedsPrometheus if several."""
        result = self._evaluate(tree, at)
        if not isinstance(result, dict):
            return result
        if len(result) > 1:
            raise SeveralSeries(len(result))
        return next(iter(result.values()), None)

    def _note(self, name: str, labels: Labels, at: float, value: float) -> None:
        moments, values = self._by_name[name].setdefault(labels, ([], []))
        moments.append(at)
        values.append(value)

    def _evaluate(self, tree: Expression, at: float) -> float | Vector:
        match tree:
            case Number():
                return tree.value
            case Selector():
                return self._instant(tree, at)
            case OverRange():
                return self._over_range(tree, at)
            case Quantile():
                q = self._evaluate(tree.q, at)
                if isinstance(q, dict):
                    raise NeedsPrometheus("a quantile that is no number")
                return _quantiles(q, _vector(self._evaluate(tree.buckets, at)))
            case Aggregate():
                return _aggregate(tree.op, tree.by, _vector(self._evaluate(tree.inner, at)))
            case Binary():
                left, right = self._evaluate(tree.left, at), self._evaluate(tree.right, at)
                return _binary(tree.op, left, right)

    def _tracks(self, selector: Selector) -> Mapping[Labels, Track]:
        if selector not in self._selected:
            self._selected[selector] = {
                labels: track
                for labels, track in self._by_name.get(selector.name, {}).items()
                if all(m.accepts(dict(labels).get(m.label, "")) for m in selector.matchers)
            }
        return self._selected[selector]

    def _instant(self, selector: Selector, at: float) -> Vector:
        """Return the values of the newest scrape; what it did not have any more is gone."""
        index = bisect_right(self._moments, at) - 1
        if index < 0 or at - self._moments[index] > self._lookback:
            return {}
        moment = self._moments[index]
        found: dict[Labels, float] = {}
        for labels, (moments, values) in self._tracks(selector).items():
            place = bisect_left(moments, moment)
            if place < len(moments) and moments[place] == moment:
                found[labels] = values[place]
        return found

    def _over_range(self, tree: OverRange, at: float) -> Vector:
        found: dict[Labels, float] = {}
        for labels, (moments, values) in self._tracks(tree.selector).items():
            first, end = bisect_left(moments, at - tree.seconds), bisect_right(moments, at)
            result = _over(tree.function, moments[first:end], values[first:end], tree.seconds, at)
            if result is not None:
                found[labels] = result
        return found


class SeveralSeries(NeedsPrometheus):
    """A query that should give one number gives more; ``count`` of them."""

    def __init__(self, count: int) -> None:
        super().__init__("more than one series")
        self.args = (f"the query gives {count} series; wrap it in sum()",)
        self.count = count


def _over(
    function: RangeFunction, moments: list[float], values: list[float], span: float, at: float
) -> float | None:
    if function == "changes":
        pairs = pairwise(values)
        return float(sum(a != b for a, b in pairs)) if values else None
    if len(values) < 2:
        return None
    increase = _extrapolated(moments, values, span, at)
    return increase / span if function == "rate" else increase


def _extrapolated(moments: list[float], values: list[float], span: float, at: float) -> float:
    """Return a counter's growth over the whole span, resets added back."""
    pairs = pairwise(values)
    grown = values[-1] - values[0] + sum(a for a, b in pairs if b < a)
    sampled = moments[-1] - moments[0]
    if sampled <= 0:
        return 0.0
    between = sampled / (len(moments) - 1)
    before, after = moments[0] - (at - span), at - moments[-1]
    if grown > 0 and values[0] >= 0:
        before = min(before, sampled * (values[0] / grown))
    whole = sampled
    for gap in (before, after):
        whole += gap if gap < between * 1.1 else between / 2
    return grown * (whole / sampled)


def _vector(result: float | Vector) -> Vector:
    if isinstance(result, dict):
        return result
    raise NeedsPrometheus("a number where series are wanted")


def _aggregate(op: AggregateOp, by: tuple[str, ...], vector: Vector) -> Vector:
    groups: dict[Labels, list[float]] = defaultdict(list)
    for labels, value in vector.items():
        groups[tuple(pair for pair in labels if pair[0] in by)].append(value)
    return {labels: _together(op, values) for labels, values in groups.items()}


def _together(op: AggregateOp, values: list[float]) -> float:
    match op:
        case "sum":
            return math.fsum(values)
        case "avg":
            return math.fsum(values) / len(values)
        case "min":
            return min(values)
        case "max":
            return max(values)
        case "count":
            return float(len(values))


def _binary(op: ArithmeticOp, left: float | Vector, right: float | Vector) -> float | Vector:
    if op == "or":
        return {**_vector(right), **_vector(left)}
    if isinstance(left, dict):
        if isinstance(right, dict):
            both = left.keys() & right.keys()
            return {labels: _arithmetic(op, left[labels], right[labels]) for labels in both}
        return {labels: _arithmetic(op, value, right) for labels, value in left.items()}
    if isinstance(right, dict):
        return {labels: _arithmetic(op, left, value) for labels, value in right.items()}
    return _arithmetic(op, left, right)


def _arithmetic(op: ArithmeticOp, left: float, right: float) -> float:
    match op:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case _:
            return (
                left / right if right else math.nan if not left else math.copysign(math.inf, left)
            )


def _quantiles(q: float, buckets: Vector) -> Vector:
    groups: dict[Labels, list[tuple[float, float]]] = defaultdict(list)
    for labels, count in buckets.items():
        bound = _bound(dict(labels).get("le", ""))
        if bound is not None:
            groups[tuple(pair for pair in labels if pair[0] != "le")].append((bound, count))
    return {labels: _bucket_quantile(q, sorted(pairs)) for labels, pairs in groups.items()}


def _bound(text: str) -> float | None:
    try:
        bound = float(text)
    except ValueError:
        return None
    return None if math.isnan(bound) else bound


def _bucket_quantile(q: float, buckets: list[tuple[float, float]]) -> float:
    """Return the value that a share ``q`` of all is at most, by interpolation in its bucket."""
    if len(buckets) < 2 or not math.isinf(buckets[-1][0]) or buckets[-1][1] <= 0:
        return math.nan
    if not 0 <= q <= 1:
        return math.copysign(math.inf, q)
    counts: list[float] = []
    for _, count in buckets:
        counts.append(max(count, counts[-1] if counts else 0.0))
    rank = q * counts[-1]
    index = min(bisect_left(counts, rank), len(counts) - 1)
    if index == len(counts) - 1:
        return buckets[-2][0]
    upper, below = buckets[index][0], counts[index - 1] if index else 0.0
    lower = buckets[index - 1][0] if index else 0.0
    if index == 0 and upper <= 0:
        return upper
    inside = counts[index] - below
    return lower + (upper - lower) * ((rank - below) / inside) if inside else upper
