"""FSCTL_SET_ZERO_DATA. Source: [MS-FSCC] 2.3.85 FSCTL_SET_ZERO_DATA Request; [MS-FSA] 2.1.5.10.39
FSCTL_SET_ZERO_DATA."""

from __future__ import annotations

from smbproto.dtyp import FILE_APPEND_DATA, FILE_WRITE_DATA
from smbproto.fscc.fsctl import FileZeroData
from smbproto.status import Status, StatusError
from smbsrv.fsctl.call import Call, Outcome


async def run(call: Call) -> Outcome:
    """Raises: INVALID_PARAMETER, ACCESS_DENIED, FILE_LOCK_CONFLICT."""
    call.need_file_data()
    asked = call.decode(FileZeroData)
    if not 0 <= asked.file_offset <= asked.beyond_final_zero:
        raise StatusError(
            Status.INVALID_PARAMETER, f"zeros from {asked.file_offset} to {asked.beyond_final_zero}"
        )
    call.need_access(FILE_WRITE_DATA | FILE_APPEND_DATA)
    await call.file.zero_data(asked.file_offset, asked.beyond_final_zero)
    return Outcome()
