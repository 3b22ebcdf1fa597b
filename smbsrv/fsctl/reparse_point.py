"""FSCTL_GET, SET and DELETE_REPARSE_POINT. Source: [MS-FSCC] 2.3.29 FSCTL_GET_REPARSE_POINT Request, 2.3.81
FSCTL_SET_REPARSE_POINT Request, 2.3.5 FSCTL_DELETE_REPARSE_POINT Request; [MS-FSA] 2.1.5.10.15, .37, .5. What
a reparse point may hold, the object store judges."""

from __future__ import annotations

from smbproto.dtyp import FILE_WRITE_ATTRIBUTES, FILE_WRITE_DATA
from smbproto.limits import REPARSE_BUFFER_BYTES_MAX
from smbproto.status import Status, StatusError
from smbsrv.fsctl.call import Call, Outcome

_HEADER_BYTES = 8


async def get(call: Call) -> Outcome:
    """Raises: NOT_A_REPARSE_POINT, BUFFER_TOO_SMALL; BUFFER_OVERFLOW with what fits."""
    buffer = call.file.reparse()
    if not buffer:
        raise StatusError(Status.NOT_A_REPARSE_POINT)
    call.need_output(_HEADER_BYTES)
    if len(buffer) > call.output_max_bytes:
        return Outcome(buffer[: call.output_max_bytes], Status.BUFFER_OVERFLOW)
    return Outcome(buffer)


def _check_buffer(call: Call) -> None:
    call.need_access(FILE_WRITE_DATA | FILE_WRITE_ATTRIBUTES)
    if not _HEADER_BYTES <= len(call.input) <= REPARSE_BUFFER_BYTES_MAX:
        raise StatusError(Status.IO_REPARSE_DATA_INVALID, f"{len(call.input)} bytes are no reparse point")


async def set_(call: Call) -> Outcome:
    """Raises: ACCESS_DENIED, IO_REPARSE_DATA_INVALID, and what the object store says."""
    _check_buffer(call)
    await call.file.set_reparse(call.input)
    return Outcome()


async def delete(call: Call) -> Outcome:
    """Raises: ACCESS_DENIED, IO_REPARSE_DATA_INVALID, and what the object store says."""
    _check_buffer(call)
    await call.file.delete_reparse(call.input)
    return Outcome()
