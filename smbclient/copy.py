"""Copying a file's data: by the server where it can, else through this machine.

Source: [MS-SMB2] 3.2.4.20.2 Application Requests a Server-Side Data Copy; 2.2.31.1 SRV_COPYCHUNK_COPY;
2.2.32.1 SRV_COPYCHUNK_RESPONSE.
"""

from __future__ import annotations

from collections.abc import Iterator

from smbclient.file import File
from smbclient.pipeline import Progress
from smbproto import fscc
from smbproto.errors import WireError
from smbproto.fscc.fsctl import CopyChunk, CopyChunkInput, CopyChunkResponse, ResumeKey
from smbproto.status import Status, StatusError

__all__ = ["copy_data"]

CHUNKS_MAX = 16  # what Windows takes, unless the server says otherwise
CHUNK_BYTES = 1 << 20
RESPONSE_BYTES = 12
RESUME_KEY_ROOM_BYTES = 32
NO_SERVER_SIDE_COPY = (
    Status.NOT_SUPPORTED,
    Status.INVALID_DEVICE_REQUEST,
    Status.NOT_IMPLEMENTED,
    Status.OBJECT_NAME_NOT_FOUND,  # the resume key is of another server
)


async def copy_data(source: File, target: File, *, progress: Progress | None = None) -> int:
    """Copy all of `source` to the beginning of `target`, which is empty. How many bytes it was."""
    size = (await source.stat()).st_size
    try:
        key = ResumeKey.decode_untrusted(
            await source.ioctl(fscc.FSCTL_SRV_REQUEST_RESUME_KEY, room_bytes=RESUME_KEY_ROOM_BYTES)
        )
        await _copy_by_server(key.resume_key, target, size, progress)
    except StatusError as error:
        if error.status not in NO_SERVER_SIDE_COPY:
            raise
        async for offset, data in source.chunks(0, size):
            await target.write_at(offset, data)
            if progress is not None:
                progress(len(data))
    return size


async def _copy_by_server(key: bytes, target: File, size: int, progress: Progress | None) -> None:
    chunks_max, chunk_bytes, total_bytes = CHUNKS_MAX, CHUNK_BYTES, CHUNKS_MAX * CHUNK_BYTES
    at, asked_limits = 0, False
    while at < size:
        chunks = list(_chunks(at, min(size - at, total_bytes), chunks_max, chunk_bytes))
        wanted = sum(chunk.length for chunk in chunks)
        output = await target.ioctl(
            fscc.FSCTL_SRV_COPYCHUNK_WRITE,
            CopyChunkInput(source_key=key, chunks=tuple(chunks)).encode(),
            room_bytes=RESPONSE_BYTES,
            also=() if asked_limits else (Status.INVALID_PARAMETER,),
        )
        try:
            answer = CopyChunkResponse.decode_untrusted(output)
        except WireError:
            raise StatusError(Status.INVALID_PARAMETER, f"copying to {target.path!r}") from None
        if answer.total_bytes_written == wanted and answer.chunks_written == len(chunks):
            at += wanted
            if progress is not None:
                progress(wanted)
        elif not asked_limits and answer.chunks_written:  # refused: the fields hold the server's limits
            asked_limits = True
            chunks_max = min(answer.chunks_written, CHUNKS_MAX)
            chunk_bytes = answer.chunk_bytes_written or chunk_bytes
            total_bytes = answer.total_bytes_written or total_bytes
        else:
            what = f"copying to {target.path!r}: {answer.total_bytes_written} bytes of {wanted} at {at}"
            raise StatusError(Status.INVALID_PARAMETER, what)


def _chunks(at: int, length: int, chunks_max: int, chunk_bytes: int) -> Iterator[CopyChunk]:
    """Equal ranges on both sides."""
    end = at + length
    for _ in range(chunks_max):
        if at >= end:
            return
        size = min(chunk_bytes, end - at)
        yield CopyChunk(at, at, size)
        at += size
