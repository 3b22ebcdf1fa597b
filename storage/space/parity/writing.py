"""Writing a parity space through the cache's journal: what a batch needs is worked out, then put in place.

    prepare   cut into segments -> rows allocated -> what is missing of the stripe read -> new P, Q, entries
              -> redo records                                                     (the journal: durable)
    apply     data and parity in place, side by side -> truth in memory -> flush -> truth durable

A segment is some consecutive slices of one stripe in which the batch has the same roles. Its new parity:

    all data roles are in the batch        encoded from it
    the others are as few to read          encoded from both
    else: the old blocks, the old parity   old parity + old data + new data (+ is XOR; Q by powers of g)

A slice that was never written needs no reading and no redo record. `prepare` flushes first if a stripe of the
batch was trimmed or written since the last flush: so the old entries of a record are always the durable ones.
Disks that fail are out; the columns that are left go on. Redo after a crash: replay.py. Fresh stripes, trims:
fresh.py. Awaits disks, the truth and the host.
"""

from __future__ import annotations

from array import array
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from storage.errors import BlockCorrupt, DiskFailed, SlabLost, StorageError
from storage.pool.batcher import detached, gather
from storage.space.blocks import BLOCK_SHIFT
from storage.space.checksums import next_generation, range_crcs
from storage.space.parity import redo as records_of
from storage.space.parity.codec import Words, octets, words
from storage.space.parity.reconstruct import fetch
from storage.space.parity.redo import Logged
from storage.space.slabset import Place, SlabSet
from storage.units import BLOCK_BYTES, DiskOffset

if TYPE_CHECKING:
    from storage.cache.port import Batch
    from storage.space.parity.machine import ParityMachine

WRITE_BYTES_MAX = 1 << 20
"""Of one call to a disk."""


@dataclass(slots=True)
class Segment:
    """Slices [first, first + count) of a row, of one stripe and one page of the truth. `data`: new blocks by
    role; `parities`: new P and Q. `old` and `new`: entries of the slices as the truth has them."""

    row: int
    first: int
    count: int
    data: dict[int, memoryview]
    parities: list[Words]
    old: array[int]
    new: array[int]

    @property
    def length(self) -> int:
        return self.count * BLOCK_BYTES


# -- cutting -----------------------------------------------------------------------------------------------


def pieces_of(machine: ParityMachine, batch: Batch) -> dict[int, list[tuple[int, int, int, memoryview]]]:
    """Stripe -> (role, first slice, slices, bytes) of the batch in it."""
    found: dict[int, list[tuple[int, int, int, memoryview]]] = {}
    for offset, data in batch:
        machine.check_blocks(offset, len(data))
        done = 0
        while done < len(data):
            row, stripe, role, at, run = machine.map.map(offset + done)
            view = data[done : done + run]
            piece = (role, at >> BLOCK_SHIFT, len(view) >> BLOCK_SHIFT, view)
            found.setdefault(machine.stripe_number(row, stripe), []).append(piece)
            done += len(view)
    return found


def segments_of(
    machine: ParityMachine,
    row: int,
    pieces: Sequence[tuple[int, int, int, memoryview]],
    also_cut_at: Collection[int] = (),
) -> Iterator[Segment]:
    """Of one stripe, without entries and parities. `also_cut_at`: slices."""
    page_slices = machine.map.page_slices
    cuts = {piece[1] for piece in pieces} | {piece[1] + piece[2] for piece in pieces}
    low, high = min(cuts), max(cuts)
    cuts.update(range(low - low % page_slices + page_slices, high, page_slices))
    cuts.update(one for one in also_cut_at if low < one < high)
    order = sorted(cuts)
    for first, end in zip(order, order[1:], strict=False):
        data = {
            role: view[(first - start) * BLOCK_BYTES : (end - start) * BLOCK_BYTES]
            for role, start, count, view in pieces
            if start <= first and end <= start + count
        }
        if data:
            yield Segment(row, first, end - first, data, [], array("I"), array("I"))


