"""Slabs that move while the pool is used, and what else the jobs ask of the pool (storage/pool/jobs/port.py).

    start_copy   a slab by the allocation rules, zeroed checksums; in the row as JOINING and stale, durable
    refill       (the space's machine) writes go to it too; what differs is copied
    finish_copy  what was written is flushed -> one record: it is current, the one it replaces is gone,
    durable
                 -> the replaced slab is free

  P6 A joining copy counts as a copy for writes at once, and for reads only when it is refilled, flushed and
  its
     record is committed.
  P7 A slab is dropped from a row only by the record that makes another one current in its place.

From the moment a disk becomes a writer of a slab, `logged` starts from nothing, so that each region is logged
on that disk too before it is written in place (W1); what was written before is flushed by finish_copy before
the copy is current. So after a crash the regions in which the copies may differ are in the log of each
current one. Joining copies that a crash leaves are forgotten when the pool is opened.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Final

from storage.errors import DiskFailed, PoolFull, PoolInUse, StorageError
from storage.pool import opening
from storage.pool.allocation import FreeSlabs, choose_one, domain_of
from storage.pool.core import PoolCore, may_hold
from storage.pool.latency import Detector, Outlier
from storage.pool.member import Member
from storage.pool.metadata import (
    CopyRecord,
    DropDiskRecord,
    DropJobRecord,
    JobRecord,
    PoolState,
    Usage,
)
from storage.runtime import Runtime
from storage.space.machine import SpaceMachine
from storage.space.resiliency import ResiliencyKind
from storage.space.slabset import Place, SlabSet

LEAVING_TRIES: Final = 10
LEAVING_S: Final = 0.05
"""How often, and after how long, a disk that is to leave is asked again whether it is empty."""


class PoolHost(PoolCore):
    """`storage.pool.jobs.port.JobHost`."""

    def __init__(self, state: PoolState, epoch: int, members: dict[int, Member], runtime: Runtime) -> None:
        super().__init__(state, epoch, members, runtime)
        self._detector = Detector()
        self._job_number = 0

    # -- what is there -------------------------------------------------------------------------------------

    @property
    def machines(self) -> Mapping[int, SpaceMachine]:
        return self.spaces

    @property
    def slab_bytes(self) -> int:
        return self.state.pool.slab_bytes

    def disks_there(self) -> Collection[int]:
        return {member.number for member in self.online()}

    def disks_retired(self) -> Collection[int]:
        return {number for number, disk in self.state.disks.items() if disk.usage is Usage.RETIRED}

    def slabs_on(self, number: int) -> int:
        return self.state.disks[number].slab_count - self.free[number].free - self.limbo_on(number)

    def disks_filled(self) -> Collection[int]:
        usages = {Usage.AUTO_SELECT}
        disks = self.state.disks
        there = self.disks_there()
        return {n for n, disk in disks.items() if n in there and disk.usage in usages and not disk.flags}

    def may_hold(self, machine: SpaceMachine, copy: CopyRecord, beside: Collection[int], onto: int) -> bool:
        record, disk = machine.state.record, self.state.disks[onto]
        if onto == copy.disk or not self.free[onto].free or not may_hold(disk, record, is_repair=False):
            return False
        taken = {domain_of(self.state.disks[one], record.awareness) for one in beside}
        return onto not in beside and domain_of(disk, record.awareness) not in taken

    def has_spare(self) -> bool:
        there = self.disks_there()
        return any(
            disk.usage is Usage.HOT_SPARE and number in there and self.free[number].free
            for number, disk in self.state.disks.items()
        )

    def slow_disks(self) -> Mapping[int, Outlier]:
        return self._detector.outliers

    def latency_window(self) -> None:
        means = {member.number: member.meter.take() for member in self.online()}
        self._detector.window(means, {number: disk.media for number, disk in self.state.disks.items()})

    # -- disks ---------------------------------------------------------------------------------------------

    async def retire_disk(self, number: int) -> None:
        """Usage Retired, durable: nothing new goes there, repair empties it. Raises: KeyError."""
        disk = self.state.disks[number]
        if disk.usage is not Usage.RETIRED:
            self.require_version(2, "retired disks")
            self.change(replace(disk, usage=Usage.RETIRED))
            await self.commit()

    async def drop_disk(self, number: int) -> None:
        for _ in range(LEAVING_TRIES):
            if number not in self.state.disks:
                return
            if not self.slabs_on(number):
                break
            await self.commit()  # slabs that were given up, or taken for a row that isn't there yet
            await self._runtime.sleep(LEAVING_S)
        if self.slabs_on(number):
            raise PoolInUse(f"disk {number} still holds {self.slabs_on(number)} slabs")
        if len(self.state.disks) == 1:
            raise PoolInUse(f"disk {number} is the last one of the pool")
        self.require_version(2, "disks that leave the pool")
        pool = self.state.pool
        self.change(replace(pool, next_disk=self.state.next_disk()))
        self.change(DropDiskRecord(number))
        member = self.members.pop(number)
        del self.free[number]
        try:
            await self.commit()
            await self.settle_batches()  # a flush or an image of the log may still be on its way there
            if member.disk is not None:
                await opening.wipe(member.disk)
        except DiskFailed as error:
            member.failure = str(error)  # its label says Split from now on
        finally:
            for disk in (member.disk, member.gone):
                if disk is not None:
                    await disk.close()

    # -- copies --------------------------------------------------------------------------------------------

    async def start_copy(
        self, machine: SpaceMachine, slabs: SlabSet, replaces: CopyRecord | None, onto: int | None = None
    ) -> Place:
        self.require_usable()
        if self.state.pool.version < 2:
            raise StorageError(f"pool {self.state.pool.name} has version 1: slabs move once it is upgraded")
        record = machine.state.record
        if any(copy.joining for copy in slabs.copies) or slabs.is_dead:
            raise StorageError(f"space {machine.name} row {slabs.row}: a copy joins already")
        disks, domains, preferred = self.disks_for(record, is_repair=True)
        row = self._row_of(machine, slabs)
        beside = row if record.kind is ResiliencyKind.PARITY else [slabs]
        leaves = None if replaces is None else replaces.disk

        def avoided() -> set[str]:
            held = [copy.disk for one in beside for copy in one.copies if copy.disk != leaves]
            return {domain_of(self.state.disks[number], record.awareness) for number in held}

        avoid = avoided()
        there = {copy.disk for one in beside for copy in one.copies}
        usable = {n: free for n, free in disks.items() if n not in there and (onto is None or n == onto)}
        self.require_map_space(1)
        copy = self._choose(usable, preferred, domains, avoid, slabs.row)
        copy = copy._replace(stale=True, joining=True)
        try:
            await self.zero_checks(copy)()
        except DiskFailed:
            self.free[copy.disk].give(copy.slab)
            raise
        taken = {one.disk for other in beside for one in other.copies}
        is_apart = copy.disk not in taken and domains[copy.disk] not in avoided()
        if slabs.is_dead or not is_apart or any(one.joining for one in slabs.copies):
            self.free[copy.disk].give(copy.slab)
            raise StorageError(f"space {machine.name} row {slabs.row} changed while a slab was made ready")
        slabs.copies = [*slabs.copies, copy]
        slabs.logged = 0
        self.resolve(slabs)
        self.change_row(slabs)
        await self.commit()
        for place in slabs.writers:
            if place.number == copy.disk:
                return place
        raise DiskFailed(f"disk {copy.disk} went away while a slab was moved to it")

    def _choose(
        self,
        usable: Mapping[int, FreeSlabs],
        preferred: Collection[int],
        domains: Mapping[int, str],
        avoid: Collection[str],
        turn: int,
    ) -> CopyRecord:
        """Disks that the space would rather have, then hot spares (that's what they are for), then any."""
        spares = [number for number in usable if self.state.disks[number].usage is Usage.HOT_SPARE]
        for some in (preferred, spares):
            first = {number: free for number, free in usable.items() if number in some}
            try:
                if first:
                    return choose_one(first, domains, avoid, turn)
            except PoolFull:
                continue
        return choose_one(usable, domains, avoid, turn)

    def _row_of(self, machine: SpaceMachine, slabs: SlabSet) -> list[SlabSet]:
        sets = machine.row(slabs.row)
        if sets is None or slabs not in sets:
            raise StorageError(f"space {machine.name} row {slabs.row} was released")
        return sets

    async def finish_copy(
        self, machine: SpaceMachine, slabs: SlabSet, place: Place, drop: CopyRecord | None
    ) -> None:
        self.require_usable()
        await self.flush_space(machine)
        await self.flush_disks({one.number for one in slabs.writers})
        if slabs.is_dead:
            return
        if place not in slabs.writers:
            raise DiskFailed(f"disk {place.number} went away before its copy was current")
        dropped = [copy for copy in slabs.copies if drop is not None and copy.disk == drop.disk]
        kept: list[CopyRecord] = []
        for copy in slabs.copies:
            if copy.disk == place.number:
                copy = copy._replace(stale=False, joining=copy.joining and not dropped)
            if copy not in dropped:
                kept.append(copy)
        if any(copy.joining and not copy.stale for copy in kept):
            raise StorageError(f"space {machine.name} row {slabs.row}: nothing to drop for the new copy")
        slabs.copies = kept
        slabs.logged = 0
        slabs.filled.pop(place.number, None)
        self.change_row(slabs)
        self.release_copies(dropped, slabs)
        self.resolve(slabs)
        await self.commit()

    async def drop_copy(self, machine: SpaceMachine, slabs: SlabSet, copy: CopyRecord) -> None:
        """Only a joining one: it never counted."""
        if slabs.is_dead:
            return
        dropped = [one for one in slabs.copies if one.joining and one.disk == copy.disk]
        if dropped:
            slabs.copies = [one for one in slabs.copies if one not in dropped]
            slabs.filled.pop(copy.disk, None)
            slabs.logged = 0
            self.change_row(slabs)
            self.release_copies(dropped, slabs)
            self.resolve(slabs)
            await self.commit()

    # -- jobs ----------------------------------------------------------------------------------------------

    def take_job_id(self) -> int:
        pool = self.state.pool
        number = max(pool.next_job, max(self.state.jobs, default=0) + 1)
        if pool.version >= 2:
            self.change(replace(pool, next_job=number + 1))
        else:
            self._job_number = max(number, self._job_number + 1)
            number = self._job_number
        return number

    async def save_job(
        self, job_id: int, kind: int, target: int | None, state: int, checkpoint: bytes
    ) -> None:
        """A pool of version 1 has no place for jobs: there they don't go on after a crash."""
        if self.state.pool.version >= 2:
            self.change(JobRecord(job_id, kind, target, state, checkpoint))
            await self.commit()

    async def drop_job(self, job_id: int) -> None:
        if job_id in self.state.jobs:
            self.change(DropJobRecord(job_id))
            await self.commit()
