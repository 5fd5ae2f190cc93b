"""The local target with real processes: started, answering, replaced, broken, found again."""

import asyncio
import fcntl
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from pipelines.errors import Retryable, UserError
from pipelines.integrations.containers import local_keeper
from pipelines.integrations.containers.bubblewrap import Binary
from pipelines.integrations.containers.local import LINGER_SECONDS, LocalTarget, stop_all
from pipelines.model import Release
from pipelines.ports import Clock, Snapshot
from pipelines.system import SystemClock
from tests.support.clock import VirtualClock
from tests.unit.targets.services import PLAN, REPOSITORY, Commits, a_release, settled

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the local target needs Linux' /proc"
)
BWRAP = Binary.found()
NO_HEALTH = PLAN.model_copy(update={"health": None})


@asynccontextmanager
async def local(
    directory: Path,
    commits: Commits,
    *,
    binary: Binary | None = None,
    stop: bool = True,
    clock: Clock | None = None,
) -> AsyncGenerator[LocalTarget]:
    async with httpx2.AsyncClient() as client:
        target = LocalTarget(directory, commits, client, clock or SystemClock(), binary=binary)
        try:
            yield target
        finally:
            if stop:
                await stop_all(directory, SystemClock())


async def body(url: str | None, path: str = "/") -> str:
    assert url is not None
    async with httpx2.AsyncClient() as client:
        return (await client.get(url + path)).text


def keepers(directory: Path) -> list[int]:
    notes = sorted(directory.glob(f"*/*/{local_keeper.KEEPER}"))
    return [json.loads(note.read_text())["pid"] for note in notes]


class Hurrying(VirtualClock):
    """Virtual time for what is timed; who waits for a real process waits really."""

    def jump(self, seconds: float) -> None:
        self._elapsed += seconds

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def found(directory: Path, pattern: str = "*") -> list[Path]:
    return sorted(directory.glob(pattern))


def runs(pid: int) -> bool:
    return local_keeper.identity(pid) is not None


async def gone(pid: int) -> None:
    async with asyncio.timeout(10):
        while runs(pid):  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(0.02)


async def test_nothing_is_absent(tmp_path: Path) -> None:
    async with local(tmp_path, Commits()) as target:
        assert (await target.state(PLAN, repository=REPOSITORY)).phase == "absent"
        assert await target.log(PLAN, repository=REPOSITORY, lines=10) == ""


async def test_a_commit_runs_from_its_files_and_answers(tmp_path: Path) -> None:
    commits = Commits()
    sha = commits.serve("one")
    async with local(tmp_path, commits) as target:
        begun = await target.release(a_release(sha, 3))
        assert (begun.phase, begun.sha, begun.revision) == ("progressing", sha, 3)
        state = await settled(target)
        assert (state.phase, state.sha, state.revision, state.ready) == ("ready", sha, 3, 1)
        assert "without isolation" in state.message
        assert (await body(state.url)).startswith(f"one {sha}")
        assert await target.log(PLAN, repository=REPOSITORY, lines=5) == "one serves"


@pytest.mark.skipif(BWRAP is None, reason="bubblewrap is not installed")
async def test_in_bubblewrap_it_sees_its_files_and_neither_ours_nor_our_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_PRIVATE_KEY", "secret")
    (tmp_path / "private").write_text("secret")
    commits = Commits()
    look = (
        "import os\n"
        f"print('FILE', os.path.exists({str(tmp_path / 'private')!r}), flush=True)\n"
        f"print('HERE', os.path.exists({str(Path(__file__))!r}), flush=True)\n"
        "print('ENV', sorted(k for k in os.environ if 'GITHUB' in k), flush=True)\n"
        "print('PROCESSES', len([p for p in os.listdir('/proc') if p.isdigit()]) < 8, flush=True)\n"
        "open('note', 'w').write('mine')\n"
    )
    sha = commits.add("one", look + commits.texts[commits.serve("x")]["app.py"].decode())
    async with local(tmp_path / "services", commits, binary=BWRAP) as target:
        await target.release(a_release(sha))
        state = await settled(target)
        log = await target.log(PLAN, repository=REPOSITORY, lines=10)
        assert (state.phase, state.message) == ("ready", ""), log
        assert (await body(state.url)).endswith(" /service")
        assert "FILE False\nHERE False\nENV []\nPROCESSES True" in log


async def test_the_operators_environment_is_not_the_services_even_without_isolation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "secret")
    commits = Commits()
    show = "import os\nprint('ENV', sorted(os.environ), flush=True)\n"
    sha = commits.add("one", show + commits.texts[commits.serve("x")]["app.py"].decode())
    async with local(tmp_path, commits) as target:
        await target.release(a_release(sha))
        await settled(target)
        log = await target.log(PLAN, repository=REPOSITORY, lines=10)
    assert "'PORT'" in log
    assert "ANTHROPIC" not in log


