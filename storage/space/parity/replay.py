"""After a crash: the batches that were under way are written again, from the journal.

    slice with a record: durable truth is the old one   --> data and parity in place again, as recorded
                         anything else                  --> it was finished; nothing to do
    slice without one    (never written before)         --> blocks that the truth doesn't have: written as new

So the slice is what it was going to be, whatever was torn, and a column that is missing can be put together.
The record says which blocks of which stripes it speaks of, and the entries that the batch's data must fit:
anything else is LabelCorrupt, before a byte of the stripe is written. Awaits disks and the truth.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

from storage.space.parity import redo as records_of
from storage.space.parity.codec import words
from storage.space.parity.redo import Logged
from storage.space.parity.truth import fits
from storage.space.parity.writing import (
    Segment,
    apply,
    entries_of,
    pieces_of,
    prepare,
    put_stripe,
    ready_row,
    segments_of,
)
from storage.units import BLOCK_BYTES

if TYPE_CHECKING:
    from storage.cache.port import Batch
    from storage.space.parity.machine import ParityMachine


async def redo(machine: ParityMachine, records: Sequence[bytes], batch: Batch) -> None:
    space_id = machine.state.record.space_id
    logged = [one for record in records for one in records_of.decode(machine.map, space_id, bytes(record))]
    recorded: dict[int, list[Logged]] = {}
    for one in logged:
        number = machine.stripe_number(one.row, one.first // machine.map.unit_blocks)
        recorded.setdefault(number, []).append(one)
    for number, pieces in pieces_of(machine, batch).items():
        row = number // machine.map.row_stripes
        again: list[Segment] = []
        rest: list[tuple[int, memoryview]] = []
        by_first = {one.first: one for one in recorded.get(number, ())}
        for segment in segments_of(machine, row, pieces):
            record = by_first.get(segment.first)
            if record is not None:
                again.extend(await _redo_segment(machine, segment, record))
            else:
                rest.extend(await _unfinished(machine, segment))
        if again:
            await _put_again(machine, number, again)
        if rest:
            await prepare(machine, sorted(rest, key=lambda piece: piece[0]))
            await apply(machine, rest)


async def _redo_segment(machine: ParityMachine, segment: Segment, one: Logged) -> list[Segment]:
    """The slices of it whose truth is still the old one, as they are to be written."""
    written = sum(1 << role for role in segment.data)
    if one.count != segment.count or one.written != written or one.row != segment.row:
        raise records_of.contradiction(
            f"slices {one.first}+{one.count} of row {one.row} aren't those of its batch"
        )
    if machine.row(segment.row) is None:
        return []
    await machine.truth.load(machine.map.page_of(segment.row, segment.first))
    now, size = entries_of(machine, segment), machine.map.group * 2
    parities = [words(parity) for parity in one.parities]
    if not parities:
        parities = machine.codec.partial({role: words(view) for role, view in segment.data.items()})
    found = []
    for position in range(segment.count):
        span = slice(position * size, (position + 1) * size)
        if now[span] != one.old[span]:
            continue
        cut = slice(position * BLOCK_BYTES, (position + 1) * BLOCK_BYTES)
        part = slice(cut.start // 8, cut.stop // 8)
        data = {role: view[cut] for role, view in segment.data.items()}
        new_parities = [parity[part] for parity in parities]
        first = segment.first + position
        found.append(Segment(segment.row, first, 1, data, new_parities, one.old[span], one.new[span]))
    return found


async def _put_again(machine: ParityMachine, number: int, segments: Sequence[Segment]) -> None:
    row = number // machine.map.row_stripes
    sets = await ready_row(machine, row)
    stripe = number % machine.map.row_stripes
    for segment in segments:
        for role, view in segment.data.items():
            column = machine.map.column_of(stripe, role)
            if not fits(segment.new, 2 * column, 2, sets[column].seed, segment.first, view[:]):
                raise records_of.contradiction(
                    f"slice {segment.first} of row {row} isn't what its batch holds"
                )
    await put_stripe(machine, number, segments)


async def _unfinished(machine: ParityMachine, segment: Segment) -> list[tuple[int, memoryview]]:
    """Of a segment without a record: the blocks of slices that are still "never written"."""
    size = machine.map.group * 2
    now = array("I", bytes(4 * segment.count * size))
    if machine.row(segment.row) is not None:
        await machine.truth.load(machine.map.page_of(segment.row, segment.first))
        now = entries_of(machine, segment)
    found: list[tuple[int, memoryview]] = []
    for position in range(segment.count):
        if any(now[position * size : (position + 1) * size]):
            continue
        at = (segment.first + position) * BLOCK_BYTES
        cut = slice(position * BLOCK_BYTES, (position + 1) * BLOCK_BYTES)
        for role, view in segment.data.items():
            found.append((machine.map.unmap(segment.row, role, at), view[cut]))
    return found
