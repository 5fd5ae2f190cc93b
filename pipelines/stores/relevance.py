"""Which outcomes bear on a task: words, paths and category, weighed by age and by repetition.

Words are scored as by Okapi BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework",
2009, with k1 = 1.2 and b = 0.75); that a path is the same counts beside it. The same outcomes and
the same question always give the same lessons.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

from pipelines.model import Lesson, Outcome, OutcomeKind

TAUGHT: Mapping[OutcomeKind, frozenset[str]] = {
    "finding_dismissed": frozenset({"review"}),
    "finding_fixed": frozenset({"review", "coding"}),
    "fix_merged": frozenset({"coding"}),
    "fix_rejected": frozenset({"coding"}),
    "fix_reverted": frozenset({"coding", "review", "deploy"}),
    "fix_verified": frozenset({"coding", "monitor"}),
    "deployment_rolled_back": frozenset({"coding", "review", "deploy", "monitor"}),
    "test_kept": frozenset({"test"}),
    "test_discarded": frozenset({"test"}),
}
"""Which agents an outcome is told to, beside the one whose work it was about."""

MIN_RELEVANCE = 0.2
MAX_LESSONS = 8
MAX_CHARACTERS = 4_000

_K1, _B = 1.2, 0.75
_SAME_PATH, _SAME_FOLDER = 3.0, 0.8
_HALF_SCORE = 2.5
"""The score that counts as a relevance of one half."""
_HALF_LIFE_DAYS = 120.0
_WORD = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_MAX_QUESTION_WORDS = 400
_SHORTEST = 2
_COMMON = frozenset(
    {"an", "and", "are", "as", "at", "be", "but", "by", "do", "does", "for", "from", "has", "have"}
    | {"if", "in", "into", "is", "it", "its", "no", "not", "of", "on", "or", "so", "that", "the"}
    | {"then", "there", "this", "to", "was", "when", "which", "will", "with", "you"}
)


@dataclass(frozen=True, slots=True)
class Question:
    """What a task is about; ``now`` is what age counts from."""

    agent: str
    now: datetime
    text: str = ""
    paths: tuple[str, ...] = ()
    category: str = ""
    limit: int = MAX_LESSONS
    characters: int = MAX_CHARACTERS


@dataclass(frozen=True, slots=True)
class _Topic:
    """Outcomes that say the same; the newest speaks for all."""

    outcome: Outcome
    seen: int
    words: Counter[str]
    paths: frozenset[str]


def rank(outcomes: Iterable[Outcome], question: Question) -> tuple[Lesson, ...]:
    """Return the lessons that are relevant enough, best first, within the question's limits."""
    topics = _topics(outcome for outcome in outcomes if _is_for(outcome, question.agent))
    if not topics:
        return ()
    words = _words(question.text, *question.paths, question.category)[:_MAX_QUESTION_WORDS]
    scorer = _Scorer(topics, frozenset(words), question)
    scored = [(scorer.relevance(topic), topic) for topic in topics]
    scored = [(value, topic) for value, topic in scored if value >= MIN_RELEVANCE]
    scored.sort(
        key=lambda pair: (-pair[0], -pair[1].outcome.at.timestamp(), pair[1].outcome.source)
    )
    return _within(scored, question)


def _is_for(outcome: Outcome, agent: str) -> bool:
    return outcome.agent == agent or agent in TAUGHT[outcome.kind]


def _within(scored: Sequence[tuple[float, _Topic]], question: Question) -> tuple[Lesson, ...]:
    lessons: list[Lesson] = []
    left = question.characters
    for value, topic in scored:
        outcome = topic.outcome
        size = len(outcome.subject) + len(outcome.why) + sum(len(path) for path in outcome.paths)
        if size > left or len(lessons) == question.limit:
            continue
        left -= size
        lessons.append(Lesson(outcome=outcome, relevance=round(value, 4), seen=topic.seen))
    return tuple(lessons)


def _topics(outcomes: Iterable[Outcome]) -> list[_Topic]:
    groups: dict[tuple[object, ...], list[Outcome]] = {}
    for outcome in outcomes:
        said = tuple(sorted(set(_words(outcome.subject))))
        groups.setdefault((outcome.kind, outcome.category, said), []).append(outcome)
    return [_topic(group) for group in groups.values()]


def _topic(group: Sequence[Outcome]) -> _Topic:
    newest = max(group, key=lambda outcome: (outcome.at, outcome.source))
    paths = frozenset(path for outcome in group for path in outcome.paths)
    words = _words(newest.subject, newest.why, newest.category, *sorted(paths))
    return _Topic(newest, len(group), Counter(words), paths)


class _Scorer:
    """BM25 over the topics of one repository, for one question."""

    def __init__(self, topics: Sequence[_Topic], words: frozenset[str], question: Question) -> None:
        self._question = question
        self._words = words
        self._paths = frozenset(question.paths)
        self._folders = frozenset(str(PurePosixPath(path).parent) for path in question.paths)
        self._mean = sum(topic.words.total() for topic in topics) / len(topics) or 1.0
        counts = Counter(word for topic in topics for word in topic.words.keys() & words)
        self._weight = {
            word: math.log(1 + (len(topics) - count + 0.5) / (count + 0.5))
            for word, count in counts.items()
        }

    def relevance(self, topic: _Topic) -> float:
        """Return a number from 0 to below 1."""
        score = self._of_words(topic) + self._of_paths(topic)
        score *= self._freshness(topic) * (1 + 0.3 * math.log2(topic.seen))
        return score / (score + _HALF_SCORE)

    def _of_words(self, topic: _Topic) -> float:
        length = _K1 * (1 - _B + _B * topic.words.total() / self._mean)
        # In key order: floating-point sums depend on it, and a set's order on the process.
        return sum(
            self._weight[word] * topic.words[word] * (_K1 + 1) / (topic.words[word] + length)
            for word in sorted(topic.words.keys() & self._words)
        )

    def _of_paths(self, topic: _Topic) -> float:
        if topic.paths & self._paths:
            return _SAME_PATH
        folders = {str(PurePosixPath(path).parent) for path in topic.paths}
        return _SAME_FOLDER if (folders - {"."}) & self._folders else 0.0

    def _freshness(self, topic: _Topic) -> float:
        """Return 1 for today's, and never less than a half: an old truth is still one."""
        age = (self._question.now - topic.outcome.at).total_seconds() / 86_400
        return 0.5 + 0.5 * math.pow(0.5, max(0.0, age) / _HALF_LIFE_DAYS)


def _words(*texts: str) -> list[str]:
    """Return the words of texts, of paths and of names in any spelling, in lower case."""
    pieces = (
        piece.lower()
        for text in texts
        for word in _WORD.findall(text)
        for piece in _CAMEL.split(word)
    )
    return [piece for piece in pieces if len(piece) >= _SHORTEST and piece not in _COMMON]
