"""The ring of the journal: where the next record goes, what is taken, which segments hold what. Pure.

    tail ......................................................... head          (blocks; wraps at the end)
         segment | segment | segment | the open segment

A segment is a stretch of consecutive records; it is destaged and given up as a whole, the oldest first. The
space of what is given up may be used again once a mark behind it is durable (`release`). Invariants: records
never wrap (a PAD fills the ring up to its end); `used` is the distance from tail to head; the head never
reaches the tail. Units: blocks.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from storage.cache.dirty import Taken
from storage.cache.journal import (
    DATA_BLOCKS_MAX,
    Geometry,
    Kind,
    Run,
    encode_pad,
    encode_record,
    head_blocks,
    runs_of,
)
from storage.units import BLOCK_BYTES

SEGMENTS: Final = 64
"""Of a full ring, about."""
SEGMENT_BLOCKS_MIN: Final = 16
PRESENCE_BLOCKS: Final = 256
"""What the ring holds data of is known by 1 MiB of the space."""


class Segment:
    __slots__ = ("blocks", "first_sequence", "last_sequence", "numbers", "place")

    def __init__(self, place: int, sequence: int) -> None:
        self.place = place
        self.first_sequence = sequence
        self.last_sequence = sequence
        self.blocks = 0
        self.numbers: list[int] = []
        """Blocks of the space whose data was put here; many may have newer versions by now."""


class Placed:
    """A record that has its place. `place` is of its first block; its data follows the head."""

    __slots__ = ("buffer", "data_place", "place", "segment", "sequence", "taken")

    def __init__(self, place: int, data_place: int, sequence: int, buffer: bytearray, taken: Taken) -> None:
        self.place = place
        self.data_place = data_place
        self.sequence = sequence
        self.buffer = buffer
        self.taken = taken
        self.segment: Segment | None = None


class Ring:
    def __init__(self, geometry: Geometry, identity: int, epoch: int, tail: int, sequence: int) -> None:
        self.geometry = geometry
        self.identity = identity
        self.epoch = epoch
        self.tail = self.head = tail
        self.tail_sequence = self.sequence = sequence
        self.used = 0
        self.segments: deque[Segment] = deque([Segment(tail, sequence)])
        self.presence: dict[int, int] = {}
        """Megabyte of the space -> sequence of the last record with data in it."""
        self._segment_blocks = max(SEGMENT_BLOCKS_MIN, geometry.ring_blocks // SEGMENTS)

    @property
    def free(self) -> int:
        return self.geometry.ring_blocks - self.used

    @staticmethod
    def need(blocks: int) -> int:
        """Room for so many young blocks, wherever they lie, with heads and what the ring's end wastes."""
        if not blocks:
            return 0
        return blocks + blocks // 256 + 2 * (blocks // DATA_BLOCKS_MAX) + 4

    # -- records -------------------------------------------------------------------------------------------

    def place_data(self, taken: Taken) -> list[Placed]:
        """Records for all of it. There must be room (`need`)."""
        placed: list[Placed] = []
        at = 0
        while at < len(taken):
            left = self.geometry.blocks - self.head
            if left < 2:
                placed.append(self._pad(left))
                continue
            count = min(len(taken) - at, DATA_BLOCKS_MAX, left - 1)
            while count + head_blocks(count) > left:
                count -= 1
            part = taken[at : at + count]
            at += count
            runs = runs_of([number for number, _ in part])
            data = [version.data for _, version in part if version.data is not None]
            assert len(data) == len(part), "a young version without its content"
            buffer = encode_record(Kind.DATA, self.identity, self.sequence, self.epoch, runs, data)
            record = self._take(buffer, part)
            self.note_presence(runs, record.sequence)
            placed.append(record)
        return placed

    def place_control(self, kind: Kind, runs: list[Run]) -> list[Placed]:
        """A TRIM or NOTE record."""
        size = head_blocks(len(runs))
        placed = []
        left = self.geometry.blocks - self.head
        if left < size:
            placed.append(self._pad(left))
        buffer = encode_record(kind, self.identity, self.sequence, self.epoch, runs)
        placed.append(self._take(buffer, []))
        return placed

    def _pad(self, blocks: int) -> Placed:
        buffer = encode_pad(self.identity, self.sequence, self.epoch, blocks)
        record = Placed(self.head, self.head, self.sequence, buffer, [])
        self._advance(blocks)
        return record

    def _take(self, buffer: bytearray, taken: Taken) -> Placed:
        blocks = len(buffer) // BLOCK_BYTES
        segment = self.segments[-1]
        if segment.blocks >= self._segment_blocks:
            segment = self.close_segment()
        place = self.head
        record = Placed(place, place + blocks - len(taken), self.sequence, buffer, taken)
        record.segment = segment
        self._advance(blocks)
        return record

    def _advance(self, blocks: int) -> None:
        assert blocks <= self.free, f"{blocks} blocks for a ring with {self.free} free"
        segment = self.segments[-1]
        segment.blocks += blocks
        segment.last_sequence = self.sequence
        self.used += blocks
        self.head += blocks
        if self.head == self.geometry.blocks:
            self.head = self.geometry.ring_start
        assert self.head < self.geometry.blocks
        self.sequence += 1

    def found(self, blocks: int, runs: tuple[Run, ...], is_data: bool) -> None:
        """At opening: the next record is there already."""
        if self.segments[-1].blocks >= self._segment_blocks:
            self.close_segment()
        if is_data:
            self.note_presence(list(runs), self.sequence)
            numbers = self.segments[-1].numbers
            for run in runs:
                numbers.extend(range(run.block, run.block + run.length))
        self._advance(blocks)

    # -- segments ------------------------------------------------------------------------------------------

    def close_segment(self) -> Segment:
        """The open segment is full, or is about to be destaged: a new one begins at the head."""
        if not self.segments[-1].blocks:
            self.segments.pop()
        segment = Segment(self.head, self.sequence)
        self.segments.append(segment)
        return segment

    def oldest(self, blocks: int, durable: int) -> list[Segment]:
        """Closed segments from the tail on that together hold at least so many blocks, or as many as there
        are of which every record is below sequence `durable`."""
        self.close_segment()
        chosen: list[Segment] = []
        for segment in list(self.segments)[:-1]:
            if blocks <= 0 or segment.last_sequence >= durable:
                break
            chosen.append(segment)
            blocks -= segment.blocks
        return chosen

    def tail_after(self, given_up: list[Segment]) -> tuple[int, int]:
        """(place, sequence) of the first record behind these oldest segments."""
        following = self.segments[len(given_up)]
        return following.place, following.first_sequence

    def release(self, segments: list[Segment]) -> None:
        """A mark behind these oldest segments is durable: their space is free."""
        for segment in segments:
            assert self.segments[0] is segment
            self.segments.popleft()
            self.used -= segment.blocks
        self.tail, self.tail_sequence = self.segments[0].place, self.segments[0].first_sequence
        if len(self.presence) > 4096:
            self.presence = {
                region: last for region, last in self.presence.items() if last >= self.tail_sequence
            }

    # -- presence ------------------------------------------------------------------------------------------

    def note_presence(self, runs: list[Run], sequence: int) -> None:
        for run in runs:
            first = run.block // PRESENCE_BLOCKS
            last = (run.block + run.length - 1) // PRESENCE_BLOCKS
            self.presence[first] = sequence
            for region in range(first + 1, last + 1):
                self.presence[region] = sequence

    def is_present(self, first: int, end: int) -> bool:
        """May a record that reading at opening would still meet hold data of blocks [first, end)?"""
        low, high = first // PRESENCE_BLOCKS, -(-end // PRESENCE_BLOCKS)
        tail = self.tail_sequence
        if high - low <= len(self.presence):
            return any(self.presence.get(region, -1) >= tail for region in range(low, high))
        return any(low <= region < high and last >= tail for region, last in self.presence.items())
