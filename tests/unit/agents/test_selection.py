"""What the model is shown, within a number of tokens, and what is said about the rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.agents.review.scopes import Scopes
from pipelines.agents.review.selection import MAX_LINE, Selection, select
from pipelines.agents.review.view import FileView, build_view
from pipelines.model import ChangedFile, FileStatus
from pipelines.ports import FileText
from tests.unit.agents.material import Tree, changed_files

PYTHON = """import os

LIMIT = 3


class Shop:
    name = "x"

    @property
    def size(self):
        first = 1
        second = 2
        third = 3
        fourth = 4
        fifth = 5
        sixth = 6
        return first

    def other(self):
        return None


def unrelated():
    return 4
"""
GO = """package shop

type Server struct {
	name string
}

func (s *Server) Handle(w Writer, r *Request) {
	if r == nil {
		return
	}
	one()
	two()
	three()
	four()
	five()
}

func other() {
	nothing()
}
"""


def views_of(base: Tree, head: Tree) -> list[FileView]:
    return [
        build_view(file, FileText(path=file.path, text=head.get(file.path)))
        for file in changed_files(base, head).files
    ]


def tokens(text: str) -> int:
    return len(text) // 4 + 1


def pick(views: list[FileView], room: int = 100_000) -> Selection:
    return select(views, room, tokens, "no room")


def text_of(selection: Selection) -> str:
    return "\n".join(block.text for block in selection.blocks)


def test_a_small_change_is_shown_with_its_whole_file_numbered() -> None:
    (view,) = views_of({"a.py": PYTHON}, {"a.py": PYTHON.replace("third = 3", "third = 33")})
    shown = text_of(pick([view])).split("\n")
    assert shown[0] == "     1   import os"
    assert "    13 -         third = 3" in shown
    assert "    13 +         third = 33" in shown
    assert shown[-1] == "    24       return 4"


def test_with_less_room_the_function_around_a_change_is_shown() -> None:
    (view,) = views_of({"a.py": PYTHON}, {"a.py": PYTHON.replace("sixth = 6", "sixth = 66")})
    whole = tokens(text_of(pick([view])))
    shown = text_of(pick([view], whole + 50))
    assert "def size(self):" in shown
    assert "@property" in shown
    assert "unrelated" not in shown
    assert "      ...\n     9       @property" in shown


def test_other_languages_are_widened_by_indentation() -> None:
    (view,) = views_of({"a.go": GO}, {"a.go": GO.replace("five()", "FIVE()")})
    whole = tokens(text_of(pick([view])))
    shown = text_of(pick([view], whole + 50))
    assert "func (s *Server) Handle" in shown
    assert "if r == nil" in shown
    assert "type Server" not in shown


def test_code_comes_before_documents_and_documents_before_lock_files() -> None:
    paths = ["poetry.lock", "README.md", "setup.cfg", "app.py", "package-lock.json"]
    selection = pick(views_of({}, dict.fromkeys(paths, "x\n")))
    assert [block.view.path for block in selection.blocks] == [
        "app.py",
        "setup.cfg",
        "README.md",
        "package-lock.json",
        "poetry.lock",
    ]


def test_a_diff_that_does_not_fit_is_shown_in_part_and_says_so() -> None:
    old = "".join(f"line {n}\n" for n in range(200))
    new = old.replace("line 10\n", "LINE 10\n").replace("line 100\n", "LINE 100\n")
    (view,) = views_of({"a.txt": old}, {"a.txt": new})
    selection = pick([view], 120)
    assert "LINE 10" in text_of(selection)
    assert "LINE 100" not in text_of(selection)
    assert selection.seen == ()
    (partial,) = selection.partial
    assert partial.reason == "only the first 3 of 4 changed lines fit into the model's input"


def test_a_file_that_does_not_fit_is_named_with_the_reason() -> None:
    head = {"long.py": "x = 1\n" * 100, "longer.py": "x = 1\n" * 110, "short.py": "y = 2\n"}
    selection = pick(views_of({}, head), 700)
    assert selection.seen == ("longer.py", "short.py")
    assert [(item.path, item.reason) for item in selection.unseen] == [("long.py", "no room")]


def test_a_file_larger_than_all_the_room_waits_until_half_of_it_is_free() -> None:
    views = views_of({}, {"huge.py": "x = 1\n" * 5000, "big.py": "y = 2\n" * 100})
    crowded, alone = pick(views, 700), pick(views[1:], 700)
    assert [item.path for item in crowded.unseen] == ["huge.py"]
    (partial,) = alone.partial
    assert partial.reason.startswith("only the first ")
    assert partial.reason.endswith(" of 5000 changed lines fit into the model's input")


def test_a_line_that_is_cut_makes_its_file_partial() -> None:
    selection = pick(views_of({}, {"a.js": "x" * (MAX_LINE + 1) + "\n"}))
    assert "[line cut]" in text_of(selection)
    assert [item.reason for item in selection.partial] == [
        "lines longer than 1000 characters were cut"
    ]


@pytest.mark.parametrize(
    ("patch", "text", "reason"),
    [
        (None, FileText(path="a", text=None, reason="binary"), "binary"),
        (None, FileText(path="a", text=None, reason="too large"), "too large"),
        (None, None, "the diff has no patch for it"),
        ("", FileText(path="a", text="x"), "the diff has no patch for it"),
        ("@@ nonsense", FileText(path="a", text="x"), "it holds lines outside"),
    ],
)
def test_a_file_without_a_usable_patch_is_unseen_with_its_reason(
    patch: str | None, text: FileText | None, reason: str
) -> None:
    file = ChangedFile(path="a", status=FileStatus.MODIFIED, additions=1, patch=patch)
    selection = pick([build_view(file, text)])
    assert selection.blocks == ()
    assert selection.unseen[0].reason.startswith(reason)


def bare(status: FileStatus, head: str | None, base: str | None) -> FileView:
    """The view of a file whose patch GitHub left out."""
    texts = [None if t is None else FileText(path="a.py", text=t) for t in (head, base)]
    return build_view(ChangedFile(path="a.py", status=status), *texts)


@pytest.mark.parametrize(
    ("view", "shown"),
    [
        (bare(FileStatus.MODIFIED, "a\nB\n", "a\nb\n"), "     2 - b\n     2 + B"),
        (bare(FileStatus.ADDED, "a\n", None), "     1 + a"),
        (bare(FileStatus.REMOVED, None, "a\n"), "     1 - a"),
        (bare(FileStatus.RENAMED, "a\nB\n", "a\nb\n"), "     2 - b\n     2 + B"),
    ],
)
def test_a_patch_that_was_left_out_is_made_from_the_texts(view: FileView, shown: str) -> None:
    selection = pick([view])
    assert selection.seen == ("a.py",)
    assert shown in text_of(selection)
    assert not view.places.allows("RIGHT", 1, 1)


def test_a_pure_rename_and_an_empty_file_have_nothing_to_show_and_are_seen() -> None:
    for view in (bare(FileStatus.RENAMED, "a\n", "a\n"), bare(FileStatus.ADDED, "", None)):
        assert pick([view]) == Selection(blocks=(), seen=("a.py",), partial=(), unseen=())


def test_a_change_that_is_not_in_the_lines_is_not_claimed_to_be_seen() -> None:
    (unseen,) = pick([bare(FileStatus.MODIFIED, "a\n", "a\n")]).unseen
    assert unseen.reason == "its lines did not change, so perhaps its mode did"


def test_texts_that_are_too_long_are_not_compared() -> None:
    (unseen,) = pick([bare(FileStatus.MODIFIED, "a\n" * 6000, "b\n" * 6000)]).unseen
    assert "too long" in unseen.reason


def test_definitions_are_named_by_their_place_in_python() -> None:
    scopes = Scopes("a.py", PYTHON.split("\n"))
    assert [scope.name if (scope := scopes.around(n)) else None for n in (1, 7, 9, 12, 20, 24)] == [
        None,
        "Shop",
        "Shop.size",
        "Shop.size",
        "Shop.other",
        "unrelated",
    ]


def test_python_that_does_not_parse_is_read_by_indentation() -> None:
    scope = Scopes("a.py", (PYTHON + "\ndef broken(:\n").split("\n")).around(12)
    assert scope
    assert (scope.start, scope.end) == (10, 17)


def test_braces_end_a_definition() -> None:
    scope = Scopes("a.go", GO.split("\n")).around(9)
    assert scope
    assert (scope.start, scope.end) == (7, 16)
    assert Scopes("a.go", GO.split("\n")).around(1) is None
    assert Scopes("a.go", GO.split("\n")).around(99) is None


words = st.text(alphabet="abc (){}:\t", max_size=12)
texts = st.lists(words, max_size=25).map(lambda rows: "".join(f"{row}\n" for row in rows))
trees = st.dictionaries(st.sampled_from(["a.py", "b.go", "c.md", "d.lock"]), texts, max_size=4)


@given(trees, trees, st.integers(-10, 400))
def test_every_file_has_one_state_and_the_room_is_kept(base: Tree, head: Tree, room: int) -> None:
    views = views_of(base, head)
    selection = pick(views, room)
    states = [
        *selection.seen,
        *(item.path for item in selection.partial),
        *(item.path for item in selection.unseen),
    ]
    assert sorted(states) == sorted(view.path for view in views)
    assert sum(tokens(block.text) for block in selection.blocks) <= max(room, 0)
    with_hunks = {view.path for view in views if view.hunks}
    shown = {*selection.seen, *(item.path for item in selection.partial)}
    assert {block.view.path for block in selection.blocks} == shown & with_hunks
    assert pick(list(reversed(views)), room) == selection


@given(trees, trees)
def test_with_room_enough_every_changed_line_is_shown_with_its_number(
    base: Tree, head: Tree
) -> None:
    for view in views_of(base, head):
        if not view.hunks:
            continue
        (block,) = pick([view]).blocks
        shown = block.text.split("\n")
        for hunk in view.hunks:
            for row in hunk.lines:
                assert f"{row.new or row.old:>6} {row.kind} {row.text}" in shown


@given(texts, st.integers(1, 30))
def test_a_definition_holds_the_line_that_it_is_around(text: str, line: int) -> None:
    scope = Scopes("a.go", text.split("\n")).around(line)
    assert scope is None or scope.start <= line <= scope.end
