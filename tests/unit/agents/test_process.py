"""The agent process, with real processes and a provider on this machine."""

import asyncio
import json
import os
import random
import signal
import sys
import textwrap
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import SecretStr

from pipelines.agents.frames import (
    MAX_FRAME_BYTES,
    BrokenProtocol,
    Done,
    FrameTooLarge,
    Reply,
    Trouble,
    decode_from_child,
    encode,
)
from pipelines.agents.process import ProcessRunner, child_environment
from pipelines.agents.requests import TEXTS, written
from pipelines.errors import (
    BudgetExceeded,
    Dropped,
    Ignorable,
    LeaseLost,
    ModelUnavailable,
    Parked,
    Retryable,
    UserError,
)
from pipelines.integrations.llm.chain import CallRecord
from pipelines.integrations.llm.factory import ProviderSettings
from pipelines.model import (
    Actor,
    Change,
    ChangedFiles,
    PullRequestTrigger,
    Repository,
    Task,
    Usage,
)
from pipelines.ports import FileText
from pipelines.system import SystemClock
from tests.support.providers import openai_chunk, openai_events, serve, stream
from tests.support.workplace import MemoryWorkplace

CANARY = "canary-github-token-0123456789"
ROOT = Path(__file__).parents[3]
HEAD, BASE = "a" * 40, "b" * 40
REPOSITORY = Repository(installation_id=1, id=2, owner="acme", name="shop")
NOTHING_FOUND = json.dumps({"findings": []})


class OneFile(MemoryWorkplace):
    """A change of one file whose text names the task it belongs to."""

    def __init__(self, name: str = "one", error: Exception | None = None, size: int = 0) -> None:
        super().__init__({"app.py": f"value = '{name}'\n" + "#" * size}, {"app.py": ""})
        self.error = error
        self.reads: list[tuple[str, ...]] = []

    async def changed_files(self) -> ChangedFiles:
        if self.error:
            raise self.error
        return await super().changed_files()

    async def read(
        self, paths: Sequence[str], *, at: Literal["head", "base"] = "head"
    ) -> Mapping[str, FileText]:
        self.reads.append(tuple(paths))
        return await super().read(paths, at=at)


def task(number: int = 1, *, agent: str = "review", seconds: float = 120) -> Task:
    actor = Actor(id=7, login="dev")
    return Task(
        run_id=f"run{number}",
        step="review",
        agent=agent,
        attempt=1,
        trigger=PullRequestTrigger(
            repository=REPOSITORY,
            actor=actor,
            delivery_id="d1",
            action="opened",
            number=number,
            head_sha=HEAD,
            head_ref="topic",
            base_ref="main",
            base_sha=BASE,
            head_repository_id=2,
            author=actor,
        ),
        change=Change(
            repository=REPOSITORY,
            number=number,
            head_sha=HEAD,
            base_sha=BASE,
            head_repository_id=2,
            title=f"Change {number}",
        ),
        models=("openai:test-model",),
        budget_usd=10,
        deadline=datetime.now(UTC) + timedelta(seconds=seconds),
    )


@asynccontextmanager
async def running(url: str = "http://127.0.0.1:9", **options: Any) -> AsyncGenerator[ProcessRunner]:
    settings = ProviderSettings(openai_key=SecretStr("sk-model-key"), openai_url=url)
    values: dict[str, Any] = {
        "environ": os.environ | {"GITHUB_TOKEN": CANARY, "GITHUB_PRIVATE_KEY": CANARY},
        "log": lambda line: None,
        "grace_seconds": 2.0,
    }
    runner = ProcessRunner(settings, SystemClock(), **(values | options))
    try:
        yield runner
    finally:
        await runner.close()


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the kernel has no event for this
            await asyncio.sleep(0.01)


def proc(pid: int | None, name: str) -> bytes:
    return Path(f"/proc/{pid}/{name}").read_bytes()


