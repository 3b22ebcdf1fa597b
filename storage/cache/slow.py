"""What the write-back cache does when an inline call says no: waiting reads, held-back writes, what goes
around
the journal, trims.

    write   claim -> edges read -> admitted (slowed, or waits for room) -> put
    pass    claim -> stripes still -> dirty blocks dropped (fresh) -> TRIM, NOTE -> NOTE durable -> backing
    trim    claim -> stripes still -> dirty blocks dropped -> TRIM durable -> backing

Functions over a CacheCore; invariants C1..C5 of core.py. Cancelling a write leaves it undone, or done in part
where it goes around the journal.
"""

from __future__ import annotations

from storage.cache.core import CacheCore, Note
from storage.cache.dirty import Version
from storage.cache.journal import RUN_BLOCKS_MAX, Kind, Run
from storage.errors import StorageError
from storage.space.blocks import EDGE, edges
from storage.units import BLOCK_BYTES, SpaceOffset

SHIFT = BLOCK_BYTES.bit_length() - 1
AROUND_BLOCKS = 16
"""Shorter stretches between dirty blocks go through the journal with them."""
PIECE_BLOCKS = 64
"""Admitted at once of a long write that goes through the journal."""


# -- reading -----------------------------------------------------------------------------------------------


async def read(core: CacheCore, offset: int, into: memoryview) -> None:
    for block, skip, begin, finish in edges(offset, len(into)):
        if not skip and finish - begin & EDGE == 0:
            await read_aligned(core, block, into[begin:finish])
        else:
            buffer = memoryview(bytearray(BLOCK_BYTES))
            await read_aligned(core, block, buffer)
            into[begin:finish] = buffer[skip : skip + finish - begin]


async def read_aligned(core: CacheCore, offset: int, into: memoryview) -> None:
    """Whole blocks: each from memory, the journal or the backing, in runs."""
    number, end = offset >> SHIFT, (offset + len(into)) >> SHIFT
    first = number
    while number < end:
        at = (number - first) << SHIFT
        version = core.dirty.blocks.get(number)
        if version is None:
            run = 1
            while number + run < end and number + run not in core.dirty.blocks:
                run += 1
            where, view = SpaceOffset(number << SHIFT), into[at : at + (run << SHIFT)]
            if not core.backing.read_now(where, view):
                await core.backing.read(where, view)
        elif (data := version.data) is not None:
            run = 1
            into[at : at + BLOCK_BYTES] = data
        else:
            run = await _read_stored(core, number, end, into[at:])
        number += run


async def _read_stored(core: CacheCore, number: int, end: int, into: memoryview) -> int:
    """Blocks whose content is in the journal only: how many from `number` on were read; 0: look again."""
    versions: list[Version] = []
    place = 0
    for block in range(number, end):
        version = core.dirty.blocks.get(block)
        if version is None or version.data is not None or (place and version.place != place + len(versions)):
            break
        place = place or version.place
        versions.append(version)
    try:
        await core.store.read(place, into[: len(versions) << SHIFT])
    except StorageError:
        if all(core.dirty.holds(number + index, version) for index, version in enumerate(versions)):
            raise
        return 0  # destaged meanwhile: its place may hold something else
    for index, version in enumerate(versions):
        if not core.dirty.holds(number + index, version):
            return index
    return len(versions)


# -- writing -----------------------------------------------------------------------------------------------


async def admit(core: CacheCore, blocks: int) -> None:
    """Wait until so many more young blocks have room. The caller puts them without waiting in between."""
    was_slowed = False
    while True:
        core.require_usable()
        if len(core.dirty.young) + blocks > core.limits.young_bytes >> SHIFT:
            await core.append()
            continue
        fill = core.fill(blocks)
        if fill > 1:
            if core.is_stalled and core.destage_failure is not None:
                raise core.destage_failure
            core.counters.slowed += not was_slowed
            was_slowed = True
            await core.wait_for_room()
            continue
        delay_s = 0.0 if was_slowed else core.throttle.delay_s(fill, blocks << SHIFT, core.runtime.now())
        if delay_s <= 0:
            return
        was_slowed = True
        core.counters.slowed += 1
        core.on_pressure()
        await core.runtime.sleep(delay_s)


async def write(core: CacheCore, offset: int, view: memoryview) -> None:
    """Through the journal."""
    start, end = offset & ~EDGE, (offset + len(view) + EDGE) & ~EDGE
    claim = await core.acquire(start, end)
    try:
        for block, skip, begin, finish in edges(offset, len(view)):
            part = view[begin:finish]
            if skip or len(part) & EDGE:
                buffer = memoryview(bytearray(BLOCK_BYTES))
                await read_aligned(core, block, buffer)
                buffer[skip : skip + len(part)] = part
                part = buffer
            await _put(core, block >> SHIFT, part)
    finally:
        core.release(claim)


async def _put(core: CacheCore, number: int, view: memoryview) -> None:
    blocks = len(view) >> SHIFT
    piece_max = min(PIECE_BLOCKS, core.limits.young_bytes >> SHIFT)
    for first in range(0, blocks, piece_max):
        piece = min(piece_max, blocks - first)
        await admit(core, piece)
        for index in range(first, first + piece):
            at = index << SHIFT
            core.dirty.put(number + index, bytes(view[at : at + BLOCK_BYTES]))
        core.counters.written_bytes += piece << SHIFT
        core.on_pressure()


