"""The output of a command, whatever it prints."""

from hypothesis import given
from hypothesis import strategies as st

from pipelines.integrations.containers.output import FLOOD_BYTES, KEPT_BYTES, Output


def fed(*pieces: bytes) -> Output:
    output = Output()
    for piece in pieces:
        output.feed(piece)
    return output


@given(st.lists(st.text(max_size=50), max_size=20))
def test_what_is_short_is_kept_whole(pieces: list[str]) -> None:
    printable = ["".join(c for c in p if c.isprintable()) for p in pieces]
    assert fed(*(p.encode() for p in printable)).text() == "".join(printable)


def test_a_character_may_be_cut_by_a_read() -> None:
    assert fed(b"\xc3", b"\xa9t\xc3", b"\xa9").text() == "été"[0:3]


def test_of_what_is_long_the_head_and_the_tail_are_kept() -> None:
    output = fed(b"first\n", *[b"x" * 65536] * 64, b"\nlast")
    text = output.text()
    assert text.startswith("first\n")
    assert text.endswith("\nlast")
    assert len(text) < 2 * KEPT_BYTES + 100
    left_out = output.total - 2 * KEPT_BYTES
    assert f"[… {left_out:,} bytes left out …]" in text
    assert not output.flooded


def test_the_border_between_head_and_tail_loses_nothing() -> None:
    for size in (KEPT_BYTES - 1, KEPT_BYTES, KEPT_BYTES + 1, 2 * KEPT_BYTES):
        data = bytes(65 + n % 26 for n in range(size))
        assert fed(data).text() == data.decode()
        assert fed(data[:1000], data[1000:]).text() == data.decode()


def test_a_flood_is_noticed() -> None:
    piece = b"x" * (1 << 20)
    assert fed(*[piece] * (FLOOD_BYTES >> 20)).flooded is False
    assert fed(*[piece] * (FLOOD_BYTES >> 20), b"x").flooded is True


def test_control_characters_are_made_visible_and_colours_are_kept() -> None:
    assert fed(b"a\x00b\x07c\x1b[31mred\r\n\tend").text() == "a\ufffdb\ufffdc\x1b[31mred\r\n\tend"