async def test_a_task_runs_in_another_process_and_its_result_comes_back() -> None:
    records: list[CallRecord] = []
    async with (
        serve(stream(openai_events(NOTHING_FOUND))) as provider,
        running(provider.url, recorder=records.append) as runner,
    ):
        reader = OneFile()
        result = await runner.run(task(), reader)
        assert runner.pid not in (None, os.getpid())
    assert result.status == "completed", result
    assert result.task_id == "run1/review/1"
    assert result.coverage.seen == ("app.py",)
    assert result.usage.calls == 1
    assert reader.reads
    assert "value = 'one'" in json.dumps(provider.bodies)
    assert [(record.model, record.ok) for record in records] == [("openai:test-model", True)]


async def test_five_tasks_at_once_share_one_process_and_each_reads_only_its_own() -> None:
    async with (
        serve(stream(openai_events(NOTHING_FOUND))) as provider,
        running(provider.url) as runner,
    ):
        readers = [OneFile(f"secret-of-{n}") for n in range(5)]
        results = await asyncio.gather(
            *(runner.run(task(n + 1), reader) for n, reader in enumerate(readers))
        )
        pid = runner.pid
        assert pid is not None
    assert [result.status for result in results] == ["completed"] * 5
    assert [result.task_id for result in results] == [f"run{n}/review/1" for n in range(1, 6)]
    prompts = [json.dumps(body) for body in provider.bodies]
    for n in range(5):
        assert sum(f"secret-of-{n}" in prompt for prompt in prompts) == 1


async def test_the_process_has_model_keys_and_nothing_else_of_the_environment() -> None:
    async with (
        serve(stream([openai_chunk({"content": "{"})], then="hang")) as provider,
        running(provider.url) as runner,
    ):
        call = asyncio.ensure_future(runner.run(task(), OneFile()))
        await provider.asked.wait()
        environ = proc(runner.pid, "environ")
        command = proc(runner.pid, "cmdline")
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    assert b"sk-model-key" in environ
    assert CANARY.encode() not in environ
    assert b"sk-model-key" not in command
    names = {entry.split(b"=")[0].decode() for entry in environ.split(b"\0") if entry}
    allowed = child_environment(dict.fromkeys(os.environ, ""), ProviderSettings())
    assert names <= set(allowed) | {"OPENAI_API_KEY", "OPENAI_BASE_URL"}


async def test_cancelling_closes_the_provider_s_connection_and_keeps_the_process() -> None:
    async with (
        serve(
            stream([openai_chunk({"content": "{"})], then="hang"),
            stream(openai_events(NOTHING_FOUND)),
        ) as provider,
        running(provider.url) as runner,
    ):
        spent: list[Usage] = []
        call = asyncio.ensure_future(runner.run(task(), OneFile(), tally=spent.append))
        await provider.asked.wait()
        await eventually(lambda: bool(spent))
        pid = runner.pid
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.wait_for(provider.hung_up.wait(), 10)
        assert [usage.calls for usage in spent] == [1]
        assert 0 < spent[0].cost_usd <= 10
        assert (await runner.run(task(2), OneFile())).status == "completed"
        assert runner.pid == pid


async def test_a_killed_process_fails_its_tasks_as_retryable_and_is_replaced() -> None:
    async with (
        serve(
            stream([openai_chunk({"content": "{"})], then="hang"),
            stream(openai_events(NOTHING_FOUND)),
        ) as provider,
        running(provider.url) as runner,
    ):
        spent: list[Usage] = []
        call = asyncio.ensure_future(runner.run(task(), OneFile(), tally=spent.append))
        await provider.asked.wait()
        first = runner.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        with pytest.raises(Retryable, match="ended with code -9"):
            await call
        assert [usage.calls for usage in spent] == [1]
        assert 0 < spent[0].cost_usd <= 10
        whole = await runner.run(task(2), OneFile(), tally=spent.append)
        assert whole.status == "completed"
        assert [usage.calls for usage in spent] == [1, 1, 1]
        assert spent[1].cost_usd > spent[2].cost_usd == whole.usage.cost_usd
        assert runner.pid != first
        assert not alive(first), "a zombie was left"


