"""Parity spaces in a real pool, behind their write-back cache: reopened, cut, with disks lost and back
again."""

from __future__ import annotations

import random
from collections.abc import Collection

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.errors import PoolFull
from storage.pool.pool import Pool
from storage.space.port import Space
from storage.units import BLOCK_BYTES, SpaceOffset
from tests.sim.disk import PowerCut
from tests.sim.world import Model, World

SIZE = 384 << 10
SLAB = 64 << 10
KINDS = {"parity": (4, 1), "dual-parity": (6, 2)}
"""Disks, and how many may be lost."""


class PoolStory:
    """`victims` are the disks that may be faulty until the next repair."""

    def __init__(self, kind: str, seed: int, is_random: bool = False) -> None:
        count, self.tolerance = KINDS[kind]
        self.kind = kind
        self.world = World([4 << 20] * count, seed, is_random, is_random)
        self.rng = random.Random(seed)
        self.model = Model(SIZE)
        self.victims = self.rng.sample(range(count), self.tolerance)
        self.loose: set[int] = set()
        """Blocks that were trimmed: nothing refers to them, so after a power cut they may read as anything
        that they once were."""
        self.tightened: set[int] = set()
        """Those of them that were written again, not flushed yet."""
        self.run(self.create())

    def run(self, work) -> None:
        self.world.runtime.run(work)

    async def create(self) -> None:
        self.pool = await Pool.create(self.world.disks, "p", runtime=self.world.runtime, slab_bytes=SLAB)
        await self.pool.create_space("v", self.kind, SIZE, interleave_bytes=16384, write_cache_bytes=2 << 20)
        self.attach()

    def attach(self) -> None:
        self.space: Space = self.pool.space("v")

    async def write(self, offset: int, data: bytes, fresh: bool = False) -> None:
        self.model.write(offset, data, fresh)
        self.tightened.update(range(offset // BLOCK_BYTES, -(-(offset + len(data)) // BLOCK_BYTES)))
        try:
            if not self.space.write_now(SpaceOffset(offset), [data], fresh):
                await self.space.write(SpaceOffset(offset), [data], fresh)
        except PoolFull:
            self.model.settle(await self.read_all())

    async def flush(self) -> None:
        before, tightened = self.model.unflushed(), set(self.tightened)
        await self.space.flush()
        self.model.flushed(before)
        self.loose -= tightened
        self.tightened -= tightened

    async def trim(self, offset: int, length: int) -> None:
        blocks = range(offset // BLOCK_BYTES, (offset + length) // BLOCK_BYTES)
        self.loose.update(blocks)
        self.tightened.difference_update(blocks)
        self.model.trim(offset, length)
        await self.space.trim(SpaceOffset(offset), length)
        self.model.settle(await self.read_all())

    async def read_all(self) -> bytearray:
        content = bytearray(SIZE)
        view, at = memoryview(content), 0
        while at < SIZE:
            length = min(self.rng.choice((512, 4096, 70_000)), SIZE - at)
            if self.rng.random() < 0.3:
                self.space.read_blocking(SpaceOffset(at), view[at : at + length])
            else:
                await self.space.read(SpaceOffset(at), view[at : at + length])
            at += length
        return content

    async def check(self) -> None:
        assert await self.read_all() == self.model.now

    async def do(self, what: str, a: int, b: int) -> None:
        if what == "write":
            offset = a % SIZE
            size = (1, 700, 4096, 20_000, 100_000)[b % 5]
            await self.write(offset, self.rng.randbytes(min(size, SIZE - offset)))
        elif what == "fresh":
            offset = a % (SIZE // BLOCK_BYTES) * BLOCK_BYTES
            length = min((b % 40 + 1) * BLOCK_BYTES, SIZE - offset)
            await self.trim(offset, length)
            await self.write(offset, self.rng.randbytes(length), fresh=True)
        elif what == "flush":
            await self.flush()
        elif what == "trim":
            offset = a % (SIZE // BLOCK_BYTES) * BLOCK_BYTES
            length = min((b % 60 + 1) * BLOCK_BYTES, SIZE - offset)
            await self.trim(offset, length)
        elif what == "lose":
            self.world.disks[self.victims[a % self.tolerance]].fail()
        elif what == "reopen":
            await self.flush()
            await self.pool.close()
            self.world.restore_open()
            await self.open(self.lost())
        elif what == "repair":
            await self.repair()
        else:
            await self.check()

    def lost(self) -> list[int]:
        return [n for n in self.victims if self.world.disks[n].failure is not None]

    async def open(self, lost: Collection[int]) -> None:
        there = [disk for n, disk in enumerate(self.world.disks) if n not in lost]
        self.pool = await Pool.open(there, self.world.runtime)
        self.attach()

    async def repair(self) -> None:
        """All disks are back."""
        await self.flush()
        await self.pool.close()
        for disk in self.world.disks:
            disk.heal()
        self.world.restore_open()
        await self.open(())
        await self.check()
        status = self.pool.status().spaces[0]
        assert (status.health, status.operational) == ("Healthy", "OK"), status
        self.victims = self.rng.sample(range(len(self.world.disks)), self.tolerance)

    def cut(self, what: str, a: int, b: int) -> None:
        self.world.cut_at = self.world.operations + b % (200 if what == "reopen" else 60)
        try:
            self.run(self.do(what, a, b))
        except PowerCut:
            pass
        self.world.runtime.kill_tasks()
        lost = [n for n in self.victims if self.world.disks[n].failure is not None or (a >> n) & 1]
        self.world.power_cut()
        for number in lost:
            self.world.disks[number].fail()
        self.run(self.open(lost))
        self.run(self.after_cut())

    async def after_cut(self) -> None:
        content = await self.read_all()
        for block in self.loose:
            span = slice(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES)
            self.model.now[span] = content[span]
        self.model.check_cut(content)
        self.tightened.clear()
        await self.check()


OPERATIONS = ("write", "write", "write", "fresh", "flush", "trim", "lose", "reopen", "repair", "cut", "check")
steps = st.lists(
    st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 1 << 20), st.integers(0, 1 << 20)), max_size=12
)


def play(story: PoolStory, program: list[tuple[str, int, int]]) -> None:
    rest = iter([*program, ("check", 0, 0), ("repair", 0, 0), ("check", 0, 0)])
    for what, a, b in rest:
        if what == "cut":
            what, a, b = next(rest)
            story.cut("flush" if what in ("cut", "repair", "lose") else what, a, b)
        else:
            story.run(story.do(what, a, b))
    story.run(story.pool.close())


@pytest.mark.parametrize("kind", sorted(KINDS))
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(program=steps, seed=st.integers(0, 1 << 30), is_random=st.booleans())
def test_what_was_flushed_is_read_whatever_happens_to_as_many_disks_as_are_tolerated(
    kind: str, program: list[tuple[str, int, int]], seed: int, is_random: bool
) -> None:
    play(PoolStory(kind, seed, is_random), program)
