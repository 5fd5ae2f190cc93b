"""Each benchmark runs to its end; what it measures is not judged here."""

import pytest

from benchmarks.__main__ import BENCHMARKS, main

QUICK = {
    "acknowledgement": ("--seconds", "0.2", "--rounds", "1"),
    "engine": ("--seconds", "0.05"),
    "footprint": ("--repeats", "1", "--seconds", "0.2"),
    "calls": (),
    "limits": ("--seconds", "0.05"),
    "runs": ("--serial", "2", "--seconds", "0.1", "--only", "1 worker"),
    "queues": (
        *("--messages", "50", "--calm", "5", "--workers", "1", "--most", "10"),
        *("--turns", "10", "--runs", "10", "--warm", "0"),
    ),
    "crashes": ("--lease", "0.2", "--steps", "4", "--rounds", "1"),
    "fairness": ("--queued", "50", "--starts", "3", "--task", "0.01", "--url", "memory://"),
}
SHOWN = {
    "acknowledgement": ("floor", "Conductor, idle", "5 reviews running"),
    "engine": ("engine alone", "memory", "SQLite"),
    "footprint": ("bot.cli.serving", "resident, idle", "agents' process"),
    "calls": ("POST /graphql", "together"),
    "limits": ("this process", "Valkey", "a comment"),
    "runs": ("floor, Redis", "Conductor, Redis, 1 worker", "x floor"),
    "queues": ("Redis (everysec) │ 1", "KiB of a queued run", "beside a backlog"),
    "crashes": ("killed with -9, 1 x", "paused past", "busy for 3", "doubled results"),
    "fairness": ("memory", "p95 ms"),
}
LONG = {"acknowledgement", "calls"}
"""More than ten seconds of real processes and real waiting."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.fleet] if name in LONG else []) for name in BENCHMARKS],
)
def test_a_benchmark_prints_its_table(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([name, *QUICK[name]])
    printed = " ".join(capsys.readouterr().out.split())
    assert not [words for words in SHOWN[name] if words not in printed]


def test_an_unknown_benchmark_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SystemExit, match="acknowledgement, engine"):
        main(["speed"])
