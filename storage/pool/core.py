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
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final

from storage.errors import DiskFailed, PoolFull, PoolUnavailable, SlabLost
from storage.pool import frame, intents, opening, quorum, slots
from storage.pool.allocation import FreeSlabs, choose_row, rows_available
from storage.pool.batcher import Batcher, gather
from storage.pool.codec import encode_record
from storage.pool.member import Member
from storage.pool.metadata import (
    CopyRecord,
    DiskState,
    DropRowRecord,
    PoolState,
    Record,
    RowRecord,
    pack_copies,
)
from storage.runtime import Runtime
from storage.space.checksums import PAGE_BYTES
from storage.space.mirror import MirrorSpace
from storage.space.slabset import Place, SlabSet
from storage.units import DiskOffset

PAGES_CACHED_MAX: Final = 16384
"""Checksum pages in memory: 64 MiB, which cover 32 GiB of data."""
ZEROS: Final = bytes(1 << 20)
RECORD_MAX_BYTES: Final = 512
"""A disk's or space's record."""
ROW_BYTES: Final = 11
COPY_BYTES: Final = 8


class PoolCore:
    """Owner of the pool's state, members and free slabs."""

    def __init__(self, state: PoolState, epoch: int, members: dict[int, Member], runtime: Runtime) -> None:
        self.state = state
        self.epoch = epoch
        self.members = members
        self.seed = opening.pool_seed(state.pool.pool_id)
        self.spaces: dict[int, MirrorSpace] = {}
        self.pages_max = PAGES_CACHED_MAX
        self._runtime = runtime
        self.voting = quorum.voters(state)
        self.all_regions = intents.all_regions(state.pool.slab_bytes)
        self.broken: str | None = None
        taken: dict[int, list[int]] = {number: [] for number in state.disks}
        for _, _, copy in state.slabs():
            taken[copy.disk].append(copy.slab)
        self.free = {
            number: FreeSlabs(disk.slab_count, taken[number], disk.fault_domain)
            for number, disk in state.disks.items()
        }
        self._pending: list[Record] = []
        self._young: list[SlabSet] = []
        self._limbo: list[tuple[CopyRecord, SlabSet | None]] = []
        self._wanted: dict[SlabSet, int] = {}
        self._hot: dict[SlabSet, None] = {}
        self._cached: deque[tuple[SlabSet, int]] = deque()
        self._flush_wanted: set[int] = set()
        self._flushes = Batcher(runtime, "pool flush", self._flush_work)
        self._commits = Batcher(runtime, "pool commit", self._commit_work)
        self._intents = Batcher(runtime, "pool intents", self._intent_work)

    @property
    def runtime(self) -> Runtime:
        return self._runtime

    # -- disks and copies ----------------------------------------------------------------------------------

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
        member = self.members[number]
        if member.disk is None:
            return
        member.gone, member.disk = member.disk, None
        member.failure = str(error)
        self.change(replace(self.state.disks[number], state=DiskState.FAILED))
        for space in self.spaces.values():
            for sets in space.rows.values():
                for slabs in sets:
                    if any(copy.disk == number for copy in slabs.copies):
                        was_hot = slabs.is_hot
                        slabs.logged = 0
                        self.resolve(slabs)
                        if was_hot:
                            self.mark_absent(slabs)

    def mark_absent(self, slabs: SlabSet) -> None:
        """Mark the absent copies stale (pending), if a current copy is there."""
        if not slabs.readers or slabs.is_dead:
            return
        there = {place.number for place in slabs.writers}
        if all(copy.stale or copy.disk in there for copy in slabs.copies):
            return
        slabs.copies = [copy._replace(stale=copy.stale or copy.disk not in there) for copy in slabs.copies]
        self.change_row(slabs)

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

    def is_settled(self, slabs: SlabSet) -> bool:
        """Is every copy there, or marked stale?"""
        there = {place.number for place in slabs.writers}
        return all(copy.stale or copy.disk in there for copy in slabs.copies)

    def require_usable(self) -> None:
        if self.broken is not None:
            raise PoolUnavailable(self.broken)

    def count_repair(self, number: int, blocks: int) -> None:
        self.members[number].repaired_blocks += blocks

    # -- the write-intent log ------------------------------------------------------------------------------

    async def make_ready(self, slabs: SlabSet, regions: int) -> None:
        self.require_usable()
        self.mark_absent(slabs)
        if not slabs.readers:
            gone = ", ".join(str(copy.disk) for copy in slabs.copies)
            raise SlabLost(f"row {slabs.row} of space {slabs.space_id}: no current copy; its disks: {gone}")
        if self._pending and not slabs.is_young:
            await self.commit()
        if self._hot_regions() > intents.REGIONS_HOT_MAX:
            await self.flush_all()
        if not slabs.is_dead:
            self._wanted[slabs] = self._wanted.get(slabs, 0) | regions
            await self._intents.run()

    def _hot_regions(self) -> int:
        return sum(slabs.logged.bit_count() for slabs in self._hot)

    def _drop_cold(self) -> None:
        """Take clean regions out of the next images (W2): idle ones, and when there are too many, the
        oldest."""
        now = self._runtime.now()
        surplus = self._hot_regions() - intents.REGIONS_HOT_MAX
        for slabs in list(self._hot):
            if slabs.is_dead or not slabs.logged:
                del self._hot[slabs]
                continue
            clean = slabs.logged & ~(slabs.written | slabs.flushing)
            if slabs.inflight or slabs.is_young or not clean:
                continue
            if surplus > 0 or now - slabs.touched_s > intents.IDLE_S:
                surplus -= clean.bit_count()
                slabs.logged &= ~clean
                for place in slabs.writers:
                    self._unlog(place.number, place.slab, clean)

    def _unlog(self, number: int, slab: int, regions: int) -> None:
        bits = self.members[number].intents.bits
        left = bits.get(slab, 0) & ~regions
        if left:
            bits[slab] = left
        else:
            bits.pop(slab, None)

    async def _intent_work(self) -> None:
        wanted, self._wanted = self._wanted, {}
        self._drop_cold()
        numbers: set[int] = set()
        for slabs, regions in wanted.items():
            if slabs.is_dead:
                continue
            slabs.touched_s = self._runtime.now()
            for place in slabs.writers:
                bits = self.members[place.number].intents.bits
                bits[place.slab] = bits.get(place.slab, 0) | regions
                numbers.add(place.number)
        await self.write_intents(numbers)
        for slabs, regions in wanted.items():
            if not slabs.is_dead and slabs.readers and self.is_settled(slabs):
                slabs.logged |= regions
                self._hot[slabs] = None

    async def write_intents(self, numbers: set[int]) -> None:
        """The next image of each of these disks' logs, durable. Disks that fail are out."""

        def one(member: Member) -> Callable[[], Awaitable[None]]:
            async def work() -> None:
                disk = member.disk
                if disk is None:
                    return
                slot, image = member.intents.next_image(self.seed)
                try:
                    where = member.known_label.intents_at(slot)
                    if not disk.write_now(where, [image]):
                        await disk.write(where, [image])
                    await disk.flush()
                except DiskFailed as error:
                    self.disk_failed(member.number, error)

            return work

        await gather(self._runtime, [one(self.members[number]) for number in sorted(numbers)], "intent log")

    # -- rows ----------------------------------------------------------------------------------------------

    def rows_available(self, space: MirrorSpace) -> int:
        record = space.state.record
        free = [self.free[member.number].free for member in self.online()]
        return rows_available(free, record.columns, record.copies)

    async def allocate_row(self, space: MirrorSpace, row: int) -> None:
        self.require_usable()
        if len(self._young) > intents.YOUNG_ROWS_MAX:
            await self.flush_all()
        record = space.state.record
        self._require_map_space(record.columns * record.copies)
        while True:
            there = {member.number: self.free[member.number] for member in self.online()}
            try:
                columns = choose_row(there, record.columns, record.copies, row)
            except PoolFull:
                if not self._limbo:
                    raise
                await self.commit()
                continue
            flat = [copy for copies in columns for copy in copies]
            errors = await gather(self._runtime, [self._zero_checks(copy) for copy in flat], "zero checksums")
            if not any(errors) and all(self.members[copy.disk].disk is not None for copy in flat):
                break
            for copy in flat:
                self.free[copy.disk].give(copy.slab)
        self.change(RowRecord(record.space_id, row, pack_copies(flat)))
        for slabs in space.attach_row(row, columns):
            slabs.is_young = True
            slabs.logged = self.all_regions
            self._young.append(slabs)

    def _require_map_space(self, slabs: int) -> None:
        """Raises PoolFull if one more row of so many slabs might not fit the metadata slots any more."""
        rows = sum(len(space.state.rows) + 1 for space in self.spaces.values())
        others = RECORD_MAX_BYTES * (len(self.state.disks) + len(self.spaces) + 1)
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

    def _zero_checks(self, copy: CopyRecord) -> Callable[[], Awaitable[None]]:
        async def work() -> None:
            member = self.members[copy.disk]
            disk, label = member.disk, member.known_label
            if disk is None:
                return
            start, end = label.checks_at(copy.slab), label.slab_at(copy.slab) + label.stride_bytes
            try:
                for at in range(start, end, len(ZEROS)):
                    zeros = ZEROS[: end - at]
                    if not disk.write_now(DiskOffset(at), [zeros]):
                        await disk.write(DiskOffset(at), [zeros])
            except DiskFailed as error:
                self.disk_failed(copy.disk, error)
                raise

        return work

    def release_row(self, space: MirrorSpace, row: int) -> None:
        sets = space.row(row)
        if sets is None:
            return
        for slabs in sets:
            for copy in slabs.copies:
                self._unlog(copy.disk, copy.slab, -1)
                self._limbo.append((copy, slabs))
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

    # -- flushing ------------------------------------------------------------------------------------------

    async def flush_space(self, space: MirrorSpace) -> None:
        self.require_usable()
        if space.flush_failure is not None:
            raise SlabLost(space.flush_failure)
        if not space.dirty and not self._pending and not self._flushes.is_active:
            return
        self._flush_wanted.add(space.state.record.space_id)
        await self._flushes.run()
        if space.flush_failure is not None:
            raise SlabLost(space.flush_failure)

    async def flush_all(self) -> None:
        self._flush_wanted.update(self.spaces)
        await self._flushes.run()

    async def _flush_work(self) -> None:
        self.require_usable()
        wanted, self._flush_wanted = self._flush_wanted, set()
        spaces = [self.spaces[one] for one in sorted(wanted) if one in self.spaces]
        sets = [slabs for space in spaces for slabs in space.take_dirty()]
        for slabs in sets:
            slabs.flushing |= slabs.written
            slabs.written = 0
            slabs.inflight += 1
        try:
            await self._flush_sets(sets)
        finally:
            for slabs in sets:
                slabs.inflight -= 1
        now = self._runtime.now()
        for slabs in sets:
            slabs.flushing = 0
            slabs.touched_s = now
        if self._pending:
            await self.commit()
        for slabs in sets:
            if not slabs.readers and not slabs.is_dead:
                space = self.spaces[slabs.space_id]
                space.flush_failure = f"space {space.name} row {slabs.row}: no current copy took the flush"

    async def _flush_sets(self, sets: list[SlabSet]) -> None:
        """Checksum pages as they are now, and the disks; last the pages that must follow their data."""
        later: list[tuple[SlabSet, list[tuple[int, bytes]]]] = []
        pages: list[tuple[SlabSet, list[tuple[int, bytes]]]] = []
        for slabs in sets:
            images = [(number, slabs.pages[number].tobytes()) for number in sorted(slabs.dirty)]
            pages.append((slabs, [image for image in images if image[0] not in slabs.first]))
            if slabs.first:
                later.append((slabs, [image for image in images if image[0] in slabs.first]))
                slabs.first = set()
            slabs.dirty = set()
        for part in (pages, later):
            for slabs, images in part:
                await self._write_pages(slabs, images)
            await self.flush_disks({place.number for slabs, _ in part for place in slabs.writers})

    async def _write_pages(self, slabs: SlabSet, images: list[tuple[int, bytes]]) -> None:
        for place in slabs.writers:
            try:
                for number, image in images:
                    where = DiskOffset(place.checks + number * PAGE_BYTES)
                    if not place.disk.write_now(where, (image,)):
                        await place.disk.write(where, (image,))
            except DiskFailed as error:
                self.disk_failed(place.number, error)

    async def flush_disks(self, numbers: set[int]) -> None:
        def one(member: Member) -> Callable[[], Awaitable[None]]:
            async def work() -> None:
                if member.disk is not None:
                    try:
                        await member.disk.flush()
                    except DiskFailed as error:
                        self.disk_failed(member.number, error)

            return work

        await gather(self._runtime, [one(self.members[number]) for number in sorted(numbers)], "flush disk")

    # -- metadata ------------------------------------------------------------------------------------------

    async def commit(self) -> None:
        """Every change made before this call is durable on a quorum when it returns. Raises:
        PoolUnavailable."""
        await self._commits.run()

    async def _commit_work(self) -> None:
        while True:
            self.require_usable()
            young, self._young = self._young, []
            limbo, self._limbo = self._limbo, []
            records, self._pending = self._pending, []
            payload = b"".join(map(encode_record, records))
            needs_snapshot = not all(member.fits_record(len(payload)) for member in self.online())
            snapshot = b"".join(map(encode_record, self.state.records())) if needs_snapshot else b""
            voters = quorum.voters(self.state)
            if young:
                for slabs in young:
                    self._wanted[slabs] = self.all_regions
                await self._intents.run()
            await self.write_metadata(payload, snapshot, voters)
            for slabs in young:
                slabs.is_young = False
            await self._free_limbo(limbo)
            if not self._pending:
                return

    async def write_metadata(self, payload: bytes | None, snapshot: bytes, voters: set[int]) -> None:
        """Append the record, or where it doesn't fit (or there is none) write the snapshot. Raises:
        PoolUnavailable, PoolFull."""
        self.epoch += 1
        acknowledged: set[int] = set()

        def one(member: Member) -> Callable[[], Awaitable[None]]:
            if payload is not None and member.fits_record(len(payload)):
                where = member.place_record(len(payload))
                data = frame.encode(slots.RECORD_MAGIC, self.epoch, payload, self.seed)
            else:
                where = member.place_snapshot(len(snapshot))
                data = frame.encode(slots.SNAPSHOT_MAGIC, self.epoch, snapshot, self.seed)

            async def work() -> None:
                disk = member.disk
                if disk is None:
                    return
                try:
                    await disk.write(where, [data])
                    await disk.flush()
                    acknowledged.add(member.number)
                except DiskFailed as error:
                    self.disk_failed(member.number, error)

            return work

        errors = await gather(self._runtime, [one(member) for member in self.online()], "pool metadata")
        if any(errors) or not self._counts(acknowledged, voters):
            why = "; ".join(f"disk {m.number}: {m.failure}" for m in self.members.values() if m.failure)
            votes = f"{len(acknowledged)} of its {len(self.voting)} voting disks"
            self.broken = (
                f"pool {self.state.pool.name} stops: only {votes} took a change of its metadata. {why}"
            )
            raise PoolUnavailable(self.broken)
        self.voting = voters

    def _counts(self, acknowledged: set[int], voters: set[int]) -> bool:
        return quorum.change_counts(self.voting, acknowledged) and quorum.change_counts(voters, acknowledged)

    async def _free_limbo(self, limbo: Sequence[tuple[CopyRecord, SlabSet | None]]) -> None:
        for copy, slabs in limbo:
            if slabs is not None and slabs.inflight:
                self._limbo.append((copy, slabs))
                continue
            member = self.members.get(copy.disk)
            if member is not None and member.disk is not None:
                label = member.known_label
                try:
                    await member.disk.trim(label.slab_at(copy.slab), label.stride_bytes)
                except DiskFailed as error:
                    self.disk_failed(copy.disk, error)
            self.free[copy.disk].give(copy.slab)
