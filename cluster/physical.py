"""The node's physical disks: which paths the pool's disks have; adding, replacing, removing them; noticing
that
one has gone, and handing one that is back to the pool.

      path there, disk opened ---- its file or device goes ----> given up; the pool marks what it misses
               ^                                                            |
               |                                   a file or device is at the path again, with our label
               +------------------ pool.return_disk: only what changed is copied <---+

A look every second. A disk that failed although it is still there is tried again after 5, 30 and 120 seconds,
three times in 360 s at most (System.Storage.PhysicalDisk.Unresponsive.Reset.CountAllowed,
CountResetIntervalSeconds); then it stays out until something at its path changes or it is replaced. What is
at the path and is not the pool's is left alone: `sofs disk replace` or `reset` are the operator's. Owner: the
node. The pool owns the opened disks; this knows them by path. Times: seconds on the injected clock.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cluster.errors import OperatorError, told
from cluster.io import disks as host
from storage.disk import Disk
from storage.errors import DiskFailed, PoolInUse, StorageError
from storage.io.filedisk import FileDisk
from storage.pool.metadata import MediaType, Usage
from storage.pool.status import DiskStatus
from storage.runtime import Event
from storage.units import DiskOffset

if TYPE_CHECKING:
    from cluster.node import Node

log = logging.getLogger("sofs.disks")

LOOK_EVERY_S = 1.0
RETRY_AFTER_S = (5.0, 30.0, 120.0)
RETRIES_PER_S = 360.0
BLINK_READS_PER_S = 10
BLINK_BYTES = 64 << 10


class _Absent:
    """A disk that is out: when to try it next, and what was at its path when it was last tried."""

    def __init__(self, now: float) -> None:
        self.tries = 0
        self.first_s = now
        self.next_s = now
        self.seen = (0, 0, 0)

    def is_due(self, now: float, seen: tuple[int, int, int]) -> bool:
        if seen != self.seen:
            return True  # Something else is there now, or what was there was touched.
        if now - self.first_s > RETRIES_PER_S:
            self.tries, self.first_s = 0, now
        return self.tries < len(RETRY_AFTER_S) and now >= self.next_s

    def tried(self, now: float, seen: tuple[int, int, int]) -> None:
        """It was tried, or has just gone out."""
        if seen != self.seen:
            self.seen, self.tries, self.first_s = seen, 0, now
        else:
            self.tries += 1
        self.next_s = now + RETRY_AFTER_S[min(self.tries, len(RETRY_AFTER_S) - 1)]


class PhysicalDisks:
    """See the module. Made by the node; `start` begins the looking, `stop` ends it."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._opened: dict[str, FileDisk] = {}
        self._absent: dict[str, _Absent] = {}
        self._is_on = False
        self._wake: Event | None = None
        self._stopped: Event | None = None

    # -- what the node has ---------------------------------------------------------------------------------

    def opened(self, disks: Sequence[FileDisk]) -> None:
        """These are open, and the pool's."""
        for disk in disks:
            self._opened[disk.name] = disk

    def _save_paths(self) -> None:
        """The paths in the configuration are those of the pool's members, there or not."""
        names = list(dict.fromkeys(self._node.require_pool().disk_names.values()))
        if names == self._node.settings.disks:
            return
        for path in set(self._node.settings.disks) - set(names):
            self._opened.pop(path, None)
            self._absent.pop(path, None)
        self._node.settings.disks = names
        self._node.save_settings()

    def _number(self, path: str) -> int:
        """The newest member of that name: one that was replaced at its own path has it still, for a while."""
        names = self._node.require_pool().disk_names
        return max(number for number, name in names.items() if name == path)

    async def _open_new(self, paths: Sequence[str], disk_bytes: int) -> tuple[list[FileDisk], list[str]]:
        """The disks, and which of them were made. Raises: OperatorError, StorageError; none is open then."""
        disks: list[FileDisk] = []
        made: list[str] = []
        try:
            for path in paths:
                is_new = not host.exists(path)
                disks.append(host.open_or_create_disk(path, disk_bytes, self._node.runtime))
                if is_new:
                    made.append(path)
        except (OperatorError, StorageError):
            await self._take_back(disks, made)
            raise
        return disks, made

    async def _take_back(self, disks: Sequence[Disk], made: Sequence[str]) -> None:
        await host.close_disks(disks)
        for path in made:
            host.delete_new_disk(path)

    # -- operations ----------------------------------------------------------------------------------------

    async def create_pool(
        self, name: str, paths: Sequence[str], disk_bytes: int, slab_bytes: int, media: MediaType | None
    ) -> None:
        """Raises: OperatorError, StorageError."""
        self._node.require_no_pool()
        with self._node.alone("the pool"):
            disks, made = await self._open_new(paths, disk_bytes)
            try:
                await told(self._node.create_pool(name, disks, slab_bytes))
            except (OperatorError, StorageError):
                await self._take_back(disks, made)
                raise
        for disk in disks:
            kind = media or self._detected(disk)
            if kind is not None:
                await self._node.require_pool().set_disk(self._number(disk.name), media=kind)

    @staticmethod
    def _detected(disk: FileDisk) -> MediaType | None:
        found = host.detect_media(disk)
        return MediaType[found] if found else None

    async def add(
        self, paths: Sequence[str], disk_bytes: int, *, media: MediaType | None, usage: Usage,
        fault_domain: str,
    ) -> list[int]:  # fmt: skip
        """Raises: OperatorError, StorageError; then the pool is as it was."""
        pool = self._node.require_pool()
        disks, made = await self._open_new(paths, disk_bytes)
        try:
            numbers = await pool.add_disks(
                disks,
                media=media or self._detected(disks[0]),
                usage=usage,
                fault_domain=fault_domain,
            )
        except (StorageError, ValueError) as error:
            await self._take_back(disks, made)
            raise OperatorError(str(error)) from None
        self.opened(disks)
        self._save_paths()
        return numbers

    async def remove(self, disk: DiskStatus) -> int | None:
        """At once if it holds nothing; else a job empties it first, whose id this is. Raises: StorageError,
        OperatorError."""
        pool = self._node.require_pool()
        if disk.allocated_bytes:
            return await told(pool.jobs.remove(disk.number))
        await told(pool.remove_disk(disk.number))
        self._save_paths()
        return None

    async def replace(self, old: DiskStatus, path: str, disk_bytes: int) -> int:
        """The number of the new disk; the rebuild goes on as a job. Raises: OperatorError, StorageError."""
        pool = self._node.require_pool()
        if path == old.name:
            await self._let_go(path)
        disks, made = await self._open_new([path], disk_bytes)
        try:
            number = await pool.replace_disk(old.number, disks[0])
        except (StorageError, ValueError) as error:
            await self._take_back(disks, made)
            raise OperatorError(str(error)) from None
        self.opened(disks)
        self._save_paths()
        return number

    async def _let_go(self, path: str) -> None:
        """The same path is to be another disk: what is open of it must be gone from there."""
        opened = self._opened.get(path)
        if opened is None:
            return
        if opened.is_there() and opened.failure is None:
            raise OperatorError(f"disk {path} is there and works; retire it, or give another path")
        self._lose(opened)
        await opened.close()
        del self._opened[path]

    async def reset(self, path: str) -> None:
        """Raises: OperatorError, StorageError."""
        opened = self._opened.get(path)
        if opened is not None and opened.failure is None:
            raise OperatorError(f"disk {path} works in the pool; `sofs disk remove` takes it out")
        if not host.exists(path):
            raise OperatorError(f"there is no disk {path}")
        disk = FileDisk.open(path, self._node.runtime)
        try:
            await self._node.require_pool().reset_disk(disk)
        finally:
            await disk.close()

    async def identify(self, disk: DiskStatus, seconds: int) -> str:
        """Raises: OperatorError."""
        runtime = self._node.runtime
        opened = self._opened.get(disk.name)
        if opened is None or opened.failure is not None:
            raise OperatorError(f"disk {disk.name} cannot be reached")
        if host.set_locate_light(disk.name, True):
            try:
                await runtime.sleep(seconds)
            finally:
                host.set_locate_light(disk.name, False)
            return "the locate light of its slot was on"
        into = memoryview(bytearray(BLINK_BYTES))
        for _ in range(seconds * BLINK_READS_PER_S):
            await opened.read(DiskOffset(0), [into])
            await runtime.sleep(1 / BLINK_READS_PER_S)
        return "its activity light blinked: it was read from"

    # -- looking -------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._is_on = True
        self._stopped = self._node.runtime.event()
        self._node.runtime.spawn(self._loop, "disks come and go")

    async def stop(self) -> None:
        self._is_on = False
        if self._wake is not None:
            self._wake.set()
        if self._stopped is not None:
            await self._stopped.wait()
            self._stopped = None

    async def _loop(self) -> None:
        runtime, stopped = self._node.runtime, self._stopped
        assert stopped is not None
        try:
            while self._is_on:
                try:
                    await self.look()
                except StorageError as error:
                    log.warning("the disks could not be looked at: %s", error)
                wake = self._wake = runtime.event()

                async def alarm(wake: Event = wake) -> None:
                    await runtime.sleep(LOOK_EVERY_S)
                    wake.set()

                runtime.spawn(alarm, "disk alarm")
                await wake.wait()
        finally:
            stopped.set()

    async def look(self) -> None:
        """Once. Raises: StorageError."""
        if self._node.pool is None:
            return
        self._save_paths()  # a job may have taken a disk out
        now = self._node.runtime.now()
        for path, disk in list(self._opened.items()):
            if not disk.is_there():
                self._lose(disk)
            if disk.failure is not None:
                log.warning("disk %s is out: %s", path, disk.failure)
                del self._opened[path]
                self._absent.setdefault(path, _Absent(now)).tried(now, host.identity(path))
                await disk.close()
        for path in self._node.settings.disks:
            if path not in self._opened:
                await self._try(path, now)

    def _lose(self, disk: FileDisk) -> None:
        """It is gone: the pool is told, and does not wait for its next write to find out."""
        disk.give_up("it is gone")
        self._node.require_pool().lose_disk(self._number(disk.name), disk.failure or "")

    async def _try(self, path: str, now: float) -> None:
        absent = self._absent.setdefault(path, _Absent(now))
        seen = host.identity(path)
        if seen == (0, 0, 0) or not absent.is_due(now, seen):
            return
        absent.tried(now, seen)
        try:
            disk = FileDisk.open(path, self._node.runtime)
        except (DiskFailed, PoolInUse) as error:
            log.info("disk %s cannot be opened yet: %s", path, error)
            return
        try:
            number = await self._node.require_pool().return_disk(disk)
        except (StorageError, ValueError) as error:
            log.warning("what is at %s was not taken back into the pool: %s", path, error)
            await disk.close()
            return
        log.warning("disk %d, %s, is back", number, path)
        self.opened([disk])
        try:
            await self._node.mount_detached()
        except OperatorError as error:
            log.error("a volume is back that cannot be served: %s", error)
