"""Repair of a parity space: a stale or new copy refilled, rows scrubbed, blocks looked at again.

    refill   some slices, claimed: do the target's own entries differ (hints.py)? -> its blocks are read;
             those that don't fit are put together, written, read back and verified
    scrub    every column read and verified -> bad blocks put together and rewritten -> P and Q compared with
             what the data gives

Writers go on between the steps; what they write meanwhile they write to the target too. A block is rewritten
only where it doesn't fit, so a disk that was away gets what it missed and nothing else. Each block is
verified after it was written. Awaits disks, the truth and `pace`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Final

from storage.errors import BlockCorrupt, DiskFailed, SlabLost, StorageError
from storage.pool.batcher import gather
from storage.space.checksums import block_crc, next_generation
from storage.space.machine import Pace, ScrubResult
from storage.space.parity import hints
from storage.space.parity.codec import octets, words
from storage.space.parity.reconstruct import Slices, fetch, inspect
from storage.space.parity.truth import fitting
from storage.space.parity.writing import settle_columns
from storage.space.slabset import Place, SlabSet
from storage.units import BLOCK_BYTES, DiskOffset

if TYPE_CHECKING:
    from storage.space.parity.machine import ParityMachine

STEPS_AT_ONCE: Final = 4
"""Of one slab: while one waits for its disks, others are put together."""


def _steps(machine: ParityMachine) -> Iterator[tuple[int, int, int]]:
    """(stripe, first slice, slices): a row, in pieces of one stripe and one page of the truth."""
    size = min(machine.map.page_slices, machine.map.unit_blocks)
    for first in range(0, machine.map.slab_blocks, size):
        yield first // machine.map.unit_blocks, first, size


async def refill(machine: ParityMachine, slabs: SlabSet, target: Place, pace: Pace) -> int:
    copied = 0
    trouble: StorageError | None = None
    steps = list(_steps(machine))

    def one(stripe: int, first: int, count: int) -> Callable[[], Awaitable[None]]:
        async def work() -> None:
            nonlocal copied
            number = machine.stripe_number(slabs.row, stripe)
            claim = await machine.claims.acquire(number, number + 1)
            step = 0
            try:
                if not slabs.is_dead:
                    step = await _refill_step(machine, slabs, first, count, target)
            finally:
                machine.claims.release(claim)
            copied += step
            if step:
                await pace(step)  # not with the claim: a job that is suspended holds no writer back

        return work

    for at in range(0, len(steps), STEPS_AT_ONCE):
        if slabs.is_dead:
            break
        await pace(0)
        works = [one(*step) for step in steps[at : at + STEPS_AT_ONCE]]
        for error in await gather(machine.host.runtime, works, "parity refill"):
            if error is not None and not isinstance(error, (BlockCorrupt, SlabLost)):
                raise error
            trouble = trouble or error
    if trouble is not None:
        raise trouble
    if not machine.is_row_durable(slabs.row):
        await (
            machine.flush()
        )  # what was trimmed wasn't refilled: after a power cut it must not be there again
    await hints.renew(machine, slabs, target, pace)
    return copied


async def _refill_step(
    machine: ParityMachine, slabs: SlabSet, first: int, count: int, target: Place
) -> int:
    """Raises: DiskFailed (the target's), BlockCorrupt, SlabLost."""
    sets = machine.rows[slabs.row]
    page = await machine.truth.load(machine.map.page_of(slabs.row, first))
    base, step = machine.truth.base(first) + 2 * slabs.column, machine.map.group * 2
    buffer = memoryview(bytearray(count * BLOCK_BYTES))
    try:
        own = await hints.read(machine, target, first, count)
        end = base + count * step
        if own[::2] == page[base:end:step] and own[1::2] == page[base + 1 : end : step]:
            return 0
        await _read(target, first, buffer)
        good = fitting(page, base, step, slabs.seed, first, buffer)
    except DiskFailed as error:
        await machine.host.read_failed(target.number, error)
        good = [False] * count
    if all(good):
        return 0
    slices = await fetch(machine, sets, first, count, (slabs.column,))
    source = memoryview(slices.blocks[slabs.column])
    for begin, end in _runs(good):
        view = source[begin * BLOCK_BYTES : end * BLOCK_BYTES]
        await _write(machine, target, first + begin, view)
        await _check(machine, slabs, first + begin, view, target)
    return good.count(False) * BLOCK_BYTES


def _runs(good: list[bool]) -> Iterator[tuple[int, int]]:
    """[begin, end) of what isn't good."""
    begin: int | None = None
    for position, one in enumerate([*good, True]):
        if one and begin is not None:
            yield begin, position
            begin = None
        elif not one and begin is None:
            begin = position


async def _check(machine: ParityMachine, slabs: SlabSet, first: int, view: memoryview, target: Place) -> None:
    """Read back what was written: the disk has it, or it is out. Raises DiskFailed."""
    check = bytearray(len(view))  # compared as bytes; two memoryviews are compared item by item
    try:
        await _read(target, first, memoryview(check))
        if check != view:
            raise DiskFailed(
                f"disk {target.disk.name}: slab {target.slab} block {first} reads back other than written"
            )
    except DiskFailed as error:
        machine.host.disk_failed(target.number, error)
        raise


async def _read(place: Place, first: int, into: memoryview) -> None:
    where = DiskOffset(place.data + first * BLOCK_BYTES)
    if not place.disk.read_now(where, (into,)):
        await place.disk.read(where, (into,))


async def _write(machine: ParityMachine, place: Place, first: int, view: memoryview) -> None:
    where = DiskOffset(place.data + first * BLOCK_BYTES)
    try:
        if not place.disk.write_now(where, (view,)):
            await place.disk.write(where, (view,))
    except DiskFailed as error:
        machine.host.disk_failed(place.number, error)
        raise
    machine.unflushed_disks.add(place.number)


# -- scrubbing ---------------------------------------------------------------------------------------------


async def scrub_row(machine: ParityMachine, number: int, pace: Pace) -> ScrubResult:
    result = ScrubResult()
    for stripe, first, count in _steps(machine):
        sets = machine.row(number)
        if sets is None:
            break
        await pace(count * BLOCK_BYTES * machine.map.columns)
        stripe_number = machine.stripe_number(number, stripe)
        claim = await machine.claims.acquire(stripe_number, stripe_number + 1)
        try:
            sets = machine.row(number)
            if sets is not None:
                await _scrub_step(machine, sets, first, count, result)
        finally:
            machine.claims.release(claim)
    return result


async def _scrub_step(
    machine: ParityMachine, sets: list[SlabSet], first: int, count: int, result: ScrubResult
) -> None:
    page = await machine.truth.load(machine.map.page_of(sets[0].row, first))
    base, step = machine.truth.base(first), machine.map.group * 2
    if not any(page[base : base + count * step]):
        return
    slices = await inspect(machine, sets, first, count)
    bad = {(column, number) for _, column, number in slices.bad}
    bad |= await _restamp(machine, sets, slices)
    for slabs in sets:
        if slabs.readers:
            written = page[base + 2 * slabs.column + 1 : base + count * step : step]
            result.checked += sum(1 for generation in written if generation)
    lost = sum(1 for column, number in bad if not slices.good[column][number])
    result.lost += lost
    result.repaired += len(bad) - lost


async def _restamp(machine: ParityMachine, sets: list[SlabSet], slices: Slices) -> set[tuple[int, int]]:
    """Where all data is good and P or Q isn't what it gives: the data is right; parity and its entries are
    made anew. (column, slice from the first on) of what was."""
    data_columns, stripe = machine.map.data_columns, slices.stripe
    data = [slices.column(role) for role in range(data_columns)]
    if not slices.is_whole(data):
        return set()
    size = machine.map.group * 2
    wrong: dict[tuple[int, int], memoryview] = {}
    for number, parity in enumerate(machine.codec.encode([words(slices.blocks[column]) for column in data])):
        column = machine.map.column_of(stripe, data_columns + number)
        view = octets(parity)
        for position in range(slices.count):
            cut = slice(position * BLOCK_BYTES, (position + 1) * BLOCK_BYTES)
            if not any(slices.page[position * size : (position + 1) * size]):
                continue
            if not slices.good[column][position] or slices.blocks[column][cut] != view[cut]:
                wrong[column, position] = view[cut]
    if wrong:
        await settle_columns(machine, sets)
    for (column, position), view in wrong.items():
        await _put_parity(machine, sets[column], slices.first + position, view)
        slices.good[column][position] = True
    return set(wrong)


async def _put_parity(machine: ParityMachine, slabs: SlabSet, block: int, view: memoryview) -> None:
    for place in slabs.writers:
        try:
            await _write(machine, place, block, view)
        except DiskFailed:  # told to the pool, which leaves the disk out
            continue
    page_number = machine.map.page_of(slabs.row, block)
    page = await machine.truth.load(page_number)
    at = machine.truth.base(block) + 2 * slabs.column
    generation = next_generation(page[at + 1])
    page[at], page[at + 1] = block_crc(view, slabs.seed, block, generation), generation
    machine.truth.changed(page_number)
    machine.hints.note(slabs.row, slabs.column, block, 1)
    stripe = block // machine.map.unit_blocks
    machine.note_change(machine.stripe_number(slabs.row, stripe))


# -- looking again -----------------------------------------------------------------------------------------


async def repair_suspects(machine: ParityMachine) -> None:
    """What is beyond repair its reader is told."""
    while machine.suspects:
        row, first, count = next(iter(machine.suspects))
        del machine.suspects[row, first, count]
        if machine.row(row) is None:
            continue
        number = machine.stripe_number(row, first // machine.map.unit_blocks)
        claim = await machine.claims.acquire(number, number + 1)
        try:
            sets = machine.row(row)
            if sets is not None:
                await inspect(machine, sets, first, count)
        finally:
            machine.claims.release(claim)