async def test_the_process_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent(
            """
            import asyncio, os
            from pipelines.agents.process import ProcessRunner
            from pipelines.integrations.llm.factory import ProviderSettings
            from pipelines.system import SystemClock

            async def main():
                runner = ProcessRunner(
                    ProviderSettings(), SystemClock(), environ=os.environ, log=print
                )
                child = await runner._started()
                print(child.pid, flush=True)
                await asyncio.Event().wait()

            asyncio.run(main())
            """
        )
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable,
        str(script),
        stdout=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    assert alive(pid)
    parent.kill()
    await parent.wait()
    await eventually(lambda: not alive(pid))


async def test_close_ends_the_process_and_what_runs_in_it() -> None:
    async with serve(stream([openai_chunk({"content": "{"})], then="hang")) as provider:
        async with running(provider.url) as runner:
            call = asyncio.ensure_future(runner.run(task(), OneFile()))
            await provider.asked.wait()
            pid = runner.pid
            assert pid is not None
            await runner.close()
            with pytest.raises(Retryable):
                await call
            assert not alive(pid)
            with pytest.raises(Retryable, match="being stopped"):
                await runner.run(task(), OneFile())
        await asyncio.wait_for(provider.hung_up.wait(), 10)


async def test_an_idle_process_is_stopped_and_the_next_task_starts_another() -> None:
    async with (
        serve(stream(openai_events(NOTHING_FOUND))) as provider,
        running(provider.url, idle_seconds=0.05) as runner,
    ):
        await runner.run(task(), OneFile())
        await eventually(lambda: runner.pid is None)
        assert (await runner.run(task(2), OneFile())).status == "completed"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Retryable("GitHub is slow.", retry_after=7, dependency="github"), "retry"),
        (Dropped("The installation is gone."), "drop"),
        (UserError("Not readable."), "user"),
        (RuntimeError("with a secret path /srv/x"), "ours"),
    ],
)
async def test_a_reader_s_failure_reaches_the_agent_as_what_it_was(
    error: Exception, kind: str
) -> None:
    async with running() as runner:
        result = await runner.run(task(), OneFile(error=error))
    assert result.status == "failed"
    assert result.failure is not None
    assert result.failure.kind == kind
    assert "/srv/x" not in result.model_dump_json()


async def test_an_unknown_agent_is_the_user_s_error() -> None:
    async with running() as runner:
        with pytest.raises(UserError, match="no agent 'nobody'"):
            await runner.run(task(agent="nobody"), OneFile())


async def test_a_file_too_large_for_a_frame_is_refused_and_the_process_lives_on() -> None:
    async with (
        serve(stream(openai_events(NOTHING_FOUND))) as provider,
        running(provider.url) as runner,
    ):
        result = await runner.run(task(), OneFile(size=MAX_FRAME_BYTES))
        assert result.failure is None or result.failure.kind == "user"
        assert (await runner.run(task(2), OneFile())).status == "completed"


# --- children that misbehave ---------------------------------------------------------------------


def imposter(body: str) -> list[str]:
    """A child that runs this code with ``send(bytes)`` and ``frame(dict)`` at hand."""
    prelude = """
        import json, os, struct, sys, time
        def send(data):
            os.write(1, data)
        def frame(value):
            body = value if isinstance(value, bytes) else json.dumps(value).encode()
            send(struct.pack(">I", len(body)) + body)
        size, = struct.unpack(">I", sys.stdin.buffer.read(4))
        run = json.loads(sys.stdin.buffer.read(size))
    """
    return [sys.executable, "-c", textwrap.dedent(prelude) + textwrap.dedent(body)]


