"""Patches as GitHub sends them: without file headers, cut out of `git diff`."""

import contextlib
import difflib
import string
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.diff import (
    Hunk,
    MalformedPatch,
    Side,
    apply_suggestion,
    commentable,
    compare,
    parse_patch,
    split_lines,
)

PATCH = """@@ -1,4 +1,5 @@ def total(items):
 first
-second
+SECOND
+extra
 third
 fourth
@@ -20,2 +21,2 @@
-twenty
+TWENTY
 twentyone"""


def git_like_patch(old: str, new: str, context: int = 3) -> str:
    """The hunks of a unified diff, with git's marker for a missing final newline."""
    rows: list[str] = []
    diff = difflib.unified_diff(split_lines(old), split_lines(new), n=context)
    for row in list(diff)[2:]:
        rows.append(row if row.endswith("\n") else row + "\n\\ No newline at end of file\n")
    return "".join(rows).removesuffix("\n")


lines = st.lists(st.text(alphabet="ab\t +-@\\\r", max_size=4), max_size=14)
texts = st.builds(lambda rows, end: "\n".join(rows) + end, lines, st.sampled_from(["", "\n"]))


def test_hunks_carry_both_line_numbers_and_the_section() -> None:
    first, second = parse_patch(PATCH)
    assert first.section == "def total(items):"
    assert [(line.kind, line.old, line.new) for line in first.lines] == [
        (" ", 1, 1),
        ("-", 2, None),
        ("+", None, 2),
        ("+", None, 3),
        (" ", 3, 4),
        (" ", 4, 5),
    ]
    assert second.lines[1].text == "TWENTY"


def test_comments_go_on_additions_and_context_right_deletions_and_context_left() -> None:
    places = commentable(PATCH)
    assert [n for n in range(30) if places.allows("RIGHT", n, n)] == [1, 2, 3, 4, 5, 21, 22]
    assert [n for n in range(30) if places.allows("LEFT", n, n)] == [1, 2, 3, 4, 20, 21]


def test_a_range_must_lie_inside_one_hunk() -> None:
    places = commentable(PATCH)
    assert places.allows("RIGHT", 2, 5)
    assert not places.allows("RIGHT", 5, 21)
    assert not places.allows("RIGHT", 4, 6)
    assert not places.allows("RIGHT", 5, 4)


def test_neighbouring_hunks_are_still_two() -> None:
    places = commentable("@@ -1 +1 @@\n-a\n+b\n@@ -2 +2 @@\n-c\n+d")
    assert places.allows("RIGHT", 1, 1)
    assert places.allows("RIGHT", 2, 2)
    assert not places.allows("RIGHT", 1, 2)


@pytest.mark.parametrize("patch", [None, ""])
def test_no_patch_carries_no_comment(patch: str | None) -> None:
    assert parse_patch(patch) == ()
    assert not commentable(patch).allows("RIGHT", 1, 1)


def test_the_marker_for_a_missing_newline_is_not_a_line() -> None:
    patch = "@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+b\n\\ No newline at end of file"
    (hunk,) = parse_patch(patch)
    assert [line.text for line in hunk.lines] == ["a", "b"]


def test_carriage_returns_stay_in_the_text() -> None:
    (hunk,) = parse_patch("@@ -1 +1 @@\r\n-a\r\n+b\r")
    assert [line.text for line in hunk.lines] == ["a\r", "b\r"]


def test_new_and_removed_files_have_one_side() -> None:
    added, removed = commentable("@@ -0,0 +1,2 @@\n+a\n+b"), commentable("@@ -1 +0,0 @@\n-a")
    assert added.allows("RIGHT", 1, 2)
    assert not added.allows("LEFT", 1, 1)
    assert removed.allows("LEFT", 1, 1)
    assert not removed.allows("RIGHT", 1, 1)


