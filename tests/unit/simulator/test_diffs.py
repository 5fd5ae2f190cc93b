"""Patches as GitHub shows them, computed by git."""

from bot.simulator.diff import LineMap, parse
from tests.unit.simulator.hub import BASE, Hub


async def test_files_have_the_patches_that_git_makes(hub: Hub) -> None:
    await hub.pull()
    file = (await hub.api("GET", "~/pulls/1/files")).json[0]
    assert (file["additions"], file["deletions"], file["status"]) == (2, 2, "modified")
    hunks = [line for line in file["patch"].splitlines() if line.startswith("@@")]
    assert hunks == ["@@ -7,7 +7,7 @@ line 6", "@@ -27,7 +27,7 @@ line 26"]
    assert not file["patch"].endswith("\n")


async def test_every_kind_of_change_is_told_apart(hub: Hub) -> None:
    await hub.pull(
        {
            "src/a.txt": None,
            "src/renamed.txt": BASE + "more\n",
            "image.bin": b"\0\1\2",
            "huge.txt": "x\n" * 20_001,
            "empty.txt": "",
            "ünïcode nâme.txt": "no newline",
        }
    )
    rows = (await hub.api("GET", "~/pulls/1/files")).json
    files = {row["filename"]: row for row in rows}
    renamed = files["src/renamed.txt"]
    assert (renamed["status"], renamed["previous_filename"]) == ("renamed", "src/a.txt")
    assert renamed["patch"].splitlines()[-1] == "+more"
    assert "patch" not in files["image.bin"]
    assert "patch" not in files["empty.txt"]
    assert "patch" not in files["huge.txt"]
    assert files["huge.txt"]["additions"] == 20_001
    assert files["ünïcode nâme.txt"]["patch"].endswith("\\ No newline at end of file")
    too_large = await hub.api("GET", "~/pulls/1", Accept="application/vnd.github.diff")
    assert (too_large.status, too_large.json["errors"][0]["code"]) == (406, "too_large")


async def test_a_deleted_file_and_the_pages_of_a_long_list(hub: Hub) -> None:
    await hub.pull({"README.md": None, **{f"f{n:02}": f"{n}\n" for n in range(34)}})
    first = await hub.api("GET", "~/pulls/1/files")
    assert len(first.json) == 30
    assert 'page=2>; rel="next"' in first.headers["Link"]
    second = await hub.api("GET", "~/pulls/1/files?page=2")
    assert 'rel="prev"' in second.headers["Link"]
    found = {row["filename"]: row["status"] for row in first.json + second.json}
    assert (len(found), found["README.md"]) == (35, "removed")


async def test_the_diff_media_type_is_gits_own_diff(hub: Hub) -> None:
    pull = await hub.pull()
    answer = await hub.api("GET", "~/pulls/1", Accept="application/vnd.github.v3.diff")
    assert answer.body.startswith(b"diff --git a/src/a.txt b/src/a.txt\n")
    assert answer.body == (await hub.repo.git.run("diff", f"{pull.base_sha}...{pull.head_sha}"))


async def test_the_comparison_is_from_the_merge_base(hub: Hub) -> None:
    await hub.pull()
    await hub.simulator.push(hub.repo, "main", {"later": "x\n"}, hub.bob)
    compared = (await hub.api("GET", "~/compare/main...topic")).json
    assert (compared["status"], compared["ahead_by"], compared["behind_by"]) == ("diverged", 1, 1)
    assert [file["filename"] for file in compared["files"]] == ["src/a.txt"]
    assert [file["filename"] for file in (await hub.api("GET", "~/pulls/1/files")).json] == [
        "src/a.txt"
    ]


async def test_contents_are_files_folders_links_or_raw_bytes(hub: Hub) -> None:
    raw = await hub.api("GET", "~/contents/README.md?ref=main", Accept="application/vnd.github.raw")
    assert raw.body == b"# Shop\n"
    assert (await hub.api("GET", "~/contents/src/")).json[0]["path"] == "src/a.txt"
    for path in ("nothing", "src/a.txt/x"):
        assert (await hub.api("GET", f"~/contents/{path}?ref=main")).status == 404
    assert (await hub.api("GET", "~/contents/README.md?ref=--help")).status == 404


def test_lines_are_numbered_on_both_sides() -> None:
    rows = parse("@@ -1,2 +1,3 @@\n a\n-b\n+c\n+d\n\\ No newline at end of file")
    assert [(r.left, r.right, r.position) for r in rows] == [
        (1, 1, 1),
        (2, None, 2),
        (None, 2, 3),
        (None, 3, 4),
    ]


def test_lines_move_with_what_is_put_in_or_taken_out_above_them() -> None:
    way = LineMap("@@ -2,2 +2 @@\n-b\n-c\n+x\n@@ -5,0 +5,2 @@\n+y\n+z", "f")
    assert [way(line) for line in range(1, 8)] == [1, None, None, 3, 4, 7, 8]
    assert LineMap("", None)(1) is None
