"""Users of a client: each opens, reads, writes, locks, renames and deletes at random, and checks every
answer.

A user may wait for another in the model's gates only; what the server lets happen at once is tried at once.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import trio

from smbclient.tree import Tree
from smbproto import dtyp, fscc
from smbproto.fscc.directory import decode_directory_untrusted
from smbproto.fscc.file_info import FileRenameInformation
from smbproto.fscc.fsctl import CopyChunk, CopyChunkInput, CopyChunkResponse, ResumeKey
from smbproto.smb2.header import Command
from smbproto.smb2.ioctl import IoctlRequest, IoctlResponse
from smbproto.smb2.query_directory import QueryDirectoryRequest, QueryDirectoryResponse
from smbproto.status import Status, StatusError
from tests.sim.byte_actor import IO_SECTORS_MAX, LEASES, OPLOCKS, SIZE_MAX, ByteActor, HalfDone, Refused
from tests.sim.client import SimClient
from tests.sim.handles import ACCESS, SHARE_ALL, Handle, Lost
from tests.sim.model import SECTOR, SIDE, ModelFile, ModelName, ModelStream, Op

if TYPE_CHECKING:
    from tests.sim.simulation import Simulation


class Actor(ByteActor):
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

    async def change(
        self,
        op: Op,
        work: Callable[[], Awaitable[None]],
        *,
        durable: bool = False,
        of: ModelStream | None = None,
    ) -> None:
        """Do it: answered, refused without effect, or lost, and then over once the server is quiet."""
        try:
            await work()
        except HalfDone:
            op.lost(self.sim.clock.tick())
            raise
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
        if of is not None:
            of.changed(op, trio.current_time(), self.client.number)

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
                self.sim.count("reads cached", handle.check_cached_reads(trio.current_time()))
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
            await self.client.quiet_if_lost()
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
        """An open of this name, which is shared until its gate is left; None if somebody does not share
        it."""
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
            except Lost:
                await self.client.quiet()
                name.gate.leave()
                raise
            name.gate.downgrade()
        file = name.holds.entries[-1][1]
        assert file is not None
        try:
            handle = await self.open(name, file)
        except Lost:
            await self.client.quiet()
            name.gate.leave()
            raise
        if handle is None:
            name.gate.leave()
        return handle

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
            wishes["durable"] = False  # kept for a lost client it would hold up deleting the file
            wishes["disposition"] = fscc.FILE_OPEN_IF
        wishes["options"] = fscc.FILE_NON_DIRECTORY_FILE | (
            fscc.FILE_WRITE_THROUGH if self.rng.random() < 0.15 else 0
        )
        if self.rng.random() < 0.07:
            wishes["share"] = self.rng.choice((0, fscc.FILE_SHARE_READ))
        return wishes

    async def open(self, name: ModelName, file: ModelFile) -> Handle | None:
        since = self.sim.clock.tick()
        wishes: dict[str, Any] = self.wishes()
        handle = await self.client.create(
            self.spell(name.path), file, access=ACCESS, also=(Status.SHARING_VIOLATION,), **wishes
        )
        if not isinstance(handle, Handle):
            self.sim.count("not shared")
            return None
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

    # -- names ---------------------------------------------------------------------------------------------

    async def delete(self) -> None:
        name = self.rng.choice(self.model.names)
        await name.gate.alone()
        try:
            await self.find_out(name)
            file = name.holds.entries[-1][1]
            if file is None:
                return
            await self.client.laid(file)
            op = self.begin(f"delete {name.path}")
            name.holds.put(op, None)
            file.name_ops.append(op)
            try:
                await self.change(op, lambda: self._remove(name))
            except Refused:
                return
            self.sim.count("deleted")
        finally:
            name.gate.leave()

    async def _remove(self, name: ModelName) -> None:
        tree = self.client.tree
        try:
            await self.client.guarded(lambda: tree.remove(self.spell(name.path)))
        except StatusError as error:
            if error.status != Status.SHARING_VIOLATION:
                raise
            raise Refused from error

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
        for one in (file, other):
            if one is not None:
                await self.client.laid(one)
        replace = self.rng.random() < 0.6
        handle = await self.client.create(
            source.path,
            file,
            access=dtyp.DELETE | dtyp.FILE_READ_ATTRIBUTES,
            also=(Status.SHARING_VIOLATION,),
        )
        if not isinstance(handle, Handle):
            return
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

        found = await self.client.guarded(lambda: self._entries(tree, directory))
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

    async def _entries(self, tree: Tree, directory: str) -> list[tuple[str, int]]:
        """A listing in parts of any size, with pauses between them."""
        kind, room = fscc.FILE_ID_FULL_DIRECTORY_INFORMATION, self.rng.choice((250, 600, 65536))
        found: list[tuple[str, int]] = []
        async with await tree.create(
            directory,
            access=dtyp.FILE_LIST_DIRECTORY | dtyp.FILE_READ_ATTRIBUTES,
            options=fscc.FILE_DIRECTORY_FILE,
        ) as opened:
            while True:
                request = QueryDirectoryRequest(
                    file_information_class=kind,
                    file_id=opened.file_id,
                    file_name="*",
                    output_buffer_length=room,
                )
                try:
                    message = await tree.call(Command.QUERY_DIRECTORY, request, f"listing {directory!r}")
                except StatusError as error:
                    if error.status != Status.NO_MORE_FILES:
                        raise
                    break
                output = QueryDirectoryResponse.decode_untrusted(message).output
                found += [
                    (entry.file_name, entry.file_id)
                    for entry in decode_directory_untrusted(kind, output)
                    if entry.file_name not in (".", "..")
                ]
                await trio.sleep(self.rng.expovariate(1 / 0.01))
        return found

    async def ask(self) -> None:
        """Is there a file by this name?"""
        name = self.rng.choice(self.model.names)
        since = self.sim.clock.tick()
        try:
            node_id = await self.node_id_of(self.spell(name.path))
        except StatusError as error:
            if error.status != Status.DELETE_PENDING:
                raise
            self.sim.count("deletion pending")
            node_id = None  # somebody has marked it, and not closed it yet
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
        await self.client.quiet_if_lost()

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

        await self.change(op, work, of=target.stream)

    async def ioctl(self, handle: Handle, code: int, data: bytes, room: int) -> bytes:
        request = IoctlRequest(ctl_code=code, file_id=handle.file_id, input=data, max_output_response=room)
        status, message, _ = await self.client.call(
            Command.IOCTL,
            request,
            generation=handle.generation,
            also=(Status.FILE_LOCK_CONFLICT, Status.DISK_FULL),
        )
        if status == Status.DISK_FULL:
            self.sim.count("volume full in a copy")
            raise HalfDone
        if status == Status.FILE_LOCK_CONFLICT:
            raise Refused
        return bytes(IoctlResponse.decode_untrusted(message).output)


assert SHARE_ALL == 7
