"""The slabs that hold one column of one row: its copies, where they are, and what is known of them in memory.

    copies    as the slab map says: (disk, slab, stale?)
    writers   copies on disks that are there: each write goes to all of them
    readers   writers that aren't stale: any of them may serve a read
    dirty     checksum pages that differ from the disk's
    first     dirty pages with a block that was never written before, and not `fresh`
    logged    bitmap of regions that may be written in place now (storage/pool/intents.py, W1)
    filled    of stale copies that are being refilled: disk -> pages that are complete there
    in_log    bitmap of regions that the log of some copy's disk may name; holds all of `logged`

Invariants
  S1 `logged != 0` implies: every copy on an absent disk is durably marked stale, or the row isn't in the
     durable map yet (`is_young`).
  S2 A page in `dirty` is in `pages`; a page of a set with a write in flight is not dropped from `pages`.
  S3 A block that no copy on a present disk fits by its entry has the entry that fits in `half_done`.
  S5 A stale copy's checksum page is written only by the refill, and by flushes once it is in `filled`: an
  entry
     there says that the data is there too, so that comparing pages finds what must be copied.
  S4 `written | flushing` covers every region with data or checksums that no completed flush covers.
Owner: the space, on the loop's thread; state of disks is told by the pool. No I/O.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import NamedTuple

from storage.disk import Disk
from storage.pool.metadata import CopyRecord
from storage.runtime import Event


class Place(NamedTuple):
    """One copy's slab on a disk that is there. Offsets in bytes of the disk."""

    number: int
    disk: Disk
    data: int
    checks: int
    slab: int


class SlabSet:
    __slots__ = (
        "column",
        "copies",
        "dirty",
        "filled",
        "first",
        "flushing",
        "half_done",
        "in_log",
        "inflight",
        "is_dead",
        "is_young",
        "loading",
        "logged",
        "pages",
        "readers",
        "row",
        "seed",
        "space_id",
        "touched_s",
        "underway",
        "writers",
        "written",
    )

    def __init__(self, space_id: int, row: int, column: int, copies: list[CopyRecord], seed: int) -> None:
        self.space_id = space_id
        self.row = row
        self.column = column
        self.copies = copies
        self.seed = seed
        self.readers: tuple[Place, ...] = ()
        self.writers: tuple[Place, ...] = ()
        self.logged = 0
        self.in_log = 0
        self.written = 0
        self.flushing = 0
        self.inflight = 0
        self.touched_s = 0.0
        self.is_young = False
        self.is_dead = False
        self.pages: dict[int, array[int]] = {}
        self.dirty: set[int] = set()
        self.first: set[int] = set()
        self.filled: dict[int, set[int]] = {}
        self.loading: dict[int, Event] = {}
        self.half_done: dict[int, tuple[int, int]] = {}
        self.underway: tuple[int, Sequence[int]] = (0, ())
        """(first block, new entries) of the inline write that is or was last under way; for other threads."""

    def remember_half_done(self, index: int, entries: Sequence[int]) -> None:
        """A write ended early: some copies of these blocks may hold new data, the page has old entries."""
        for position in range(len(entries) // 2):
            self.half_done[index + position] = entries[2 * position], entries[2 * position + 1]

    def forget_half_done(self, index: int, count: int) -> None:
        for position in range(index, index + count):
            self.half_done.pop(position, None)

    @property
    def is_hot(self) -> bool:
        """May a copy lack something that another one has?"""
        return bool(self.logged or self.is_young or self.written or self.flushing or self.inflight)
