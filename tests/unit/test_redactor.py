"""No known secret and nothing that looks like one leaves in any form."""

import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.redactor import MASK, Redactor

SECRET = "s3cr3t/with+odd=chars and spaces"
PEM = "-----BEGIN X-----\nMIIEowIBAAKCAQEAx\nq0u7v8w9xAyBzC1D2E3F\n-----END X-----"


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        quote(SECRET, safe=""),
        SECRET.encode().hex(),
        SECRET.encode().hex().upper(),
        base64.b64encode(SECRET.encode()).decode(),
    ],
)
def test_a_known_secret_is_removed_in_every_form(form: str) -> None:
    assert form not in Redactor([SECRET])(f"before {form} after")


@given(before=st.binary(max_size=7), after=st.binary(max_size=7))
def test_a_known_secret_is_removed_from_base64_at_any_offset(before: bytes, after: bytes) -> None:
    text = base64.b64encode(before + SECRET.encode() + after).decode()
    shown = Redactor([SECRET])(text)
    assert MASK in shown
    left = base64.b64decode(shown.replace(MASK, "") + "==", validate=False)
    assert SECRET.encode()[4:-4] not in left


def test_each_line_of_a_key_is_a_secret_but_its_frame_is_not() -> None:
    redactor = Redactor([PEM])
    assert "q0u7v8w9xAyBzC1D2E3F" not in redactor("line: q0u7v8w9xAyBzC1D2E3F")
    assert redactor("-----BEGIN") == "-----BEGIN"


def test_old_secrets_are_forgotten_beyond_the_bound_and_the_newest_kept() -> None:
    redactor = Redactor(remember=3)
    for number in range(10):
        redactor.add(f"rotating-secret-{number}")
    assert redactor("rotating-secret-9") == MASK
    assert redactor("rotating-secret-0") == "rotating-secret-0"


def test_tokens_are_removed_by_their_shape_alone() -> None:
    new_format = "ghs_12345_eyJhbGciOiJSUzI1NiJ9." + "aB3-_" * 90 + ".sig-nature_x"
    for token in (new_format, "ghp_" + "a1" * 18, "sk-ant-api03-" + "x" * 40):
        assert token not in Redactor()(f"token={token}!")


def test_ordinary_text_is_left_alone() -> None:
    text = "Fixes the retry loop in client.py: 3 files changed, see RFC 9110."
    assert Redactor([SECRET])(text) == text
