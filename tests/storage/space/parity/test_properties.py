"""Any writes, with any tolerated set of lost, stale, torn, rotted and misdirected blocks.

The faults of a time are kept on as many disks as the type tolerates, until all is repaired (the fault
budget). Then every read gives the last acknowledged bytes; after the repair P and Q are what the data gives,
and the truth is that of the data.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.units import BLOCK_BYTES
from tests.sim.disk import PowerCut
from tests.storage.space.parity.rig import Rig, no_pace

OPERATIONS = (
    "write", "write", "write", "batch", "flush", "fresh", "trim", "lose", "rot", "misdirect", "cut", "repair",
    "scrub", "check", "race", "back", "refill",
)  # fmt: skip
steps = st.lists(
    st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 1 << 20), st.integers(0, 1 << 20)), max_size=14
)


class Story:
    """One run: `victims` are the disks that may be faulty until the next repair."""

    def __init__(self, columns: int, parities: int, seed: int, is_random: bool) -> None:
        self.rig = Rig(
            columns, parities, slab=16384, interleave=8192, seed=seed, blocks=is_random, is_random=is_random
        )
        self.blocks = self.rig.size // BLOCK_BYTES
        self.choose()

    def choose(self) -> None:
        self.is_rotten = False
        self.victims = self.rig.rng.sample(range(len(self.rig.disks)), self.rig.map.parities)

    async def do(self, what: str, a: int, b: int) -> None:
        rig = self.rig
        victim = self.victims[a % len(self.victims)]
        if what == "write":
            first = a % self.blocks
            await rig.write([(first, min(1 + b % 9, self.blocks - first))])
        elif what == "race":
            first = a % self.blocks
            await rig.race([(first, min(1 + b % 5, self.blocks - first))])
        elif what == "back":
            rig.bring_back()
        elif what == "refill":
            for disk in rig.disks:
                disk.misdirect_next = None
            rig.bring_back()
            await rig.refill_all()
        elif what == "batch":
            firsts = sorted({a % self.blocks, b % self.blocks, (a + b) % self.blocks})
            await rig.write([(first, 1) for first in firsts])
        elif what == "flush":
            await rig.flush()
        elif what == "fresh":
            stripes = rig.size // rig.map.stripe_bytes
            first = a % stripes
            await rig.flush()
            await rig.write_fresh(first, min(1 + b % 2, stripes - first))
            await rig.flush()
            rig.model.update((block, {data}) for block, data in rig.fresh.items())
        elif what == "trim":
            await rig.flush()
            first = a % self.blocks
            await rig.trim(first * BLOCK_BYTES, min(1 + b % 40, self.blocks - first) * BLOCK_BYTES)
        elif what == "lose":
            rig.disks[victim].fail()
        elif what == "rot":
            self.is_rotten = True
            slabs = rig.disks[victim].size_bytes // BLOCK_BYTES
            rig.disks[victim].rot(b % slabs * BLOCK_BYTES, BLOCK_BYTES, rig.rng)
        elif what == "misdirect":
            self.is_rotten = True
            slabs = rig.disks[victim].size_bytes // BLOCK_BYTES
            rig.disks[victim].misdirect_next = max(0, b % slabs - 4) * BLOCK_BYTES
        elif what == "repair":
            await self.repair()
        elif what == "scrub":
            for row in sorted(rig.host.state.rows):
                assert not (await rig.machine.scrub_row(row, no_pace)).lost
        else:
            await rig.check()

    async def repair(self) -> None:
        rig = self.rig
        await rig.flush()
        for disk in rig.disks:
            disk.misdirect_next = None
        rig.bring_back()
        if not self.is_rotten:
            await rig.check_hints()
        await rig.refill_all()
        if not self.is_rotten:
            await rig.check_redundancy()  # of itself, without a scrub
        for row in sorted(rig.host.state.rows):
            assert not (await rig.machine.scrub_row(row, no_pace)).lost
        await rig.flush()
        await rig.check_redundancy()
        self.choose()

    def cut(self, what: str, a: int, b: int) -> None:
        """Power goes some operations into the next one; the victims that failed before stay away."""
        rig = self.rig
        rig.cut_at = rig.operations + b % 30
        try:
            rig.run(self.do(what, a, b))
        except PowerCut:
            pass
        lost = [n for n in self.victims if rig.disks[n].failure is not None or (a >> n) & 1]
        rig.power_cut(lost)
        rig.run(rig.recover())
        if not self.is_rotten:
            rig.run(rig.check_hints())


@pytest.mark.parametrize(
    "columns,parities", [(3, 1), (4, 1), (5, 1), (6, 1), (7, 1), (8, 1), (4, 2), (6, 2), (8, 2)]
)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(program=steps, seed=st.integers(0, 1 << 30), is_random=st.booleans())
def test_every_read_gives_the_last_acknowledged_bytes(
    columns: int, parities: int, program: list[tuple[str, int, int]], seed: int, is_random: bool
) -> None:
    story = Story(columns, parities, seed, is_random)
    rest = iter([*program, ("check", 0, 0), ("repair", 0, 0), ("check", 0, 0)])
    for what, a, b in rest:
        if what == "cut":
            what, a, b = next(rest)
            if what in ("repair", "cut"):
                what = "flush"
            story.cut(what, a, b)
        else:
            story.rig.run(story.do(what, a, b))