FAULTS = {
    "garbage": "send(b'not a frame at all, but long enough to be read as one')",
    "huge": "send(struct.pack('>I', 2**31))",
    "cut": "send(struct.pack('>I', 100) + b'{'); os.close(1)",
    "no json": "frame(b'{{{')",
    "not utf-8": "frame(b'\\xff\\xfe')",
    "nested": "frame(b'[' * 100000)",
    "unknown kind": "frame({'kind': 'run', 'id': 1})",
    "no result": "frame({'kind': 'done', 'id': 1})",
    "lax types": "frame({'kind': 'done', 'id': '1', 'result': None})",
    "effect of no kind": (
        "frame({'kind': 'done', 'id': 1, 'result': {'task_id': run['task']['run_id'],"
        "'status': 'completed', 'conclusion': 'success', 'title': 't',"
        "'effects': [{'kind': 'delete_repository'}]}})"
    ),
    "another task": (
        "frame({'kind': 'done', 'id': 1, 'result': {'task_id': 'other/x/1',"
        "'status': 'completed', 'conclusion': 'success', 'title': 't'}})"
    ),
    "too many questions": (
        "[frame({'kind': 'ask', 'id': 1, 'call': n, 'request': {'kind': 'read', 'paths': ['x']}})"
        " for n in range(100000)]"
    ),
    "the same question twice": (
        "[frame({'kind': 'ask', 'id': 1, 'call': 1, 'request': {'kind': 'read', 'paths': ['x']}})"
        " for n in range(2)]"
    ),
    "a question of no kind": "frame({'kind': 'ask', 'id': 1, 'call': 1, 'request': {'kind': 'x'}})",
    "a question with more to it": (
        "frame({'kind': 'ask', 'id': 1, 'call': 1, 'request': {'kind': 'release_state',"
        "'environment': 'production'}})"
    ),
    "an effect of no kind": (
        "frame({'kind': 'ask', 'id': 1, 'call': 1, 'request': {'kind': 'perform',"
        "'effect': {'kind': 'delete_repository'}}})"
    ),
    "exit": "sys.exit(3)",
    "closes its output": "os.close(1); time.sleep(0.2)",
}


class NeverReads(OneFile):
    async def read(
        self, paths: Sequence[str], *, at: Literal["head", "base"] = "head"
    ) -> Mapping[str, FileText]:
        await asyncio.Event().wait()
        return {}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_process_that_breaks_the_protocol_is_killed_and_its_task_is_retryable(
    fault: str,
) -> None:
    linger = "\ntry:\n    time.sleep(60)\nfinally:\n    pass"
    ends = fault in ("exit", "closes its output")
    async with running(command=imposter(FAULTS[fault] + ("" if ends else linger))) as runner:
        with pytest.raises(Retryable, match="agent process"):
            await runner.run(task(), NeverReads())


async def test_a_stuck_process_is_killed_after_the_deadline() -> None:
    async with running(command=imposter("time.sleep(60)"), overtime_seconds=0.0) as runner:
        with pytest.raises(Retryable, match="in time"):
            await runner.run(task(seconds=-1), OneFile())


async def test_a_process_that_ignores_term_is_killed() -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile 1: time.sleep(1)"
    async with running(command=imposter(deaf), grace_seconds=0.1) as runner:
        call = asyncio.ensure_future(runner.run(task(), OneFile()))
        await eventually(lambda: runner.pid is not None)
        pid = runner.pid
        assert pid is not None
        await runner.close()
        with pytest.raises(Retryable):
            await call
    assert not alive(pid)


async def test_a_command_that_does_not_exist_is_retryable() -> None:
    async with running(command=["/nonexistent/python"]) as runner:
        with pytest.raises(Retryable, match="could not be started"):
            await runner.run(task(), OneFile())


