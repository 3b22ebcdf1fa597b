"""What an actor does with the bytes of a file it has open: sizes, reads, writes, truncation, zeroed ranges,
locks. One half of `tests/sim/actor.py`, whose rules it shares.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

import trio

from smbproto import fscc
from smbproto.fscc.file_info import (
    FileBasicInformation,
    FileEndOfFileInformation,
)
from smbproto.fscc.fsctl import FileZeroData
from smbproto.smb2.flush import FlushRequest
from smbproto.smb2.header import Command
from smbproto.smb2.lock import (
    SMB2_LOCKFLAG_EXCLUSIVE_LOCK,
    SMB2_LOCKFLAG_FAIL_IMMEDIATELY,
    SMB2_LOCKFLAG_SHARED_LOCK,
    SMB2_LOCKFLAG_UNLOCK,
    LockElement,
    LockRequest,
)
from smbproto.smb2.query_info import SMB2_0_INFO_FILE, QueryInfoRequest, QueryInfoResponse
from smbproto.smb2.read import ReadRequest, ReadResponse
from smbproto.smb2.set_info import SetInfoRequest
from smbproto.smb2.write import WriteRequest, WriteResponse
from smbproto.status import Status
from tests.sim.client import SimClient
from tests.sim.handles import Dirty, Handle
from tests.sim.model import SECTOR, Lock

if TYPE_CHECKING:
    from tests.sim.simulation import Simulation

IO_SECTORS_MAX = 96
SIZE_MAX = 300_000
OPLOCKS = (0x01, 0x08, 0x09)
LEASES = (0x1, 0x3, 0x5, 0x7, 0x7)


class Refused(Exception):
    """A byte-range lock of somebody stood in the way, or the volume is full; nothing has changed."""


class HalfDone(Refused):
    """The volume became full on the way: any part may be done."""


class ByteActor:
    """The other half gives `sim`, `client`, `rng`, `begin`, `change`, `again`."""

    sim: Simulation
    client: SimClient
    rng: random.Random

    # -- bytes ---------------------------------------------------------------------------------------------

    async def ask_size(self, handle: Handle) -> int:
        request = QueryInfoRequest(
            info_type=SMB2_0_INFO_FILE,
            file_info_class=fscc.FILE_STANDARD_INFORMATION,
            output_buffer_length=24,
            file_id=handle.file_id,
        )
        since = self.sim.clock.tick()
        _, message, _ = await self.client.call(Command.QUERY_INFO, request, generation=handle.generation)
        output = QueryInfoResponse.decode_untrusted(message).output
        size = int.from_bytes(output[8:16], "little")
        sizes = handle.stream.size.seen(since, self.sim.clock.tick())
        assert size in sizes, f"{handle.path} has size {size}, allowed {sizes}"
        return size

    async def size_of(self, handle: Handle) -> None:
        await handle.file.gate.share()
        try:
            await self.ask_size(handle)
        finally:
            handle.file.gate.leave()

    async def get(self, handle: Handle, offset: int, length: int) -> bytes:
        """Read and check; `offset` is a multiple of a sector."""
        if not length:
            return b""
        request = ReadRequest(length=length, offset=offset, file_id=handle.file_id)
        since = self.sim.clock.tick()
        await self.client.write_back(handle.stream)
        blocked = self.blocked(handle, offset, length, writing=False)
        status, message, _ = await self.client.call(
            Command.READ,
            request,
            generation=handle.generation,
            payload=length,
            also=(Status.END_OF_FILE, Status.FILE_LOCK_CONFLICT),
        )
        self.check_locks(handle, offset, length, status, blocked, writing=False)
        data = b"" if status == Status.END_OF_FILE else bytes(ReadResponse.decode_untrusted(message).data)
        now = self.sim.clock.tick()
        sizes = handle.stream.size.seen(since, now)
        assert any(len(data) == max(0, min(length, size - offset)) for size in sizes), (
            f"{handle.path}: a read of {length} at {offset} gives {len(data)}; sizes {sizes}"
        )
        handle.stream.check_read(offset, data, since, now, f"{handle.path} of client {self.client.number}")
        return data

    async def put(self, handle: Handle, offset: int, data: bytes) -> None:
        await self.client.write_back(handle.stream)
        request = WriteRequest(offset=offset, data=data, file_id=handle.file_id)
        blocked = self.blocked(handle, offset, len(data), writing=True)
        status, message, _ = await self.client.call(
            Command.WRITE,
            request,
            generation=handle.generation,
            payload=len(data),
            also=(Status.FILE_LOCK_CONFLICT, Status.DISK_FULL),
        )
        self.check_room(status)
        self.check_locks(handle, offset, len(data), status, blocked, writing=True)
        assert WriteResponse.decode_untrusted(message).count == len(data)

    def check_room(self, status: Status) -> None:
        if status == Status.DISK_FULL:
            self.sim.count("volume full")
            assert self.sim.plan.data_bytes < 4 << 20, "the volume has room for all files"
            raise Refused

    def blocked(self, handle: Handle, offset: int, length: int, *, writing: bool) -> list[Lock]:
        """Locks of other opens that stand in the way."""
        return [
            lock
            for lock in handle.stream.locks
            if lock.holder is not handle and lock.conflicts(offset, offset + length, handle, writing)
        ]

    def check_locks(
        self, handle: Handle, offset: int, length: int, status: Status, before: list[Lock], *, writing: bool
    ) -> None:
        if status == Status.FILE_LOCK_CONFLICT:
            raise Refused
        held = [lock for lock in before if lock in handle.stream.locks]
        assert not held, (
            f"{handle.path}: {'a write' if writing else 'a read'} of {length} at {offset} went through "
            f"somebody's lock {held[0].start}..{held[0].end}"
        )

    async def read(self, handle: Handle) -> None:
        await handle.file.gate.share()
        try:
            offset = self.rng.randrange(0, SIZE_MAX, SECTOR)
            if self.rng.random() < 0.7:
                offset = min(offset, max(0, handle.size - 1)) // SECTOR * SECTOR
            await self.get(handle, offset, self.rng.randint(1, IO_SECTORS_MAX * SECTOR))
        finally:
            handle.file.gate.leave()

    async def overwrite(self, handle: Handle) -> None:
        """Whole sectors below the end, while others read and write too."""
        gate = handle.file.gate
        await gate.share()
        try:
            if handle.stream.size.maybe():
                gate.leave()
                await gate.alone()
                await self.settle_size(handle)
                gate.downgrade()
            sectors = handle.stream.size.entries[-1][1] // SECTOR
            if not sectors:
                return
            first = self.rng.randrange(sectors)
            count = min(self.rng.randint(1, IO_SECTORS_MAX), sectors - first)
            data = self.content(count * SECTOR)
            op = self.begin(f"write {first}+{count} of {handle.path}")
            handle.stream.write(op, first, data)
            if handle.may_cache_writes and handle.is_certain and self.rng.random() < 0.6:
                op.answered(self.sim.clock.tick())
                self.client.dirty.setdefault(handle.stream, []).append(
                    Dirty(handle, first * SECTOR, data, op)
                )
                return
            work = partial(self.put, handle, first * SECTOR, data)
            await self.change(op, work, durable=handle.is_through, of=handle.stream)
        finally:
            gate.leave()

    async def settle_size(self, handle: Handle) -> int:
        """The size, and what became of changes of it whose answers were lost. The file's gate is ours
        alone."""
        await self.client.write_back(handle.stream)
        size = await self.ask_size(handle)
        register = handle.stream.size
        for op in register.maybe():
            value = next(value for entry, value in register.entries if entry is op)
            if value == size:
                op.is_certain = True
            else:
                register.entries = [entry for entry in register.entries if entry[0] is not op]
        return size

    def content(self, length: int) -> bytes:
        """Bytes that were never written before: each sector has its own."""
        parts = []
        for _ in range(0, length, SECTOR):
            parts.append(b"<%d>" % self.sim.clock.tick() * 128)
        return b"".join(part[:SECTOR] for part in parts)[:length]

    async def extend(self, handle: Handle) -> None:
        """Write at the end or behind it."""
        await self._alone(handle, self._extend)

    async def _extend(self, handle: Handle, size: int) -> None:
        gap = self.rng.choice((0, 0, 0, self.rng.randint(1, 70_000)))
        length = self.rng.choice((self.rng.randint(1, 2000), self.rng.randint(1, 50_000)))
        if size + gap + length > SIZE_MAX:
            return
        await self._write(handle, size, size + gap, self.content(length))

    async def patch(self, handle: Handle) -> None:
        """Bytes that begin and end anywhere."""
        await self._alone(handle, self._patch)

    async def _patch(self, handle: Handle, size: int) -> None:
        offset = self.rng.randint(0, size)
        length = self.rng.randint(1, 3000)
        if offset + length <= SIZE_MAX:
            await self._write(handle, size, offset, self.content(length))

    async def _write(self, handle: Handle, size: int, offset: int, data: bytes) -> None:
        """Any write; the model gets the whole sectors around it, as they will be."""
        first, end = offset // SECTOR, offset + len(data)
        last = (end - 1) // SECTOR
        head = await self.get(handle, first * SECTOR, offset - first * SECTOR) if offset % SECTOR else b""
        tail = b""
        if end < size and end % SECTOR:
            sector = await self.get(handle, last * SECTOR, min(SECTOR, size - last * SECTOR))
            tail = sector[end - last * SECTOR :]
        whole = head.ljust(offset - first * SECTOR, b"\0") + data + tail
        op = self.begin(f"write {offset}+{len(data)} of {handle.path}")
        handle.stream.write(op, first, whole.ljust((last - first + 1) * SECTOR, b"\0"))
        if end > size:
            handle.stream.size.put(op, end)
        work = partial(self.put, handle, offset, data)
        await self.change(op, work, durable=handle.is_through, of=handle.stream)
        handle.size = max(size, end)

    async def truncate(self, handle: Handle) -> None:
        await self._alone(handle, self._truncate)

    async def _truncate(self, handle: Handle, size: int) -> None:
        new = self.rng.choice((0, self.rng.randint(0, size), self.rng.randint(0, size + 50_000)))
        if new > SIZE_MAX or new == size:
            return
        first = new // SECTOR
        kept = await self.get(handle, first * SECTOR, new % SECTOR) if new < size and new % SECTOR else b""
        op = self.begin(f"truncate {handle.path} to {new}")
        handle.stream.size.put(op, new)
        if new < size:
            handle.stream.zero_from(op, first + (1 if kept else 0))
            if kept:
                handle.stream.write(op, first, kept.ljust(SECTOR, b"\0"))
        info = FileEndOfFileInformation(end_of_file=new).encode()
        await self.change(op, partial(self._set_end, handle, info), of=handle.stream)
        handle.size = new

    async def _set_end(self, handle: Handle, info: bytes) -> None:
        await self.set_info(handle, fscc.FILE_END_OF_FILE_INFORMATION, info)

    async def zero(self, handle: Handle) -> None:
        """Zeros over whole sectors, perhaps after making the file sparse, so that clusters go back."""
        await self._alone(handle, self._zero)

    async def _zero(self, handle: Handle, size: int) -> None:
        sectors = size // SECTOR
        if not sectors:
            return
        first = self.rng.randrange(sectors)
        end = self.rng.choice((sectors, self.rng.randint(first + 1, sectors)))
        if self.rng.random() < 0.3:
            await self.ioctl(handle, fscc.FSCTL_SET_SPARSE, b"\1", 0)
        await self.client.write_back(handle.stream)
        op = self.begin(f"zero {first}..{end} of {handle.path}")
        handle.stream.write(op, first, bytes((end - first) * SECTOR))
        wanted = FileZeroData(file_offset=first * SECTOR, beyond_final_zero=end * SECTOR).encode()

        async def work() -> None:
            await self.ioctl(handle, fscc.FSCTL_SET_ZERO_DATA, wanted, 0)

        await self.change(op, work, of=handle.stream)

    async def _alone(self, handle: Handle, work: Callable[[Handle, int], Awaitable[None]]) -> None:
        await handle.file.gate.alone()
        try:
            await work(handle, await self.settle_size(handle))
        finally:
            handle.file.gate.leave()

    async def set_info(
        self, handle: Handle, info_class: int, info: bytes, also: tuple[Status, ...] = ()
    ) -> Status:
        request = SetInfoRequest(
            info_type=SMB2_0_INFO_FILE, file_info_class=info_class, buffer=info, file_id=handle.file_id
        )
        status, _, _ = await self.client.call(
            Command.SET_INFO,
            request,
            generation=handle.generation,
            also=(*also, Status.FILE_LOCK_CONFLICT, Status.DISK_FULL),
        )
        self.check_room(status)
        if status == Status.FILE_LOCK_CONFLICT:
            raise Refused
        return status

    async def hide(self, handle: Handle) -> None:
        hidden = self.rng.random() < 0.5
        await handle.file.gate.alone()
        try:
            op = self.begin(f"hide {handle.path}")
            handle.file.hidden.put(op, hidden)
            info = FileBasicInformation(
                creation_time=0,
                last_access_time=0,
                last_write_time=0,
                change_time=0,
                file_attributes=fscc.FILE_ATTRIBUTE_HIDDEN if hidden else fscc.FILE_ATTRIBUTE_NORMAL,
            ).encode()

            async def work() -> None:
                await self.set_info(handle, fscc.FILE_BASIC_INFORMATION, info)

            await self.change(op, work)
        finally:
            handle.file.gate.leave()

    async def flush(self, handle: Handle) -> None:
        began = self.sim.clock.tick()
        await self.client.write_back(handle.stream)
        await self.client.call(
            Command.FLUSH, FlushRequest(file_id=handle.file_id), generation=handle.generation
        )
        handle.file.flushed(began)

    # -- locks ---------------------------------------------------------------------------------------------

    async def lock(self, handle: Handle) -> None:
        start = self.rng.randrange(0, 40_000, 100)
        end = start + self.rng.randint(1, 5000)
        if any(lock.start < end and start < lock.end for lock in handle.locks):
            return
        exclusive, waits = self.rng.random() < 0.6, self.rng.random() < 0.4
        flags = SMB2_LOCKFLAG_EXCLUSIVE_LOCK if exclusive else SMB2_LOCKFLAG_SHARED_LOCK
        flags |= 0 if waits else SMB2_LOCKFLAG_FAIL_IMMEDIATELY
        await self.client.write_back(handle.stream)
        request = LockRequest(locks=(LockElement(start, end - start, flags),), file_id=handle.file_id)
        status = Status.CANCELLED
        handle.locking += 1
        with trio.move_on_after(self.rng.uniform(0.05, 3.0) if waits else 60.0):
            status, _, _ = await self.client.call(
                Command.LOCK,
                request,
                generation=handle.generation,
                also=(Status.LOCK_NOT_GRANTED, Status.CANCELLED),
            )
        if status == Status.CANCELLED:
            self.sim.count("waiting for a lock cancelled")
            await self.settle_lock(handle, start, end)
        handle.locking -= 1
        if status == Status.SUCCESS:
            self.sim.count("locks granted")
            for other in handle.stream.locks:
                assert not other.conflicts(start, end, handle, exclusive), (
                    f"{handle.path}: {start}..{end} is locked twice"
                )
            lock = Lock(handle, start, end, exclusive)
            handle.locks.append(lock)
            handle.stream.locks.append(lock)

    async def settle_lock(self, handle: Handle, start: int, end: int) -> None:
        """The lock may have been granted before it was cancelled: unlock it."""
        await trio.sleep(0.5)
        request = LockRequest(
            locks=(LockElement(start, end - start, SMB2_LOCKFLAG_UNLOCK),), file_id=handle.file_id
        )
        await self.client.call(
            Command.LOCK, request, generation=handle.generation, also=(Status.RANGE_NOT_LOCKED,)
        )

    async def unlock(self, handle: Handle) -> None:
        if not handle.locks:
            return
        lock = handle.locks.pop(self.rng.randrange(len(handle.locks)))
        if lock in handle.stream.locks:
            handle.stream.locks.remove(lock)
        request = LockRequest(
            locks=(LockElement(lock.start, lock.end - lock.start, SMB2_LOCKFLAG_UNLOCK),),
            file_id=handle.file_id,
        )
        handle.locking += 1
        await self.client.call(Command.LOCK, request, generation=handle.generation)
        handle.locking -= 1
