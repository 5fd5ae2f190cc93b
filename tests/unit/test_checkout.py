"""A local repository as a source."""

from pathlib import Path

import pytest

from pipelines.checkout import CheckoutSource
from pipelines.errors import Ignorable, UserError
from pipelines.model import FileStatus
from tests.support.checkout import Checkout
from tests.support.clock import VirtualClock


@pytest.fixture
def repo(tmp_path: Path) -> Checkout:
    checkout = Checkout(tmp_path / "shop")
    checkout.commit({"app.py": "a = 1\nb = 2\n", "old.txt": "same\n" * 20, "gone.txt": "x\n"})
    checkout.branch("feature")
    return checkout


def source(repo: Checkout, base: str | None = None) -> CheckoutSource:
    return CheckoutSource(repo.folder, VirtualClock(), base=base)


async def test_the_change_runs_from_the_merge_base_to_head(repo: Checkout) -> None:
    base = repo.git("rev-parse", "main")
    head = repo.commit({"app.py": "a = 1\nb = 3\n"}, "Set b\n\nBecause.")
    repo.git("switch", "-q", "main")
    repo.commit({"elsewhere.py": "later\n"})
    repo.git("switch", "-q", "feature")
    change = await source(repo).current_change()
    assert (change.base_sha, change.head_sha) == (base, head)
    assert (change.title, change.body, change.head_ref) == ("Set b", "Because.", "feature")
    assert change.paths == ("app.py",)
    assert change.number is None
    assert not change.tainted


async def test_each_kind_of_change_is_listed_with_its_patch(repo: Checkout) -> None:
    repo.git("mv", "old.txt", "new.txt")
    repo.commit(
        {"app.py": "a = 1\nb = 3\n", "gone.txt": None, "logo.png": b"\x89\0\0", "n.py": "1\n"}
    )
    change = await source(repo).current_change()
    listed = {f.path: f for f in (await source(repo).reader(change).changed_files()).files}
    assert listed["app.py"].patch == "@@ -1,2 +1,2 @@\n a = 1\n-b = 2\n+b = 3"
    assert (listed["app.py"].additions, listed["app.py"].deletions) == (1, 1)
    assert listed["gone.txt"].status is FileStatus.REMOVED
    assert listed["n.py"].status is FileStatus.ADDED
    assert (listed["new.txt"].status, listed["new.txt"].previous_path) == (
        FileStatus.RENAMED,
        "old.txt",
    )
    assert listed["logo.png"].patch is None


async def test_a_file_that_becomes_a_symlink_does_not_shift_the_patches(repo: Checkout) -> None:
    (repo.folder / "gone.txt").unlink()
    (repo.folder / "gone.txt").symlink_to("app.py")
    repo.commit({"app.py": "a = 9\nb = 2\n", "z.py": "z\n"})
    change = await source(repo).current_change()
    listed = {f.path: f for f in (await source(repo).reader(change).changed_files()).files}
    assert listed["gone.txt"].status is FileStatus.CHANGED
    assert listed["z.py"].patch == "@@ -0,0 +1 @@\n+z"


async def test_files_are_read_at_the_commit_and_never_followed(repo: Checkout) -> None:
    (repo.folder / "link").symlink_to("/etc/passwd")
    repo.commit(
        {"app.py": "a = 1\nb = 3\n", "logo.png": b"\x89\0\0", "big.txt": "x" * (1 << 20) + "y"}
    )
    repo.write({"app.py": "not committed\n"})
    change = await source(repo).current_change()
    reader = source(repo).reader(change)
    files = await reader.read(["app.py", "link", "logo.png", "big.txt", "nope", "../etc"])
    assert files["app.py"].text == "a = 1\nb = 3\n"
    assert (await reader.read(["app.py"], at="base"))["app.py"].text == "a = 1\nb = 2\n"
    reasons = {path: file.reason for path, file in files.items() if file.text is None}
    assert reasons == {
        "link": "not a regular file",
        "logo.png": "binary",
        "big.txt": "too large",
        "nope": "missing",
        "../etc": "missing",
    }


