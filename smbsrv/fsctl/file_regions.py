"""FSCTL_QUERY_FILE_REGIONS: which part of a file was ever written. Source: [MS-FSCC] 2.3.55
FSCTL_QUERY_FILE_REGIONS Request; [MS-FSA] 2.1.5.10.24 FSCTL_QUERY_FILE_REGIONS. Valid data is one run from
the beginning (ValidDataLength)."""

from __future__ import annotations

from smbproto.fscc.fsctl import FILE_REGION_USAGE_VALID_CACHED_DATA, FileRegionInput, FileRegions, Region
from smbproto.status import Status, StatusError
from smbsrv.fsctl.call import Call, Outcome

_FIXED_BYTES = 16
_REGION_BYTES = 24


async def run(call: Call) -> Outcome:
    """Raises: INVALID_PARAMETER, BUFFER_TOO_SMALL; BUFFER_OVERFLOW with the counts alone."""
    call.need_file_data()
    call.need_output(_FIXED_BYTES)
    stream = call.file.stream
    assert stream is not None
    start, stop, usage = 0, stream.size_bytes, FILE_REGION_USAGE_VALID_CACHED_DATA
    if call.input:
        asked = call.decode(FileRegionInput)
        if min(asked.file_offset, asked.length) < 0:
            raise StatusError(Status.INVALID_PARAMETER, f"{asked.length} bytes at {asked.file_offset}")
        start, stop, usage = asked.file_offset, asked.file_offset + asked.length, asked.desired_usage
    if not usage & FILE_REGION_USAGE_VALID_CACHED_DATA:
        raise StatusError(Status.INVALID_PARAMETER, f"usage {usage:#x}")
    stop = min(stop, stream.valid_bytes)
    found = (Region(start, stop - start, FILE_REGION_USAGE_VALID_CACHED_DATA),) if start < stop else ()
    if found and call.output_max_bytes < _FIXED_BYTES + _REGION_BYTES:
        return Outcome(FileRegions(total_region_entry_count=1, regions=()).encode(), Status.BUFFER_OVERFLOW)
    return Outcome(FileRegions(total_region_entry_count=len(found), regions=found).encode())
