"""The invariants of the engine and of the code around it, in as many histories as time allows."""

import pytest

from tests.simulation.simulator import Simulation, seeds

CHUNK = 250
SEEDS = seeds()


@pytest.mark.parametrize("first", SEEDS[::CHUNK])
def test_no_history_breaks_an_invariant(first: int) -> None:
    for seed in SEEDS[first - SEEDS.start :][:CHUNK]:
        try:
            Simulation(seed).run()
        except Exception as error:
            error.add_note(f"Reproduce it with CONDUCTOR_SIM_SEEDS={seed}-{seed}.")
            raise


def test_a_seed_tells_the_same_history_every_time() -> None:
    for seed in SEEDS[:20]:
        first, again = Simulation(seed).run(), Simulation(seed).run()
        assert first.history == again.history
        assert first.runs == again.runs
        assert first.forge == again.forge
