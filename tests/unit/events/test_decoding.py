"""From bytes to a JSON object."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.events.decoding import MAX_DEPTH, Malformed, decode

TEXT = st.text(st.characters(exclude_characters="\x00", codec="utf-8"), max_size=20)
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**20), 10**20),
        st.floats(allow_nan=False, allow_infinity=False),
        TEXT,
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=4)),
)


@settings(deadline=None)
@given(st.dictionaries(st.text(alphabet='ab"\\[{}]', max_size=5), VALUES, max_size=4))
def test_every_object_that_json_can_hold_comes_back(value: dict[str, object]) -> None:
    assert decode(json.dumps(value).encode()) == value
    assert decode(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"null", "not an object"),
        (b"[]", "not an object"),
        (b'"x"', "not an object"),
        (b"0", "not an object"),
        (b'{"a": 1', "not JSON"),
        (b'{"a": 1}}', "not JSON"),
        (b'{"a": "]', "not JSON"),
        (b'{"a": 1} {"b": 2}', "not JSON"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "-Infinity"),
        (b'{"a": 1e400}', "too large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "25 digits"),
        (b'{"action": "opened", "action": "closed"}', "same key twice"),
        (b'{"a": [{"b": 1, "b": 2}]}', "same key twice"),
        (b'{"action": "opened", "action\\u0000": "closed"}', "same key twice"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'{"a": "\xff"}', "not UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b'{"a": "\x00"}', "not JSON"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "64 deep"),
        (b'{"a":' + b"[" * 64 + b"]" * 64 + b"}", "64 deep"),
        (b"[" * 100_000, "64 deep"),
        (b'{"a":' * 100_000, "64 deep"),
        (b"[{" * 50_000 + b"}]" * 50_000, "not JSON"),
        (b'"' * 100_001, "not JSON"),
        (b'"\\' * 100_000, "not JSON"),
    ],
)
@pytest.mark.timeout(10)
def test_a_body_that_is_no_json_object_is_refused_with_the_reason(body: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason) as caught:
        decode(body)
    assert str(caught.value).endswith(".")
    assert len(str(caught.value)) < 120


def test_nesting_up_to_the_limit_is_fine_and_brackets_in_text_do_not_count() -> None:
    assert decode(b'{"a":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH)
    assert decode(json.dumps({"a": '[[[["{' * 1000}).encode())


def test_nul_and_half_characters_are_taken_out_wherever_they_are() -> None:
    body = b'{"t\\u0000": ["\\ud800x", {"b": "\\ud83d\\ude00"}], "n": 1, "r": "\\udc00"}'
    assert decode(body) == {"t": ["\ufffdx", {"b": "😀"}], "n": 1, "r": "\ufffd"}


@given(st.binary(max_size=60))
def test_any_bytes_are_decoded_or_refused(body: bytes) -> None:
    try:
        value = decode(body)
    except Malformed:
        value = {}
    assert isinstance(value, dict)
