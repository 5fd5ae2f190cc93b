"""Taking files out of a sandbox that may say anything."""

import io
import json
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.integrations.containers.collection import (
    DAMAGED,
    MAX_FILE_BYTES,
    MISSING,
    TOO_LARGE,
    Collected,
    read_report,
    read_tar,
    split,
)


def tar(
    name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", size: int | None = None
) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.type = kind
    entry.size = len(data) if size is None else size
    entry.linkname = "/etc/shadow" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
    return entry.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % 512) + bytes(1024)


def read(data: bytes, path: str = "out.xml") -> Collected:
    collected = Collected()
    read_tar(data, path, collected)
    assert {*collected.files, *collected.refused} == {path}
    return collected


def test_a_regular_file_is_taken_under_the_name_that_was_asked_for() -> None:
    assert read(tar("../../etc/cron.d/evil", data=b"<x/>")).files == {"out.xml": "<x/>"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (tar("out.xml", tarfile.SYMTYPE), "not a regular file but a symbolic link"),
        (tar("out.xml", tarfile.LNKTYPE), "not a regular file but a hard link"),
        (tar("out.xml", tarfile.DIRTYPE), "not a regular file but a folder"),
        (tar("out.xml", tarfile.FIFOTYPE), "not a regular file but a named pipe"),
        (tar("out.xml", tarfile.CHRTYPE), "not a regular file but a device"),
        (tar("out.xml", tarfile.BLKTYPE), "not a regular file but a device"),
        (tar("out.xml", b"S"), "not a regular file but something else"),
        (tar("out.xml", size=1 << 40), TOO_LARGE),
        (tar("out.xml", size=MAX_FILE_BYTES + 1), TOO_LARGE),
        (tar("out.xml", size=4096, data=b"short"), DAMAGED),
        (tar("out.xml", data=b"\xff\xfe"), "not UTF-8 text"),
        (b"", MISSING),
        (bytes(10240), MISSING),
        (b"tar: no such file", DAMAGED),
        (b"x" * 1000, DAMAGED),
    ],
)
def test_everything_else_is_refused_by_name(data: bytes, reason: str) -> None:
    assert read(data).refused == {"out.xml": reason}


def test_a_long_name_does_not_hide_its_file() -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.GNU_FORMAT) as archive:
        entry = tarfile.TarInfo("d" * 90 + "/" + "n" * 90)
        entry.size = 4
        archive.addfile(entry, io.BytesIO(b"<x/>"))
    assert read(made.getvalue()).files == {"out.xml": "<x/>"}


@given(st.binary(max_size=3000))
def test_no_bytes_break_the_reading_of_an_archive(data: bytes) -> None:
    read(data)


@given(st.integers(0, 511), st.binary(min_size=1, max_size=12))
def test_no_damaged_header_breaks_it(at: int, noise: bytes) -> None:
    whole = bytearray(tar("out.xml", data=b"<x/>"))
    whole[at : at + len(noise)] = noise
    read(bytes(whole))


# --- the report of the first process -------------------------------------------------------------


def line(**values: object) -> bytes:
    return json.dumps(values).encode() + b"\n"


def test_a_report_is_read() -> None:
    data = line(path="a", size=3) + b"abc" + line(path="b", refused="missing")
    report = read_report(data + line(exit=3, full=True), ["a", "b"], Collected())
    assert (report.exit_code, report.disk_full) == (3, True)
    assert report.collected.files == {"a": "abc"}
    assert report.collected.refused == {"b": "missing"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"garbage",
        b"[]\n",
        b"null\n",
        line(path="other", size=0) + line(exit=0),
        line(path="a", size=10**12) + b"abc",
        line(path="a", size=-1) + line(exit=0),
        line(path="a", size="3") + b"abc",
        line(path=["a"], size=3),
        line(exit=True, full=1)[:-3],
        line(exit=4096),
        line(exit="0"),
        b"[" * 100_000,
    ],
)
def test_a_report_of_another_form_is_no_report(data: bytes) -> None:
    report = read_report(data, ["a"], Collected())
    assert report.exit_code is None
    assert report.collected.files == {}
    assert report.collected.refused == {"a": DAMAGED}


def test_a_file_is_not_delivered_twice() -> None:
    data = line(path="a", size=1) + b"1" + line(path="a", size=1) + b"2" + line(exit=0)
    report = read_report(data, ["a"], Collected())
    assert report.collected.files == {"a": "1"}
    assert report.exit_code is None


@given(st.binary(max_size=500))
def test_no_bytes_break_the_reading_of_a_report(data: bytes) -> None:
    report = read_report(data, ["a", "b"], Collected())
    assert {*report.collected.files, *report.collected.refused} == {"a", "b"}


def test_only_paths_inside_are_asked_for() -> None:
    wanted, collected = split(["a", "../b", "/c", "a", "d/e"])
    assert wanted == ["a", "d/e"]
    assert set(collected.refused) == {"../b", "/c"}
