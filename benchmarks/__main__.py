"""``python -m benchmarks`` measures everything, ``python -m benchmarks NAME …`` one thing."""

import sys
from collections.abc import Callable, Mapping, Sequence

from benchmarks import (
    acknowledgement,
    calls,
    crashes,
    engine,
    fairness,
    footprint,
    limits,
    queues,
    runs,
)

BENCHMARKS: Mapping[str, Callable[[Sequence[str]], None]] = {
    "acknowledgement": acknowledgement.main,
    "engine": engine.main,
    "footprint": footprint.main,
    "calls": calls.main,
    "limits": limits.main,
    "fairness": fairness.main,
    "runs": runs.main,
    "queues": queues.main,
    "crashes": crashes.main,
}


def main(arguments: Sequence[str]) -> None:
    if not arguments:
        for benchmark in BENCHMARKS.values():
            benchmark(())
    elif benchmark := BENCHMARKS.get(arguments[0]):
        benchmark(arguments[1:])
    else:
        sys.exit(f"There is no benchmark {arguments[0]!r}; choose one of {', '.join(BENCHMARKS)}.")


if __name__ == "__main__":
    main(sys.argv[1:])
