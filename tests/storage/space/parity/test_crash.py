"""Power cuts at every operation of short workloads, disks lost with them or not: redo makes it whole.

storage/cache/port.py: "a backing may leave anything torn between `apply` and the end of its `flush`: it will
be given the same redo records together with the same data, in the same order, before anybody reads."
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable

import pytest

from storage.units import BLOCK_BYTES
from tests.sim.disk import PowerCut
from tests.storage.space.parity.rig import Rig

Workload = Callable[[Rig], Awaitable[None]]


async def small_overwrites(rig: Rig) -> None:
    await rig.write([(0, 1)])
    await rig.flush()
    await rig.write([(1, 1), (3, 2)])
    await rig.flush()


async def long_batch(rig: Rig) -> None:
    blocks = rig.map.stripe_bytes // BLOCK_BYTES
    await rig.write([(1, 2 * blocks)])
    await rig.write([(3 * blocks, 1), (3 * blocks + 2, 1)])
    await rig.flush()


async def fresh_and_trims(rig: Rig) -> None:
    await rig.trim(0, rig.map.stripe_bytes)
    await rig.write([(0, 1)])
    await rig.flush()
    await rig.write_fresh(1, 1)
    await rig.flush()
    rig.model.update((block, {data}) for block, data in rig.fresh.items())
    await rig.trim(0, rig.map.row_bytes)
    await rig.write([(2, 1)])
    await rig.flush()


WORKLOADS = [small_overwrites, long_batch, fresh_and_trims]


async def prepare(rig: Rig) -> None:
    for stripe in range(rig.size // rig.map.stripe_bytes):
        if stripe != 3:
            await rig.write_fresh(stripe, 1)
            rig.model.update((block, {data}) for block, data in rig.fresh.items())
    await rig.flush()


def begun(columns: int, parities: int, seed: int) -> Rig:
    rig = Rig(columns, parities, rows=2, slab=16384, interleave=8192, seed=seed, spares=0)
    rig.run(prepare(rig))
    rig.operations = 0
    return rig


def cut(workload: Workload, columns: int, parities: int, at: int, seed: int, lost: tuple[int, ...]) -> bool:
    """False if the workload ended before that operation."""
    rig = begun(columns, parities, seed)
    rig.cut_at = at
    try:
        rig.run(workload(rig))
        if not lost:
            return False
    except PowerCut:
        pass
    rig.power_cut(lost)

    async def after() -> None:
        await rig.recover()
        await rig.check()
        rig.bring_back()
        await rig.check()
        await rig.refill_all()
        await rig.check()
        for row in sorted(rig.host.state.rows):
            assert not (await rig.machine.scrub_row(row, nothing)).lost
        await rig.flush()
        await rig.check_redundancy()
        await rig.write([(0, 3)])
        await rig.flush()
        await rig.check()

    rig.run(after())
    return rig.cut_at is None and rig.operations >= 0


async def nothing(count: int) -> None:
    pass


def operations_of(workload: Workload, columns: int, parities: int) -> int:
    rig = begun(columns, parities, 1)
    rig.run(workload(rig))
    return rig.operations


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("columns,parities", [(3, 1), (4, 2)])
def test_a_power_cut_at_any_operation_loses_nothing(workload: Workload, columns: int, parities: int) -> None:
    for at in range(operations_of(workload, columns, parities)):
        for seed in (1, 2, 3):
            cut(workload, columns, parities, at, seed, ())


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("columns,parities", [(3, 1), (4, 2)])
def test_a_power_cut_that_takes_as_many_disks_as_are_tolerated_loses_nothing(
    workload: Workload, columns: int, parities: int
) -> None:
    total = operations_of(workload, columns, parities)
    choices = itertools.cycle(itertools.combinations(range(columns), parities))
    for at in range(total + 1):
        for seed in (1, 2):
            cut(workload, columns, parities, at, seed, next(choices))
