"""FSCTL_SRV_COPYCHUNK and _WRITE: copy between two opens without the data crossing the wire.

Source: [MS-SMB2] 3.3.5.15.6 Handling a Server-Side Data Copy Request; 3.3.5.15.6.1 Sending an Invalid
Parameter Server-Side Copy Response; 3.3.5.15.6.2 Sending a Server-Side Copy Response. Limits: 3.3.3
Initialization (`smbproto.limits`). What was copied before a chunk that fails stays, and the answer says how
much that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smbproto import limits
from smbproto.dtyp import FILE_APPEND_DATA, FILE_EXECUTE, FILE_READ_DATA, FILE_WRITE_DATA
from smbproto.fscc import FSCTL_SRV_COPYCHUNK
from smbproto.fscc.fsctl import CopyChunk, CopyChunkInput, CopyChunkResponse
from smbproto.status import Status, StatusError
from smbsrv.fsctl.call import Call, Outcome
from smbsrv.fsctl.resume_key import open_of_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storage.volume import File

_OUTPUT_BYTES = 12


async def run(call: Call) -> Outcome:
    """Raises: INVALID_PARAMETER, OBJECT_NAME_NOT_FOUND, ACCESS_DENIED, INVALID_DEVICE_REQUEST."""
    call.need_output(_OUTPUT_BYTES, Status.INVALID_PARAMETER)
    asked = call.decode(CopyChunkInput)
    session = call.request.session
    assert session is not None
    source = open_of_key(session, asked.source_key).file
    assert source is not None
    if _is_over_limits(asked.chunks):
        limit = CopyChunkResponse(
            chunks_written=limits.COPYCHUNKS_MAX,
            chunk_bytes_written=limits.COPYCHUNK_BYTES_MAX,
            total_bytes_written=limits.COPYCHUNK_TOTAL_BYTES_MAX,
        )
        return Outcome(limit.encode(), Status.INVALID_PARAMETER)
    _check_access(call, source)
    return await _copy(source, call.file, asked.chunks)


def _is_over_limits(chunks: Sequence[CopyChunk]) -> bool:
    """[MS-SMB2] 3.3.5.15.6: too many chunks, one that is empty or too long, too much in all."""
    return (
        len(chunks) > limits.COPYCHUNKS_MAX
        or any(not 0 < chunk.length <= limits.COPYCHUNK_BYTES_MAX for chunk in chunks)
        or sum(chunk.length for chunk in chunks) > limits.COPYCHUNK_TOTAL_BYTES_MAX
    )


def _check_access(call: Call, source: File) -> None:
    """The source must be readable, the target writable; for FSCTL_SRV_COPYCHUNK the target readable too."""
    target = call.file
    if source.stream is None or target.stream is None:
        raise StatusError(Status.INVALID_DEVICE_REQUEST, "a directory has nothing to copy")
    if not source.granted_access & (FILE_READ_DATA | FILE_EXECUTE):
        raise StatusError(Status.ACCESS_DENIED, "the source may not be read")
    call.need_access(FILE_WRITE_DATA | FILE_APPEND_DATA)
    if call.code == FSCTL_SRV_COPYCHUNK:
        call.need_access(FILE_READ_DATA)


async def _copy(source: File, target: File, chunks: Sequence[CopyChunk]) -> Outcome:
    done = total = partial = 0
    status: int = Status.SUCCESS
    for chunk in chunks:
        stream = source.stream
        assert stream is not None
        if chunk.source_offset + chunk.length > stream.size_bytes:
            status = Status.INVALID_VIEW_SIZE
            break
        try:
            copied = await target.copy_from(source, chunk.source_offset, chunk.target_offset, chunk.length)
        except StatusError as error:
            status = error.status
            break
        total += copied
        if copied < chunk.length:
            partial, status = copied, Status.INVALID_VIEW_SIZE
            break
        done += 1
    answer = CopyChunkResponse(chunks_written=done, chunk_bytes_written=partial, total_bytes_written=total)
    return Outcome(answer.encode(), status)