@pytest.mark.parametrize("binary", [None, BWRAP], ids=["plain", "bubblewrap"])
async def test_the_new_one_takes_over_once_it_answers_and_the_old_one_ends_later(
    tmp_path: Path, binary: Binary | None
) -> None:
    commits = Commits()
    one, two = commits.serve("one"), commits.serve("two")
    clock = Hurrying()
    async with local(tmp_path, commits, binary=binary, clock=clock) as target:
        await target.release(a_release(one, 1))
        before = await settled(target)
        (old,) = keepers(tmp_path)
        during = await target.release(a_release(two, 2))
        assert during.phase == "progressing"
        assert (await body(during.url)).startswith("one"), "the old one answers meanwhile"
        after = await settled(target)
        assert (after.sha, after.revision) == (two, 2)
        assert after.url != before.url
        assert (await body(after.url)).startswith("two")
        assert (await body(before.url)).startswith("one"), "who has the old address is served, too"
        assert "still runs, too" in after.message
        clock.jump(LINGER_SECONDS - 5)
        await target.state(PLAN, repository=REPOSITORY)
        assert runs(old)
        clock.jump(5)
        last = await target.state(PLAN, repository=REPOSITORY)
        assert "still runs, too" not in last.message
        assert not runs(old)
        assert len(keepers(tmp_path)) == 1
    assert found(tmp_path) == []


async def test_going_back_while_the_old_one_lingers_starts_nothing_and_keeps_its_address(
    tmp_path: Path,
) -> None:
    commits = Commits()
    one, two = commits.serve("one"), commits.serve("two")
    clock = Hurrying()
    async with local(tmp_path, commits, clock=clock) as target:
        await target.release(a_release(one, 1))
        url = (await settled(target)).url
        await target.release(a_release(two, 2))
        regretted = (await settled(target)).url
        await target.release(a_release(one, 3))
        back = await settled(target)
        assert (back.phase, back.sha, back.revision, back.url) == ("ready", one, 3, url)
        assert (await body(regretted)).startswith("two"), "now it is the one that lingers"
        assert commits.asked == [one, two]
        clock.jump(LINGER_SECONDS)
        await target.state(PLAN, repository=REPOSITORY)
        assert len(keepers(tmp_path)) == 1


async def test_a_third_release_ends_the_first_when_it_takes_over(tmp_path: Path) -> None:
    commits = Commits()
    shas = [commits.serve(word) for word in ("one", "two", "three")]
    async with local(tmp_path, commits, clock=Hurrying()) as target:
        urls: list[str | None] = []
        for revision, sha in enumerate(shas, start=1):
            await target.release(a_release(sha, revision))
            urls.append((await settled(target)).url)
        assert len(keepers(tmp_path)) == 2
        assert (await body(urls[1])).startswith("two")
        with pytest.raises(httpx2.HTTPError):
            await body(urls[0])


async def test_one_that_ends_while_it_lingers_is_not_said_to_run(tmp_path: Path) -> None:
    commits = Commits()
    one, two = commits.serve("one"), commits.serve("two")
    async with local(tmp_path, commits, clock=Hurrying()) as target:
        await target.release(a_release(one, 1))
        await settled(target)
        (old,) = keepers(tmp_path)
        await target.release(a_release(two, 2))
        await settled(target)
        os.kill(old, signal.SIGTERM)
        await gone(old)
        state = await target.state(PLAN, repository=REPOSITORY)
        assert (state.phase, state.sha) == ("ready", two)
        assert "still runs, too" not in state.message
        assert len(keepers(tmp_path)) == 1


async def test_a_conductor_restarted_between_knows_since_when_the_old_one_lingers(
    tmp_path: Path,
) -> None:
    commits = Commits()
    one, two = commits.serve("one"), commits.serve("two")
    clock = Hurrying()
    async with local(tmp_path, commits, clock=clock, stop=False) as target:
        await target.release(a_release(one, 1))
        await settled(target)
        (old,) = keepers(tmp_path)
        await target.release(a_release(two, 2))
        await settled(target)
    clock.jump(LINGER_SECONDS)
    async with local(tmp_path, commits, clock=clock) as target:
        assert runs(old)
        assert (await target.state(PLAN, repository=REPOSITORY)).sha == two
        assert not runs(old)


async def test_what_a_conductor_wrote_off_and_was_killed_before_it_ended_is_ended_next(
    tmp_path: Path,
) -> None:
    commits = Commits()
    async with local(tmp_path, commits, stop=False) as target:
        await target.release(a_release(commits.serve("one"), 1))
        await settled(target)
        (old,) = keepers(tmp_path)
        (record,) = found(tmp_path, "*/service.json")
    record.unlink()
    async with local(tmp_path, commits) as target:
        assert (await target.state(PLAN, repository=REPOSITORY)).phase == "absent"
        assert not runs(old)


