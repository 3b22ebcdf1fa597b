"""FSCTL_SRV_ENUMERATE_SNAPSHOTS: the previous versions of a file's volume, newest first.

Source: [MS-SMB2] 3.3.5.15.1 Handling an Enumeration of Previous Versions Request; 2.2.32.2
SRV_SNAPSHOT_ARRAY."""

from __future__ import annotations

from smbproto.dtyp import datetime_from_filetime
from smbproto.fscc.fsctl import encode_snapshots
from smbproto.status import Status
from smbsrv.fsctl.call import Call, Outcome

_OUTPUT_BYTES_MIN = 16


async def run(call: Call) -> Outcome:
    """Raises: INVALID_PARAMETER if there is no room for the answer's fixed part."""
    call.need_output(_OUTPUT_BYTES_MIN, Status.INVALID_PARAMETER)
    times = sorted(call.file.volume.snapshots(), reverse=True)
    tokens = [datetime_from_filetime(time).strftime("@GMT-%Y.%m.%d-%H.%M.%S") for time in times]
    return Outcome(encode_snapshots(tokens, call.output_max_bytes))
