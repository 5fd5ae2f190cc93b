"""Where two results differ first."""

from collections.abc import Iterator

from pydantic import JsonValue

from pipelines.model import Frozen, TaskResult

_SHOWN = 160


class Difference(Frozen):
    """One place where what was recorded and what is decided now are not the same."""

    where: str
    recorded: str
    now: str

    def __str__(self) -> str:
        """One line for people."""
        return f"{self.where}: recorded {self.recorded}, now {self.now}"


def first_difference(recorded: Frozen, now: Frozen) -> Difference | None:
    """Return the first place, in the order of the fields, or None if both are equal."""
    return next(_differences(_plain(recorded), _plain(now), ""), None)


def _plain(model: Frozen) -> JsonValue:
    value: dict[str, JsonValue] = model.model_dump(mode="json")
    usage = value.get("usage")
    if isinstance(model, TaskResult) and isinstance(usage, dict):
        usage.pop("latency_seconds")  # how long a model took is nobody's decision
    return value


def _differences(old: JsonValue, new: JsonValue, where: str) -> Iterator[Difference]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys((*old, *new)):
            yield from _differences(old.get(name), new.get(name), f"{where}.{name}".lstrip("."))
    elif isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            yield Difference(where=f"{where} (count)", recorded=str(len(old)), now=str(len(new)))
        for number, (before, after) in enumerate(zip(old, new, strict=False)):
            yield from _differences(before, after, f"{where}[{number}]")
    elif old != new:
        yield Difference(where=where, recorded=_shown(old), now=_shown(new))


def _shown(value: JsonValue) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
