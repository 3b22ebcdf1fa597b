"""Several READs or WRITEs of one file in flight: what makes a round trip cost nothing.

Chunks go out in order while credits last and `depth` are in flight; answers are taken in order. A chunk
never costs more credits than the connection has, so that no request waits for ever.

Source: [MS-SMB2] 3.2.4.6 Application Requests Reading from a File or Named Pipe; 3.2.4.7 Application
Requests Writing to a File or Named Pipe; 3.2.4.1.5 Sending Multi-Credit Requests.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import TypeAlias

from smbclient.errors import error_of
from smbclient.port import Channel, Reply
from smbproto import limits
from smbproto.codec import Buffer, FileId
from smbproto.endpoint.window import credit_charge
from smbproto.smb2.header import Command
from smbproto.smb2.read import READ_REQUEST, ReadResponse
from smbproto.smb2.write import WRITE_REQUEST, WriteResponse
from smbproto.status import Status, StatusError

__all__ = ["Progress", "Source", "Target", "read_chunks", "write_chunks"]

Source: TypeAlias = Callable[[int, int], Buffer]
Progress: TypeAlias = Callable[[int], None]

CHUNK_BYTES = 1 << 20
DEPTH = 8
READ_DATA_AT = 80  # where we would like a READ's data in its message
WRITE_DATA_AT = 112  # where a WRITE's data stand: 64 bytes of header, 48 of fixed part


class Target:
    """An open file as the pipeline sees it."""

    __slots__ = ("_chunk_bytes", "channel", "file_id", "name", "sealed", "tree_id")

    def __init__(
        self, channel: Channel, tree_id: int, sealed: bool, file_id: FileId, name: str, chunk_bytes: int
    ) -> None:
        self._chunk_bytes = chunk_bytes
        self.channel, self.tree_id, self.sealed = channel, tree_id, sealed
        self.file_id, self.name = file_id, name

    def chunk_bytes(self, wanted: int, ceiling: int, *, alone: bool) -> int:
        """Size of the next chunk: as much as the server takes and our credits pay; 0: wait for an answer
        first.

        `alone`: nothing of ours is in flight, so there must be a chunk.
        """
        size = min(wanted, ceiling, self._chunk_bytes)
        if not self.channel.negotiated.is_large_mtu:
            return size if alone or self.channel.credits_free() else 0
        paid = self.channel.credits_free() * limits.CREDIT_BYTES
        if paid >= size:
            return size
        return min(size, max(paid, limits.CREDIT_BYTES)) if alone else 0

    def charge(self, size: int) -> int:
        return credit_charge(size) if self.channel.negotiated.is_large_mtu else 1

    async def submit_read(self, offset: int, size: int) -> Reply:
        body = READ_REQUEST.pack(49, READ_DATA_AT, 0, size, offset, *self.file_id, 0, 0, 0, 0, 0) + b"\0"
        return await self.channel.submit(
            Command.READ, body, tree_id=self.tree_id, sealed=self.sealed, charge=self.charge(size)
        )

    async def submit_write(self, offset: int, data: Buffer) -> Reply:
        body = WRITE_REQUEST.pack(49, WRITE_DATA_AT, len(data), offset, *self.file_id, 0, 0, 0, 0, 0)
        return await self.channel.submit(
            Command.WRITE, body, data, tree_id=self.tree_id, sealed=self.sealed, charge=self.charge(len(data))
        )


async def read_chunks(
    target: Target, offset: int, length: int, *, depth: int = DEPTH
) -> AsyncGenerator[tuple[int, memoryview], None]:
    """Read `length` bytes from `offset` on: pairs (offset, data) in order, without gaps, up to the end of
    the file.

    The data belong to the caller. Raises: StatusError. Units: bytes.
    """
    ceiling = target.channel.negotiated.read_max_bytes
    end, at = offset + length, offset
    flight: deque[tuple[int, int, Reply]] = deque()
    try:
        while at < end or flight:
            while at < end and len(flight) < depth:
                size = target.chunk_bytes(end - at, ceiling, alone=not flight)
                if not size:
                    break
                flight.append((at, size, await target.submit_read(at, size)))
                at += size
            start, size, reply = flight.popleft()
            data = await _read_answer(target, start, reply)
            if not data:
                return
            yield start, data
            if (
                len(data) < size
            ):  # the end of the file, or a server that gives less than it could: go on from there
                _abandon(flight)
                at = start + len(data)
    finally:
        _abandon(flight)


async def _read_answer(target: Target, offset: int, reply: Reply) -> memoryview:
    status, message = await reply.wait()
    if status == Status.END_OF_FILE:
        return memoryview(b"")
    if status not in (Status.SUCCESS, Status.BUFFER_OVERFLOW):
        raise error_of(status, message, f"reading {target.name!r} at {offset}")
    return memoryview(ReadResponse.decode_untrusted(message).data)


async def write_chunks(
    target: Target,
    offset: int,
    total: int,
    source: Source,
    *,
    depth: int = DEPTH,
    progress: Progress | None = None,
) -> None:
    """Write `total` bytes at `offset`; `source(at, size)` gives the bytes, `at` counts from 0.

    `progress` hears how many bytes were acknowledged. Raises: StatusError; some of it may be written then.
    """
    ceiling = target.channel.negotiated.write_max_bytes
    flight: deque[tuple[int, int, Reply]] = deque()
    at = 0
    try:
        while at < total or flight:
            while at < total and len(flight) < depth:
                size = target.chunk_bytes(total - at, ceiling, alone=not flight)
                if not size:
                    break
                data = source(at, size)
                assert len(data) == size
                flight.append((offset + at, size, await target.submit_write(offset + at, data)))
                at += size
            start, size, reply = flight.popleft()
            await write_answer(target, start, size, reply)
            if progress is not None:
                progress(size)
    finally:
        _abandon(flight)


async def write_answer(target: Target, offset: int, size: int, reply: Reply) -> None:
    """Take the answer to one WRITE. Raises: StatusError, also if less was written than was sent."""
    status, message = await reply.wait()
    if status != Status.SUCCESS:
        raise error_of(status, message, f"writing {target.name!r} at {offset}")
    count = WriteResponse.decode_untrusted(message).count
    if count != size:
        raise StatusError(Status.DISK_FULL, f"writing {target.name!r} at {offset}: {count} bytes of {size}")


def _abandon(flight: deque[tuple[int, int, Reply]]) -> None:
    for _, _, reply in flight:
        reply.abandon()
    flight.clear()