async def test_the_old_one_goes_on_while_the_new_one_is_not_well(tmp_path: Path) -> None:
    commits = Commits()
    one, sick = commits.serve("one"), commits.serve("sick", healthy=False)
    async with local(tmp_path, commits) as target:
        await target.release(a_release(one, 1))
        url = (await settled(target)).url
        await target.release(a_release(sick, 2))
        async with asyncio.timeout(10):
            while "sick serves" not in await target.log(PLAN, repository=REPOSITORY, lines=1):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        state = await target.state(PLAN, repository=REPOSITORY)
        assert (state.phase, state.sha, state.url) == ("progressing", sick, url)
        assert (await body(url)).startswith("one")
        back = await target.release(a_release(one, 3))
        assert (back.phase, back.sha, back.revision, back.url) == ("ready", one, 3, url)
        assert commits.asked == [one, sick], "what still runs is not started again"
        assert len(keepers(tmp_path)) == 1


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("raise SystemExit('no database')", "exited with code 1: no database"),
        ("import os; os.kill(os.getpid(), 9)", "was killed by signal 9"),
    ],
)
async def test_one_that_ends_before_it_answers_has_failed_and_says_how(
    tmp_path: Path, program: str, said: str
) -> None:
    commits = Commits()
    one, broken = commits.serve("one"), commits.add("broken", program)
    async with local(tmp_path, commits) as target:
        await target.release(a_release(one, 1))
        url = (await settled(target)).url
        await target.release(a_release(broken, 2))
        state = await settled(target)
        assert (state.phase, state.sha, state.revision, state.url) == ("failed", broken, 2, url)
        assert said in state.message
        assert (await target.release(a_release(broken, 2))).phase == "failed", "a repeat finds it"
        assert (await target.release(a_release(one, 3))).phase == "ready"


async def test_a_command_that_is_not_there_is_told(tmp_path: Path) -> None:
    plan = PLAN.model_copy(update={"command": ("no-such-program",)})
    commits = Commits()
    async with local(tmp_path, commits) as target:
        await target.release(a_release(commits.serve("one"), plan=plan))
        state = await settled(target, plan)
        assert state.phase == "failed"
        assert "could not be started" in state.message


async def test_a_service_that_dies_later_is_failed_and_can_be_released_again(
    tmp_path: Path,
) -> None:
    commits = Commits()
    one = commits.serve("one")
    async with local(tmp_path, commits) as target:
        await target.release(a_release(one, 1))
        await settled(target)
        (pid,) = keepers(tmp_path)
        os.kill(pid, signal.SIGKILL)
        await gone(pid)
        state = await settled(target)
        assert (state.phase, state.url) == ("failed", None)
        assert "gone" in state.message
        await target.release(a_release(one, 2))
        assert (await settled(target)).phase == "ready"


async def test_when_the_keeper_is_killed_the_service_dies_with_it(tmp_path: Path) -> None:
    commits = Commits()
    async with local(tmp_path, commits) as target:
        await target.release(a_release(commits.serve("one")))
        url = (await settled(target)).url
        (pid,) = keepers(tmp_path)
        os.kill(pid, signal.SIGKILL)
        await gone(pid)
        async with asyncio.timeout(10):
            while True:
                try:
                    await body(url)
                except httpx2.HTTPError:
                    break
                await asyncio.sleep(0.02)


async def test_a_repeat_starts_nothing_and_an_older_revision_is_refused(tmp_path: Path) -> None:
    commits = Commits()
    one, two = commits.serve("one"), commits.serve("two")
    async with local(tmp_path, commits) as target:
        await target.release(a_release(one, 5))
        await target.release(a_release(one, 5))
        state = await settled(target)
        with pytest.raises(UserError, match="older than revision 5"):
            await target.release(a_release(two, 4))
        assert await settled(target) == state
        assert commits.asked == [one]


async def test_a_restarted_conductor_finds_what_runs(tmp_path: Path) -> None:
    commits = Commits()
    one, two = commits.serve("one"), commits.serve("two")
    async with local(tmp_path, commits, stop=False) as target:
        await target.release(a_release(one, 1))
        before = await settled(target)
        await target.release(a_release(two, 2))
        await target.close()
    async with local(tmp_path, commits) as target:
        state = await settled(target)
        assert (state.phase, state.sha) == ("ready", two)
        assert state.url != before.url
        assert (await body(state.url)).startswith("two")


