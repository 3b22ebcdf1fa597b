"""Order of durability: the write-intent log, flushes, commits of the pool's metadata.

    make_ready --> intents --> disks            flush --> pages, disks --> commit --> slots of every disk

Flushes, commits and intent-log writes are batched (storage/pool/batcher.py); a flush may run a commit, a
commit may run an intent-log write, never the other way round. The promises P1..P7 are in
storage/pool/core.py.
All on the loop's thread; only ports are awaited. Source: docs/formats/.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence

from storage.errors import DiskFailed, PoolUnavailable, SlabLost
from storage.pool import frame, intents, quorum, slots
from storage.pool.batcher import Batcher, gather
from storage.pool.codec import encode_record
from storage.pool.copies import Copies
from storage.pool.member import Member
from storage.pool.metadata import CopyRecord, PoolState
from storage.runtime import Event, Runtime
from storage.space.checksums import PAGE_BYTES
from storage.space.machine import SpaceMachine
from storage.space.resiliency import ResiliencyKind
from storage.space.slabset import SlabSet
from storage.units import DiskOffset


class Durability(Copies):
    def __init__(self, state: PoolState, epoch: int, members: dict[int, Member], runtime: Runtime) -> None:
        super().__init__(state, epoch, members, runtime)
        self.all_regions = intents.all_regions(state.pool.slab_bytes)
        self.settling: Event | None = None
        """A disk that came back is being looked through; nothing becomes ready for writing meanwhile."""
        self._young: list[SlabSet] = []
        self._limbo: list[tuple[CopyRecord, SlabSet]] = []
        self._wanted: dict[SlabSet, int] = {}
        self._hot: dict[SlabSet, None] = {}
        self._flush_wanted: set[int] = set()
        self._flushes = Batcher(runtime, "pool flush", self._flush_work)
        self._commits = Batcher(runtime, "pool commit", self._commit_work)
        self._intents = Batcher(runtime, "pool intents", self._intent_work)

    async def settle_batches(self) -> None:
        """Returns when no flush and no image of an intent log that began before is under way."""
        await self._flushes.run()
        await self._intents.run()

    # -- the write-intent log ------------------------------------------------------------------------------

    async def make_ready(self, slabs: SlabSet, regions: int) -> None:
        self.require_usable()
        while self.settling is not None:
            await self.settling.wait()
        self.mark_absent(slabs)
        if not slabs.readers:
            gone = ", ".join(str(copy.disk) for copy in slabs.copies)
            raise SlabLost(f"row {slabs.row} of space {slabs.space_id}: no current copy; its disks: {gone}")
        if not slabs.is_young:
            await self.commit_changes()
        if self._hot_regions() > intents.REGIONS_HOT_MAX:
            await self.flush_all()
        if not slabs.is_dead:
            self._wanted[slabs] = self._wanted.get(slabs, 0) | regions
            await self._intents.run()

    async def mark_stale(self, machine: SpaceMachine, row: int) -> None:
        sets = machine.row(row) or []
        for slabs in sets:
            self.mark_absent(slabs)
        gone = [str(copy.disk) for slabs in sets if not self.is_settled(slabs) for copy in slabs.copies]
        if gone:
            raise SlabLost(
                f"space {machine.name} row {row} cannot be read without what is missing; the disks of its "
                f"incomplete columns: {', '.join(gone)}"
            )
        await self.commit_changes()

    def _hot_regions(self) -> int:
        return sum(slabs.in_log.bit_count() for slabs in self._hot)

    def _drop_cold(self) -> None:
        """Take clean regions out of the next images (W2): idle ones, and when there are too many, the
        oldest."""
        now = self._runtime.now()
        surplus = self._hot_regions() - intents.REGIONS_HOT_MAX
        for slabs in list(self._hot):
            if slabs.is_dead or not slabs.in_log:
                del self._hot[slabs]
                continue
            clean = slabs.in_log & ~(slabs.written | slabs.flushing)
            if slabs.inflight or slabs.is_young or not clean:
                continue
            if surplus > 0 or now - slabs.touched_s > intents.IDLE_S:
                surplus -= clean.bit_count()
                slabs.logged &= ~clean
                slabs.in_log &= ~clean
                for copy in slabs.copies:
                    self.unlog(copy.disk, copy.slab, clean)

    async def _intent_work(self) -> None:
        wanted, self._wanted = self._wanted, {}
        self._drop_cold()
        numbers: set[int] = set()
        writers = {slabs: slabs.writers for slabs in wanted}
        for slabs, regions in wanted.items():
            if slabs.is_dead:
                continue
            slabs.touched_s = self._runtime.now()
            slabs.in_log |= regions
            self._hot[slabs] = None
            for place in slabs.writers:
                bits = self.members[place.number].intents.bits
                bits[place.slab] = bits.get(place.slab, 0) | regions
                numbers.add(place.number)
        await self.write_intents(numbers)
        for slabs, regions in wanted.items():
            is_same = slabs.writers is writers[slabs]  # no disk was lost, none joined that hasn't logged it
            if is_same and not slabs.is_dead and slabs.readers and self.is_settled(slabs):
                slabs.logged |= regions

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

    # -- flushing ------------------------------------------------------------------------------------------

    async def flush_space(self, space: SpaceMachine) -> None:
        self.require_usable()
        if space.flush_failure is not None:
            raise SlabLost(space.flush_failure)
        if not space.dirty and not self._has_changes() and not self._flushes.is_active:
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
        sets = [slabs for space in spaces for slabs in space.dirty]
        for space in spaces:
            space.dirty = {}
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
        await self.commit_changes()
        for slabs in sets:
            if not slabs.readers and not slabs.is_dead:
                space = self.spaces[slabs.space_id]
                if space.is_row_lost(slabs.row):
                    where = f"space {space.name} row {slabs.row}"
                    space.flush_failure = f"{where}: no current copy took the flush"

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
            is_current = place in slabs.readers
            try:
                for number, image in images:
                    if not is_current and number not in slabs.filled.get(place.number, ()):
                        continue  # S5
                    where = DiskOffset(place.checks + number * PAGE_BYTES)
                    if not place.disk.write_now(where, (image,)):
                        await place.disk.write(where, (image,))
            except DiskFailed as error:
                self.disk_failed(place.number, error)

    async def flush_disks(self, numbers: Collection[int]) -> None:
        def one(member: Member) -> Callable[[], Awaitable[None]]:
            async def work() -> None:
                if member.disk is not None:
                    try:
                        await member.disk.flush()
                    except DiskFailed as error:
                        self.disk_failed(member.number, error)

            return work

        there = [self.members[number] for number in sorted(numbers) if number in self.members]
        await gather(self._runtime, [one(member) for member in there], "flush disk")

    # -- metadata ------------------------------------------------------------------------------------------

    async def commit(self) -> None:
        """Every change made before this call is durable on a quorum when it returns. Raises:
        PoolUnavailable."""
        await self._commits.run()

    def _has_changes(self) -> bool:
        """Is there a change that isn't durable yet? One that a commit has taken on isn't pending any more,
        and not durable before that commit has ended."""
        return bool(self._pending) or self._commits.is_active

    async def commit_changes(self) -> None:
        """As `commit`, if there is anything to wait for."""
        if self._has_changes():
            await self.commit()

    async def _commit_work(self) -> None:
        while True:
            self.require_usable()
            if not (self._pending or self._young or self._limbo):
                return
            young, self._young = self._young, []
            limbo, self._limbo = self._limbo, []
            records, self._pending = self._pending, []
            payload = b"".join(map(encode_record, records))
            targets = self.online()
            needs_snapshot = not all(member.fits_record(len(payload)) for member in targets)
            snapshot = b"".join(map(encode_record, self.state.records())) if needs_snapshot else b""
            voters = quorum.voters(self.state)
            await self._make_young_durable(young)
            await self.write_metadata(payload, snapshot, voters, targets)
            for slabs in young:
                slabs.is_young = False
            await self._free_limbo(limbo)
            if not self._pending:
                return

    async def _make_young_durable(self, young: list[SlabSet]) -> None:
        """P2: zeroed checksums, and for spaces of copies the regions in the log (whose flush serves for
        both)."""
        flushed: set[int] = set()
        for slabs in young:
            if self.spaces[slabs.space_id].state.record.kind is ResiliencyKind.PARITY:
                flushed.update(place.number for place in slabs.writers)
            else:
                self._wanted[slabs] = self.all_regions
        if flushed:
            await self.flush_disks(flushed)
        if self._wanted:
            await self._intents.run()

    async def write_metadata(
        self, payload: bytes | None, snapshot: bytes, voters: set[int], targets: Sequence[Member]
    ) -> None:
        """Append the record, or where it doesn't fit (or there is none) write the snapshot, on the disks that
        were there when both were made. Raises: PoolUnavailable, PoolFull."""
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

        errors = await gather(self._runtime, [one(member) for member in targets], "pool metadata")
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

    async def _free_limbo(self, limbo: Sequence[tuple[CopyRecord, SlabSet]]) -> None:
        for copy, slabs in limbo:
            if slabs.inflight:
                self._limbo.append((copy, slabs))
                continue
            member = self.members.get(copy.disk)
            if member is not None and member.disk is not None:
                label = member.known_label
                try:
                    await member.disk.trim(label.slab_at(copy.slab), label.stride_bytes)
                except DiskFailed as error:
                    self.disk_failed(copy.disk, error)
            self.unlog(copy.disk, copy.slab, -1)
            if copy.disk in self.free:
                self.free[copy.disk].give(copy.slab)

    def release_copies(self, copies: Collection[CopyRecord], slabs: SlabSet) -> None:
        """Slabs that the row lost with the last change; free once that is durable (P3). Until then they stay
        in the intent logs: after a power cut the row may still have them, with whatever was under way."""
        self._limbo.extend((copy, slabs) for copy in copies)

    def limbo_on(self, number: int) -> int:
        return sum(1 for copy, _ in self._limbo if copy.disk == number)
