"""Which copies are where, which disks are there, and what of it has changed since the last commit.

    disk fails --> FAILED, its copies absent --> hot sets: marked stale (pending) --> commit
    read fails --> counted; the disk is asked for its label --> no answer, or too often --> as above

The last copies that a row can be read from are never marked stale: their disks, once back, are the truth.
Owner: Pool; on the loop's thread. Plain functions, but for `read_failed`. Base of storage/pool/core.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from storage.errors import DiskFailed, PoolUnavailable
from storage.pool import opening, quorum
from storage.pool.allocation import FreeSlabs
from storage.pool.member import Member
from storage.pool.metadata import (
    DiskState,
    PoolState,
    Record,
    RowRecord,
    pack_copies,
)
from storage.runtime import Runtime
from storage.space.machine import SpaceMachine
from storage.space.resiliency import ResiliencyKind
from storage.space.slabset import Place, SlabSet
from storage.units import BLOCK_BYTES, DiskOffset

READ_ERRORS_MAX: Final = 16
READ_ERRORS_WINDOW_S: Final = 60.0
"""So many places that fail to be read in so long take a disk out, though it goes on answering."""


class Copies:
    """Owner of the pool's state, members and free slabs."""

    def __init__(self, state: PoolState, epoch: int, members: dict[int, Member], runtime: Runtime) -> None:
        self.state = state
        self.epoch = epoch
        self.members = members
        self.seed = opening.pool_seed(state.pool.pool_id)
        self.spaces: dict[int, SpaceMachine] = {}
        self.voting = quorum.voters(state)
        self.broken: str | None = None
        taken: dict[int, list[int]] = {number: [] for number in state.disks}
        for _, _, copy in state.slabs():
            taken[copy.disk].append(copy.slab)
        self.free = {
            number: FreeSlabs(disk.slab_count, taken[number]) for number, disk in state.disks.items()
        }
        for member in members.values():
            if member.disk is not None:
                member.attach(member.disk, runtime.now)
        self._runtime = runtime
        self._pending: list[Record] = []

    @property
    def runtime(self) -> Runtime:
        return self._runtime

    def online(self) -> list[Member]:
        return [member for member in self.members.values() if member.disk is not None]

    def resolve(self, slabs: SlabSet) -> None:
        writers: list[Place] = []
        readers: list[Place] = []
        for copy in slabs.copies:
            member = self.members.get(copy.disk)
            if member is None or member.disk is None or member.label is None:
                continue
            label = member.label
            place = Place(
                copy.disk, member.disk, label.slab_at(copy.slab), label.checks_at(copy.slab), copy.slab
            )
            writers.append(place)
            if not copy.stale:
                readers.append(place)
        slabs.writers = tuple(writers)
        slabs.readers = tuple(readers)

    def disk_failed(self, number: int, error: DiskFailed) -> None:
        member = self.members.get(number)
        if member is None or member.disk is None:
            return
        member.gone, member.disk = member.disk, None
        member.failure = str(error)
        member.away_since_s = self._runtime.now()
        self.change(replace(self.state.disks[number], state=DiskState.FAILED))
        hot: list[SlabSet] = []
        for slabs in self.sets_on(number):
            if slabs.is_hot:
                hot.append(slabs)
            slabs.logged = 0
            slabs.filled.pop(number, None)
            self.resolve(slabs)
        for slabs in hot:
            self.mark_absent(slabs)

    def sets_on(self, number: int) -> list[SlabSet]:
        """Those looked at so far that have a copy on that disk."""
        return [
            slabs
            for space in self.spaces.values()
            for sets in space.rows.values()
            for slabs in sets
            if any(copy.disk == number for copy in slabs.copies)
        ]

    def forget_memory(self, slabs: SlabSet) -> None:
        """Its last disk comes back, which may have lost what it was given and didn't flush: what is in memory
        may be newer than the disk. Whoever wrote it is told at the next flush."""
        space = self.spaces[slabs.space_id]
        if space.state.record.kind is ResiliencyKind.PARITY:
            return  # a column of parity can be missed; the machine marks what it lacks
        if slabs.written or slabs.flushing or slabs.dirty or slabs.half_done:
            space.flush_failure = (
                f"space {space.name} row {slabs.row}: its disks were away before writes were flushed"
            )
        slabs.written = 0
        for kept in (slabs.pages, slabs.half_done):
            kept.clear()
        for marked in (slabs.dirty, slabs.first):
            marked.clear()
        space.dirty.pop(slabs, None)

    async def read_failed(self, number: int, error: DiskFailed) -> None:
        member = self.members.get(number)
        disk = member.disk if member is not None else None
        if member is None or disk is None:
            return
        now = self._runtime.now()
        member.read_errors += 1
        last = member.read_errors_at
        recent = {what: at for what, at in last.items() if now - at < READ_ERRORS_WINDOW_S}
        recent[str(error)] = now  # one bad place that is asked for again and again is one
        member.read_errors_at = recent
        if len(member.read_errors_at) < READ_ERRORS_MAX:
            try:
                await disk.read(DiskOffset(0), [memoryview(bytearray(BLOCK_BYTES))])
                return
            except DiskFailed:
                pass
        if member.disk is disk:
            self.disk_failed(number, error)

    def mark_absent(self, slabs: SlabSet) -> None:
        """Mark the absent copies stale (pending), if the row can be read without them."""
        if slabs.is_dead or self.is_settled(slabs):
            return
        if not self.spaces[slabs.space_id].may_mark_stale(slabs):
            return
        there = {place.number for place in slabs.writers}
        slabs.copies = [copy._replace(stale=copy.stale or copy.disk not in there) for copy in slabs.copies]
        self.change_row(slabs)

    def is_settled(self, slabs: SlabSet) -> bool:
        """Is every copy there, or marked stale?"""
        there = {place.number for place in slabs.writers}
        return all(copy.stale or copy.disk in there for copy in slabs.copies)

    def change_row(self, slabs: SlabSet) -> None:
        sets = self.spaces[slabs.space_id].rows[slabs.row]
        packed = b"".join(pack_copies(one.copies) for one in sets)
        self.change(RowRecord(slabs.space_id, slabs.row, packed))

    def change(self, record: Record) -> None:
        self.state.apply(record)
        self._pending.append(record)

    def take_pending(self) -> None:
        """The changes so far go with a snapshot that the caller is about to write."""
        self._pending = []

    def require_usable(self) -> None:
        if self.broken is not None:
            raise PoolUnavailable(self.broken)

    def require_version(self, version: int, what: str) -> None:
        """Raises ValueError."""
        have = self.state.pool.version
        if have < version:
            raise ValueError(
                f"pool {self.state.pool.name} has version {have}; {what} need {version}: upgrade it first "
                "(sofs pool upgrade), after which older programs don't open it any more"
            )

    def count_repair(self, number: int, blocks: int) -> None:
        if number in self.members:
            self.members[number].repaired_blocks += blocks

    def unlog(self, number: int, slab: int, regions: int) -> None:
        member = self.members.get(number)
        if member is None:
            return
        bits = member.intents.bits
        left = bits.get(slab, 0) & ~regions
        if left:
            bits[slab] = left
        else:
            bits.pop(slab, None)
