"""The `if` of a step: four functions under `!`, `&&`, `||` and parentheses.

The words and their meaning follow GitHub Actions. `success()` holds if every needed step ended in
success or neutral, so a skipped, cancelled or failed need holds a step back. `failure()` holds if
one failed or timed out. `always()` holds. `changed('glob')` holds if a changed path matches. An
expression that asks nothing about its needs means `success() && (...)`.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pipelines import globs
from pipelines.model import Conclusion

MAX_LENGTH = 500
MAX_DEPTH = 20

_GOOD = frozenset({Conclusion.SUCCESS, Conclusion.NEUTRAL})
_BAD = frozenset({Conclusion.FAILURE, Conclusion.TIMED_OUT})
_TOKEN = re.compile(r"\s*(?:(?P<call>[a-z]+)\s*\(|(?P<op>&&|\|\||!|\(|\)))")
_ARGUMENT = re.compile(r"\s*(?:'(?P<text>[^'\n]*)'\s*)?\)")

_Test = Callable[[Sequence[Conclusion], Sequence[str]], bool]


class ConditionError(ValueError):
    """An expression that cannot be read; ``position`` counts characters from 1."""

    def __init__(self, problem: str, position: int) -> None:
        super().__init__(f"The condition cannot be read at character {position}: {problem}.")
        self.position = position


@dataclass(frozen=True, slots=True)
class Condition:
    """A checked expression; made by ``parse``."""

    text: str
    test: _Test

    def evaluate(self, needs: Sequence[Conclusion], paths: Sequence[str]) -> bool:
        """Whether the step may run, given how its needs ended and which paths changed."""
        return self.test(needs, paths)


@lru_cache(maxsize=256)
def parse(text: str) -> Condition:
    """Return the condition; raises ConditionError."""
    if len(text) > MAX_LENGTH:
        raise ConditionError(f"it is longer than {MAX_LENGTH} characters", MAX_LENGTH + 1)
    parser = _Parser(text)
    test = parser.whole()
    return Condition(text, test if parser.asks_needs else _both(_success, test))


def _success(needs: Sequence[Conclusion], paths: Sequence[str]) -> bool:
    return all(need in _GOOD for need in needs)


def _failure(needs: Sequence[Conclusion], paths: Sequence[str]) -> bool:
    return any(need in _BAD for need in needs)


def _always(needs: Sequence[Conclusion], paths: Sequence[str]) -> bool:
    return True


def _changed(glob: globs.Glob) -> _Test:
    return lambda needs, paths: any(glob.matches(path) for path in paths)


def _both(left: _Test, right: _Test) -> _Test:
    return lambda needs, paths: left(needs, paths) and right(needs, paths)


def _either(left: _Test, right: _Test) -> _Test:
    return lambda needs, paths: left(needs, paths) or right(needs, paths)


def _not(inner: _Test) -> _Test:
    return lambda needs, paths: not inner(needs, paths)


_ABOUT_NEEDS: dict[str, _Test] = {"success": _success, "failure": _failure, "always": _always}


class _Parser:
    """Recursive descent: either := both ('||' both)*, both := unit ('&&' unit)*."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self.asks_needs = False

    def whole(self) -> _Test:
        test = self._either()
        if self._text[self._at :].strip():
            raise self._error("expected `&&`, `||` or the end")
        return test

    def _error(self, problem: str) -> ConditionError:
        rest = self._text[self._at :]
        return ConditionError(problem, self._at + len(rest) - len(rest.lstrip()) + 1)

    def _take(self, *operators: str) -> bool:
        match = _TOKEN.match(self._text, self._at)
        if match is None or match["op"] not in operators:
            return False
        self._at = match.end()
        return True

    def _either(self) -> _Test:
        test = self._both()
        while self._take("||"):
            test = _either(test, self._both())
        return test

    def _both(self) -> _Test:
        test = self._unit()
        while self._take("&&"):
            test = _both(test, self._unit())
        return test

    def _unit(self) -> _Test:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(f"it is nested more than {MAX_DEPTH} deep")
        if self._take("!"):
            test = _not(self._unit())
        elif self._take("("):
            test = self._either()
            if not self._take(")"):
                raise self._error("expected `)`")
        else:
            test = self._call()
        self._depth -= 1
        return test

    def _call(self) -> _Test:
        match = _TOKEN.match(self._text, self._at)
        name = match["call"] if match else None
        if match is None or (name != "changed" and name not in _ABOUT_NEEDS):
            raise self._error("expected success(), failure(), always() or changed('glob')")
        argument = _ARGUMENT.match(self._text, match.end())
        if argument is None or (argument["text"] is None) == (name == "changed"):
            wants = "one pattern in single quotes" if name == "changed" else "nothing"
            raise self._error(f"{name} takes {wants} between its parentheses")
        if name == "changed":
            test = self._pattern(argument["text"])
        else:
            self.asks_needs = True
            test = _ABOUT_NEEDS[name or ""]
        self._at = argument.end()
        return test

    def _pattern(self, pattern: str) -> _Test:
        try:
            return _changed(globs.compile(pattern))
        except globs.GlobError as error:
            raise self._error(f"the pattern is refused, {error.reason}") from error
