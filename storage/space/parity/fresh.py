"""Whole stripes written around the journal, and trims.

    fresh   durable truth "never written" -> data, P and Q in place -> truth in memory -> flush
    trim    whole stripes: truth "never written" in memory -> flush; a row with nothing else written: released

A power cut before the flush leaves fresh stripes "never written" (machine.py, M2), so no note of them is
kept. The entries of a slice share a sector, so a trim is there for a slice or it isn't. Awaits disks, the
truth and the host.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from storage.errors import StorageError
from storage.space.blocks import one_view
from storage.space.parity.codec import words
from storage.space.parity.writing import (
    Segment,
    column_writes,
    entries_of,
    pieces_of,
    put_entries,
    ready_row,
    segments_of,
    stamp,
    write_columns,
    write_what_it_takes,
)
from storage.space.slabset import SlabSet

if TYPE_CHECKING:
    from storage.space.blocks import Buffers
    from storage.space.parity.machine import ParityMachine


def _fresh_segments(machine: ParityMachine, offset: int, view: memoryview) -> dict[int, list[Segment]]:
    batch = [(offset, view)]
    return {
        number: list(segments_of(machine, number // machine.map.row_stripes, pieces))
        for number, pieces in pieces_of(machine, batch).items()
    }


def _require_stripes(machine: ParityMachine, offset: int, length: int) -> None:
    machine.check_blocks(offset, length)
    if not machine.may_pass(offset, length):
        raise ValueError(f"bytes {offset}+{length} of space {machine.name} are no whole stripes")


def _finish_fresh(machine: ParityMachine, sets: Sequence[SlabSet], segments: Sequence[Segment]) -> None:
    for segment in segments:
        segment.old = entries_of(machine, segment)
        segment.parities = machine.codec.partial({role: words(view) for role, view in segment.data.items()})
        segment.new = stamp(machine, sets, segment)


def write_fresh_now(machine: ParityMachine, offset: int, data: Buffers) -> bool:
    view = one_view(data)
    _require_stripes(machine, offset, len(view))
    stripes = _fresh_segments(machine, offset, view)
    numbers = list(stripes)
    if not machine.claims.is_free(numbers[0], numbers[-1] + 1) or machine.is_deleted:
        return False
    for number, segments in stripes.items():
        sets = machine.row(segments[0].row)
        if sets is None or not machine.is_durable(number):
            return False
        if any(len(slabs.writers) < len(slabs.copies) for slabs in sets):
            return False
        if not machine.truth.pin_now(machine.map.page_of(one.row, one.first) for one in segments):
            return False
        if any(any(entries_of(machine, segment)) for segment in segments):
            return False
        _finish_fresh(machine, sets, segments)
        for column, writes in sorted(column_writes(machine, segments).items()):
            for place in sets[column].writers:
                machine.unflushed_disks.add(place.number)
                if write_what_it_takes(machine, place, writes) or place not in sets[column].writers:
                    return False
        put_entries(machine, number, segments)
    return True


async def write_fresh(machine: ParityMachine, offset: int, data: Buffers) -> None:
    view = one_view(data)
    _require_stripes(machine, offset, len(view))
    stripes = _fresh_segments(machine, offset, view)
    with machine.wanting(stripes) as rows:
        for row in rows:
            await ready_row(machine, row)
        await _forget(machine, stripes)
        for number, segments in stripes.items():
            await _put_fresh(machine, number, segments)


async def _put_fresh(machine: ParityMachine, number: int, segments: list[Segment]) -> None:
    pages = {machine.map.page_of(segment.row, segment.first) for segment in segments}
    claim = await machine.claims.acquire(number, number + 1)
    try:
        await machine.truth.pin(pages)
        try:
            sets = machine.row(segments[0].row)
            if sets is None:
                raise StorageError(f"space {machine.name} stripe {number} was trimmed while it was written")
            _finish_fresh(machine, sets, segments)
            await write_columns(machine, sets, segments)
            put_entries(machine, number, segments)
        finally:
            machine.truth.unpin(pages)
    finally:
        machine.claims.release(claim)


async def _forget(machine: ParityMachine, stripes: Iterable[int]) -> None:
    """M2: their durable truth is "never written" on return."""
    must_flush = False
    for number in stripes:
        claim = await machine.claims.acquire(number, number + 1)
        try:
            await _forget_stripe(machine, number)
        finally:
            machine.claims.release(claim)
        must_flush |= not machine.is_durable(number)
    if must_flush:
        await machine.flush()


async def _forget_stripe(machine: ParityMachine, number: int) -> None:
    """The stripe's slices are "never written" in memory. The caller holds it."""
    row, stripe = divmod(number, machine.map.row_stripes)
    first, unit = stripe * machine.map.unit_blocks, machine.map.unit_blocks
    while unit:
        count = min(unit, machine.map.page_slices - first % machine.map.page_slices)
        page_number = machine.map.page_of(row, first)
        page = await machine.truth.load(page_number)
        base, size = machine.truth.base(first), count * machine.map.group * 2
        if any(page[base : base + size]):
            page[base : base + size] = array("I", bytes(4 * size))
            machine.truth.changed(page_number)
            machine.note_change(number)
        first, unit = first + count, unit - count


# -- trimming ----------------------------------------------------------------------------------------------


async def trim(machine: ParityMachine, offset: int, length: int) -> None:
    machine.check_range(offset, length)
    row_bytes, stripe_bytes, end = machine.map.row_bytes, machine.map.stripe_bytes, offset + length
    for row in range(offset // row_bytes, -(-end // row_bytes)):
        start, stop = row * row_bytes, min((row + 1) * row_bytes, machine.size_bytes)
        low, high = max(offset, start), min(end, stop)
        first = -(-(low - start) // stripe_bytes)
        last = machine.map.row_stripes if high == stop else (high - start) // stripe_bytes
        if machine.row(row) is None or first >= last:
            continue
        numbers = machine.stripe_number(row, 0), machine.stripe_number(row, machine.map.row_stripes)
        claim = await machine.claims.acquire(*numbers)
        try:
            if machine.row(row) is not None:
                await _trim_row(machine, row, first, last)
        finally:
            machine.claims.release(claim)


async def _trim_row(machine: ParityMachine, row: int, first: int, last: int) -> None:
    is_released = machine.is_thin and first == 0 and last == machine.map.row_stripes
    if not is_released or machine.is_wanted(row):
        for stripe in range(first, last):
            await _forget_stripe(machine, machine.stripe_number(row, stripe))
        is_released = machine.is_thin and await _is_empty(machine, row)
    if is_released and not machine.is_wanted(row):
        for stripe in range(machine.map.row_stripes):
            machine.unflushed.pop(machine.stripe_number(row, stripe), None)
        machine.host.release_row(machine, row)


async def _is_empty(machine: ParityMachine, row: int) -> bool:
    first = row * machine.map.row_pages
    for number in range(first, first + machine.map.row_pages):
        if any(await machine.truth.load(number)):
            return False
    return True
