"""FSCTL_FILE_LEVEL_TRIM. Source: [MS-FSCC] 2.3.13 FSCTL_FILE_LEVEL_TRIM Request; [MS-FSA] 2.1.5.10.7
FSCTL_FILE_LEVEL_TRIM."""

from __future__ import annotations

from smbproto.dtyp import FILE_WRITE_DATA
from smbproto.fscc.fsctl import FileLevelTrim, FileLevelTrimInput
from smbproto.status import Status, StatusError
from smbsrv.fsctl.call import Call, Outcome

_OUTPUT_BYTES = 4


async def run(call: Call) -> Outcome:
    """The answer, which may be left out, is how many ranges were done. Raises: INVALID_PARAMETER,
    ACCESS_DENIED."""
    call.need_file_data()
    asked = call.decode(FileLevelTrimInput)
    if asked.key or not asked.ranges:
        raise StatusError(
            Status.INVALID_PARAMETER, f"a trim with key {asked.key} of {len(asked.ranges)} ranges"
        )
    call.need_access(FILE_WRITE_DATA)
    done = await call.file.trim(asked.ranges)
    if call.output_max_bytes < _OUTPUT_BYTES:
        return Outcome()
    return Outcome(FileLevelTrim(num_ranges_processed=done).encode())
