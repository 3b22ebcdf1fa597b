"""FSCTL_DUPLICATE_EXTENTS_TO_FILE and _EX: let two files share clusters.

Source: [MS-FSCC] 2.3.7 FSCTL_DUPLICATE_EXTENTS_TO_FILE Request, 2.3.9 FSCTL_DUPLICATE_EXTENTS_TO_FILE_EX
Request; [MS-SMB2] 3.3.5.15.8 Handling a Pass-Through Operation Request; [MS-FSA] 2.1.5.10.4
FSCTL_DUPLICATE_EXTENTS_TO_FILE."""

from __future__ import annotations

from smbproto import fscc
from smbproto.codec import FileId
from smbproto.dtyp import FILE_READ_DATA, FILE_WRITE_DATA
from smbproto.fscc.fsctl import (
    DUPLICATE_EXTENTS_DATA_EX_SOURCE_ATOMIC,
    DuplicateExtents,
    DuplicateExtentsEx,
)
from smbproto.status import Status, StatusError
from smbsrv.fsctl.call import Call, Outcome


async def run(call: Call) -> Outcome:
    """Raises: see `_duplicate`."""
    asked = call.decode(DuplicateExtents)
    return await _duplicate(
        call, asked.source_file_id, asked.source_file_offset, asked.target_file_offset, asked.byte_count
    )


async def run_ex(call: Call) -> Outcome:
    """The flag that asks for atomicity is met: sharing clusters is one transaction here."""
    asked = call.decode(DuplicateExtentsEx)
    if asked.flags & ~DUPLICATE_EXTENTS_DATA_EX_SOURCE_ATOMIC:
        raise StatusError(Status.INVALID_PARAMETER, f"flags {asked.flags:#x}")
    return await _duplicate(
        call, asked.source_file_id, asked.source_file_offset, asked.target_file_offset, asked.byte_count
    )


async def _duplicate(call: Call, source_id: FileId, source_offset: int, offset: int, length: int) -> Outcome:
    """Raises: NOT_SUPPORTED where the volume cannot share, INVALID_HANDLE, INVALID_PARAMETER,
    ACCESS_DENIED."""
    target, session = call.file, call.request.session
    assert session is not None
    if not target.volume.identity.features & fscc.FILE_SUPPORTS_BLOCK_REFCOUNTING:
        raise StatusError(Status.INVALID_DEVICE_REQUEST, "the volume cannot share clusters")
    opened = session.opens.get(source_id.volatile)
    if opened is None or opened.persistent_id != source_id.persistent or opened.file is None:
        raise StatusError(Status.INVALID_HANDLE, "the source is not open in this session")
    source = opened.file
    if source.stream is None or target.stream is None or source.volume is not target.volume:
        raise StatusError(Status.INVALID_PARAMETER, "not two files of one volume")
    if min(source_offset, offset, length) < 0:
        raise StatusError(Status.INVALID_PARAMETER, f"{length} bytes from {source_offset} to {offset}")
    call.need_access(FILE_WRITE_DATA)
    if not source.granted_access & FILE_READ_DATA:
        raise StatusError(Status.ACCESS_DENIED, "the source may not be read")
    sparse = fscc.FILE_ATTRIBUTE_SPARSE_FILE
    if source.node.attributes & sparse and not target.node.attributes & sparse:
        # [MS-FSA] 2.1.5.10.4: a hole cannot be shared with a file that has none.
        raise StatusError(Status.NOT_SUPPORTED, "the source is sparse, the target is not")
    if length:
        await target.duplicate_extents(source, source_offset, offset, length)
    return Outcome()
