"""The pool's engine: what becomes durable in which order. It is the `SpaceHost` of every space.

    space --make_ready--> intents ---+                                        disk A   disk B  ...
    space --flush-------> pages, disk flushes --> commit (records) ---------> slots    slots
    space --allocate----> slabs, zeroed checksums -> pending record --^
    disk fails ---------> stale marks -------------> pending record --^

The reasons why a power cut at any moment loses nothing flushed:
  P1 Mark before ack: a write or flush returns with a copy missing only after that copy's row is durably
     marked stale.
  P2 A new row's record is committed only when its zeroed checksums and its regions in the intent log are
     durable. Until then writes to it need no log: after a power cut the row does not exist and reads as
     zeros.
  P3 A slab is free again only when the record that released it is durable.
  P4 A flush returns after data, checksum pages and then the pending records are durable. The entry of a block
     that was never written before becomes durable after its data (a second disk flush): until then the block
     is "never written", where a torn first write would mix in what the slab's last owner left. `fresh` writes
     waive that.
  P5 A change counts when a quorum has it (storage/pool/quorum.py); otherwise the pool stops with
     PoolUnavailable.
The last current copy of a column is never marked stale: its disk, once back, is the truth.

Flushes, commits and intent-log writes are batched (storage/pool/batcher.py); a flush may run a commit, a
commit may run an intent-log write, never the other way round. All on the loop's thread; only ports are
awaited. Source: docs/formats/.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Final

from storage.errors import DiskFailed, PoolFull, PoolUnavailable, StorageError
from storage.pool import frame, intents
from storage.pool.allocation import FreeSlabs, choose_row, domain_of, rows_available
from storage.pool.batcher import gather
from storage.pool.durability import Durability
from storage.pool.member import Member
from storage.pool.metadata import (
    CopyRecord,
    DiskRecord,
    DropRowRecord,
    MediaRule,
    MediaType,
    PoolState,
    RowRecord,
    SpaceRecord,
    Usage,
    pack_copies,
)
from storage.runtime import Runtime
from storage.space.machine import SpaceMachine
from storage.space.resiliency import ResiliencyKind
from storage.space.slabset import SlabSet
from storage.units import DiskOffset

PAGES_CACHED_MAX: Final = 16384
"""Checksum pages in memory: 64 MiB, which cover 32 GiB of data."""
ZEROS: Final = bytes(1 << 20)
RECORD_MAX_BYTES: Final = 1200
"""A disk's, space's or job's record."""
ROW_BYTES: Final = 11
COPY_BYTES: Final = 8