def entries_of(machine: ParityMachine, segment: Segment) -> array[int]:
    """The truth's, as it is in memory; the page must be there."""
    page = machine.truth.pages[machine.map.page_of(segment.row, segment.first)]
    base = machine.truth.base(segment.first)
    return page[base : base + segment.count * machine.map.group * 2]


def stamp(machine: ParityMachine, sets: Sequence[SlabSet], segment: Segment) -> array[int]:
    """The entries that the segment's blocks will have."""
    step, birth = machine.map.group * 2, machine.birth_generation()
    stripe = segment.first // machine.map.unit_blocks
    new = segment.old[:]
    contents: list[tuple[int, memoryview]] = list(segment.data.items())
    for number, parity in enumerate(segment.parities):
        contents.append((machine.map.data_columns + number, octets(parity)))
    for role, view in contents:
        column = machine.map.column_of(stripe, role)
        old = segment.old[2 * column + 1 :: step]
        generations = array("I", [next_generation(one) if one else birth for one in old])
        new[2 * column + 1 :: step] = generations
        new[2 * column :: step] = range_crcs(view, sets[column].seed, segment.first, generations)
    return new


# -- rows --------------------------------------------------------------------------------------------------


async def allocated_row(machine: ParityMachine, row: int) -> list[SlabSet]:
    """Raises: PoolFull, PoolUnavailable."""
    while True:
        sets = machine.row(row)
        if sets is not None:
            return sets
        allocating = machine.allocating.get(row)
        if allocating is not None:
            await allocating.wait()
            continue
        done = machine.allocating[row] = machine.host.runtime.event()

        async def work(done: object = done) -> None:
            try:
                await machine.host.allocate_row(machine, row)
            finally:
                machine.allocating.pop(row).set()

        await detached(machine.host.runtime, work, "allocate a row")


async def ready_row(machine: ParityMachine, row: int) -> list[SlabSet]:
    """Allocated, and it may be written to with the columns that are there (P1)."""
    if machine.is_deleted:
        raise StorageError(f"space {machine.name} was deleted")
    sets = await allocated_row(machine, row)
    if any(len(slabs.readers) < len(slabs.copies) for slabs in sets):
        await machine.host.mark_stale(machine, row)
    if machine.is_row_lost(row):
        raise SlabLost(f"space {machine.name} row {row}: more columns are gone than parity makes up for")
    return sets


# -- preparing ---------------------------------------------------------------------------------------------


async def prepare(machine: ParityMachine, batch: Batch) -> list[bytes]:
    stripes = pieces_of(machine, batch)
    found: dict[int, list[Segment]] = {}
    with machine.wanting(stripes) as rows:
        for row in rows:
            await ready_row(machine, row)
        if not all(map(machine.is_durable, stripes)):
            await machine.flush()
        for number, pieces in stripes.items():
            claim = await machine.claims.acquire(number, number + 1)
            try:
                found[number] = await _prepare_stripe(machine, number, pieces)
            finally:
                machine.claims.release(claim)
        machine.prepared.update(found)
    logged = [
        _logged(machine, segment) for segments in found.values() for segment in segments if any(segment.old)
    ]
    return records_of.encode(machine.map, machine.state.record.space_id, logged)


def _logged(machine: ParityMachine, segment: Segment) -> Logged:
    written = sum(1 << role for role in segment.data)
    is_full = len(segment.data) == machine.map.data_columns
    parities = [] if is_full else [octets(parity) for parity in segment.parities]
    return Logged(segment.row, segment.first, segment.count, written, segment.old, segment.new, parities)


async def _prepare_stripe(
    machine: ParityMachine, number: int, pieces: Sequence[tuple[int, int, int, memoryview]]
) -> list[Segment]:
    row = number // machine.map.row_stripes
    sets = machine.row(row)
    if sets is None:
        raise StorageError(f"space {machine.name} row {row} was trimmed while it was being written to")
    prepared = []
    for segment in segments_of(machine, row, pieces):
        await machine.truth.load(machine.map.page_of(row, segment.first))
        segment.old = entries_of(machine, segment)
        segment.parities = await _new_parities(machine, sets, segment)
        segment.new = stamp(machine, sets, segment)
        prepared.append(segment)
    return prepared


