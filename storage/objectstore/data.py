"""Sizes, holes and copies of an open's stream.

Sources: [MS-FSA] 2.1.5.15.1 FileAllocationInformation; 2.1.5.15.4 FileEndOfFileInformation; 2.1.5.15.14
FileValidDataLengthInformation; 2.1.5.10.4 FSCTL_DUPLICATE_EXTENTS_TO_FILE; 2.1.5.10.22
FSCTL_QUERY_ALLOCATED_RANGES; 2.1.5.10.37 FSCTL_SET_ZERO_DATA; [MS-FSCC] 2.3.73 FSCTL_FILE_LEVEL_TRIM;
[MS-SMB2] 3.3.5.15.6 Handling a Server-Side Data Copy Request. Offsets, lengths and sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Final

from smbproto import dtyp, fscc
from smbproto.status import Status, StatusError
from storage.errors import StorageError
from storage.fs.port import FileSystem, Stream
from storage.objectstore.errors import status_error
from storage.units import FileOffset
from storage.volume import File

if TYPE_CHECKING:
    from storage.objectstore.file import OpenFile

COPY_PIECE_BYTES: Final = 1 << 20
SIZE_MAX: Final = 0xFFF_FFFF_0000
"""16 TiB - 64 KiB: the largest file of NTFS with clusters of 4 KiB, which clients expect."""


def stream_for(file: OpenFile, access: int) -> Stream:
    """The stream, if the open is one of data and may do that."""
    if file.stream is None:
        raise StatusError(Status.INVALID_PARAMETER, "a directory has no data")
    file.require(access)
    return file.stream


def _check_range(offset: int, length: int) -> None:
    if offset < 0 or length < 0 or offset + length > SIZE_MAX:
        raise StatusError(Status.INVALID_PARAMETER, f"the range of {length} bytes at {offset}")


def _check_locks(file: OpenFile, offset: int, length: int, *, is_write: bool) -> None:
    locks = file.state.locks
    if locks is None:
        return
    if (locks.forbids_write if is_write else locks.forbids_read)(file, offset, length):
        raise StatusError(Status.FILE_LOCK_CONFLICT, f"[{offset}, {offset + length}) is locked")


async def _change(file: OpenFile, work: Awaitable[None], stream: Stream) -> None:
    before = stream.size_bytes
    try:
        await work
    except StorageError as error:
        raise status_error(error) from error
    file.note_written(stream.size_bytes != before)


async def set_end_of_file(file: OpenFile, size_bytes: int) -> None:
    stream = stream_for(file, dtyp.FILE_WRITE_DATA)
    _check_range(0, size_bytes)
    file.break_data()
    await _change(file, file.volume.fs.set_size(stream, size_bytes), stream)


async def set_allocation(file: OpenFile, allocated_bytes: int) -> None:
    stream = stream_for(file, dtyp.FILE_WRITE_DATA)
    _check_range(0, allocated_bytes)
    file.break_data()
    await _change(file, file.volume.fs.set_allocation(stream, allocated_bytes), stream)


async def set_valid_data(file: OpenFile, valid_bytes: int) -> None:
    stream = stream_for(file, dtyp.FILE_WRITE_DATA)
    if "SeManageVolumePrivilege" not in file.token.privileges:
        raise StatusError(Status.PRIVILEGE_NOT_HELD, "the valid data length needs SeManageVolumePrivilege")
    if not stream.valid_bytes <= valid_bytes <= stream.size_bytes:
        raise StatusError(
            Status.INVALID_PARAMETER,
            f"{valid_bytes} is not within [{stream.valid_bytes}, {stream.size_bytes}]",
        )
    file.break_data()
    await _change(file, file.volume.fs.set_valid(stream, valid_bytes), stream)


async def zero_data(file: OpenFile, offset: int, beyond: int) -> None:
    stream = stream_for(file, dtyp.FILE_WRITE_DATA)
    if offset < 0 or beyond < offset:
        raise StatusError(Status.INVALID_PARAMETER, f"zero data from {offset} to {beyond}")
    _check_locks(file, offset, beyond - offset, is_write=True)
    file.break_data()
    await _change(file, file.volume.fs.zero(stream, FileOffset(offset), beyond - offset), stream)


async def trim(file: OpenFile, ranges: Sequence[tuple[int, int]]) -> int:
    stream = stream_for(file, dtyp.FILE_WRITE_DATA)
    for offset, length in ranges:
        _check_range(offset, length)
        _check_locks(file, offset, length, is_write=True)
    file.break_data()
    for offset, length in ranges:
        await _change(file, file.volume.fs.trim(stream, FileOffset(offset), length), stream)
    return len(ranges)


def allocated_ranges(file: OpenFile, offset: int, length: int) -> list[tuple[int, int]]:
    stream = stream_for(file, dtyp.FILE_READ_DATA)
    _check_range(offset, length)
    end = min(offset + length, stream.size_bytes)
    if offset >= end:
        return []
    if not file.node.attributes & fscc.FILE_ATTRIBUTE_SPARSE_FILE:
        return [(offset, end - offset)]
    try:
        return file.volume.fs.allocated_ranges(stream, FileOffset(offset), end - offset)
    except StorageError as error:
        raise status_error(error) from error


async def move(fs: FileSystem, source: Stream, target: Stream) -> None:
    """The bytes of `source` take the place of those of `target`."""
    await fs.set_size(target, 0)
    await fs.set_size(target, source.size_bytes)
    await _copy(fs, source, 0, target, 0, source.size_bytes)


async def _copy(
    fs: FileSystem, source: Stream, source_offset: int, target: Stream, offset: int, length: int
) -> None:
    """Through memory; the ranges do not overlap."""
    buffer = memoryview(bytearray(min(COPY_PIECE_BYTES, length)))
    for start in range(0, length, COPY_PIECE_BYTES):
        piece = buffer[: min(COPY_PIECE_BYTES, length - start)]
        if not fs.read_now(source, FileOffset(source_offset + start), piece):
            await fs.read(source, FileOffset(source_offset + start), piece)
        if not fs.write_now(target, FileOffset(offset + start), piece):
            await fs.write(target, FileOffset(offset + start), piece)


def _same_store(file: OpenFile, source: File) -> OpenFile | None:
    return source if isinstance(source, type(file)) and source.volume is file.volume else None


async def _clone(file: OpenFile, source: OpenFile, source_offset: int, offset: int, length: int) -> bool:
    assert file.stream is not None and source.stream is not None
    return await file.volume.fs.clone(
        source.stream, FileOffset(source_offset), file.stream, FileOffset(offset), length
    )


async def copy_from(file: OpenFile, source: File, source_offset: int, offset: int, length: int) -> int:
    """Pieces go from the last to the first where the ranges overlap that way."""
    stream = stream_for(file, dtyp.FILE_WRITE_DATA | dtyp.FILE_APPEND_DATA)
    _check_range(source_offset, length)
    _check_range(offset, length)
    _check_locks(file, offset, length, is_write=True)
    near = _same_store(file, source)
    if near is not None:
        near_stream = stream_for(near, dtyp.FILE_READ_DATA | dtyp.FILE_EXECUTE)
        _check_locks(near, source_offset, length, is_write=False)
        length = max(0, min(length, near_stream.size_bytes - source_offset))
    file.break_data()
    before = stream.size_bytes
    try:
        is_shareable = near is not None and length > 0 and near_stream is not stream
        if near is not None and is_shareable and await _clone(file, near, source_offset, offset, length):
            file.note_written(stream.size_bytes != before)
            return length
        starts = range(0, length, COPY_PIECE_BYTES)
        buffer = memoryview(bytearray(min(length, COPY_PIECE_BYTES)))
        for start in reversed(starts) if offset > source_offset else starts:
            piece = buffer[: min(COPY_PIECE_BYTES, length - start)]
            count = source.read_now(source_offset + start, piece)
            if count < 0:
                count = await source.read(source_offset + start, piece)
            if not file.volume.fs.write_now(stream, FileOffset(offset + start), piece[:count]):
                await file.volume.fs.write(stream, FileOffset(offset + start), piece[:count])
    except StorageError as error:
        raise status_error(error) from error
    if length:
        file.note_written(stream.size_bytes != before)
    return length


async def duplicate_extents(
    file: OpenFile, source: File, source_offset: int, offset: int, length: int
) -> None:
    """Both ranges on cluster boundaries; only the end of the source file may be ragged.

    As Windows: byte-range locks are not looked at, and what lies past the end of the target is left out.
    """
    stream = stream_for(file, dtyp.FILE_WRITE_DATA)
    near = _same_store(file, source)
    if near is None:
        raise StatusError(Status.INVALID_PARAMETER, "the source lies on another volume")
    from_stream = stream_for(near, dtyp.FILE_READ_DATA)
    _check_range(source_offset, length)
    _check_range(offset, length)
    cluster_bytes = file.volume.usage().cluster_bytes
    end = source_offset + length
    if (
        source_offset % cluster_bytes
        or offset % cluster_bytes
        or (length % cluster_bytes and end < from_stream.size_bytes)
    ):
        raise StatusError(Status.INVALID_PARAMETER, f"the ranges are not multiples of {cluster_bytes} bytes")
    if end > -(-from_stream.size_bytes // cluster_bytes) * cluster_bytes:
        raise StatusError(Status.NOT_SUPPORTED, f"{end} is past the end of the source")
    if from_stream is stream and source_offset < offset + length and offset < end:
        raise StatusError(Status.NOT_SUPPORTED, "the ranges overlap")
    length = min(length, from_stream.size_bytes - source_offset, stream.size_bytes - offset)
    if length <= 0:
        return
    file.break_data()
    at_end = source_offset + length == from_stream.size_bytes
    whole = length if at_end else length - length % cluster_bytes
    fs = file.volume.fs
    try:
        if not whole or not await _clone(file, near, source_offset, offset, whole):
            whole = 0
        await _copy(fs, from_stream, source_offset + whole, stream, offset + whole, length - whole)
    except StorageError as error:
        raise status_error(error) from error
    file.note_written(False)
