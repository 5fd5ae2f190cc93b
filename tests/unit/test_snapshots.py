"""Which files of a commit go into a snapshot."""

import hashlib
from typing import Any

import pytest

from pipelines import snapshots
from pipelines.ports import Tree, TreeEntry
from pipelines.snapshots import REST, is_blob, is_inside, select

OID = "a" * 40


def entry(path: str, size: int = 1, mode: Any = "100644") -> TreeEntry:
    return TreeEntry(path=path, mode=mode, sha=OID, size=size)


def test_what_is_no_regular_file_or_too_large_is_left_out_by_name() -> None:
    chosen = select(
        Tree(
            entries=(
                entry("a.py", mode="100755"),
                entry("link", mode="120000"),
                entry("vendored", 0, mode="160000"),
                entry("film.mp4", snapshots.MAX_FILE_BYTES + 1),
                entry("../outside"),
            )
        )
    )
    assert [one.path for one in chosen.wanted] == ["a.py"]
    assert chosen.executables == {"a.py"}
    assert chosen.left_out == {
        "link": "a symbolic link",
        "vendored": "a submodule",
        "film.mp4": "too large",
        "../outside": "not a path inside the repository",
    }


def test_large_assets_crowd_no_source_file_out() -> None:
    assets = [entry(f"a{n}.bin", snapshots.MAX_FILE_BYTES) for n in range(11)]
    chosen = select(Tree(entries=(*assets, entry("z.py", 100))))
    assert "z.py" in {one.path for one in chosen.wanted}
    assert sum(one.size for one in chosen.wanted) <= snapshots.MAX_BYTES
    assert set(chosen.left_out.values()) == {"beyond the limit of the whole"}


def test_no_more_files_are_chosen_than_the_limit() -> None:
    chosen = select(Tree(entries=tuple(entry(str(n)) for n in range(snapshots.MAX_FILES + 3))))
    assert len(chosen.wanted) == snapshots.MAX_FILES
    assert len(chosen.left_out) == 3


def test_a_listing_that_was_cut_short_is_said_to_be() -> None:
    assert REST in select(Tree(entries=(), complete=False)).left_out


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "a//b", "./a", "a/../b", "a/", ".git/hooks/x", "a/.GIT/x", "a\0b"]
)
def test_a_path_that_leaves_the_repository_or_is_gits_own_is_not_inside(path: str) -> None:
    assert not is_inside(path)


@pytest.mark.parametrize("hash_name", ["sha1", "sha256"])
def test_bytes_are_known_by_their_git_id(hash_name: str) -> None:
    oid = hashlib.new(hash_name, b"blob 2\0hi").hexdigest()
    assert is_blob(b"hi", oid)
    assert not is_blob(b"ho", oid)
