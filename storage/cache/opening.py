"""Opening a cache: the journal is read, what a crash left half done behind it is done again.

    mark? -- none --> a new journal
     | records from the tail on: DATA into the map, TRIM out of it, NOTE remembered
     | redo batches, in order -> backing.redo       notes not void -> backing.settle       backing flush
     v
    new mark with a new epoch, durable; only then may records be written

Raises LabelCorrupt (the journal contradicts itself, or is another's), and what spaces raise. Source:
docs/formats/journal.md.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from storage.cache.core import CacheCore, redo_blocks
from storage.cache.journal import JOURNAL_BLOCKS_MAX, Geometry, Kind, Mark
from storage.cache.ring import Ring
from storage.cache.store import Found
from storage.errors import LabelCorrupt
from storage.units import BLOCK_BYTES

REDO_FRACTION: Final = 4
"""One part in so many of a journal is for redo records, if there are any."""


async def open_journal(core: CacheCore) -> None:
    mark = await core.store.find_mark()
    if mark is None:
        mark = _first_mark(core)
        await core.store.write_mark(mark)
        core.begin(Ring(mark.geometry, mark.identity, mark.epoch, mark.tail, mark.tail_sequence), mark)
        return
    found = await core.store.find(mark)
    if not core.is_independent:
        require_redo_room(core, mark.geometry)
    ring = Ring(mark.geometry, mark.identity, mark.epoch + 1, mark.tail, mark.tail_sequence)
    ranges = _replay(core, ring, mark, found)
    await _repeat(core, found, ranges)
    mark = replace(
        mark,
        epoch=mark.epoch + 1,
        serial=mark.serial + 1,
        redo_sequence=found.redo_sequence,
        notes_from=ring.sequence,
    )
    await core.store.write_mark(mark)
    core.begin(ring, mark)


def _first_mark(core: CacheCore) -> Mark:
    blocks = min(core.store.space.size_bytes // BLOCK_BYTES, JOURNAL_BLOCKS_MAX)
    geometry = Geometry(blocks, 0 if core.is_independent else blocks // REDO_FRACTION)
    if not core.is_independent:
        require_redo_room(core, geometry)
    return Mark(core.store.identity, 1, 1, geometry, geometry.ring_start, 1, 1, 1)


def require_redo_room(core: CacheCore, geometry: Geometry) -> None:
    """Room for the redo records of one stripe and one batch."""
    stripe = core.stripe_bytes // BLOCK_BYTES
    need = redo_blocks(core.backing, max(stripe, core.limits.batch_bytes // BLOCK_BYTES))
    if need > geometry.redo_blocks:
        raise LabelCorrupt(
            f"the journal of {core.backing.name} has {geometry.redo_blocks} blocks for redo records; "
            f"one batch may take {need}"
        )


def _replay(core: CacheCore, ring: Ring, mark: Mark, found: Found) -> list[tuple[int, int]]:
    """Fill the map and the ring; returns the ranges of notes that are not void."""
    end = -(-core.backing.size_bytes // BLOCK_BYTES)
    ranges: list[tuple[int, int]] = []
    for record in found.records:
        head = record.head
        if head.kind is not Kind.PAD and any(run.block + run.length > end for run in head.runs):
            raise LabelCorrupt(f"the journal of {core.backing.name} has blocks beyond its {end}")
        if head.kind is Kind.DATA:
            place = record.place + head.head_blocks
            for run in head.runs:
                core.dirty.restore(run, place, head.sequence)
                place += run.length
        elif head.kind is Kind.TRIM:
            for run in head.runs:
                core.dirty.drop(run.block, run.block + run.length)
        elif head.kind is Kind.NOTE and head.sequence >= mark.notes_from:
            ranges += [(run.block * BLOCK_BYTES, run.length * BLOCK_BYTES) for run in head.runs]
        ring.found(head.blocks, head.runs, head.kind is Kind.DATA)
    return ranges


async def _repeat(core: CacheCore, found: Found, ranges: list[tuple[int, int]]) -> None:
    for batch in found.batches:
        await core.backing.redo(batch.records, await core.store.read_runs(batch.runs))
    if ranges:
        await core.backing.settle(ranges)
    if found.batches or ranges:
        await core.backing.flush()