# -- around the journal ------------------------------------------------------------------------------------


async def write_bulk(core: CacheCore, offset: int, view: memoryview, fresh: bool) -> None:
    """Whole blocks: around the journal where that holds none of them, or may forget them; the rest through
    it."""
    if fresh and await write_around(core, offset, view, fresh):
        return
    first, end = offset >> SHIFT, (offset + len(view)) >> SHIFT
    at = first
    while at < end:
        behind, is_around = _alike(core, at, end)
        part = view[(at - first) << SHIFT : (behind - first) << SHIFT]
        if not (is_around and await write_around(core, at << SHIFT, part, fresh=False)):
            await write(core, at << SHIFT, part)
        at = behind


def _alike(core: CacheCore, first: int, end: int) -> tuple[int, bool]:
    """(end of the blocks from `first` on that go the same way, do they go around?): a long run without a
    dirty block; or what lies before the next of these."""
    blocks = core.dirty.blocks
    run, at = first, first
    while at < end:
        if at in blocks:
            if at - run >= AROUND_BLOCKS:
                break
            run = at + 1
        at += 1
    if at - run < AROUND_BLOCKS:
        return end, False
    return (at, True) if run == first else (run, False)


async def write_around(core: CacheCore, offset: int, view: memoryview, fresh: bool) -> bool:
    """Whole blocks, to the backing. False: dirty blocks are there that must not be dropped; nothing done."""
    start, end = offset, offset + len(view)
    await core.promise_control()
    try:
        claim = await core.acquire(start, end, excludes_destage=True)
        notes: list[Note] = []
        try:
            await core.still(start, end)
            if not core.dirty.is_clear(start >> SHIFT, end >> SHIFT):
                if not fresh:
                    return False
                core.dirty.drop(start >> SHIFT, end >> SHIFT)
            void(core, start, end)
            if fresh:
                notes = await _noted(core, start, end)
            core.passed()
            if not fresh:
                await core.backing.apply([(offset, view)])
            elif not core.backing.write_fresh_now(SpaceOffset(offset), (view,)):
                await core.backing.write_fresh(SpaceOffset(offset), (view,))
            core.counters.passed_bytes += len(view)
            return True
        finally:
            for note in notes:
                note.active -= 1
            core.passed()
            core.release(claim)
    finally:
        core.end_promise()


def void(core: CacheCore, start: int, end: int) -> bool:
    """Have the journal forget what it may hold of this range (C3), with the next append."""
    first, behind = start >> SHIFT, end >> SHIFT
    if core.lost is not None or not core.ring.is_present(first, behind):
        return False
    runs = [Run(block, min(RUN_BLOCKS_MAX, behind - block)) for block in range(first, behind, RUN_BLOCKS_MAX)]
    core.controls.append((Kind.TRIM, runs, None))
    return True


async def _noted(core: CacheCore, start: int, end: int) -> list[Note]:
    """The notes that cover a fresh write, durable; they stay until the write is flushed."""
    ranges = core.backing.pass_ranges(start, end - start)
    if ranges:
        note = Note(ranges)
        core.notes.append(note)
        core.controls.append((Kind.NOTE, [_run(begin, length) for begin, length in ranges], note))
    notes = [note for note in core.notes if note.covers(start, end)]
    for note in notes:
        note.active += 1
    if any(note.sequence is None or note.sequence >= core.stored_sequence for note in notes):
        try:
            await core.append()
        except BaseException:
            for note in notes:
                note.active -= 1
            raise
    return notes


def _run(offset: int, length: int) -> Run:
    first = offset >> SHIFT
    return Run(first, ((offset + length + EDGE) >> SHIFT) - first)


async def write_through(core: CacheCore, offset: int, view: memoryview, fresh: bool) -> None:
    """The journal is lost, and nothing is left in it: as without a cache."""
    start, end = offset & ~EDGE, (offset + len(view) + EDGE) & ~EDGE
    claim = await core.acquire(start, end, excludes_destage=True)
    try:
        for block, skip, begin, finish in edges(offset, len(view)):
            part = view[begin:finish]
            if skip or len(part) & EDGE:
                buffer = memoryview(bytearray(BLOCK_BYTES))
                await read_aligned(core, block, buffer)
                buffer[skip : skip + len(part)] = part
                part = buffer
            core.passed()
            if fresh:
                await core.backing.write_fresh(SpaceOffset(block), (part,))
            else:
                await core.backing.apply([(block, part)])
            core.counters.passed_bytes += len(part)
    finally:
        core.passed()
        core.release(claim)


async def trim(core: CacheCore, offset: int, length: int) -> None:
    start, end = (offset + EDGE) & ~EDGE, (offset + length) & ~EDGE
    if start >= end:
        return
    await core.promise_control(is_trim=True)
    try:
        claim = await core.acquire(start, end, excludes_destage=True)
        try:
            await core.still(start, end)
            core.dirty.drop(start >> SHIFT, end >> SHIFT)
            if void(core, start, end):
                await core.append()
            core.passed()
            await core.backing.trim(SpaceOffset(start), end - start)
            if core.destage_failure is not None:
                core.on_trimmed()
        finally:
            core.passed()
            core.release(claim)
    finally:
        core.end_promise()
