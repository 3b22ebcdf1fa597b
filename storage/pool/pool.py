"""A pool of disks and the spaces on it: create, open, close; what the file system and the command line use.

    Pool.create -> labels and an empty state on every disk -> open pool
    Pool.open   -> find (labels, quorum, promise) -> reconcile what the intent logs name
                   -> snapshot with the new term -> intent logs empty -> resync of stale copies -> open pool

Opening is idempotent: a power cut in the middle of it leaves the intent logs as they were.
The engine is core.py. Awaits only ports. Source: docs/design-storage.md, docs/formats/.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from crc32c import crc32c

from storage.disk import Disk
from storage.errors import DiskFailed, LabelCorrupt, PoolFull, PoolInUse, SlabLost, StorageError
from storage.pool import label as labels
from storage.pool import opening, quorum
from storage.pool.codec import encode_record
from storage.pool.core import PoolCore
from storage.pool.member import Member
from storage.pool.metadata import (
    NAME_MAX_BYTES,
    VERSION_NEWEST,
    DiskRecord,
    DiskState,
    DropSpaceRecord,
    PoolRecord,
    PoolState,
    SpaceRecord,
)
from storage.pool.opening import Opening
from storage.pool.status import DISK_HEALTH, DiskStatus, PoolStatus, SpaceStatus, space_health
from storage.runtime import Runtime
from storage.space import reconcile, slow
from storage.space.mirror import MirrorSpace
from storage.space.port import Space
from storage.space.resiliency import Provisioning, resiliency_of
from storage.space.resiliency import resiliency as find_resiliency
from storage.space.slabset import SlabSet
from storage.space.stripemap import StripeMap
from storage.units import BLOCK_BYTES

SLAB_BYTES_DEFAULT: Final = 256 << 20
INTERLEAVE_BYTES_DEFAULT: Final = 256 << 10
DISKS_MAX: Final = 1024
SPACES_MAX: Final = 64
ROWS_PER_COMMIT: Final = 32


class Pool:
    """Made by `create` or `open`. Owner of the disks it was given, once that succeeded: `close` closes
    them."""

    def __init__(self, core: PoolCore, warnings: list[str]) -> None:
        self._core = core
        self._warnings = warnings
        self._is_closed = False

    # -- create and open -----------------------------------------------------------------------------------

    @classmethod
    async def create(
        cls,
        disks: Sequence[Disk],
        name: str,
        *,
        runtime: Runtime,
        slab_bytes: int = SLAB_BYTES_DEFAULT,
        overwrite: bool = False,
    ) -> Pool:
        """Raises: PoolInUse (a disk belongs to a pool, and not `overwrite`), PoolFull (a disk is too small),
        DiskFailed."""
        if not 0 < len(disks) <= DISKS_MAX:
            raise ValueError(f"a pool has 1..{DISKS_MAX} disks, not {len(disks)}")
        if not labels.SLAB_MIN_BYTES <= slab_bytes <= labels.SLAB_MAX_BYTES or slab_bytes & (slab_bytes - 1):
            raise ValueError(
                f"slabs are a power of two of {labels.SLAB_MIN_BYTES}..{labels.SLAB_MAX_BYTES} bytes"
            )
        if not overwrite:
            await _require_blank(disks)
        pool_id = runtime.random_bytes(16)
        state = PoolState(
            PoolRecord(pool_id, slab_bytes, 1, name, version=VERSION_NEWEST, next_disk=len(disks))
        )
        members: dict[int, Member] = {}
        for number, disk in enumerate(disks):
            label = labels.plan(pool_id, name, runtime.random_bytes(16), number, disk.size_bytes, slab_bytes)
            members[number] = Member(number, disk, label)
            members[number].slot = 1
            record = DiskRecord(
                number, label.disk_id, label.size_bytes, label.slab_count, DiskState.OK, disk.name
            )
            state.apply(record)
        core = PoolCore(state, 1 << 32, members, runtime)
        for member in members.values():
            assert member.disk is not None
            for slot in range(2):
                await member.disk.write(member.known_label.slot_at(slot), [bytes(BLOCK_BYTES)])
        for _ in range(2):
            await core.write_intents(set(members))
        await core.write_metadata(None, b"".join(map(encode_record, state.records())), set(members))
        for member in members.values():
            if member.failure is not None:
                raise DiskFailed(member.failure)
        pairs = [(member.disk, member.known_label) for member in members.values() if member.disk is not None]
        errors = await opening.write_labels(runtime, pairs)
        for error in errors:
            if error is not None:
                raise error
        return cls(core, [])

    @classmethod
    async def open(cls, disks: Sequence[Disk], runtime: Runtime) -> Pool:
        """Raises: PoolUnavailable (no quorum; the text says which disks), LabelCorrupt."""
        if len(disks) > DISKS_MAX:
            raise ValueError(f"a pool has at most {DISKS_MAX} disks, not {len(disks)}")
        found = await opening.find_pool(disks, runtime)
        state = found.state
        for number, record in list(state.disks.items()):
            member = found.members.setdefault(number, Member(number, None, None))
            if member.disk is None:
                is_failed = record.state is DiskState.FAILED
                state.apply(replace(record, state=DiskState.FAILED if is_failed else DiskState.LOST))
            else:
                state.apply(replace(record, state=DiskState.OK, name=member.disk.name))
        core = PoolCore(state, found.term << 32, found.members, runtime)
        core.voting = found.voting
        pool = cls(core, found.troubles)
        for space_id in state.spaces:
            state.spaces[space_id].drop_joining()
            core.spaces[space_id] = pool._make_space(space_id)
        await pool._recover(found)
        return pool

    def _make_space(self, space_id: int) -> MirrorSpace:
        core = self._core
        seed = crc32c(space_id.to_bytes(4, "little"), core.seed)
        return MirrorSpace(core, core.state.spaces[space_id], core.state.pool.slab_bytes, seed)

    async def _recover(self, found: Opening) -> None:
        core = self._core
        for space, slabs, logged in self._sets_in(found.logged):
            while slabs.readers:
                regions = core.all_regions  # a current copy whose own log lacks a region was clean there
                for place in slabs.readers:
                    regions &= logged.get(place.number, 0)
                try:
                    if regions:
                        await reconcile.settle_regions(space, slabs, regions)
                    break
                except DiskFailed:
                    continue
            stale = {place.number for place in slabs.writers} - {place.number for place in slabs.readers}
            for place in slabs.writers:
                if place.number in stale and logged.get(place.number):
                    try:
                        await reconcile.forget_regions(space, place, logged[place.number])
                    except DiskFailed:
                        continue
            core.mark_absent(slabs)
        there = {member.number for member in core.online()}
        await core.flush_disks(there)
        core.take_pending()
        snapshot = b"".join(map(encode_record, core.state.records()))
        await core.write_metadata(None, snapshot, quorum.voters(core.state))
        await core.write_intents({member.number for member in core.online()})
        await self.resync()

    def _sets_in(
        self, logged: dict[int, dict[int, int]]
    ) -> list[tuple[MirrorSpace, SlabSet, dict[int, int]]]:
        """The slab sets that any intent log names, each with: disk -> regions in that disk's log."""
        core = self._core
        named: dict[tuple[int, int, int], dict[int, int]] = {}
        for space_id, space in core.state.spaces.items():
            for row in space.rows:
                for column, ones in enumerate(space.columns(row) or ()):
                    for copy in ones:
                        regions = logged.get(copy.disk, {}).get(copy.slab, 0)
                        if regions:
                            named.setdefault((space_id, row, column), {})[copy.disk] = regions
        found = []
        for (space_id, row, column), regions_by_disk in named.items():
            sets = core.spaces[space_id].row(row)
            assert sets is not None
            found.append((core.spaces[space_id], sets[column], regions_by_disk))
        return found

    async def resync(self) -> int:
        """Bring stale copies on disks that are there up to date; returns bytes copied. What cannot be read
        stays stale."""
        core = self._core
        copied = 0
        for space in list(core.spaces.values()):
            for row in sorted(space.state.stale_rows):
                for slabs in space.row(row) or ():
                    copied += await self._resync_set(space, slabs)
        return copied

    async def _resync_set(self, space: MirrorSpace, slabs: SlabSet) -> int:
        core = self._core
        copied = 0
        for place in slabs.writers:
            if place in slabs.readers or not slabs.readers:
                continue
            try:
                copied += await reconcile.resync_set(space, slabs, place)
                await place.disk.flush()
            except DiskFailed as error:
                core.disk_failed(place.number, error)
                continue
            except StorageError as error:
                self._warnings.append(f"space {space.name} row {slabs.row}: resync stopped: {error}")
                continue
            slabs.copies = [
                copy._replace(stale=copy.stale and copy.disk != place.number) for copy in slabs.copies
            ]
            core.change_row(slabs)
            await core.commit()
            core.resolve(slabs)
        return copied

    # -- spaces --------------------------------------------------------------------------------------------

    async def create_space(
        self,
        name: str,
        resiliency: str,
        size_bytes: int,
        provisioning: Provisioning = Provisioning.THIN,
        columns: int | None = None,
        interleave_bytes: int | None = None,
    ) -> Space:
        """A new virtual disk, durable on return. `resiliency`: "simple" or "mirror". The size is rounded up
        to whole blocks. Raises: ValueError (name taken, unknown resiliency, geometry), PoolFull (too few
        disks; fixed: too few slabs)."""
        core = self._core
        core.require_usable()
        strategy = find_resiliency(resiliency)
        if strategy.parity_columns:
            raise ValueError(f"no {resiliency} spaces yet")
        if any(space.name == name for space in core.spaces.values()):
            raise ValueError(f"pool {self.name} already has a space named {name}")
        if len(core.spaces) >= SPACES_MAX or size_bytes <= 0 or not name:
            raise ValueError(f"a space has a name and a size, a pool at most {SPACES_MAX} spaces")
        if len(name.encode()) > NAME_MAX_BYTES:
            raise ValueError(f"a space's name has at most {NAME_MAX_BYTES} bytes")
        disks = len(core.online())
        slab_bytes = core.state.pool.slab_bytes
        columns = columns or strategy.columns_auto(disks)
        interleave = interleave_bytes or min(INTERLEAVE_BYTES_DEFAULT, slab_bytes)
        if columns > strategy.columns_max:
            raise ValueError(
                f"a {resiliency} space has at most {strategy.columns_max} columns, not {columns}"
            )
        if columns * strategy.copies > disks:
            raise PoolFull(
                f"a {resiliency} space of {columns} columns needs {columns * strategy.copies} disks; "
                f"{disks} are there"
            )
        size = -(-size_bytes // BLOCK_BYTES) * BLOCK_BYTES
        space_id = core.state.pool.next_space_id
        record = SpaceRecord(
            space_id, strategy.kind, strategy.copies, columns, provisioning, interleave, size, name
        )
        row_bytes = StripeMap(columns, interleave, slab_bytes).row_bytes
        core.change(replace(core.state.pool, next_space_id=space_id + 1))
        core.change(record)
        core.spaces[space_id] = space = self._make_space(space_id)
        try:
            if provisioning is Provisioning.FIXED:
                for row in range(-(-size // row_bytes)):
                    await core.allocate_row(space, row)
                    if row % ROWS_PER_COMMIT == 0:
                        await core.commit()
            await core.commit()
        except PoolFull:
            await self.delete_space(name)
            raise
        return space

    def space(self, name: str) -> Space:
        """Raises KeyError if there is none of that name."""
        for space in self._core.spaces.values():
            if space.name == name:
                return space
        raise KeyError(f"pool {self.name} has no space named {name}")

    async def delete_space(self, name: str) -> None:
        """The slabs go back to the pool. Nobody may use the space any more. Raises KeyError."""
        core = self._core
        space_id = next((i for i, space in core.spaces.items() if space.name == name), None)
        if space_id is None:
            raise KeyError(f"pool {self.name} has no space named {name}")
        space = core.spaces[space_id]
        space.is_deleted = True
        for row in list(space.state.rows):
            core.release_row(space, row)
        core.change(DropSpaceRecord(space_id))
        del core.spaces[space_id]
        await core.commit()

    # -- status and end ------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self._core.state.pool.name

    @property
    def space_names(self) -> list[str]:
        return [space.name for space in self._core.spaces.values()]

    def status(self) -> PoolStatus:
        core = self._core
        slab = core.state.pool.slab_bytes
        disks = tuple(self._disk_status(number) for number in sorted(core.state.disks))
        spaces = tuple(self._space_status(space) for space in core.spaces.values())
        capacity = sum(disk.capacity_bytes for disk in disks)
        allocated = sum(disk.allocated_bytes for disk in disks)
        health, operational = "Healthy", "OK"
        if core.broken is not None:
            health, operational = "Unhealthy", "Read-only"
        elif any(disk.health != "Healthy" for disk in disks):
            health, operational = "Warning", "Degraded"
        return PoolStatus(
            self.name,
            core.state.pool.pool_id.hex(),
            health,
            operational,
            core.epoch,
            slab,
            capacity,
            allocated,
            capacity - allocated,
            disks,
            spaces,
            tuple(self._warnings),
        )

    def _disk_status(self, number: int) -> DiskStatus:
        core = self._core
        record, member, free = core.state.disks[number], core.members[number], core.free[number]
        slab = core.state.pool.slab_bytes
        health, operational = DISK_HEALTH[record.state]
        return DiskStatus(
            number,
            record.name,
            record.size_bytes,
            record.slab_count * slab,
            (record.slab_count - free.free) * slab,
            health,
            operational,
            member.failure or "",
            member.repaired_blocks,
        )

    def _space_status(self, space: MirrorSpace) -> SpaceStatus:
        record, usage = space.state.record, space.usage()
        there = {member.number for member in self._core.online()}
        is_lost = is_incomplete = False
        suspects = space.state.stale_rows if len(there) == len(self._core.members) else space.state.rows
        for row in suspects:
            for copies in space.state.columns(row) or ():
                absent = [copy for copy in copies if copy.disk not in there]
                is_incomplete |= bool(absent)
                is_lost |= all(copy.stale or copy.disk not in there for copy in copies)
        health, operational = space_health(is_lost, bool(space.state.stale_rows), is_incomplete)
        kind = resiliency_of(record.kind, record.copies, record.parity_columns)
        return SpaceStatus(
            record.name,
            kind.name,
            record.copies,
            record.columns,
            record.interleave_bytes,
            record.provisioning.name.lower(),
            record.size_bytes,
            usage.allocated_bytes,
            usage.available_bytes,
            usage.footprint_bytes,
            health,
            operational,
        )

    async def close(self) -> None:
        """Flush, empty the intent logs, close the disks. The pool's spaces may not be used any more."""
        if self._is_closed:
            return
        self._is_closed = True
        core = self._core
        try:
            if core.broken is None:
                for space in core.spaces.values():
                    await slow.repair_suspects(space)
                await core.flush_all()
                for member in core.online():
                    member.intents.bits.clear()
                await core.write_intents({member.number for member in core.online()})
        except SlabLost as error:
            self._warnings.append(str(error))
        finally:
            for member in core.members.values():
                for disk in (member.disk, member.gone):
                    if disk is not None:
                        await disk.close()


async def _require_blank(disks: Sequence[Disk]) -> None:
    for disk in disks:
        try:
            label = await opening.read_label(disk)
        except LabelCorrupt:
            continue
        raise PoolInUse(
            f"disk {disk.name} belongs to pool {label.pool_name} already; "
            "remove it there first, or overwrite it"
        )
