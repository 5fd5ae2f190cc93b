"""Reading, searching and editing in memory: exact replacement, the rules of paths, the limits."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.agents.workspace import Query, Workspace, WorkspaceError
from pipelines.agents.workspace.difference import compare
from pipelines.agents.workspace.search import MAX_FILES, MAX_MATCHES
from pipelines.model import FileEdit
from pipelines.ports import FileText, Tree, TreeEntry
from tests.support.workplace import MemoryWorkplace, Side, blob_sha

FILES = {
    "src/app.py": "def mean(values):\n    return sum(values) / len(values)\n",
    "src/text.py": "a = 1\nb = 1\na = 1\n",
    "README.md": "# Shop\n",
    "dist/out.js": "built\n",
}


class Forest(MemoryWorkplace):
    """Adds links, submodules, unreadable files and incomplete listings; counts what is read."""

    def __init__(self, files: Mapping[str, str], *, complete: bool = True) -> None:
        super().__init__(files)
        self.special: dict[str, str] = {}
        self.complete = complete
        self.unlisted: set[str] = set()
        self.batches: list[int] = []

    async def tree(self, *, at: Side = "head") -> Tree:
        listed = [e for e in (await super().tree(at=at)).entries if e.path not in self.unlisted]
        extra = [
            TreeEntry.model_validate({"path": path, "mode": mode, "sha": "c" * 40})
            for path, mode in self.special.items()
        ]
        return Tree(entries=(*listed, *extra), complete=self.complete)

    async def read(self, paths: Sequence[str], *, at: Side = "head") -> Mapping[str, FileText]:
        self.batches.append(len(paths))
        return await super().read(paths, at=at)


async def opened(
    files: Mapping[str, str] = FILES, *, ignore: Sequence[str] = (), protected: Sequence[str] = ()
) -> Workspace:
    return await Workspace.open(Forest(files), ignore=ignore, protected=protected)


# --- exact replacement ---------------------------------------------------------------------------


async def test_a_replacement_is_made_where_the_text_stands_exactly_once() -> None:
    space = await opened()
    await space.replace("src/app.py", "sum(values) / len(values)", "sum(values) / max(1, n)")
    assert space.edits == (
        FileEdit(
            path="src/app.py",
            content="def mean(values):\n    return sum(values) / max(1, n)\n",
            before_sha=blob_sha(FILES["src/app.py"]),
        ),
    )
    (change,) = space.changes
    assert (change.kind, change.additions, change.deletions) == ("changed", 1, 1)


@pytest.mark.parametrize(
    ("old", "told"),
    [
        ("a = 1", "stands 2 times"),
        ("a = 2", "does not stand"),
        ("A = 1", "does not stand"),
        ("    1\ta = 1", "without the line numbers"),
        ("", "empty"),
        ("b = 1", "equals the old"),
        ("[redacted]", "cannot be matched"),
    ],
)
async def test_any_other_number_of_matches_is_told_and_changes_nothing(old: str, told: str) -> None:
    space = await opened()
    with pytest.raises(WorkspaceError, match=told.replace("[", r"\[")):
        await space.replace("src/text.py", old, "b = 1")
    assert space.edits == ()


async def test_overlapping_matches_are_not_one_match() -> None:
    space = await opened({"x": "aaa"})
    with pytest.raises(WorkspaceError, match="2 times"):
        await space.replace("x", "aa", "b")


async def test_a_file_with_crlf_keeps_its_line_ends() -> None:
    space = await opened({"x": "one\r\ntwo\r\nthree\r\n", "mixed": "one\r\ntwo\n"})
    await space.replace("x", "one\ntwo\n", "1\n2\n")
    assert await space.text("x") == "1\r\n2\r\nthree\r\n"
    with pytest.raises(WorkspaceError, match="does not stand"):
        await space.replace("mixed", "one\ntwo", "x")


async def test_later_edits_build_on_earlier_ones_and_what_is_put_back_is_no_edit() -> None:
    space = await opened()
    await space.replace("README.md", "Shop", "Store")
    await space.replace("README.md", "Store", "Market")
    assert await space.text("README.md") == "# Market\n"
    await space.replace("README.md", "Market", "Shop")
    assert space.edits == ()


@given(st.text(alphabet="ab\n", max_size=12), st.text(alphabet="ab\n", min_size=1, max_size=3))
async def test_a_replacement_is_refused_or_changes_just_that_place(text: str, old: str) -> None:
    space = await opened({"x": text})
    places = [i for i in range(len(text)) if text.startswith(old, i)]
    try:
        await space.replace("x", old, "!")
    except WorkspaceError:
        assert len(places) != 1
        assert await space.text("x") == text
    else:
        (place,) = places
        assert await space.text("x") == f"{text[:place]}!{text[place + len(old) :]}"


# --- creating and deleting -----------------------------------------------------------------------


async def test_files_are_created_and_deleted_and_forgotten_again() -> None:
    space = await opened()
    await space.create("src/new.py", "x = 1\n")
    await space.delete("README.md")
    assert [(edit.path, edit.content) for edit in space.edits] == [
        ("README.md", None),
        ("src/new.py", "x = 1\n"),
    ]
    assert space.edits[0].before_sha == blob_sha("# Shop\n")
    assert space.edits[1].before_sha is None
    with pytest.raises(WorkspaceError, match="there already"):
        await space.create("src/new.py", "y")
    with pytest.raises(WorkspaceError, match="you deleted it"):
        await space.text("README.md")
    await space.delete("src/new.py")
    await space.create("README.md", "# Shop\n")
    assert space.edits == ()


async def test_what_is_not_there_cannot_be_changed() -> None:
    space = await opened()
    for attempt in (space.text("no.py"), space.delete("no.py"), space.replace("no.py", "a", "b")):
        with pytest.raises(WorkspaceError, match=r"no\.py"):
            await attempt


# --- the rules of writing ------------------------------------------------------------------------

REFUSED = [
    ("../x", "empty, `.` or `..`"),
    (".git/hooks/pre-commit", "git's own folder"),
    (".github/workflows/ci.yml", "protected"),
    ("infra/main.tf", "protected"),
    ("dist/new.js", "leaves this path out"),
    ("link", "symbolic link"),
    ("link/x.py", "through a symbolic link"),
    ("vendored/lib/x.c", "through a symbolic link or a submodule"),
    ("vendored/lib", "symbolic link or a submodule"),
    ("README.md/x", "is a file"),
    ("src", "it is a folder"),
    ("readme.MD", "case of letters"),
    ("SRC/new.py", "case of letters"),
]


@pytest.mark.parametrize(("path", "told"), REFUSED)
async def test_a_path_that_may_not_be_written_is_refused_by_every_operation(
    path: str, told: str
) -> None:
    reader = Forest({**FILES, "infra/main.tf": "x", ".github/workflows/ci.yml": "on: push\n"})
    reader.special = {"link": "120000", "vendored/lib": "160000"}
    space = await Workspace.open(reader, protected=["infra/**"], ignore=["dist/**"])
    for attempt in (
        space.create(path, "x"),
        space.delete(path),
        space.replace(path, "x", "y"),
    ):
        with pytest.raises(WorkspaceError, match="cannot be written") as caught:
            await attempt
        assert told in str(caught.value)
    assert space.edits == ()


async def test_a_new_file_does_not_become_a_folder_or_collide_with_another_new_one() -> None:
    space = await opened()
    await space.create("src/new", "x")
    with pytest.raises(WorkspaceError, match="is a file"):
        await space.create("src/new/x.py", "x")
    with pytest.raises(WorkspaceError, match="case of letters"):
        await space.create("src/NEW", "x")
    await space.create("lib/x.py", "x")
    with pytest.raises(WorkspaceError, match="case of letters"):
        await space.create("Lib/y.py", "x")
    with pytest.raises(WorkspaceError, match="a folder"):
        await space.create("lib", "x")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("x\0", "NUL"),
        ("x = '\u202e'", "direction"),
        ("\U000e0041", "tag"),
        ("x" * (1024 * 1024 + 1), "larger"),
        ("\ud800", "UTF-8"),
        ("token = 'ghp_" + "A1b2" * 9 + "'", "secret"),
        ("password = '[redacted]'", "not shown"),
    ],
)
async def test_a_text_that_no_commit_may_hold_is_refused(content: str, told: str) -> None:
    space = await opened()
    with pytest.raises(WorkspaceError, match=told):
        await space.create("src/new.py", content)
    with pytest.raises(WorkspaceError, match=told):
        await space.replace("README.md", "# Shop", content)
    assert space.edits == ()


async def test_a_file_with_a_secret_is_only_written_without_it() -> None:
    secret = "ghp_" + "A1b2" * 9
    space = await opened({"x.py": f"KEY = '{secret}'\nn = 1\n"})
    with pytest.raises(WorkspaceError, match="secret"):
        await space.replace("x.py", "n = 1", "n = 2")
    await space.replace("x.py", secret, "")
    assert len(space.edits) == 1


async def test_no_more_files_and_bytes_than_a_commit_may_have() -> None:
    space = await opened()
    for number in range(100):
        await space.create(f"src/f{number}.py", "x")
    with pytest.raises(WorkspaceError, match="No more than 100"):
        await space.create("src/f100.py", "x")
    space = await opened()
    for number in range(4):
        await space.create(f"src/f{number}.py", "x" * 1024 * 1024)
    with pytest.raises(WorkspaceError, match="together exceed"):
        await space.create("src/f4.py", "x")


async def test_over_an_incomplete_list_only_what_is_listed_is_changed() -> None:
    reader = Forest({**FILES, "src/hidden.py": "x", "lib/x.py": "x"}, complete=False)
    reader.unlisted = {"src/hidden.py", "lib/x.py"}
    space = await Workspace.open(reader)
    assert await space.text("src/hidden.py") == "x"
    for attempt in (
        space.replace("src/hidden.py", "x", "y"),
        space.create("src/hidden.py", "y"),
        space.create("lib/new.py", "y"),
    ):
        with pytest.raises(WorkspaceError):
            await attempt
    await space.create("src/new.py", "x")
    await space.create("new.py", "x")
    assert [edit.path for edit in space.edits] == ["new.py", "src/new.py"]


# --- looking -------------------------------------------------------------------------------------


async def test_paths_follow_edits_and_leave_out_what_configuration_does() -> None:
    space = await opened(ignore=["dist/**"])
    await space.create("src/new.py", "x")
    await space.delete("src/text.py")
    assert space.paths == ("README.md", "src/app.py", "src/new.py")
    assert space.matching("src/*.py") == ("src/app.py", "src/new.py")
    with pytest.raises(WorkspaceError, match="character classes"):
        space.matching("[a-z]")


async def test_search_is_literal_with_words_and_case_as_asked() -> None:
    space = await opened({"a.py": "mean = 1\nmeaning = 2\nMEAN(.*)\n", "b.md": "mean\n"})

    async def lines(query: Query) -> list[tuple[str, int]]:
        return [(match.path, match.line) for match in (await space.search(query)).matches]

    assert await lines(Query("mean")) == [("a.py", 1), ("a.py", 2), ("b.md", 1)]
    assert await lines(Query("mean", whole_word=True, pattern="*.py")) == [("a.py", 1)]
    assert await lines(Query("mean", ignore_case=True, pattern="*.py")) == [
        ("a.py", 1),
        ("a.py", 2),
        ("a.py", 3),
    ]
    assert await lines(Query("(.*)")) == [("a.py", 3)]
    await space.replace("b.md", "mean", "median")
    assert await lines(Query("median")) == [("b.md", 1)]
    for text in ("", "  ", "x\ny", "x" * 201):
        with pytest.raises(Exception, match="Search for"):
            await space.search(Query(text))


async def test_search_over_five_thousand_files_is_capped_and_says_what_it_left_out() -> None:
    files = {f"src/m{n // 100}/f{n}.py": f"value_{n} = needle\n" for n in range(5000)}
    files["big.txt"] = "needle" * 200_000
    files["src/needle.py"] = "needle\n"
    reader = Forest(files)
    space = await Workspace.open(reader)
    found = await space.search(Query("needle"))
    assert found.matches[0].path == "src/needle.py"
    assert len(found.matches) == MAX_MATCHES
    assert found.searched == MAX_FILES == sum(reader.batches)
    assert found.more == MAX_FILES - MAX_MATCHES
    assert found.too_large == ["big.txt"]
    assert found.not_reached == 5001 - MAX_FILES
    assert max(reader.batches) <= 40
    again = await space.search(Query("needle", pattern="src/m0/*"))
    assert again.searched == 100
    assert sum(reader.batches) == MAX_FILES


async def test_a_file_that_cannot_be_read_is_named() -> None:
    reader = Forest({"a.py": "x", "gone.bin": "x"})
    space = await Workspace.open(reader)
    del reader.files["head"]["gone.bin"]
    found = await space.search(Query("x"))
    assert (found.searched, found.unreadable) == (1, ["gone.bin"])


# --- differences ---------------------------------------------------------------------------------

TEXTS = st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=14).map("\n".join)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a\nb\n", "a\nc\n"), ("a", "a\n"), ("a\n", "a"), (None, "x\ny"), ("x\n", None),
        ("", "x"), (None, ""), ("\r\n", "\n"),
        ("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n3\n4\n5\n6\n7\n8\n9\n!"),
        ("\n".join(map(str, range(3000))), "\n".join(map(str, range(3000, 0, -1)))),
    ],
)  # fmt: skip
def test_git_applies_the_difference(before: str | None, after: str | None, tmp_path: Path) -> None:
    require_applies(before, after, tmp_path)


@given(TEXTS, TEXTS)
def test_a_difference_counts_and_rebuilds(before: str, after: str) -> None:
    change = compare("f", before, after)
    body = [row for row in change.diff.split("\n")[2:] if row[:1] in ("+", "-")]
    assert len(body) == change.additions + change.deletions
    assert (change.additions + change.deletions == 0) == (before == after)


def require_applies(before: str | None, after: str | None, folder: Path) -> None:
    target = folder / "f.txt"
    if before is not None:
        target.write_bytes(before.encode())
    change = compare("f.txt", before, after)
    if change.additions + change.deletions == 0:
        return
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    subprocess.run(
        ["git", "apply", "--unidiff-zero", "-"], input=change.diff.encode(), cwd=folder, check=True
    )
    assert (target.read_bytes().decode() if target.exists() else None) == after
