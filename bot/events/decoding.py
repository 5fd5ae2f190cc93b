"""From the signed bytes of a delivery to a JSON object that is safe to look into."""

import json
import math
import re
from typing import NoReturn, cast

from pydantic import JsonValue

from pipelines.errors import UserError

JsonDict = dict[str, JsonValue]

MAX_DEPTH = 64
MAX_DIGITS = 25

_HALF_OR_NUL = re.compile(r"\\u(?:0000|[dD][89abcdefABCDEF])")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Malformed(UserError):
    """The body is not a JSON object that GitHub could have sent; ``reason`` is a clause."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The body cannot be used: {reason}.")
        self.reason = reason


def decode(body: bytes) -> JsonDict:
    """Return the object that the body holds, without NUL and half characters; raises Malformed."""
    try:
        text = body.decode()
        value: object = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_number,
            parse_constant=_constant,
        )
    except UnicodeDecodeError as error:
        raise Malformed("it is not UTF-8") from error
    except json.JSONDecodeError as error:
        reason = f"it is not JSON (line {error.lineno}, column {error.colno})"
        raise Malformed(reason) from error
    except RecursionError as error:
        raise _too_deep() from error
    if not isinstance(value, dict):
        raise Malformed("it is JSON, but not an object")
    payload = cast("JsonDict", value)
    _limit_depth(payload)
    return cast("JsonDict", _cleaned(payload)) if _HALF_OR_NUL.search(text) else payload


def _limit_depth(payload: JsonDict) -> None:
    """Refuse what is nested deeper than anybody should follow by recursion, level by level."""
    level: list[JsonDict | list[JsonValue]] = [payload]
    for _ in range(MAX_DEPTH):
        inside = (part.values() if isinstance(part, dict) else part for part in level)
        level = [item for items in inside for item in items if isinstance(item, (dict, list))]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> Malformed:
    return Malformed(f"it is nested more than {MAX_DEPTH} deep")


def _object(pairs: list[tuple[str, JsonValue]]) -> JsonDict:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise Malformed("an object in it has the same key twice")
    return made


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise Malformed(f"a number in it has more than {MAX_DIGITS} digits")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise Malformed("a number in it is too large")
    return value


def _constant(name: str) -> NoReturn:
    raise Malformed(f"{name} is not JSON")


def _cleaned(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", value).replace("\x00", "")
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if isinstance(value, dict):
        return _object([(str(_cleaned(key)), _cleaned(item)) for key, item in value.items()])
    return value
