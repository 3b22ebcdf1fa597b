"""FSCTL_SET_SPARSE. Source: [MS-FSCC] 2.3.83 FSCTL_SET_SPARSE Request; [MS-FSA] 2.1.5.10.38
FSCTL_SET_SPARSE."""

from __future__ import annotations

from smbproto.dtyp import FILE_APPEND_DATA, FILE_WRITE_ATTRIBUTES, FILE_WRITE_DATA
from smbproto.fscc.fsctl import decode_set_sparse_untrusted
from smbsrv.fsctl.call import Call, Outcome


async def run(call: Call) -> Outcome:
    """An empty input sets. Raises: INVALID_PARAMETER for a directory, ACCESS_DENIED."""
    call.need_file_data()
    call.need_access(FILE_WRITE_DATA | FILE_APPEND_DATA | FILE_WRITE_ATTRIBUTES)
    call.file.set_sparse(decode_set_sparse_untrusted(call.input))
    return Outcome()
