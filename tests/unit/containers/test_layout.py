"""What is laid into a sandbox."""

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import UserError
from pipelines.integrations.containers.layout import archive, laid_out, stays_inside
from pipelines.model import FileEdit
from pipelines.ports import Snapshot

SHA = "a" * 40


def snapshot(*executables: str, **texts: bytes) -> Snapshot:
    return Snapshot(sha=SHA, files=texts, executables=frozenset(executables))


def test_edits_lie_over_the_snapshot() -> None:
    layout = laid_out(
        snapshot("script", script=b"#!", other=b"x", gone=b"y"),
        [
            FileEdit(path="script", content="plain now"),
            FileEdit(path="gone", content=None),
            FileEdit(path="gone/deeper", content="new", executable=True),
        ],
    )
    assert layout.files == {"script": b"plain now", "other": b"x", "gone/deeper": b"new"}
    assert layout.executables == {"gone/deeper"}


@pytest.mark.parametrize(
    "path", ["../x", "/etc/x", "a/../b", "a//b", "./a", "a/", "a\0b", "x" * 256, "", "a/./b"]
)
def test_a_path_that_leads_out_is_refused(path: str) -> None:
    assert not stays_inside(path)
    with pytest.raises(UserError, match="cannot be laid"):
        laid_out(Snapshot(sha=SHA, files={path: b""}), [])


def test_a_file_cannot_be_a_folder_as_well() -> None:
    with pytest.raises(UserError, match="'a' would be a file and a folder"):
        laid_out(Snapshot(sha=SHA, files={"a": b"", "a/b": b""}), [])


def test_there_is_an_end_to_the_number_of_files() -> None:
    many = {f"f{n}": b"" for n in range(20_001)}
    with pytest.raises(UserError, match="at most 20,000 files"):
        laid_out(Snapshot(sha=SHA, files=many), [])


def test_there_is_an_end_to_their_size() -> None:
    piece = bytes(100 << 20)
    with pytest.raises(UserError, match="bytes of files"):
        laid_out(Snapshot(sha=SHA, files={"a": piece, "b": piece, "c": piece}), [])


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=60)
        .filter(lambda name: name not in (".", ".."))
        .filter(stays_inside),
        st.binary(max_size=1500),
        max_size=8,
    )
)
def test_an_archive_holds_exactly_the_files(files: dict[str, bytes]) -> None:
    layout = laid_out(Snapshot(sha=SHA, files=files), [])
    data = b"".join(archive(layout, owner=65534))
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8") as tar:
        found = {each.name: tar.extractfile(each) for each in tar}
        assert {n: f.read() for n, f in found.items() if f} == files
        assert all(each.uid == 65534 and each.isreg() for each in tar)


def test_a_name_that_is_not_utf_8_keeps_its_bytes() -> None:
    name = b"caf\xe9.txt".decode(errors="surrogateescape")
    layout = laid_out(Snapshot(sha=SHA, files={name: b"x"}), [])
    assert b"caf\xe9.txt" in b"".join(archive(layout, owner=0))
