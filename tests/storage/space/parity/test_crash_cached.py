"""Power cuts before every disk operation of short workloads, through the write-back cache.

With and without the loss of as many disks as are tolerated; storage/space/port.py says what may be read then.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable

import pytest

from storage.cache.cache import WriteBackCache
from storage.cache.limits import CacheLimits
from storage.units import BLOCK_BYTES, SpaceOffset
from tests.sim.disk import PowerCut, SimDisk
from tests.sim.world import Model
from tests.storage.space.parity.rig import DiskSpace, Rig, no_pace

JOURNAL_BYTES = 2 << 20
LIMITS = CacheLimits(batch_bytes=64 << 10)


class CachedRig:
    def __init__(self, columns: int, parities: int, seed: int) -> None:
        self.rig = Rig(columns, parities, rows=2, slab=16384, interleave=8192, seed=seed, spares=0)
        self.journal = SimDisk("journal", JOURNAL_BYTES, self.rig.runtime)
        self.model = Model(self.rig.size)
        self.rig.run(self.fill())
        self.journal.hook = self.rig._count
        self.rig.operations = 0

    async def open(self) -> None:
        self.cache = WriteBackCache(
            DiskSpace(self.journal), self.rig.machine, self.rig.runtime, identity=77, limits=LIMITS
        )
        await self.cache.open()

    async def fill(self) -> None:
        await self.open()
        for at in range(0, self.rig.size, self.rig.map.stripe_bytes):
            if at != 2 * self.rig.map.stripe_bytes:
                await self.write(at, self.rig.noise(self.rig.map.stripe_bytes // BLOCK_BYTES), fresh=True)
        await self.flush()
        await self.cache.close()
        await self.open()

    async def write(self, offset: int, data: bytes, fresh: bool = False) -> None:
        self.model.write(offset, data, fresh)
        if not self.cache.write_now(SpaceOffset(offset), [data], fresh):
            await self.cache.write(SpaceOffset(offset), [data], fresh)

    async def flush(self) -> None:
        before = self.model.unflushed()
        await self.cache.flush()
        self.model.flushed(before)

    async def reopen(self) -> None:
        """Everything is destaged."""
        before = self.model.unflushed()
        await self.cache.close()
        self.model.flushed(before)
        await self.open()

    async def read_all(self) -> bytearray:
        content = bytearray(self.rig.size)
        await self.cache.read(SpaceOffset(0), memoryview(content))
        return content

    def power_cut(self, lost: tuple[int, ...]) -> None:
        self.rig.runtime.kill_tasks()
        self.journal.power_cut(self.rig.rng)
        self.rig.power_cut(lost)
        self.journal.hook = self.rig._count

    async def after(self) -> None:
        rig = self.rig
        await self.open()
        self.model.check_cut(await self.read_all())
        rig.bring_back()
        await rig.refill_all()
        assert await self.read_all() == self.model.now
        await self.reopen()
        assert await self.read_all() == self.model.now
        for row in sorted(rig.host.state.rows):
            assert not (await rig.machine.scrub_row(row, no_pace)).lost
        await rig.machine.flush()
        await rig.check_redundancy()
        await self.cache.close()


async def small_writes(one: CachedRig) -> None:
    await one.write(100, b"a" * 5000)
    await one.write(9 * BLOCK_BYTES, b"b" * BLOCK_BYTES)
    await one.flush()
    await one.reopen()
    await one.write(4096, b"c" * 4096)
    await one.reopen()


async def a_stripe_and_its_neighbours(one: CachedRig) -> None:
    stripe = one.rig.map.stripe_bytes
    await one.write(stripe - 4096, b"d" * (stripe + 8192))
    await one.reopen()
    await one.write(2 * stripe, b"e" * stripe, fresh=True)
    await one.write(2 * stripe + 700, b"f" * 700)
    await one.reopen()


WORKLOADS: list[Callable[[CachedRig], Awaitable[None]]] = [small_writes, a_stripe_and_its_neighbours]


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("columns,parities", [(3, 1), (4, 2)])
@pytest.mark.parametrize("is_lost", [False, True])
def test_a_power_cut_before_any_operation_leaves_what_was_flushed(
    workload: Callable[[CachedRig], Awaitable[None]], columns: int, parities: int, is_lost: bool
) -> None:
    choices = itertools.cycle(itertools.combinations(range(columns), parities) if is_lost else [()])
    for at in itertools.count():
        one = CachedRig(columns, parities, seed=at)
        one.rig.cut_at = at
        try:
            one.rig.run(workload(one))
        except PowerCut:
            pass
        has_ended = one.rig.operations < at
        one.power_cut(next(choices))
        one.rig.run(one.after())
        if has_ended:
            break
    assert at > 20
