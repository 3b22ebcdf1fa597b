"""A pool of disks and the spaces on it: create, open, close; what the file system and the command line use.

    Pool.create -> labels and an empty state on every disk -> open pool
    Pool.open   -> find (labels, quorum, promise) -> copies: settle what the intent logs name
                   -> snapshot with the new term -> intent logs empty -> parity and caches recover
                   -> refill of stale copies -> open pool

Opening is idempotent: a power cut in the middle of it leaves the intent logs as they were, or a snapshot. A
space whose journal or checksums are lost doesn't keep the others from opening: it is Detached. The engine is
core.py, moves.py; disks.py has disks that come and go, parts.py what a space is made of, jobs/ the long work.
Awaits only ports. Source: docs/design-storage.md, docs/design-spaces.md, docs/formats/.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from storage.disk import Disk
from storage.errors import DiskFailed, SlabLost, StorageError
from storage.pool import disks as lifecycle
from storage.pool import label as labels
from storage.pool import opening, quorum, report
from storage.pool.codec import encode_record
from storage.pool.disks import DISKS_MAX
from storage.pool.health import Fault, VolumeSeen
from storage.pool.jobs.service import PoolJobs
from storage.pool.member import Member
from storage.pool.metadata import (
    VERSION_NEWEST,
    Awareness,
    DiskFlags,
    DiskRecord,
    DiskState,
    MediaType,
    PoolRecord,
    PoolState,
    RetireMissing,
    SpaceState,
    Usage,
)
from storage.pool.moves import PoolHost
from storage.pool.observe import pool_faults
from storage.pool.opening import Opening, Stranger
from storage.pool.spaces import SPACES_MAX, PoolSpaces
from storage.pool.status import PoolStatus
from storage.runtime import Runtime
from storage.space.port import Space
from storage.space.resiliency import Provisioning, ResiliencyKind
from storage.units import BLOCK_BYTES

__all__ = ["DISKS_MAX", "SPACES_MAX", "Pool"]
SLAB_BYTES_DEFAULT: Final = 256 << 20


class Pool:
    """Made by `create` or `open`. Owner of the disks it was given, once that succeeded: `close` closes
    them."""

    def __init__(self, core: PoolHost, warnings: list[str], strangers: Sequence[Stranger] = ()) -> None:
        self._core = core
        self._warnings = warnings
        self._strangers = list(strangers)
        self._is_closed = False
        self._spaces = PoolSpaces(core)
        self._conditions = report.Conditions()
        self.jobs = PoolJobs(core, core.runtime)

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
        media: Sequence[MediaType] = (),
    ) -> Pool:
        """`media`: of each disk. Raises: PoolInUse (a disk belongs to a pool, and not `overwrite`), PoolFull
        (a disk is too small), DiskFailed."""
        if not 0 < len(disks) <= DISKS_MAX:
            raise ValueError(f"a pool has 1..{DISKS_MAX} disks, not {len(disks)}")
        if not labels.SLAB_MIN_BYTES <= slab_bytes <= labels.SLAB_MAX_BYTES or slab_bytes & (slab_bytes - 1):
            raise ValueError(
                f"slabs are a power of two of {labels.SLAB_MIN_BYTES}..{labels.SLAB_MAX_BYTES} bytes"
            )
        if not overwrite:
            await lifecycle.require_blank(disks)
        pool_id = runtime.random_bytes(16)
        state = PoolState(
            PoolRecord(pool_id, slab_bytes, 1, name, version=VERSION_NEWEST, next_disk=len(disks))
        )
        members: dict[int, Member] = {}
        for number, disk in enumerate(disks):
            label = labels.plan(pool_id, name, runtime.random_bytes(16), number, disk.size_bytes, slab_bytes)
            members[number] = Member(number, disk, label)
            members[number].slot = 1
            sizes = label.size_bytes, label.slab_count
            kind = media[number] if media else MediaType.UNSPECIFIED
            state.apply(
                DiskRecord(number, label.disk_id, *sizes, DiskState.OK, disk.name, media=kind)
            )
        core = PoolHost(state, 1 << 32, members, runtime)
        for member in members.values():
            assert member.disk is not None
            for slot in range(2):
                await member.disk.write(member.known_label.slot_at(slot), [bytes(BLOCK_BYTES)])
        for _ in range(2):
            await core.write_intents(set(members))
        snapshot = b"".join(map(encode_record, state.records()))
        await core.write_metadata(None, snapshot, set(members), core.online())
        for member in members.values():
            if member.failure is not None:
                raise DiskFailed(member.failure)
        pairs = [(member.disk, member.known_label) for member in members.values() if member.disk is not None]
        for error in await opening.write_labels(runtime, pairs):
            if error is not None:
                raise error
        return cls(core, [])

    @classmethod
    async def open(cls, disks: Sequence[Disk], runtime: Runtime, *, resync: bool = True) -> Pool:
        """`resync`: refill stale copies before it returns; otherwise `jobs.start` sees to it. Raises:
        PoolUnavailable (no quorum; the text says which disks), LabelCorrupt."""
        if len(disks) > DISKS_MAX:
            raise ValueError(f"a pool has at most {DISKS_MAX} disks, not {len(disks)}")
        found = await opening.find_pool(disks, runtime)
        state = found.state
        for number, record in list(state.disks.items()):
            member = found.members.setdefault(number, Member(number, None, None))
            if member.disk is None:
                is_failed = record.state is DiskState.FAILED
                state.apply(replace(record, state=DiskState.FAILED if is_failed else DiskState.LOST))
                member.away_since_s = runtime.now()
            else:
                flags = record.flags & ~DiskFlags.MAINTENANCE
                state.apply(replace(record, state=DiskState.OK, name=member.disk.name, flags=flags))
        for space in state.spaces.values():
            space.drop_joining()
        core = PoolHost(state, found.term << 32, found.members, runtime)
        core.voting = found.voting
        pool = cls(core, found.troubles, found.strangers)
        for space_id, space in sorted(state.spaces.items(), key=_parts_first):
            core.spaces[space_id] = pool._spaces.make_machine(space.record)
        await pool._recover(found)
        for stranger in found.strangers:
            await stranger.disk.close()
        if resync:
            await pool.resync()
        return pool

    async def _recover(self, found: Opening) -> None:
        """Copies first: nothing of the pool's metadata is committed before its snapshot. Then whatever stands
        on spaces of copies."""
        core = self._core
        copies = [one for one in core.spaces.values() if one.state.record.kind is not ResiliencyKind.PARITY]
        for machine in copies:
            await machine.recover(found.logged)
            for sets in machine.rows.values():
                for slabs in sets:
                    core.mark_absent(slabs)
        await core.flush_disks({member.number for member in core.online()})
        core.take_pending()
        snapshot = b"".join(map(encode_record, core.state.records()))
        await core.write_metadata(None, snapshot, quorum.voters(core.state), core.online())
        await core.write_intents({member.number for member in core.online()})
        for machine in list(core.spaces.values()):
            record = machine.state.record
            if record.parent:
                continue
            try:
                if machine not in copies:
                    await machine.recover(found.logged)
                await self._spaces.attach(machine)
            except StorageError as error:
                self._spaces.troubles.setdefault(record.space_id, f"space {record.name} is detached: {error}")
                self._warnings.append(self._spaces.troubles[record.space_id])

    async def resync(self) -> int:
        """Bring stale copies on disks that are there up to date; returns bytes copied. What cannot be read
        stays stale. (The repair job does it side by side, paced.)"""
        core = self._core
        copied = 0
        for machine in list(core.spaces.values()):
            for row in sorted(machine.state.stale_rows):
                for slabs in machine.row(row) or ():
                    current = {place.number for place in slabs.readers}
                    for place in slabs.writers:
                        if place.number in current or not machine.may_mark_stale(slabs):
                            continue
                        try:
                            copied += await machine.refill(slabs, place, _no_pace)
                            await core.finish_copy(machine, slabs, place, None)
                        except DiskFailed as error:
                            core.disk_failed(place.number, error)
                        except StorageError as error:
                            where = f"space {machine.name} row {slabs.row}"
                            self._warnings.append(f"{where}: resync stopped: {error}")
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
        *,
        write_cache_bytes: int | None = None,
        media: MediaType | None = None,
        awareness: Awareness = Awareness.DISK,
    ) -> Space:
        """A new virtual disk, durable on return. `resiliency`: a name of `RESILIENCIES`. The size is rounded
        up to whole blocks. `write_cache_bytes`: None: automatic, 0: none (parity always has one). `media`:
        only disks of that medium. Raises: ValueError (name taken, unknown resiliency, geometry), PoolFull
        (too few disks; fixed: too few slabs)."""
        return await self._spaces.create(
            name,
            resiliency,
            size_bytes,
            provisioning,
            columns,
            interleave_bytes,
            write_cache_bytes=write_cache_bytes,
            media=media,
            awareness=awareness,
        )

    async def resize_space(self, name: str, size_bytes: int) -> None:
        """It grows; a fixed one gets its slabs first. Raises: KeyError, ValueError (it would shrink),
        PoolFull."""
        await self._spaces.resize(name, size_bytes)

    def space(self, name: str) -> Space:
        """Raises: KeyError (there is none of that name), SlabLost (it is detached)."""
        return self._spaces.whole(name)

    async def delete_space(self, name: str) -> None:
        """The slabs go back to the pool. Nobody may use the space any more. Raises KeyError."""
        await self._spaces.delete(name)

    # -- disks ---------------------------------------------------------------------------------------------

    async def add_disks(
        self,
        disks: Sequence[Disk],
        *,
        media: MediaType | None = None,
        usage: Usage = Usage.AUTO_SELECT,
        fault_domain: str = "",
        overwrite: bool = False,
    ) -> list[int]:
        """Their numbers. Raises: PoolInUse, PoolFull, DiskFailed, ValueError; none is added then."""
        kind = media or MediaType.UNSPECIFIED
        numbers = await lifecycle.add_disks(self._core, disks, kind, usage, fault_domain, overwrite)
        self.jobs.kick()
        return numbers

    async def return_disk(self, disk: Disk) -> int:
        """A member that was away is back. What it missed is refilled by the repair job (or `resync`). Raises:
        LabelCorrupt, PoolInUse, DiskFailed; the caller still owns it then."""
        number = await lifecycle.return_disk(self._core, disk)
        await self._spaces.attach_detached()
        self.jobs.kick()
        return number

    async def set_maintenance(self, number: int) -> None:
        """Take a disk out on purpose, until `return_disk`. Raises: KeyError, PoolInUse (something could not
        be
        read without it), ValueError."""
        await lifecycle.set_maintenance(self._core, number)
        self.jobs.kick()

    async def release_gone(self, number: int) -> str | None:
        """Close what is left of a member that is away, so that its path can be opened again; its name. None:
        it is there. Raises KeyError."""
        member = self._core.members[number]
        if member.disk is not None:
            return None
        if member.gone is not None:
            gone, member.gone = member.gone, None
            await gone.close()
        return self._core.state.disks[number].name

    async def set_disk(
        self,
        number: int,
        *,
        media: MediaType | None = None,
        usage: Usage | None = None,
        fault_domain: str | None = None,
    ) -> None:
        """Slabs that are there already stay where they are. Raises: KeyError, ValueError."""
        core = self._core
        record = core.state.disks[number]
        core.require_version(2, "media types, usages and fault domains")
        if media is not None:
            record = replace(record, media=media)
        if usage is not None:
            record = replace(record, usage=usage)
        if fault_domain is not None:
            record = replace(record, fault_domain=lifecycle.check_domain(fault_domain))
        core.change(record)
        await core.commit()
        self.jobs.kick()

    async def retire_disk(self, number: int) -> None:
        """Nothing new goes there; repair empties it. Raises: KeyError, ValueError."""
        await self._core.retire_disk(number)
        self.jobs.kick()

    async def reset_disk(self, disk: Disk) -> None:
        """Wipe a disk that isn't a member that is there. Raises: PoolInUse, DiskFailed."""
        await lifecycle.reset_disk(self._core, disk)
        self.jobs.kick()

    async def remove_disk(self, number: int) -> None:
        """It must hold no slab (`jobs.remove` empties it first). It is closed, its label wiped. Raises:
        KeyError, PoolInUse, ValueError."""
        core = self._core
        if number not in core.state.disks:
            raise KeyError(f"pool {self.name} has no disk {number}")
        await core.commit()
        await core.drop_disk(number)

    async def replace_disk(
        self, number: int, disk: Disk, *, media: MediaType | None = None, fault_domain: str | None = None
    ) -> int:
        """Another disk in its place: added, the old one is retired, emptied by a job and leaves the pool. The
        new one's number. Raises: KeyError, PoolInUse, PoolFull, DiskFailed, ValueError."""
        old = self._core.state.disks[number]
        self._core.require_version(2, "disks that are replaced")
        domain = old.fault_domain if fault_domain is None else fault_domain
        usage = old.usage if old.usage is not Usage.RETIRED else Usage.AUTO_SELECT
        kind = old.media if media is None else media
        (new,) = await self.add_disks([disk], media=kind, usage=usage, fault_domain=domain)
        await self.jobs.remove(number)
        return new

    @property
    def disk_names(self) -> dict[int, str]:
        """Number -> name of every member, there or not."""
        return {number: record.name for number, record in sorted(self._core.state.disks.items())}

    def lose_disk(self, number: int, why: str) -> None:
        """The disk is gone, though no call of it has failed yet. It may come back (`return_disk`). Raises:
        KeyError."""
        core = self._core
        core.disk_failed(number, DiskFailed(why))
        if core.state.disks[number].state is DiskState.FAILED:
            core.change(replace(core.state.disks[number], state=DiskState.LOST))
        self.jobs.kick()

    # -- settings ------------------------------------------------------------------------------------------

    async def upgrade(self) -> int:
        """To the newest version of what is on the disks; older programs don't open it any more. The
        version."""
        core = self._core
        pool = core.state.pool
        if pool.version < VERSION_NEWEST:
            core.change(replace(pool, version=VERSION_NEWEST, next_disk=core.state.next_disk()))
            await core.commit()
        return VERSION_NEWEST

    async def set_policy(
        self,
        *,
        thin_alert_percent: int | None = None,
        retire_missing: RetireMissing | None = None,
        retire_delay_s: int | None = None,
        repair_queue_depth: int | None = None,
    ) -> None:
        """[Set-StoragePool]. Raises: ValueError."""
        core = self._core
        core.require_version(2, "settings of a pool")
        pool = core.state.pool
        if thin_alert_percent is not None:
            if not 0 < thin_alert_percent <= 100:
                raise ValueError(f"an alert is at 1 to 100 percent, not {thin_alert_percent}")
            pool = replace(pool, thin_alert_percent=thin_alert_percent)
        if retire_delay_s is not None:
            if not 0 <= retire_delay_s <= 1 << 31:
                raise ValueError(f"a delay of {retire_delay_s} s")
            pool = replace(pool, retire_delay_s=retire_delay_s)
        if repair_queue_depth is not None:
            if repair_queue_depth not in (1, 2, 4, 8, 16):
                raise ValueError(f"a queue depth is 1, 2, 4, 8 or 16, not {repair_queue_depth}")
            pool = replace(pool, repair_queue_depth=repair_queue_depth)
        if retire_missing is not None:
            pool = replace(pool, retire_missing=retire_missing)
        core.change(pool)
        await core.commit()

    # -- status and end ------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self._core.state.pool.name

    @property
    def space_names(self) -> list[str]:
        return [one.name for one in self._spaces.machines()]

    def status(self) -> PoolStatus:
        core = self._core
        spaces = tuple(
            report.space_status(
                core,
                self._conditions,
                one,
                self._spaces.parts_of(one.state.record.space_id),
                self.jobs,
                self._spaces.trouble_of(one),
                self._spaces.cache_status(one),
            )
            for one in self._spaces.machines()
        )
        return report.pool_status(core, spaces, self.jobs, self._strangers, self._warnings)

    def faults(self, volumes: Sequence[VolumeSeen] = ()) -> list[Fault]:
        """What is wrong now; the gravest first."""
        return pool_faults(self._core, self.status(), self.jobs, volumes)

    async def close(self) -> None:
        """Flush, empty the intent logs, close the disks. The pool's spaces may not be used any more."""
        if self._is_closed:
            return
        self._is_closed = True
        core = self._core
        try:
            await self.jobs.stop()
            if core.broken is None:
                await self._close_caches()
                for machine in core.spaces.values():
                    await machine.repair_suspects()
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

    async def _close_caches(self) -> None:
        """What they hold is durable in their journals, and is found there."""
        for cache in self._spaces.caches():
            try:
                await cache.close(destage=False)
            except StorageError as error:
                self._warnings.append(str(error))


async def _no_pace(count: int) -> None:
    """As fast as it goes."""


def _parts_first(item: tuple[int, SpaceState]) -> tuple[bool, int]:
    return not item[1].record.parent, item[0]