async def test_configuration_is_read_at_the_base_and_not_at_the_head(repo: Checkout) -> None:
    repo.commit({".conductor.yml": "version: 2\n"})
    assert (await source(repo).current_change()).config is None
    repo.git("branch", "-f", "main", "feature")
    repo.commit({".conductor.yml": "version: 3\n"})
    config = (await source(repo).current_change()).config
    assert config
    assert (config.path, config.text) == (".conductor.yml", "version: 2\n")


async def test_no_commits_beyond_the_base_is_nothing_to_do(repo: Checkout) -> None:
    with pytest.raises(Ignorable, match="nothing to look at"):
        await source(repo).current_change()


async def test_a_folder_without_git_and_an_unknown_base_are_said_in_one_sentence(
    repo: Checkout, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="not a git repository"):
        await CheckoutSource(tmp_path, VirtualClock()).current_change()
    repo.commit({"n.py": "1\n"})
    with pytest.raises(UserError, match="name a base with --base"):
        await source(repo, base="--upload-pack=touch pwned").current_change()


async def test_programs_named_in_the_repositorys_own_configuration_do_not_run(
    repo: Checkout, tmp_path: Path
) -> None:
    marker = tmp_path / "ran"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {marker}\n")
    program.chmod(0o755)
    repo.commit({".gitattributes": "*.py diff=evil\n", "app.py": "a = 5\n"})
    for key in ("core.fsmonitor", "diff.external", "diff.evil.textconv", "diff.evil.command"):
        repo.git("config", key, str(program))
    for hook in ("post-checkout", "pre-commit", "post-index-change"):
        (repo.folder / ".git/hooks").mkdir(exist_ok=True)
        (repo.folder / ".git/hooks" / hook).symlink_to(program)
    repo.write({"app.py": "a = 6\n"})
    change = await source(repo).current_change()
    await source(repo).reader(change).changed_files()
    assert await source(repo).dirty()
    assert not marker.exists()


async def test_the_tree_of_either_side_lists_every_kind_of_file(repo: Checkout) -> None:
    (repo.folder / "link").symlink_to("app.py")
    (repo.folder / "run.sh").write_text("#!/bin/sh\n")
    (repo.folder / "run.sh").chmod(0o755)
    repo.commit({"src/deep/a.py": "1\n"})
    change = await source(repo).current_change()
    reader = source(repo).reader(change)
    head = {entry.path: entry for entry in (await reader.tree()).entries}
    assert {path: entry.mode for path, entry in head.items()} == {
        **dict.fromkeys(["app.py", "gone.txt", "old.txt", "src/deep/a.py"], "100644"),
        "run.sh": "100755",
        "link": "120000",
    }
    assert head["src/deep/a.py"].size == 2
    assert head["src/deep/a.py"].sha == repo.git("rev-parse", "HEAD:src/deep/a.py")
    base = await reader.tree(at="base")
    assert [entry.path for entry in base.entries] == ["app.py", "gone.txt", "old.txt"]


async def test_a_snapshot_has_the_bytes_and_says_what_it_left_out(repo: Checkout) -> None:
    (repo.folder / "link").symlink_to("app.py")
    (repo.folder / "run.sh").write_text("#!/bin/sh\n")
    (repo.folder / "run.sh").chmod(0o755)
    odd = bytes(range(256)) * 3
    repo.commit({"logo.png": odd, "empty": "", "copy.png": odd})
    change = await source(repo).current_change()
    head = await source(repo).snapshot(change)
    assert head.sha == change.head_sha
    assert head.files["logo.png"] == head.files["copy.png"] == odd
    assert head.files["empty"] == b""
    assert head.executables == {"run.sh"}
    assert head.left_out == {"link": "a symbolic link"}
    base = await source(repo).snapshot(change, at="base")
    assert set(base.files) == {"app.py", "gone.txt", "old.txt"}


async def test_a_folder_has_no_feedback_issues(repo: Checkout) -> None:
    repo.commit({"a": "b"})
    change = await source(repo).current_change()
    assert await source(repo).feedback(change, None) == ()