async def _new_parities(machine: ParityMachine, sets: Sequence[SlabSet], segment: Segment) -> list[Words]:
    """By the way that has less to read; if that cannot be read, by the other one. Raises: BlockCorrupt,
    SlabLost."""
    data_columns = machine.map.data_columns
    new = {role: words(view) for role, view in segment.data.items()}
    if len(new) == data_columns or not any(segment.old):
        return machine.codec.partial(new)
    ways = [_with_the_rest, _with_the_old]
    if data_columns - len(new) > len(new) + machine.map.parities:
        ways.reverse()
    try:
        return await ways[0](machine, sets, segment, new)
    except (BlockCorrupt, SlabLost) as error:
        try:
            return await ways[1](machine, sets, segment, new)
        except (BlockCorrupt, SlabLost):
            raise error from None


async def _with_the_rest(
    machine: ParityMachine, sets: Sequence[SlabSet], segment: Segment, new: dict[int, Words]
) -> list[Words]:
    """Encoded from the new blocks and the data that stays."""
    others = [role for role in range(machine.map.data_columns) if role not in new]
    return machine.codec.partial({**new, **await _blocks(machine, sets, segment, others)})


async def _with_the_old(
    machine: ParityMachine, sets: Sequence[SlabSet], segment: Segment, new: dict[int, Words]
) -> list[Words]:
    """The old parity, with the old blocks taken out and the new ones put in."""
    parity_roles = range(machine.map.data_columns, machine.map.columns)
    blocks = await _blocks(machine, sets, segment, [*new, *parity_roles])
    for role, block in new.items():
        np.bitwise_xor(blocks[role], block, out=blocks[role])
    shares = machine.codec.partial({role: blocks[role] for role in new})
    for role, share in zip(parity_roles, shares, strict=True):
        np.bitwise_xor(share, blocks[role], out=share)
    return shares


async def _blocks(
    machine: ParityMachine, sets: Sequence[SlabSet], segment: Segment, roles: Iterable[int]
) -> dict[int, Words]:
    stripe = segment.first // machine.map.unit_blocks
    columns = {role: machine.map.column_of(stripe, role) for role in roles}
    slices = await fetch(machine, sets, segment.first, segment.count, list(columns.values()))
    return {role: words(slices.blocks[column]) for role, column in columns.items()}


# -- applying ----------------------------------------------------------------------------------------------


async def apply(machine: ParityMachine, batch: Batch) -> None:
    for number in pieces_of(machine, batch):
        segments = machine.prepared.get(number)
        if segments is None:
            raise StorageError(f"space {machine.name} stripe {number}: apply without prepare")
        try:
            await put_stripe(machine, number, segments)
        finally:
            machine.prepared.pop(number, None)


async def put_stripe(machine: ParityMachine, number: int, segments: Sequence[Segment]) -> None:
    """Write the segments of one stripe in place. Whole or not at all, unless too many disks are gone."""
    pages = {machine.map.page_of(segment.row, segment.first) for segment in segments}
    claim = await machine.claims.acquire(number, number + 1)
    try:
        await machine.truth.pin(pages)
        try:
            sets = machine.row(segments[0].row)
            if sets is None or any(entries_of(machine, segment) != segment.old for segment in segments):
                raise StorageError(f"space {machine.name} stripe {number} changed between prepare and apply")
            await write_columns(machine, sets, segments)
            put_entries(machine, number, segments)
        finally:
            machine.truth.unpin(pages)
    finally:
        machine.claims.release(claim)