async def test_a_number_that_now_belongs_to_somebody_else_is_never_signalled(
    tmp_path: Path,
) -> None:
    commits = Commits()
    async with local(tmp_path, commits) as target:
        await target.release(a_release(commits.serve("one")))
        await settled(target)
        (note,) = found(tmp_path, f"*/*/{local_keeper.KEEPER}")
        (pid,) = keepers(tmp_path)
        os.kill(pid, signal.SIGTERM)
        await gone(pid)
        stranger = await asyncio.create_subprocess_exec("sleep", "60")
        try:
            noted = json.loads(note.read_text())
            note.write_text(json.dumps(noted | {"pid": stranger.pid}))
            assert (await settled(target)).phase == "failed"
            await stop_all(tmp_path, SystemClock())
            assert stranger.returncode is None
            assert runs(stranger.pid)
        finally:
            stranger.kill()
            await stranger.wait()


@pytest.mark.parametrize("binary", [None, BWRAP], ids=["plain", "bubblewrap"])
async def test_stopping_gives_the_service_time_to_say_goodbye(
    tmp_path: Path, binary: Binary | None
) -> None:
    commits = Commits()
    async with local(tmp_path, commits, binary=binary) as target:
        await target.release(a_release(commits.serve("one")))
        await settled(target)
        (pid,) = keepers(tmp_path)
        os.kill(pid, signal.SIGTERM)
        await gone(pid)
        assert "goodbye" in await target.log(PLAN, repository=REPOSITORY, lines=5)


async def test_a_log_keeps_its_newest_part_only(tmp_path: Path) -> None:
    commits = Commits()
    flood = "for n in range(200_000):\n    print('line', n)\n"
    sha = commits.add("one", flood + commits.texts[commits.serve("x")]["app.py"].decode())
    async with local(tmp_path, commits) as target:
        await target.release(a_release(sha))
        await settled(target)
        log = await target.log(PLAN, repository=REPOSITORY, lines=100_000)
        assert len(log.encode()) <= 64 * 1024
        assert log.endswith("line 199999\nx serves")
        kept = sum(path.stat().st_size for path in found(tmp_path, "*/*/log*"))
        assert kept <= 2 * local_keeper.LOG_BYTES


async def test_without_a_health_check_taking_connections_is_enough(tmp_path: Path) -> None:
    commits = Commits()
    async with local(tmp_path, commits) as target:
        await target.release(a_release(commits.serve("sick", healthy=False), plan=NO_HEALTH))
        assert (await settled(target, NO_HEALTH)).phase == "ready"


async def test_two_environments_and_repositories_do_not_meet(tmp_path: Path) -> None:
    commits = Commits()
    one, two = commits.serve("one"), commits.serve("two")
    other = PLAN.model_copy(update={"name": "qa"})
    async with local(tmp_path, commits) as target:
        await target.release(a_release(one, 9))
        await target.release(a_release(two, 1, plan=other))
        assert (await settled(target)).sha == one
        assert (await settled(target, other)).sha == two
        assert (await target.state(PLAN, repository="acme/else")).phase == "absent"


async def test_a_path_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    async def hostile(_: object) -> Snapshot:
        return Snapshot(sha="a" * 40, files={"../../outside": b"x"})

    async with httpx2.AsyncClient() as client:
        target = LocalTarget(tmp_path / "services", hostile, client, SystemClock())
        with pytest.raises(UserError, match="leads elsewhere"):
            await target.release(a_release("a" * 40))
        assert (await target.state(PLAN, repository=REPOSITORY)).phase == "absent"
        await stop_all(tmp_path / "services", SystemClock())
    assert not (tmp_path / "outside").exists()


async def test_files_that_cannot_be_had_now_leave_the_release_to_be_tried_again(
    tmp_path: Path,
) -> None:
    commits = Commits()
    sha = commits.serve("one")
    faults = [Retryable("GitHub is away")]

    async def files(release: Release) -> Snapshot:
        if faults:
            raise faults.pop()
        return await commits(release)

    async with httpx2.AsyncClient() as client:
        target = LocalTarget(tmp_path, files, client, SystemClock())
        with pytest.raises(Retryable):
            await target.release(a_release(sha))
        await target.release(a_release(sha))
        assert (await settled(target)).phase == "ready"
        await stop_all(tmp_path, SystemClock())


async def test_without_a_command_it_says_what_to_write(tmp_path: Path) -> None:
    async with local(tmp_path, Commits()) as target:
        with pytest.raises(UserError, match="`command`"):
            await target.release(a_release("a" * 40, plan=PLAN.model_copy(update={"command": ()})))


async def test_a_service_that_another_conductor_works_on_is_left_to_it(tmp_path: Path) -> None:
    async with local(tmp_path, Commits()) as target:
        await target.state(PLAN, repository=REPOSITORY)
        (lock,) = found(tmp_path, "*/lock")
        with lock.open() as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            with pytest.raises(Retryable, match="Another Conductor"):
                await target.state(PLAN, repository=REPOSITORY)