@pytest.mark.parametrize(
    "patch",
    [
        "not a patch",
        "@@ -1,3 +1 @@\n-a\n+b",
        "@@ -1 +1 @@\n-a\n+b\n+c",
        "@@ -1 +1 @@\n*a\n+b",
        "@@ -1 +1 @@\n-a\n+b\nBinary files a and b differ",
        "@@ -1 +1 @@\n-a\n+b\n--- a/x\n+++ b/y\n@@ -1 +1 @@\n-a\n+b",
        "@@ -5 +5 @@\n-a\n+b\n@@ -1 +1 @@\n-a\n+b",
        "@@ -5 +5 @@\n-a\n+b\n@@ -5 +5 @@\n-a\n+b",
        "@@ -0,0 +0,0 @@\n-a",
        f"@@ -{'9' * 5000} +1 @@\n-a\n+b",
        "\\ No newline at end of file",
    ],
)
def test_a_malformed_patch_is_one_clear_sentence(patch: str) -> None:
    with pytest.raises(MalformedPatch, match=r"^The patch cannot be read: [^\n]*\.$"):
        parse_patch(patch)


@given(st.text(alphabet=string.printable, max_size=200))
def test_anything_else_is_read_or_refused_but_never_crashes(patch: str) -> None:
    with contextlib.suppress(MalformedPatch):
        assert all(hunk.lines for hunk in parse_patch(patch))


def moved(hunks: Sequence[Hunk], old_line: int) -> int | None:
    """Return where a line of the old file is in the new one; None if it was deleted."""
    shift = 0
    for hunk in hunks:
        if old_line < hunk.old_start + (not hunk.old_count):
            break
        for line in hunk.lines:
            if line.old == old_line:
                return line.new
        shift += hunk.new_count - hunk.old_count
    return old_line + shift


@given(texts, texts, st.integers(0, 4))
def test_the_new_file_can_be_rebuilt_from_the_old_one_and_the_patch(
    old: str, new: str, context: int
) -> None:
    hunks = parse_patch(git_like_patch(old, new, context))
    old_lines = [line.removesuffix("\n") for line in split_lines(old)]
    new_lines = [line.removesuffix("\n") for line in split_lines(new)]
    rebuilt = {line.new: line.text for hunk in hunks for line in hunk.lines if line.new}
    for number, text in enumerate(old_lines, 1):
        target = moved(hunks, number)
        if target is not None:
            rebuilt.setdefault(target, text)
            assert rebuilt[target] == text
    assert rebuilt == dict(enumerate(new_lines, 1))


@given(texts, texts, st.integers(0, 4))
def test_comparing_two_texts_gives_the_hunks_of_their_patch(
    old: str, new: str, context: int
) -> None:
    # A missing final newline is no difference here, because only lines are compared.
    old, new = old + "\n" * (not old.endswith("\n")), new + "\n" * (not new.endswith("\n"))
    assert compare(old, new, context) == parse_patch(git_like_patch(old, new, context))


@given(texts, texts, st.integers(0, 4))
def test_every_commentable_line_exists_and_reads_as_the_patch_says(
    old: str, new: str, context: int
) -> None:
    sides: dict[Side, list[str]] = {"LEFT": split_lines(old), "RIGHT": split_lines(new)}
    patch = git_like_patch(old, new, context)
    for hunk in parse_patch(patch):
        for line in hunk.lines:
            numbers: dict[Side, int | None] = {"LEFT": line.old, "RIGHT": line.new}
            for side, number in numbers.items():
                if number is not None:
                    assert commentable(patch).allows(side, number, number)
                    assert sides[side][number - 1].removesuffix("\n") == line.text


@given(texts, st.data())
def test_replacing_lines_by_themselves_changes_nothing(text: str, data: st.DataObject) -> None:
    rows = split_lines(text)
    if not rows or "\r" in text:
        return
    start = data.draw(st.integers(1, len(rows)))
    line = data.draw(st.integers(start, len(rows)))
    same = "".join(rows[start - 1 : line])
    assert apply_suggestion(text, start, line, same) == text


def test_a_suggestion_takes_over_the_line_ends_of_what_it_replaces() -> None:
    assert apply_suggestion("a\r\nb\r\nc", 2, 2, "x\ny") == "a\r\nx\r\ny\r\nc"
    assert apply_suggestion("a\nb", 2, 2, "x\n") == "a\nx"
    assert apply_suggestion("a\nb\n", 2, 2, "x") == "a\nx\n"
    assert apply_suggestion("a\nb\nc\n", 2, 3, "") == "a\n"


@pytest.mark.parametrize(("start", "line"), [(0, 1), (1, 3), (3, 3), (2, 1), (-1, -1)])
def test_a_suggestion_outside_the_text_is_refused(start: int, line: int) -> None:
    with pytest.raises(ValueError, match="2 lines"):
        apply_suggestion("a\nb\n", start, line, "x")
