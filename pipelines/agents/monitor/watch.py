"""Looks at the signals again and again, remembers them, and says which have left their bounds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from statistics import median

import structlog

from pipelines.agents.context import AgentContext
from pipelines.agents.monitor.detection import Bounds, Usual, runs, sketch, usual, usual_bounds
from pipelines.agents.monitor.subject import DAYS_BACK, Span, Subject
from pipelines.agents.monitor.watched import Watched
from pipelines.errors import LeaseLost, Retryable, UserError
from pipelines.model import Breach, Measurement, Point, Series, SignalRequest

MAX_STEPS = 1_000
"""The most samples that are asked for of one signal over the whole span."""
_MAX_POINTS = 60
log = structlog.get_logger(__name__)
_UP = "up"
_REQUESTS = "request_rate"


@dataclass(slots=True)
class Track:
    """One signal: what was seen of it since the span began, and what it was before."""

    what: Watched
    points: list[Point] = field(default_factory=list[Point])
    before: Usual | None = None
    earlier: Usual | None = None
    """At the same time on earlier days."""
    reason: str = ""
    """Why there is nothing, or not all."""
    source: str = ""

    @property
    def baseline(self) -> Usual | None:
        """What the signal was: right before, or else on earlier days."""
        return self.before or self.earlier

    @property
    def bounds(self) -> Bounds:
        """What the signal must keep."""
        if self.what.bounds.any or self.what.worse is None:
            return self.what.bounds
        known = usual_bounds((self.before, self.earlier), self.what.worse, self.what.change)
        return known if known.any else self.what.unknown

    def series(self, most: int) -> Series:
        """Return the newest samples as they are stored."""
        return Series(
            name=self.what.name,
            query=self.what.rule.query if self.what.rule else "",
            unit=self.what.unit,
            points=tuple(self.points[-most:]),
            source=self.source,
            reason=self.reason,
        )

    def take(self, series: Series) -> list[Point]:
        """Add what is new in a series and return it."""
        last = self.points[-1].at if self.points else -math.inf
        new = [point for point in series.points if point.at > last]
        self.points += new
        self.reason, self.source = series.reason, series.source or self.source
        return new


class Watch:
    """The samples of one task; ``step`` is how many seconds lie between them."""

    def __init__(self, subject: Subject, signals: Sequence[Watched], interval: float) -> None:
        self.subject = subject
        self.step = max(interval, subject.span.seconds / MAX_STEPS)
        self.tracks: Mapping[str, Track] = {what.name: Track(what) for what in signals}

    async def remember(self, context: AgentContext) -> None:
        """Ask once for what was usual: right before the span, and on earlier days.

        Where nobody looked right before, which a metrics page cannot tell later, the newest samples
        that there are of a longer time count.
        """
        span = self.subject.span
        await self._compare(list(self.tracks), span.before(), context)
        missing = [name for name, track in self.tracks.items() if track.before is None]
        longest = timedelta(seconds=MAX_STEPS * self.step)
        await self._compare(missing, Span(span.start - longest, span.start), context)
        days: dict[str, list[float]] = {name: [] for name in self.tracks}
        for back in DAYS_BACK:
            for series in await self._ask(list(self.tracks), span.days_ago(back), context):
                days[series.name] += [point.value for point in series.points]
        for name, values in days.items():
            self.tracks[name].earlier = usual(values)

    async def look(self, context: AgentContext) -> None:
        """Ask for what is new since the last look, and have it kept."""
        span, now = self.subject.span, context.clock.now()
        until = min(now, span.end)
        requests: list[SignalRequest] = []
        for name, track in self.tracks.items():
            first = self._after(track)
            count = math.floor((until - span.start).total_seconds() / self.step + 1e-9)
            if first <= count:
                begin = span.start + timedelta(seconds=first * self.step)
                end = span.start + timedelta(seconds=count * self.step)
                requests.append(self._request(name, Span(begin, end)))
        measured: list[Measurement] = []
        for series in await self._series(requests, context):
            if new := self.tracks[series.name].take(series):
                part = series.model_copy(update={"points": tuple(new)})
                measured.append(
                    Measurement(environment=self.subject.environment, series=part, at=now)
                )
        if measured:
            await self._keep(measured, context)

    def breaches(self) -> tuple[Breach, ...]:
        """Return what is beyond its own bounds for long enough, in the order of the signals."""
        found = (self.breach(track, track.bounds) for track in self.tracks.values())
        return tuple(breach for breach in found if breach is not None)

    def breach(self, track: Track, bounds: Bounds) -> Breach | None:
        """Return the first run of a signal beyond some bounds that is long enough."""
        what = track.what
        if not bounds.any or (what.name == _UP and what.rule is None and not self._was_up(track)):
            return None
        needed = what.run(self.step, track.source)
        for run in runs(self.settled(track), bounds, self.step):
            if len(run) >= needed and self._is_enough(what, run):
                return self._told(track, bounds, run)
        return None

    def settled(self, track: Track) -> list[Point]:
        """Return the samples that show nothing any more of what ran before a deployment."""
        first = self.subject.span.start.timestamp() + self._lead(track)
        return [point for point in track.points if point.at >= first]

    def expected(self, track: Track) -> int:
        """Return how many settled samples there are if none is missing."""
        return math.floor((self.subject.span.seconds - self._lead(track)) / self.step)

    def _lead(self, track: Track) -> float:
        """Return for how many seconds after a deployment a signal is a mixture of old and new."""
        if self.subject.occasion != "deployment":
            return 0.0
        reach = track.what.reach(self.step, track.source)
        return min(reach, self.subject.span.seconds / 2)

    def _was_up(self, track: Track) -> bool:
        """Whether the service ever answered; if not, it is more likely that nothing is there."""
        seen = any(point.value > 0 for point in track.points)
        return seen or any(past is not None and past.median > 0 for past in _pasts(track))

    def _is_enough(self, what: Watched, run: Sequence[Point]) -> bool:
        """Whether so many requests or errors stand behind a run that it means something."""
        track = self.tracks.get(_REQUESTS)
        if what.counts is None or track is None or not track.points:
            return True
        rates = {round(point.at, 3): point.value for point in track.points}
        counted = 0.0
        for point in run:
            requests = rates.get(round(point.at, 3), 0.0) * self.step
            counted += requests * (point.value if what.counts == "errors" else 1.0)
        return counted >= what.enough

    def _told(self, track: Track, bounds: Bounds, run: Sequence[Point]) -> Breach:
        what, baseline = track.what, track.baseline
        return Breach(
            rule=what.name,
            query=what.rule.query if what.rule else "",
            observed=median(point.value for point in run),
            baseline=baseline.median if baseline else None,
            above=bounds.above,
            below=bounds.below,
            unit=what.unit,
            samples=len(run),
            severity=what.severity,
            points=sketch(track.points, _MAX_POINTS),
        )

    def _after(self, track: Track) -> int:
        """Return the number of the first sample that was not seen yet."""
        if not track.points:
            return 0
        start = self.subject.span.start.timestamp()
        return math.floor((track.points[-1].at - start) / self.step + 0.5) + 1

    def _request(self, name: str, span: Span) -> SignalRequest:
        return SignalRequest(name=name, start=span.start, end=span.end, step_seconds=self.step)

    async def _compare(self, names: Sequence[str], span: Span, context: AgentContext) -> None:
        for series in await self._ask(names, span, context):
            self.tracks[series.name].before = usual(point.value for point in series.points)

    async def _ask(
        self, names: Sequence[str], span: Span, context: AgentContext
    ) -> Sequence[Series]:
        requests = [self._request(name, span) for name in names]
        return await self._series(requests, context)

    async def _series(
        self, requests: Sequence[SignalRequest], context: AgentContext
    ) -> Sequence[Series]:
        """Ask; what cannot be answered now is a series without points, and is asked for again."""
        if not requests:
            return ()
        try:
            answers = await context.workplace.series(requests)
        except LeaseLost:
            raise
        except (Retryable, UserError) as error:
            return [Series(name=each.name, reason=str(error)) for each in requests]
        named = zip(requests, answers, strict=True)
        return [answer.model_copy(update={"name": request.name}) for request, answer in named]

    async def _keep(self, measured: Sequence[Measurement], context: AgentContext) -> None:
        try:
            await context.workplace.keep(measured)
        except LeaseLost:
            raise
        except Retryable as error:
            # They are in the result as well; only a crash before its end would lose them.
            log.warning("measurements not kept yet", error=str(error))


def _pasts(track: Track) -> tuple[Usual | None, Usual | None]:
    return track.before, track.earlier