class PoolCore(Durability):
    def __init__(self, state: PoolState, epoch: int, members: dict[int, Member], runtime: Runtime) -> None:
        super().__init__(state, epoch, members, runtime)
        self.pages_max = PAGES_CACHED_MAX
        self._cached: deque[tuple[SlabSet, int]] = deque()

    # -- rows ----------------------------------------------------------------------------------------------

    def rows_available(self, space: SpaceMachine) -> int:
        record = space.state.record
        disks, domains, preferred = self.disks_for(record)
        sets, apart = shape_of(record)
        away, away_domains, lacking = self._away_for(record, domains)
        there = rows_available(disks, domains, sets, apart - lacking, preferred)
        return min(there, rows_available(away, away_domains, sets, lacking)) if lacking else there

    def disks_for(
        self, record: SpaceRecord, is_repair: bool = False
    ) -> tuple[dict[int, FreeSlabs], dict[int, str], list[int]]:
        """The disks that are there and may be given slabs of that space, their fault domains at its
        awareness, and those of them that it would rather have."""
        disks: dict[int, FreeSlabs] = {}
        domains: dict[int, str] = {}
        preferred: list[int] = []
        for member in self.online():
            disk = self.state.disks.get(member.number)
            if disk is None or not may_hold(disk, record, is_repair):
                continue
            disks[member.number] = self.free[member.number]
            domains[member.number] = domain_of(disk, record.awareness)
            is_fast = disk.usage is Usage.JOURNAL or disk.media >= record.media > MediaType.UNSPECIFIED
            if record.media_rule is MediaRule.PREFER and is_fast:
                preferred.append(member.number)
        return disks, domains, preferred

    def _away_for(
        self, record: SpaceRecord, domains: Mapping[int, str]
    ) -> tuple[dict[int, FreeSlabs], dict[int, str], int]:
        """Disks that are away, their fault domains, and how many of each set of a new row must lie on them,
        as too few are there (`domains`). 0: enough are, or more are away than the space tolerates."""
        _, apart = shape_of(record)
        lacking = apart - len(set(domains.values()))
        if not 0 < lacking <= record.tolerance:
            return {}, {}, 0
        free: dict[int, FreeSlabs] = {}
        away: dict[int, str] = {}
        for number, disk in self.state.disks.items():
            usage = Usage.AUTO_SELECT if disk.usage is Usage.RETIRED else disk.usage
            domain = domain_of(disk, record.awareness)
            if self.members[number].disk is not None or domain in domains.values():
                continue
            if may_hold(replace(disk, usage=usage), record, is_repair=False):
                free[number], away[number] = self.free[number], domain
        return free, away, lacking

    def _choose_row(self, record: SpaceRecord, row: int, is_whole: bool) -> list[list[CopyRecord]]:
        """Where too few disks are there, copies are given slabs on disks that are away: they are stale, and
        made when these come back, or by repair elsewhere. Raises PoolFull."""
        disks, domains, preferred = self.disks_for(record)
        sets, apart = shape_of(record)
        away, away_domains, lacking = self._away_for(record, domains)
        if is_whole or not lacking:
            return choose_row(disks, domains, sets, apart, row, preferred)
        missing = choose_row(away, away_domains, sets, lacking, row)
        try:
            chosen = choose_row(disks, domains, sets, apart - lacking, row, preferred)
        except PoolFull:
            self._give_back([copy for copies in missing for copy in copies])
            raise
        return [
            [*here, *(copy._replace(stale=True) for copy in there)]
            for here, there in zip(chosen, missing, strict=True)
        ]

    async def allocate_row(self, space: SpaceMachine, row: int, is_whole: bool = False) -> None:
        self.require_usable()
        if len(self._young) > intents.YOUNG_ROWS_MAX:
            await self.flush_all()
        record = space.state.record
        sets, apart = shape_of(record)
        self.require_map_space(sets * apart)
        while True:
            try:
                chosen = self._choose_row(record, row, is_whole)
            except PoolFull:
                if not self._limbo:
                    raise
                await self.commit()
                continue
            flat = [copy for copies in chosen for copy in copies]
            errors = await gather(self._runtime, [self.zero_checks(copy) for copy in flat], "zero checksums")
            if not any(errors) and all(self.members[copy.disk].disk or copy.stale for copy in flat):
                break
            self._give_back(flat)
        try:
            await space.prepare_row(row)
        except StorageError:
            self._give_back(flat)
            raise
        columns = chosen if record.kind is not ResiliencyKind.PARITY else [[copy] for copy in flat]
        self.change(RowRecord(record.space_id, row, pack_copies(flat)))
        for slabs in space.attach_row(row, columns):
            slabs.is_young = True
            slabs.logged = self.all_regions
            self._young.append(slabs)

    def _give_back(self, copies: list[CopyRecord]) -> None:
        for copy in copies:
            self.free[copy.disk].give(copy.slab)

    def require_map_space(self, slabs: int) -> None:
        """Raises PoolFull if one more row of so many slabs might not fit the metadata slots any more."""
        rows = sum(len(space.state.rows) + 1 for space in self.spaces.values())
        others = RECORD_MAX_BYTES * (
            len(self.state.disks) + len(self.spaces) + len(self.state.jobs) + 1
        )
        if not self.online():
            raise PoolUnavailable(f"pool {self.state.pool.name}: no disk is left")
        limit = min(member.known_label.slot_bytes for member in self.online())
        size = others + rows * ROW_BYTES + (self._slabs_taken() + slabs) * COPY_BYTES
        if size > limit - frame.HEADER.size:
            raise PoolFull(
                f"the slab map ({size} bytes) has outgrown the {limit} bytes kept for it; use larger slabs"
            )

    def _slabs_taken(self) -> int:
        return sum(disk.slab_count - self.free[number].free for number, disk in self.state.disks.items())

    def zero_checks(self, copy: CopyRecord) -> Callable[[], Awaitable[None]]:
        """Read again: entries of the slab's last owner, if the zeros went elsewhere, would stand against what
        the other copies say of blocks that were never written, with nothing to tell who is right."""

        async def work() -> None:
            member = self.members[copy.disk]
            disk = member.disk
            if disk is None:
                return
            label = member.known_label
            start, end = label.checks_at(copy.slab), label.slab_at(copy.slab) + label.stride_bytes
            try:
                for at in range(start, end, len(ZEROS)):
                    zeros = ZEROS[: end - at]
                    if not disk.write_now(DiskOffset(at), [zeros]):
                        await disk.write(DiskOffset(at), [zeros])
                    again = bytearray(len(zeros))
                    if not disk.read_now(DiskOffset(at), [memoryview(again)]):
                        await disk.read(DiskOffset(at), [memoryview(again)])
                    if again != zeros:
                        raise DiskFailed(f"disk {disk.name}: byte {at} does not hold what was written there")
            except DiskFailed as error:
                self.disk_failed(copy.disk, error)
                raise

        return work

    def release_row(self, space: SpaceMachine, row: int) -> None:
        sets = space.row(row)
        if sets is None:
            return
        for slabs in sets:
            self.release_copies(slabs.copies, slabs)
        space.detach_row(row)
        self._young = [slabs for slabs in self._young if not slabs.is_dead]
        self.change(DropRowRecord(space.state.record.space_id, row))

    # -- checksum pages ------------------------------------------------------------------------------------

    def page_loaded(self, slabs: SlabSet, number: int) -> None:
        self._cached.append((slabs, number))
        for _ in range(4):
            if len(self._cached) <= self.pages_max:
                return
            old, page = self._cached.popleft()
            if old is slabs and page == number or old.inflight or page in old.dirty or page in old.loading:
                self._cached.append((old, page))
            else:
                old.pages.pop(page, None)


def shape_of(record: SpaceRecord) -> tuple[int, int]:
    """(sets, slabs in different fault domains in each) of one row, as allocation.py has it."""
    if record.kind is ResiliencyKind.PARITY:
        return 1, record.columns
    return record.columns, record.copies


def may_hold(disk: DiskRecord, record: SpaceRecord, is_repair: bool) -> bool:
    """[Set-PhysicalDisk] Usage: AutoSelect for all; Journal for journals and checksums; HotSpare for
    repair."""
    if disk.flags or disk.usage in (Usage.RETIRED, Usage.MANUAL_SELECT):
        return False
    if disk.usage is Usage.JOURNAL and not record.parent:
        return False
    if disk.usage is Usage.HOT_SPARE and not is_repair:
        return False
    return record.media_rule is not MediaRule.REQUIRE or disk.media is record.media
