"""An open file: reading and writing with several requests in flight, locks, server-side copy, control codes.

Source: [MS-SMB2] 3.2.4.5 Application Requests Closing a File or Named Pipe; 3.2.4.11 Application Requests
Flushing Cached Data; 3.2.4.19 Application Requests Locking of an Array of Byte Ranges; 3.2.4.20 Application
Requests an IO Control Code Operation.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import TracebackType

from smbclient.pipeline import DEPTH, Progress, Source, Target, read_chunks, write_chunks
from smbclient.stat import StatResult
from smbclient.tree import INFO_BYTES, Tree
from smbproto import fscc
from smbproto.codec import Buffer
from smbproto.endpoint.window import credit_charge
from smbproto.fscc.file_info import FileAllInformation, FileEndOfFileInformation
from smbproto.smb2.close import CloseRequest
from smbproto.smb2.create import CreateResponse
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
from smbproto.smb2.set_info import SetInfoRequest
from smbproto.status import Status, StatusError

__all__ = ["File"]


class File:
    """A file, directory or pipe that is open. Units: bytes. `read` and `write` move the position."""

    def __init__(self, tree: Tree, path: str, opened: CreateResponse) -> None:
        self.tree = tree
        self.path = path
        self.opened = opened
        self.file_id = opened.file_id
        self.is_closed = False
        self._size = opened.end_of_file
        self._position = 0
        self._target = Target(tree.channel, tree.tree_id, tree.sealed, opened.file_id, path, tree.chunk_bytes)

    async def __aenter__(self) -> File:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.close()
        except StatusError:
            if error is None:  # else what went wrong first is what the caller should hear of
                raise

    async def close(self) -> None:
        """Close it; again is no error."""
        if not self.is_closed:
            self.is_closed = True
            request = CloseRequest(file_id=self.file_id)
            await self.tree.call(Command.CLOSE, request, f"closing {self.path!r}", also=(Status.FILE_CLOSED,))

    # The position

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        """As in `io`; the end (whence 2) is the one known from opening and from our own writes."""
        start = (0, self._position, self._size)[whence]
        if start + offset < 0:
            raise ValueError(f"a position of {start + offset}")
        self._position = start + offset
        return self._position

    async def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes from the position on; -1: all that is left. Fewer only at the end."""
        data = await self.read_at(self._position, size)
        self._position += len(data)
        return data

    async def write(self, data: Buffer) -> int:
        count = await self.write_at(self._position, data)
        self._position += count
        return count

    # Anywhere

    async def read_at(self, offset: int, size: int = -1) -> bytes:
        """See `read`."""
        parts = [data async for _, data in self.chunks(offset, size)]
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    def chunks(
        self, offset: int = 0, size: int = -1, *, depth: int = DEPTH
    ) -> AsyncGenerator[tuple[int, memoryview], None]:
        """The same as it comes: pairs (offset, data) in order. `depth`: requests in flight."""
        length = (1 << 63) - 1 - offset if size < 0 else size
        if size < 0 and self._size > offset:
            length = max(self._size - offset, 1)
            return self._chunks_to_the_end(offset, length, depth)
        return read_chunks(self._target, offset, length, depth=1 if size < 0 else depth)

    async def _chunks_to_the_end(
        self, offset: int, length: int, depth: int
    ) -> AsyncGenerator[tuple[int, memoryview], None]:
        """First what was there when the file was opened, then, if there is more, that too."""
        at = offset
        async with aclosing(read_chunks(self._target, offset, length, depth=depth)) as chunks:
            async for start, data in chunks:
                at = start + len(data)
                yield start, data
        if at == offset + length:
            async with aclosing(read_chunks(self._target, at, (1 << 63) - 1 - at, depth=1)) as chunks:
                async for start, data in chunks:
                    yield start, data

    async def write_at(self, offset: int, data: Buffer, *, depth: int = DEPTH) -> int:
        """Write all of it. Raises: StatusError; some of it may be written then."""
        view = memoryview(data).cast("B")
        await self.write_from(offset, len(view), lambda at, size: view[at : at + size], depth=depth)
        return len(view)

    async def write_from(
        self,
        offset: int,
        total: int,
        source: Source,
        *,
        depth: int = DEPTH,
        progress: Progress | None = None,
    ) -> None:
        """Write `total` bytes, which `source(at, size)` gives as they are wanted; `at` begins at 0."""
        await write_chunks(self._target, offset, total, source, depth=depth, progress=progress)
        self._size = max(self._size, offset + total)

    async def flush(self) -> None:
        """Return when what was written is on stable storage."""
        await self.tree.call(Command.FLUSH, FlushRequest(file_id=self.file_id), f"flushing {self.path!r}")

    async def truncate(self, size: int | None = None) -> int:
        """Set the size; without one, to the position."""
        size = self._position if size is None else size
        info = FileEndOfFileInformation(end_of_file=size).encode()
        await self.set_info(fscc.FILE_END_OF_FILE_INFORMATION, info)
        self._size = size
        return size

    async def stat(self) -> StatResult:
        output = await self.query_info(fscc.FILE_ALL_INFORMATION)
        result = StatResult.of_all(FileAllInformation.decode_untrusted(output))
        self._size = result.st_size
        return result

    async def query_info(
        self,
        info_class: int,
        info_type: int = SMB2_0_INFO_FILE,
        *,
        additional_information: int = 0,
        input: bytes = b"",
        room_bytes: int = INFO_BYTES,
    ) -> memoryview:
        """QUERY_INFO; its output as it came."""
        request = QueryInfoRequest(
            info_type=info_type,
            file_info_class=info_class,
            output_buffer_length=room_bytes,
            input=input,
            additional_information=additional_information,
            file_id=self.file_id,
        )
        doing = f"querying class {info_class} of {self.path!r}"
        message = await self.tree.call(Command.QUERY_INFO, request, doing, charge=credit_charge(room_bytes))
        return memoryview(QueryInfoResponse.decode_untrusted(message).output)

    async def set_info(
        self,
        info_class: int,
        info: bytes,
        info_type: int = SMB2_0_INFO_FILE,
        *,
        additional_information: int = 0,
    ) -> None:
        """SET_INFO with an encoded structure."""
        request = SetInfoRequest(
            info_type=info_type,
            file_info_class=info_class,
            buffer=info,
            additional_information=additional_information,
            file_id=self.file_id,
        )
        await self.tree.call(Command.SET_INFO, request, f"setting class {info_class} of {self.path!r}")

    # Locks

    async def lock(self, offset: int, length: int, *, shared: bool = False, wait: bool = True) -> None:
        """Lock a range. `wait`: until it is free; cancelling the waiting is safe.

        Raises: StatusError LOCK_NOT_GRANTED if it is taken and we do not wait.
        """
        flags = SMB2_LOCKFLAG_SHARED_LOCK if shared else SMB2_LOCKFLAG_EXCLUSIVE_LOCK
        await self._lock(offset, length, flags | (0 if wait else SMB2_LOCKFLAG_FAIL_IMMEDIATELY))

    async def unlock(self, offset: int, length: int) -> None:
        """Raises: StatusError RANGE_NOT_LOCKED."""
        await self._lock(offset, length, SMB2_LOCKFLAG_UNLOCK)

    async def _lock(self, offset: int, length: int, flags: int) -> None:
        request = LockRequest(locks=(LockElement(offset, length, flags),), file_id=self.file_id)
        await self.tree.call(Command.LOCK, request, f"locking {length} bytes at {offset} of {self.path!r}")

    # Control codes

    async def ioctl(
        self,
        code: int,
        input: bytes = b"",
        *,
        room_bytes: int = INFO_BYTES,
        also: tuple[Status, ...] = (),
    ) -> bytes:
        """An FSCTL on this file; its output. `also`: statuses besides SUCCESS that bring one."""
        request = IoctlRequest(
            ctl_code=code, file_id=self.file_id, input=input, max_output_response=room_bytes
        )
        doing = f"control code {code:#x} on {self.path!r}"
        charge = credit_charge(len(input), room_bytes)
        message = await self.tree.call(Command.IOCTL, request, doing, charge=charge, also=also)
        return IoctlResponse.decode_untrusted(message).output

    def __repr__(self) -> str:
        return f"File({self.path!r}, {'closed' if self.is_closed else 'open'})"
