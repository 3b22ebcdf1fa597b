"""FSCTL_QUERY_ALLOCATED_RANGES. Source: [MS-FSCC] 2.3.51 FSCTL_QUERY_ALLOCATED_RANGES Request; [MS-FSA]
2.1.5.10.22 FSCTL_QUERY_ALLOCATED_RANGES. With room for some ranges only, those are given with
BUFFER_OVERFLOW, as Windows does: Linux asks for one at a time to find data and holes."""

from __future__ import annotations

from smbproto.dtyp import FILE_READ_DATA
from smbproto.fscc.fsctl import AllocatedRanges, AllocatedRangesInput, Range
from smbproto.status import Status, StatusError
from smbsrv.fsctl.call import Call, Outcome

_RANGE_BYTES = 16
_OFFSET_MAX = 0x7FFFFFFFFFFFFFFF


async def run(call: Call) -> Outcome:
    """Raises: INVALID_PARAMETER, ACCESS_DENIED, BUFFER_TOO_SMALL if not even one range fits."""
    call.need_file_data()
    asked = call.decode(AllocatedRangesInput)
    if asked.file_offset < 0 or asked.length < 0 or asked.length > _OFFSET_MAX - asked.file_offset:
        raise StatusError(Status.INVALID_PARAMETER, f"{asked.length} bytes at {asked.file_offset}")
    call.need_access(FILE_READ_DATA)
    if not asked.length:
        return Outcome()
    found = call.file.allocated_ranges(asked.file_offset, asked.length)
    if not found:
        return Outcome()
    call.need_output(_RANGE_BYTES)
    fitting = found[: call.output_max_bytes // _RANGE_BYTES]
    output = AllocatedRanges(ranges=tuple(Range(*one) for one in fitting)).encode()
    return Outcome(output, Status.SUCCESS if len(fitting) == len(found) else Status.BUFFER_OVERFLOW)
