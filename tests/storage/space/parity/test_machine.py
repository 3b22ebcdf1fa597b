"""A parity space: what is written is read, with as many columns lost as the type tolerates."""

from __future__ import annotations

import itertools

import pytest

from storage.errors import BlockCorrupt, DiskFailed, SlabLost
from storage.space.checksums import block_crc
from storage.space.parity import hints
from storage.space.resiliency import Provisioning
from storage.units import BLOCK_BYTES, DiskOffset, SpaceOffset
from tests.storage.space.parity.rig import Rig, no_pace

TYPES = [(3, 1), (5, 1), (8, 1), (4, 2), (6, 2), (8, 2)]


async def fill(rig: Rig) -> None:
    await rig.write([(0, rig.size // BLOCK_BYTES)])
    await rig.flush()


@pytest.mark.parametrize("columns,parities", TYPES)
@pytest.mark.parametrize("blocks", [False, True])
def test_what_is_written_is_read_in_pieces_of_any_size(columns: int, parities: int, blocks: bool) -> None:
    rig = Rig(columns, parities, blocks=blocks)

    async def work() -> None:
        await rig.check()
        for _ in range(12):
            first = rig.rng.randrange(rig.size // BLOCK_BYTES)
            count = min(rig.rng.choice((1, 1, 2, 5, 13)), rig.size // BLOCK_BYTES - first)
            await rig.write([(first, count)])
            if rig.rng.random() < 0.4:
                await rig.flush()
            await rig.check()
        await rig.flush()
        assert await rig.check_redundancy()

    rig.run(work())


@pytest.mark.parametrize("columns,parities", TYPES)
def test_every_loss_that_is_tolerated_leaves_every_byte_readable(columns: int, parities: int) -> None:
    for lost in itertools.combinations(range(columns), parities):
        rig = Rig(columns, parities, rows=1, spares=0)

        async def work(rig: Rig = rig, lost: tuple[int, ...] = lost) -> None:
            await fill(rig)
            for number in lost:
                rig.disks[number].fail()
            await rig.check()
            await rig.write([(1, 1), (5, 3)])
            await rig.check()
            await rig.flush()
            await rig.check()
            rig.bring_back()
            await rig.refill_all()
            await rig.check()
            await rig.check_redundancy()

        rig.run(work())


@pytest.mark.parametrize("columns,parities", [(3, 1), (4, 2)])
def test_one_loss_too_many_is_slab_lost_and_the_rest_is_read(columns: int, parities: int) -> None:
    rig = Rig(columns, parities, rows=1, spares=0)

    async def work() -> None:
        await fill(rig)
        for number in range(parities + 1):
            rig.disks[number].fail()
        seen: set[str] = set()
        for block in range(rig.size // BLOCK_BYTES):
            buffer = bytearray(BLOCK_BYTES)
            for read in (rig.machine.read, _blocking(rig)):
                try:
                    await read(SpaceOffset(block * BLOCK_BYTES), memoryview(buffer))
                except SlabLost:
                    seen.add("lost")
                    continue
                seen.add("read")
                assert rig.model[block] == {bytes(buffer)}
        assert seen == {"lost", "read"}
        with pytest.raises(SlabLost):
            await rig.write([(0, 1)])

    rig.run(work())


def _blocking(rig: Rig):
    async def read(offset: SpaceOffset, into: memoryview) -> None:
        rig.machine.read_blocking(offset, into)

    return read


@pytest.mark.parametrize("columns,parities", TYPES)
def test_rotten_blocks_are_read_right_and_repaired(columns: int, parities: int) -> None:
    rig = Rig(columns, parities, rows=1)

    async def work() -> None:
        await fill(rig)
        for block in range(rig.map.slab_blocks):
            for column in rig.rng.sample(range(columns), parities):
                rig.rot(0, column, block)
        await rig.check()
        result = await rig.machine.scrub_row(0, no_pace)
        assert result.checked == rig.map.slab_blocks * columns and not result.lost
        await rig.machine.flush()
        assert await rig.check_redundancy() == result.checked
        assert (await rig.machine.scrub_row(0, no_pace)).repaired == 0

    rig.run(work())


def test_more_rot_than_parity_is_block_corrupt_never_other_bytes() -> None:
    rig = Rig(4, 1, rows=1)

    async def work() -> None:
        await fill(rig)
        rig.rot(0, 0, 0)
        rig.rot(0, 1, 0)
        buffer = memoryview(bytearray(BLOCK_BYTES))
        with pytest.raises(BlockCorrupt):
            await rig.machine.read(SpaceOffset(0), buffer)
        with pytest.raises(BlockCorrupt):
            rig.machine.read_blocking(SpaceOffset(0), buffer)
        result = await rig.machine.scrub_row(0, no_pace)
        assert result.lost == 2
        await rig.write([(rig.map.stripe_bytes // BLOCK_BYTES, 1)])

    rig.run(work())


def test_a_misdirected_write_harms_neither_place() -> None:
    rig = Rig(5, 2, rows=1)

    async def work() -> None:
        await fill(rig)
        victim = rig.disks[2]
        victim.misdirect_next = victim.size_bytes - rig.slab
        for first in range(0, 12, 3):
            await rig.write([(first, 1)])
        await rig.flush()
        await rig.check()
        await rig.machine.scrub_row(0, no_pace)
        await rig.check_redundancy()

    rig.run(work())


def test_a_disk_that_was_away_gets_what_it_missed_and_nothing_else() -> None:
    rig = Rig(4, 1, rows=2, spares=0)

    async def work() -> None:
        await fill(rig)
        rig.disks[1].fail()
        await rig.write([(0, 1)])
        await rig.flush()
        assert [one.stale for one in rig.copies(0)].count(True) == 1
        assert not any(one.stale for one in rig.copies(1)), "nothing was written to the second row"
        rig.bring_back()
        read = rig.disks[1].reads
        copied = await rig.refill_all()
        assert copied <= BLOCK_BYTES
        steps = rig.map.slab_blocks // rig.map.unit_blocks
        assert rig.disks[1].reads - read <= steps + 2, "entries of every step, blocks of one, and these again"
        await rig.check_redundancy()

    rig.run(work())


def test_a_refill_whose_writes_do_not_arrive_is_noticed() -> None:
    rig = Rig(3, 1, rows=1, spares=0)

    async def work() -> None:
        await fill(rig)
        rig.disks[1].fail()
        await rig.write([(0, rig.size // BLOCK_BYTES)])
        await rig.flush()
        rig.bring_back()
        rig.disks[1].misdirect_next = rig.slab
        with pytest.raises(DiskFailed, match="reads back"):
            await rig.refill_all()
        await rig.check()

    rig.run(work())


def test_writers_go_on_while_a_column_is_refilled() -> None:
    rig = Rig(4, 2, rows=1, spares=0, blocks=True, is_random=True)

    async def work() -> None:
        await fill(rig)
        rig.disks[0].fail()
        await rig.write([(0, 9)])
        await rig.flush()
        rig.bring_back()
        done = rig.runtime.event()

        async def refill() -> None:
            await rig.refill_all()
            done.set()

        rig.runtime.spawn(refill, "refill")
        for _ in range(6):
            await rig.write([(rig.rng.randrange(rig.size // BLOCK_BYTES), 1)])
        await done.wait()
        await rig.flush()
        await rig.check()
        await rig.check_redundancy()

    rig.run(work())


@pytest.mark.parametrize("provisioning", [Provisioning.THIN, Provisioning.FIXED])
def test_trimmed_stripes_read_as_zeros_and_rows_go_back(provisioning: Provisioning) -> None:
    rig = Rig(4, 1, rows=2, provisioning=provisioning)

    async def work() -> None:
        await fill(rig)
        assert len(rig.host.state.rows) == 2
        await rig.trim(0, rig.map.row_bytes - rig.map.stripe_bytes)
        await rig.check()
        buffer = bytearray(rig.map.stripe_bytes)
        assert rig.machine.read_now(SpaceOffset(0), memoryview(buffer)) and not any(buffer)
        assert len(rig.host.state.rows) == 2
        await rig.trim(rig.map.row_bytes - rig.map.stripe_bytes, rig.map.stripe_bytes + 3 * BLOCK_BYTES)
        assert len(rig.host.state.rows) == (1 if provisioning is Provisioning.THIN else 2)
        await rig.flush()
        await rig.check()
        await rig.write([(0, 1)])
        await rig.flush()
        await rig.check()
        await rig.check_redundancy()

    rig.run(work())


def test_fresh_stripes_need_no_record_and_no_reading() -> None:
    rig = Rig(6, 2)

    async def work() -> None:
        stripes = rig.size // rig.map.stripe_bytes
        assert rig.machine.may_pass(0, rig.map.stripe_bytes)
        assert not rig.machine.may_pass(BLOCK_BYTES, rig.map.stripe_bytes)
        assert not rig.machine.may_pass(0, rig.map.stripe_bytes + BLOCK_BYTES)
        assert rig.machine.pass_ranges(0, rig.size) == ()
        await rig.write_fresh(0, 2)
        rig.model.update((block, {data}) for block, data in rig.fresh.items())
        await rig.check()
        reads = sum(disk.reads for disk in rig.disks)
        data = rig.rng.randbytes(rig.map.stripe_bytes)
        assert rig.machine.write_fresh_now(SpaceOffset(2 * rig.map.stripe_bytes), [data])
        assert sum(disk.reads for disk in rig.disks) == reads
        assert not rig.machine.write_fresh_now(SpaceOffset(0), [data]), (
            "it holds something: it is forgotten first"
        )
        await rig.flush()
        await rig.check_redundancy()
        assert stripes > 3

    rig.run(work())


def test_the_first_write_of_a_stripe_needs_no_redo_record() -> None:
    rig = Rig(5, 1)

    async def work() -> None:
        await rig.write([(0, 3)])
        assert rig.journal[-1][0] == []
        await rig.flush()
        await rig.write([(1, 1)])
        assert len(rig.journal[-1][0]) == 1

    rig.run(work())


def test_pages_of_the_truth_are_dropped_when_there_are_too_many() -> None:
    rig = Rig(8, 2, rows=4, slab=512 << 10, interleave=65536)

    async def work() -> None:
        rig.machine.truth.pages_max = 3
        for first in range(0, rig.size // BLOCK_BYTES, 97):
            await rig.write([(first, 1)])
            await rig.flush()
            assert len(rig.machine.truth.pages) <= 3 + 1
        await rig.check()

    rig.run(work())


def test_a_disk_never_says_that_it_has_what_is_not_flushed() -> None:
    rig = Rig(4, 1, rows=1)

    async def work() -> None:
        await fill(rig)
        assert await rig.check_hints() == rig.map.slab_blocks * 4
        await rig.write([(0, 1)])
        await hints.write_some(rig.machine)
        own = await hints.read(rig.machine, rig.machine.rows[0][0].readers[0], 0, 1)
        assert not own[1]
        await rig.flush()
        rig.machine.hints.note(0, 0, 0, 1)
        await hints.write_some(rig.machine)
        own = await hints.read(rig.machine, rig.machine.rows[0][0].readers[0], 0, 1)
        page = rig.machine.truth.pages[0]
        assert own[1] and own == page[:2]

    rig.run(work())


def test_a_power_cut_after_a_refill_leaves_no_entry_without_its_block() -> None:
    for seed in range(24):
        rig = Rig(3, 1, rows=1, spares=0, seed=seed)

        async def work(rig: Rig = rig) -> None:
            await fill(rig)
            rig.disks[1].fail()
            await rig.write([(0, rig.size // BLOCK_BYTES)])
            await rig.flush()
            rig.bring_back()
            for slabs in rig.machine.rows[0]:
                for place in slabs.writers:
                    if place not in slabs.readers:
                        await rig.machine.refill(slabs, place, no_pace)

        async def after(rig: Rig = rig) -> None:
            await rig.check_hints()
            await rig.refill_all()
            await rig.check_redundancy()

        rig.run(work())
        rig.power_cut()
        rig.run(after())


def test_parity_that_contradicts_the_data_is_never_believed_and_a_scrub_makes_it_anew() -> None:
    """Its own entry fits it; only the entry of what comes out of it tells."""
    rig = Rig(4, 1, rows=1, spares=0)

    async def work() -> None:
        await fill(rig)
        machine = rig.machine
        column = rig.map.column_of(0, rig.map.data_columns)
        slabs, wrong = machine.rows[0][column], rig.noise(1)
        place = slabs.readers[0]
        await place.disk.write(DiskOffset(place.data), [wrong])
        page = await machine.truth.load(0)
        page[2 * column] = block_crc(wrong, slabs.seed, 0, page[2 * column + 1])
        machine.truth.changed(0)
        rig.host.out = {machine.rows[0][0].copies[0].disk}
        rig.host.resolve_all()
        buffer = memoryview(bytearray(BLOCK_BYTES))
        with pytest.raises(BlockCorrupt):
            await machine.read(SpaceOffset(0), buffer)
        with pytest.raises(BlockCorrupt):
            machine.read_blocking(SpaceOffset(0), buffer)
        rig.bring_back()
        result = await machine.scrub_row(0, no_pace)
        assert (result.repaired, result.lost) == (1, 0)
        await rig.flush()
        await rig.check()
        await rig.check_redundancy()

    rig.run(work())


@pytest.mark.parametrize("columns,first,rotten", [(8, 0, (0, 7)), (4, 0, (1, 2)), (4, 0, (0, 3))])
def test_a_write_into_a_slice_beyond_repair_works_if_what_it_needs_can_be_read(
    columns: int, first: int, rotten: tuple[int, int]
) -> None:
    """Overwriting a lost block makes it whole; beside lost ones, parity still follows."""
    rig = Rig(columns, 1, rows=1, spares=0)

    async def work() -> None:
        await fill(rig)
        for column in rotten:
            rig.rot(0, column, 0)
        await rig.write([(first, 1)])
        await rig.flush()
        buffer = bytearray(BLOCK_BYTES)
        await rig.machine.read(SpaceOffset(first * BLOCK_BYTES), memoryview(buffer))
        assert {bytes(buffer)} == rig.model[first]
        result = await rig.machine.scrub_row(0, no_pace)
        assert result.lost == (0 if 0 in rotten else 2)

    rig.run(work())
