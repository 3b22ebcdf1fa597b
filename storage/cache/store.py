"""The journal on its space: marks, records written and read, and what is found there at opening.

    find   marks -> tail -> record, record, ... until one doesn't follow -> Found
           redo area from its start -> batches

Reads ahead in large pieces. Raises what the space raises, and LabelCorrupt if the journal can't be believed.
Writes are durable after `flush`. Source: docs/formats/journal.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from storage.cache import journal
from storage.cache.journal import Geometry, Head, Kind, Mark, Run
from storage.errors import BlockCorrupt, LabelCorrupt
from storage.space.port import Space
from storage.units import BLOCK_BYTES, SpaceOffset

READ_AHEAD_BLOCKS: Final = 512


@dataclass(slots=True)
class FoundRecord:
    head: Head
    place: int


@dataclass(slots=True)
class FoundBatch:
    """Redo records and the runs they belong to; the data lies at the runs' places."""

    records: list[bytes]
    runs: tuple[Run, ...]


@dataclass(slots=True)
class Found:
    records: list[FoundRecord] = field(default_factory=list)
    batches: list[FoundBatch] = field(default_factory=list)
    redo_sequence: int = 0
    """Of the next REDO record."""


class JournalStore:
    def __init__(self, space: Space, identity: int) -> None:
        self.space = space
        self.identity = identity
        self.written_bytes = 0

    # -- writing -------------------------------------------------------------------------------------------

    async def write(self, place: int, buffer: bytes | bytearray) -> None:
        """A record; nothing durable refers to its place yet."""
        self.written_bytes += len(buffer)
        offset, view = SpaceOffset(place * BLOCK_BYTES), (memoryview(buffer),)
        if not self.space.write_now(offset, view, True):
            await self.space.write(offset, view, True)

    async def write_mark(self, mark: Mark) -> None:
        """Durable on return."""
        offset = SpaceOffset(mark.serial % journal.MARK_SLOTS * BLOCK_BYTES)
        block = journal.encode_mark(mark)
        self.written_bytes += len(block)
        if not self.space.write_now(offset, (block,)):
            await self.space.write(offset, (block,))
        await self.space.flush()

    async def flush(self) -> None:
        await self.space.flush()

    # -- reading -------------------------------------------------------------------------------------------

    async def read(self, place: int, into: memoryview) -> None:
        offset = SpaceOffset(place * BLOCK_BYTES)
        if not self.space.read_now(offset, into):
            await self.space.read(offset, into)

    async def read_runs(self, runs: Sequence[Run]) -> list[tuple[int, memoryview]]:
        """A batch: (byte of the space, its data) of each run."""
        batch = []
        for run in runs:
            data = memoryview(bytearray(run.length * BLOCK_BYTES))
            await self.read(run.place, data)
            batch.append((run.block * BLOCK_BYTES, data))
        return batch

    async def find_mark(self) -> Mark | None:
        """None: this journal was never used."""
        slots = [memoryview(bytearray(BLOCK_BYTES)) for _ in range(journal.MARK_SLOTS)]
        for number, slot in enumerate(slots):
            await self.read(number, slot)
        mark = journal.newest_mark(slots, self.identity)
        if mark is not None and mark.geometry.blocks * BLOCK_BYTES > self.space.size_bytes:
            raise LabelCorrupt(
                f"the journal has {mark.geometry.blocks} blocks in a space of {self.space.size_bytes} bytes"
            )
        return mark

    async def find(self, mark: Mark) -> Found:
        found = Found()
        await self._find_records(mark, found)
        await self._find_batches(mark, found)
        return found

    async def _find_records(self, mark: Mark, found: Found) -> None:
        geometry = mark.geometry
        window = _Window(self, geometry.ring_start, geometry.blocks)
        place, sequence, epoch, used = mark.tail, mark.tail_sequence, 0, 0
        while used < geometry.ring_blocks:
            try:
                head = await self._record(window, place, sequence, epoch, mark.epoch)
            except LabelCorrupt:
                break  # the first that doesn't follow is where the journal ends
            blocks = head.runs[0].length if head.kind is Kind.PAD else head.blocks
            if head.kind is Kind.REDO or place + blocks > geometry.blocks:
                raise LabelCorrupt(f"journal block {place}: {head.kind.name} of {blocks} blocks in the ring")
            if used + blocks > geometry.ring_blocks:
                raise LabelCorrupt(f"journal block {place}: records overlap")
            found.records.append(FoundRecord(head._replace(head_blocks=blocks - head.data_blocks), place))
            place += blocks
            used += blocks
            if place == geometry.blocks:
                place = geometry.ring_start
            sequence, epoch = sequence + 1, head.epoch

    async def _find_batches(self, mark: Mark, found: Found) -> None:
        geometry = mark.geometry
        window = _Window(self, geometry.redo_start, geometry.ring_start)
        place, epoch = geometry.redo_start, 0
        found.redo_sequence = mark.redo_sequence
        while place < geometry.ring_start:
            try:
                head = await self._record(window, place, found.redo_sequence, epoch, mark.epoch)
            except LabelCorrupt:
                break
            data = await window.get(place + head.head_blocks, head.data_blocks)
            if head.kind is not Kind.REDO or any(not _is_in_ring(run, geometry) for run in head.runs):
                raise LabelCorrupt(f"journal block {place}: {head.kind.name} can't be in the redo area")
            found.batches.append(FoundBatch(journal.unpack_redo(data[: head.payload_bytes]), head.runs))
            place += head.blocks
            found.redo_sequence, epoch = found.redo_sequence + 1, head.epoch

    async def _record(self, window: _Window, place: int, sequence: int, epoch: int, epoch_max: int) -> Head:
        """The whole record at this place. Raises LabelCorrupt unless it is the one that follows."""
        sizes = journal.decode_sizes(await window.get(place, 1), self.identity)
        whole = await window.get(place, sum(sizes))
        head = journal.decode_head(whole, self.identity)
        if head.sequence != sequence or not epoch <= head.epoch <= epoch_max:
            raise LabelCorrupt(f"record {head.sequence} of epoch {head.epoch} where {sequence} is next")
        if not journal.is_data_whole(head, whole[head.head_blocks * BLOCK_BYTES :], self.identity):
            raise LabelCorrupt(f"record {sequence}: the checksum of its data does not match")
        return head


def _is_in_ring(run: Run, geometry: Geometry) -> bool:
    return geometry.ring_start <= run.place and run.place + run.length <= geometry.blocks


class _Window:
    """Blocks [start, end) of the journal, read in large pieces."""

    def __init__(self, store: JournalStore, start: int, end: int) -> None:
        self._store = store
        self._start = start
        self._end = end
        self._first = self._count = 0
        self._data = memoryview(b"")

    async def get(self, place: int, blocks: int) -> memoryview:
        """Raises LabelCorrupt if they reach out of it."""
        if place < self._start or place + blocks > self._end:
            raise LabelCorrupt(f"blocks {place}+{blocks} of a journal reach beyond {self._end}")
        if not self._first <= place <= place + blocks <= self._first + self._count:
            try:
                await self._load(place, min(max(blocks, READ_AHEAD_BLOCKS), self._end - place))
            except BlockCorrupt:  # perhaps of what is behind the end of the journal
                await self._load(place, blocks)
        at = (place - self._first) * BLOCK_BYTES
        return self._data[at : at + blocks * BLOCK_BYTES]

    async def _load(self, place: int, blocks: int) -> None:
        data = memoryview(bytearray(blocks * BLOCK_BYTES))
        await self._store.read(place, data)
        self._first, self._count, self._data = place, blocks, data