def put_entries(machine: ParityMachine, number: int, segments: Sequence[Segment]) -> None:
    for segment in segments:
        page_number = machine.map.page_of(segment.row, segment.first)
        base = machine.truth.base(segment.first)
        machine.truth.pages[page_number][base : base + len(segment.new)] = segment.new
        machine.truth.changed(page_number)
        stripe = segment.first // machine.map.unit_blocks
        for role in (*segment.data, *range(machine.map.data_columns, machine.map.columns)):
            column = machine.map.column_of(stripe, role)
            machine.hints.note(segment.row, column, segment.first, segment.count)
    machine.note_change(number)


def column_writes(
    machine: ParityMachine, segments: Sequence[Segment]
) -> dict[int, list[tuple[int, list[memoryview]]]]:
    """Column -> (offset in the slab, buffers that follow each other there), in order."""
    found: dict[int, list[tuple[int, list[memoryview]]]] = {}
    for segment in segments:
        stripe, at = segment.first // machine.map.unit_blocks, segment.first * BLOCK_BYTES
        contents = list(segment.data.items())
        for number, parity in enumerate(segment.parities):
            contents.append((machine.map.data_columns + number, octets(parity)))
        for role, view in contents:
            writes = found.setdefault(machine.map.column_of(stripe, role), [])
            if writes:
                start, buffers = writes[-1]
                size = sum(map(len, buffers))
                if start + size == at and size + len(view) <= WRITE_BYTES_MAX:
                    buffers.append(view)
                    continue
            writes.append((at, [view]))
    return found


async def write_columns(machine: ParityMachine, sets: Sequence[SlabSet], segments: Sequence[Segment]) -> None:
    """Every copy that is there gets them; the ones that fail are out. Raises SlabLost if too many are."""
    await settle_columns(machine, sets)
    waiting: list[Callable[[], Awaitable[None]]] = []
    numbers: set[int] = set()
    for slabs in sets:
        slabs.inflight += 1
    try:
        for column, writes in sorted(column_writes(machine, segments).items()):
            for place in sets[column].writers:
                numbers.add(place.number)
                later = write_what_it_takes(machine, place, writes)
                if later:
                    waiting.append(_writer(machine, place, later))
        await gather(machine.host.runtime, waiting, "write columns")
    finally:
        for slabs in sets:
            slabs.inflight -= 1
    machine.unflushed_disks |= numbers  # again: a flush may have begun before the last write ended
    if machine.is_row_lost(sets[0].row):
        raise SlabLost(
            f"space {machine.name} row {sets[0].row}: more columns failed than parity makes up for"
        )


async def settle_columns(machine: ParityMachine, sets: Sequence[SlabSet]) -> None:
    """What is not there is stale, now and not at the flush: it might be back by then, without what is about
    to be written. Plain code follows. Raises: SlabLost, PoolUnavailable."""
    while not all(map(_is_settled, sets)):
        await machine.host.mark_stale(machine, sets[0].row)


def _is_settled(slabs: SlabSet) -> bool:
    """Is every copy there, or marked stale?"""
    there = {place.number for place in slabs.writers}
    return all(copy.stale or copy.disk in there for copy in slabs.copies)


def write_what_it_takes(
    machine: ParityMachine, place: Place, writes: Sequence[tuple[int, list[memoryview]]]
) -> list[tuple[int, list[memoryview]]]:
    """What the disk takes inline; returned are those that must be waited for."""
    for position, (at, buffers) in enumerate(writes):
        try:
            if not place.disk.write_now(DiskOffset(place.data + at), buffers):
                return list(writes[position:])
        except DiskFailed as error:
            machine.host.disk_failed(place.number, error)
            return []
    return []


def _writer(
    machine: ParityMachine, place: Place, writes: Sequence[tuple[int, list[memoryview]]]
) -> Callable[[], Awaitable[None]]:
    async def work() -> None:
        try:
            for at, buffers in writes:
                await place.disk.write(DiskOffset(place.data + at), buffers)
        except DiskFailed as error:
            machine.host.disk_failed(place.number, error)

    return work