async def test_standard_error_is_passed_on_a_redacted_line_at_a_time() -> None:
    lines: list[str] = []
    noisy = "os.write(2, b'one sk-model-key\\n\\xff' + b'x' * 100000 + b'\\nlast'); sys.exit(1)"
    async with running(
        command=imposter(noisy), log=lines.append, redact=lambda s: s.replace("sk-model-key", "***")
    ) as runner:
        with pytest.raises(Retryable):
            await runner.run(task(), OneFile())
    assert lines[0] == "one ***"
    assert lines[-1] == "last"
    assert max(map(len, lines)) <= 8192


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
async def test_an_unforeseen_exception_reaches_the_log_of_the_parent(level: str) -> None:
    lines: list[str] = []
    environ = {**os.environ, "CONDUCTOR_LOG_LEVEL": level}
    async with running(log=lines.append, environ=environ) as runner:
        result = await runner.run(task(), OneFile(error=KeyError("/srv/secret")))
    assert result.failure
    assert result.failure.message.endswith("its log has the details.")
    fault, *words = [json.loads(line) for line in lines]
    assert (fault["event"], fault["run_id"], fault["level"]) == ("agent failed", "run1", "error")
    assert fault["where"]
    assert len(words) == (level == "DEBUG")


# --- frames --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        Retryable("a", retry_after=3.5, dependency="x"),
        Parked("b", until=datetime(2026, 1, 1, tzinfo=UTC), scope="github"),
        Ignorable("c"),
        Dropped("d"),
        ModelUnavailable("e"),
        UserError("f"),
        LeaseLost("run1/ship/1"),
    ],
)
def test_an_exception_means_the_same_on_the_other_side(error: Exception) -> None:
    there = Trouble.model_validate_json(Trouble.of(error).model_dump_json()).error()
    assert type(there) is type(error)
    assert str(there) == str(error)
    assert vars(there) == vars(error)


def test_a_spent_budget_becomes_an_unavailable_model_and_our_faults_keep_their_text() -> None:
    spent = Trouble.of(BudgetExceeded(needed_usd=2, left_usd=1)).error()
    assert isinstance(spent, ModelUnavailable)
    assert "budget" in str(spent)
    assert str(Trouble.of(KeyError("/srv/secret")).error()) == "KeyError"


def test_a_message_larger_than_a_frame_is_not_sent() -> None:
    with pytest.raises(FrameTooLarge):
        encode(Reply(call=1, answer="x" * MAX_FRAME_BYTES))


def test_half_a_surrogate_pair_in_strangers_text_does_not_stop_a_message() -> None:
    text = FileText(path="x\ud800", text="é\udfff😀")
    body = encode(Reply(call=1, answer=written(TEXTS, (text,))))[4:]
    (got,) = TEXTS.validate_json(Reply.model_validate_json(body).answer)
    assert (got.path, got.text) == ("x?", "é?😀")
    refused = encode(Done(id=1, trouble=Trouble(kind="user", message="\ud800")))[4:]
    assert decode_from_child(refused) == Done(id=1, trouble=Trouble(kind="user", message="?"))


def test_random_bytes_are_never_a_message() -> None:
    rng = random.Random(20260105)
    for _ in range(300):
        with pytest.raises(BrokenProtocol):
            decode_from_child(rng.randbytes(rng.randrange(200)))


@pytest.mark.parametrize("field", ["id", "trouble"])
def test_types_are_not_guessed(field: str) -> None:
    frame = {"kind": "done", "id": 1, "trouble": {"kind": "user", "message": "no"}}
    decode_from_child(json.dumps(frame).encode())
    wrong = {"id": "1", "trouble": {"kind": "user", "message": "no", "retry_after": "3"}}
    with pytest.raises(BrokenProtocol, match=field):
        decode_from_child(json.dumps(frame | {field: wrong[field]}).encode())


def test_what_one_side_encodes_the_other_decodes() -> None:
    done = Done(id=3, trouble=Trouble(kind="user", message="no — ✗"))
    assert decode_from_child(encode(done)[4:]) == done
