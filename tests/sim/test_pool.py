"""Whole pools from seeds: no read is ever wrong, nothing flushed is lost, and in the end all is well again.

`--seeds N` runs the seeds 1..N. To see one again: `SOFS_SEED=123 pytest tests/sim/test_pool.py`.
"""

import os

import pytest

from tests.sim.pool_simulation import PoolSimulation

SEEDS = 50
SEED = "SOFS_SEED"


def pytest_generate_tests(metafunc):
    if "seed" in metafunc.fixturenames:
        count = metafunc.config.getoption("--seeds") or SEEDS
        one = os.environ.get(SEED)
        metafunc.parametrize("seed", [int(one)] if one else range(1, count + 1))


def test_a_pool_keeps_what_it_was_given_and_becomes_well_again(seed):
    simulation = PoolSimulation(seed)
    try:
        simulation.run()
    except BaseException as error:
        error.add_note(f"seed {seed}: repeat it with {SEED}={seed}; {simulation.plan}")
        error.add_note("\n".join(simulation.log[-60:]))
        raise


@pytest.mark.parametrize("seed_twice", [3, 8])
def test_the_same_seed_gives_the_same_trace(seed_twice):
    assert PoolSimulation(seed_twice).run() == PoolSimulation(seed_twice).run()
