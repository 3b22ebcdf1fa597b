"""FSCTL_GET_COMPRESSION and _SET_: no file here is compressed, and none can be. Source: [MS-FSCC] 2.3.17
FSCTL_GET_COMPRESSION Request, 2.3.67 FSCTL_SET_COMPRESSION Request; [MS-FSA] 2.1.5.10.10, .31. To ask for
"none" is to ask for what is."""

from __future__ import annotations

from smbproto.dtyp import FILE_WRITE_DATA
from smbproto.fscc.fsctl import COMPRESSION_FORMAT_NONE, CompressionState
from smbproto.status import Status, StatusError
from smbsrv.fsctl.call import Call, Outcome

_OUTPUT_BYTES = 2


async def get(call: Call) -> Outcome:
    """Raises: INVALID_PARAMETER if there is no room for the answer."""
    call.need_output(_OUTPUT_BYTES, Status.INVALID_PARAMETER)
    return Outcome(CompressionState(compression_state=COMPRESSION_FORMAT_NONE).encode())


async def set_(call: Call) -> Outcome:
    """Raises: INVALID_PARAMETER, ACCESS_DENIED, NOT_SUPPORTED for anything but "none"."""
    state = call.decode(CompressionState).compression_state
    call.need_access(FILE_WRITE_DATA)
    if state != COMPRESSION_FORMAT_NONE:
        raise StatusError(Status.NOT_SUPPORTED, "files are not compressed here")
    return Outcome()
