"""Users of a client: each opens, reads, writes, locks, renames and deletes at random, and checks every answer.

A user may wait for another in the model's gates only; what the server lets happen at once is tried at once.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

from smbproto import dtyp, fscc
from smbproto.fscc.file_info import (
    FileBasicInformation,
    FileEndOfFileInformation,
    FileRenameInformation,
)
from smbproto.fscc.fsctl import CopyChunk, CopyChunkInput, CopyChunkResponse, FileZeroData, ResumeKey
from smbproto.smb2.flush import FlushRequest
from smbproto.smb2.header import Command
from smbproto.smb2.ioctl import IoctlRequest, IoctlResponse
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
from smbproto.status import Status, StatusError
from tests.sim.client import ACCESS, SHARE_ALL, Dirty, Handle, Lost, SimClient
from tests.sim.model import SECTOR, SIDE, Lock, ModelFile, ModelName, Op

if TYPE_CHECKING:
    from tests.sim.simulation import Simulation

IO_SECTORS_MAX = 96
SIZE_MAX = 300_000
OPLOCKS = (0x01, 0x08, 0x09)
LEASES = (0x1, 0x3, 0x5, 0x7, 0x7)


class Refused(Exception):
    """A byte-range lock of somebody stood in the way."""


class Actor:
    """One user. `run` does `count` activities, whatever breaks meanwhile."""

    def __init__(self, sim: Simulation, client: SimClient, rng: random.Random) -> None:
        self.sim, self.client, self.rng = sim, client, rng
        self.model = sim.model
        self.doing = ""

    async def run(self, count: int) -> None:
        for _ in range(count):
            await trio.sleep(self.rng.expovariate(1 / 0.03))
            activity = self.rng.choices(
                (self.session, self.delete, self.rename, self.listing, self.ask, self.copy),
                (60, 8, 8, 8, 10, 6),
            )[0]
            self.doing = activity.__name__
            await self.client.connected()
            try:
                await activity()
            except Lost:
                self.sim.count("lost")
                await self.client.quiet()
        self.doing = "done"

    # -- changes -------------------------------------------------------------------------------------------

    def begin(self, what: str) -> Op:
        return Op(self.sim.clock.tick(), f"{what} by {self.client.number}")

    async def change(self, op: Op, work: Callable[[], Awaitable[None]], *, durable: bool = False) -> None:
        """Do it: answered, refused without effect, or lost, and then over once the server is quiet."""
        try:
            await work()
        except Refused:
            op.withdraw()
            raise
        except Lost:
            await self.client.quiet()
            op.lost(self.sim.clock.tick())
            raise
        except BaseException:
            op.lost(self.sim.clock.tick())
            raise
        op.answered(self.sim.clock.tick(), durable=durable)

    # -- sessions ------------------------------------------------------------------------------------------

    async def session(self) -> None:
        """Open a file or make it, work on it, close it; over lost connections where the open is durable."""
        name = self.rng.choice(self.model.names)
        handle = await self.enter(name)
        if handle is None:
            return
        try:
            for _ in range(self.rng.randint(1, 9)):
                await trio.sleep(self.rng.expovariate(1 / 0.01))
                work = self.rng.choices(
                    (
                        self.read,
                        self.overwrite,
                        self.extend,
                        self.truncate,
                        self.patch,
                        self.flush,
                        self.lock,
                        self.unlock,
                        self.hide,
                        self.size_of,
                        self.zero,
                    ),
                    (24, 24, 12, 5, 8, 8, 7, 5, 3, 4, 4),
                )[0]
                self.doing = f"session.{work.__name__} {name.path}"
                try:
                    await work(handle)
                except Refused:
                    self.sim.count("refused by a lock")
                except Lost:
                    await self.client.quiet()
                    if not await self.again(handle):
                        return
            self.doing = f"session.close {name.path}"
            if handle.may_linger and not handle.stream_name and not handle.locks and self.rng.random() < 0.4:
                self.sim.count("lingering opens")
                await self.client.write_back(handle.stream)
                self.client.let_linger(handle)
                return
            await self.client.close(handle)
        finally:
            if not handle.is_lingering:
                await self.let_go(handle)
            name.gate.leave()

    async def again(self, handle: Handle) -> bool:
        """Reclaim the open, however often the connection breaks meanwhile."""
        while handle.is_open:
            try:
                return await self.client.reclaim(handle)
            except Lost:
                await self.client.quiet()
        return False

    async def enter(self, name: ModelName) -> Handle | None:
        """An open of this name, which is shared until its gate is left; None if there is no file now."""
        await name.gate.share()
        if name.holds.maybe() or name.holds.entries[-1][1] is None:
            name.gate.leave()
            await name.gate.alone()
            try:
                await self.find_out(name)
                if name.holds.entries[-1][1] is None:
                    handle = await self.make(name)
                    name.gate.downgrade()
                    return handle
            except BaseException:
                name.gate.leave()
                raise
            name.gate.downgrade()
        file = name.holds.entries[-1][1]
        assert file is not None
        try:
            return await self.open(name, file)
        except BaseException:
            name.gate.leave()
            raise

    def wishes(self) -> dict[str, object]:
        """Caching, durability and options of an open."""
        kind = self.rng.random()
        wishes: dict[str, object] = {}
        if kind < 0.45:
            wishes["lease_state"] = self.rng.choice(LEASES)
        elif kind < 0.7:
            wishes["oplock"] = self.rng.choice(OPLOCKS)
        wishes["durable"] = self.rng.random() < 0.7
        if self.rng.random() < 0.15:
            wishes["stream"] = SIDE
            wishes["disposition"] = fscc.FILE_OPEN_IF
        wishes["options"] = fscc.FILE_NON_DIRECTORY_FILE | (
            fscc.FILE_WRITE_THROUGH if self.rng.random() < 0.15 else 0
        )
        return wishes

    async def open(self, name: ModelName, file: ModelFile) -> Handle:
        since = self.sim.clock.tick()
        handle = await self.client.create(self.spell(name.path), file, access=ACCESS, **self.wishes())  # type: ignore[arg-type]
        assert isinstance(handle, Handle)
        sizes = handle.stream.size.seen(since, self.sim.clock.tick())
        assert handle.size in sizes, f"{name.path} opens with size {handle.size}, allowed {sizes}"
        return handle

    async def make(self, name: ModelName) -> Handle:
        """Create the file; the name's gate is ours alone."""
        op = self.begin(f"create {name.path}")
        file = self.model.new_file(op)
        name.holds.put(op, file)
        made: list[Handle] = []

        async def work() -> None:
            handle = await self.client.create(
                name.path,
                file,
                access=ACCESS,
                **{**self.wishes(), "disposition": fscc.FILE_CREATE},  # type: ignore[arg-type]
            )
            assert isinstance(handle, Handle)
            made.append(handle)

        await self.change(op, work)
        return made[0]

    def spell(self, path: str) -> str:
        """Names are the same whatever their case."""
        return path.upper() if self.rng.random() < 0.2 else path

    async def find_out(self, name: ModelName) -> None:
        """What became of ops whose answers were lost. The name's gate is ours alone."""
        while name.holds.maybe():
            found = await self.node_id_of(name.path)
            open_questions = name.holds.maybe()
            if not open_questions:
                return  # an audit has looked meanwhile
            op = open_questions[0]
            file = next(value for entry, value in name.holds.entries if entry is op)
            before = [value for entry, value in name.holds.entries if entry is not op and entry.is_certain][
                -1
            ]
            if found is None:
                assert file is None or before is None, f"{name} is gone; {name.holds}"
                happened = file is None
            elif file is not None and file.node_id in (None, found):
                file.node_id = found
                happened = True
            else:
                assert before is not None and before.node_id == found, f"{name} is node {found}; {name.holds}"
                happened = False
            if happened:
                op.is_certain = True
            else:
                op.withdraw()

    async def node_id_of(self, path: str) -> int | None:
        tree = self.client.tree
        try:
            return (await self.client.guarded(lambda: tree.stat(path))).st_ino  # type: ignore[no-any-return]
        except StatusError as error:
            if error.status != Status.OBJECT_NAME_NOT_FOUND:
                raise
            return None

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
            also=(Status.FILE_LOCK_CONFLICT,),
        )
        self.check_locks(handle, offset, len(data), status, blocked, writing=True)
        assert WriteResponse.decode_untrusted(message).count == len(data)

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
            if (
                handle.may_cache_writes
                and handle.generation == self.client.generation
                and self.rng.random() < 0.6
            ):
                op.answered(self.sim.clock.tick())
                self.client.dirty.setdefault(handle.stream, []).append(
                    Dirty(handle, first * SECTOR, data, op)
                )
                return
            await self.change(op, lambda: self.put(handle, first * SECTOR, data), durable=handle.is_through)
        finally:
            gate.leave()

    async def settle_size(self, handle: Handle) -> int:
        """The size, and what became of changes of it whose answers were lost. The file's gate is ours alone."""
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
        await self.change(op, lambda: self.put(handle, offset, data), durable=handle.is_through)
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
        await self.change(op, lambda: self.set_info(handle, fscc.FILE_END_OF_FILE_INFORMATION, info))
        handle.size = new

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

        await self.change(op, work)

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
            Command.SET_INFO, request, generation=handle.generation, also=(*also, Status.FILE_LOCK_CONFLICT)
        )
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
        elif status == Status.SUCCESS:
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
        await self.client.call(Command.LOCK, request, generation=handle.generation)

    # -- names ---------------------------------------------------------------------------------------------

    async def delete(self) -> None:
        name = self.rng.choice(self.model.names)
        await name.gate.alone()
        try:
            await self.find_out(name)
            file = name.holds.entries[-1][1]
            if file is None:
                return
            op = self.begin(f"delete {name.path}")
            name.holds.put(op, None)
            file.name_ops.append(op)
            await self.change(
                op, lambda: self.client.guarded(lambda: self.client.tree.remove(self.spell(name.path)))
            )
            self.sim.count("deleted")
        finally:
            name.gate.leave()

    async def rename(self) -> None:
        source, target = self.rng.sample(self.model.names, 2)
        first, second = sorted((source, target), key=self.model.names.index)
        await first.gate.alone()
        try:
            await second.gate.alone()
            try:
                await self._rename(source, target)
            finally:
                second.gate.leave()
        finally:
            first.gate.leave()

    async def _rename(self, source: ModelName, target: ModelName) -> None:
        await self.find_out(source)
        await self.find_out(target)
        file, other = source.holds.entries[-1][1], target.holds.entries[-1][1]
        if file is None:
            return
        replace = self.rng.random() < 0.6
        handle = await self.client.create(source.path, file, access=dtyp.DELETE | dtyp.FILE_READ_ATTRIBUTES)
        assert isinstance(handle, Handle)
        try:
            info = FileRenameInformation(
                replace_if_exists=replace, file_name=target.path.replace("/", "\\")
            ).encode()
            if other is not None and not replace:
                status = await self.set_info(
                    handle, fscc.FILE_RENAME_INFORMATION, info, also=(Status.OBJECT_NAME_COLLISION,)
                )
                assert status == Status.OBJECT_NAME_COLLISION, f"{source} to {target}: {status!r}"
            else:
                op = self.begin(f"rename {source.path} to {target.path}")
                source.holds.put(op, None)
                target.holds.put(op, file)
                file.name_ops.append(op)
                if other is not None:
                    other.opens += 1
                await self.change(op, lambda: self._set_name(handle, info))
                self.sim.count("renamed")
            await self.client.close(handle)
        finally:
            await self.let_go(handle)

    async def _set_name(self, handle: Handle, info: bytes) -> None:
        await self.set_info(handle, fscc.FILE_RENAME_INFORMATION, info)

    async def listing(self) -> None:
        """What is not changed meanwhile is listed once, or not at all if it is not there."""
        directory = self.rng.choice(self.model.directories)
        since = self.sim.clock.tick()
        tree = self.client.tree

        async def entries() -> list[tuple[str, int]]:
            return [(entry.name, entry.inode()) async for entry in tree.scandir(directory)]

        found = await self.client.guarded(entries)
        now = self.sim.clock.tick()
        by_name = {name.lower(): node_id for name, node_id in found}
        assert len(by_name) == len(found), f"a name is listed twice: {found}"
        for name in self.model.names_in(directory):
            node_id = by_name.pop(name.path.rpartition("/")[2].lower(), None)
            allowed = name.holds.seen(since, now)
            ids = [file.node_id if file is not None else None for file in allowed]
            unknown = any(file is not None and file.node_id is None for file in allowed)
            assert node_id in ids or (unknown and node_id is not None), (
                f"{name} is listed as {node_id}, allowed {ids}; {name.holds}"
            )
        for name in self.model.directories:
            if name and name.rpartition("/")[0] == directory:
                assert by_name.pop(name.rpartition("/")[2].lower(), None) is not None, f"{name} is not listed"
        assert not by_name, f"nobody made {by_name}"

    async def ask(self) -> None:
        """Is there a file by this name?"""
        name = self.rng.choice(self.model.names)
        since = self.sim.clock.tick()
        node_id = await self.node_id_of(self.spell(name.path))
        allowed = name.holds.seen(since, self.sim.clock.tick())
        ids = [file.node_id if file is not None else None for file in allowed]
        unknown = any(file is not None and file.node_id is None for file in allowed)
        assert node_id in ids or (unknown and node_id is not None), f"{name} is {node_id}, allowed {ids}"

    # -- copies --------------------------------------------------------------------------------------------

    async def copy(self) -> None:
        """Server-side copy of a range from one file to another, or within one."""
        one, other = sorted(self.rng.sample(self.model.names, 2), key=self.model.names.index)
        first = await self.enter(one)
        if first is None:
            return
        try:
            second = await self.enter(other)
            if second is None:
                return
            try:
                try:
                    await self._copy(*self.rng.sample((first, second), 2))
                except Refused:
                    self.sim.count("refused by a lock")
                await self.client.close(second)
            finally:
                await self.let_go(second)
                other.gate.leave()
            await self.client.close(first)
        finally:
            await self.let_go(first)
            one.gate.leave()

    async def let_go(self, handle: Handle) -> None:
        """Whatever happened to it: nothing of it is left at the server, or its connection is lost."""
        if handle.is_open:
            try:
                await self.client.close(handle)
            except Lost:
                pass

    async def _copy(self, source: Handle, target: Handle) -> None:
        first, second = sorted((source.file, target.file), key=lambda file: file.number)
        await first.gate.alone()
        try:
            await second.gate.alone()
            try:
                await self._copy_range(source, target)
            finally:
                second.gate.leave()
        finally:
            first.gate.leave()

    async def _copy_range(self, source: Handle, target: Handle) -> None:
        from_size, to_size = await self.settle_size(source), await self.settle_size(target)
        unit = self.rng.choice((SECTOR, 65536))
        start = self.rng.randrange(0, from_size + 1, unit)
        at = self.rng.randrange(0, to_size + 1, unit)
        length = min(self.rng.randint(1, 140_000), from_size - start, SIZE_MAX - at)
        if length <= 0:
            return
        data = b""
        while len(data) < length:
            data += await self.get(
                source, start + len(data), min(IO_SECTORS_MAX * SECTOR, length - len(data))
            )
        end = at + length
        tail = b""
        if end < to_size and end % SECTOR:
            last = end // SECTOR * SECTOR
            tail = (await self.get(target, last, min(SECTOR, to_size - last)))[end - last :]
        op = self.begin(f"copy {source.path} {start}+{length} to {target.path} {at}")
        whole = data + tail
        target.stream.write(op, at // SECTOR, whole.ljust(-(-len(whole) // SECTOR) * SECTOR, b"\0"))
        if end > to_size:
            target.stream.size.put(op, end)

        async def work() -> None:
            key = ResumeKey.decode_untrusted(
                await self.ioctl(source, fscc.FSCTL_SRV_REQUEST_RESUME_KEY, b"", 32)
            )
            wanted = CopyChunkInput(
                source_key=key.resume_key, chunks=(CopyChunk(start, at, length),)
            ).encode()
            answer = CopyChunkResponse.decode_untrusted(
                await self.ioctl(target, fscc.FSCTL_SRV_COPYCHUNK, wanted, 12)
            )
            assert answer.total_bytes_written == length
            self.sim.count("copied")

        await self.change(op, work)

    async def ioctl(self, handle: Handle, code: int, data: bytes, room: int) -> bytes:
        request = IoctlRequest(ctl_code=code, file_id=handle.file_id, input=data, max_output_response=room)
        status, message, _ = await self.client.call(
            Command.IOCTL, request, generation=handle.generation, also=(Status.FILE_LOCK_CONFLICT,)
        )
        if status == Status.FILE_LOCK_CONFLICT:
            raise Refused
        return bytes(IoctlResponse.decode_untrusted(message).output)


assert SHARE_ALL == 7
