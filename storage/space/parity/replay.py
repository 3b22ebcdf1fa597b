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
from storage.space.parity.codec import octets, words
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
    for number, pairs in _matched(machine, records, batch).items():
        again: list[Segment] = []
        rest: list[tuple[int, memoryview]] = []
        for segment, one in pairs:
            if one is not None:
                again.extend(await _redo_segment(machine, segment, one))
            else:
                rest.extend(await _unfinished(machine, segment))
        if again:
            await _put_again(machine, number, again)
        if rest:
            await prepare(machine, sorted(rest, key=lambda piece: piece[0]))
            await apply(machine, rest)


def _matched(
    machine: ParityMachine, records: Sequence[bytes], batch: Batch
) -> dict[int, list[tuple[Segment, Logged | None]]]:
    """Stripe -> the batch's segments in it, each with what is recorded of it."""
    space_id = machine.state.record.space_id
    recorded: dict[tuple[int, int], Logged] = {}
    for record in records:
        for one in records_of.decode(machine.map, space_id, bytes(record)):
            recorded[one.row, one.first] = one
    found: dict[int, list[tuple[Segment, Logged | None]]] = {}
    cuts: dict[int, set[int]] = {}
    for one in recorded.values():
        cuts.setdefault(one.row, set()).update((one.first, one.first + one.count))
    for number, pieces in pieces_of(machine, _joined(batch)).items():
        pairs = found[number] = []
        row = number // machine.map.row_stripes
        for segment in segments_of(machine, row, pieces, cuts.get(row, ())):
            match = recorded.pop((segment.row, segment.first), None)
            written = sum(1 << role for role in segment.data)
            if match is not None and (match.count, match.written) != (segment.count, written):
                raise records_of.contradiction(f"slices {match.first}+{match.count} of row {match.row}")
            pairs.append((segment, match))
    if recorded:
        raise records_of.contradiction(f"its (row, first slice) {sorted(recorded)} are not in the batch")
    return found


def _joined(batch: Batch) -> list[tuple[int, memoryview]]:
    """The journal may have the batch in other pieces than it was given in: those that touch are one."""
    runs: list[tuple[int, list[memoryview]]] = []
    end = -1
    for offset, data in batch:
        if offset == end:
            runs[-1][1].append(data)
        else:
            runs.append((offset, [data]))
        end = offset + len(data)
    return [(offset, views[0] if len(views) == 1 else memoryview(b"".join(views))) for offset, views in runs]


async def _redo_segment(machine: ParityMachine, segment: Segment, one: Logged) -> list[Segment]:
    """The slices of it whose truth is still the old one, as they are to be written."""
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
        contents = dict(segment.data)
        for position, parity in enumerate(segment.parities):
            contents[machine.map.data_columns + position] = octets(parity)
        for role, view in contents.items():
            column = machine.map.column_of(stripe, role)
            is_new = segment.new[2 * column + 1] != 0
            if not is_new or not fits(segment.new, 2 * column, 2, sets[column].seed, segment.first, view):
                raise records_of.contradiction(f"slice {segment.first} of row {row} holds something else")
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
