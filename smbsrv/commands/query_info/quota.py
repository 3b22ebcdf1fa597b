"""QUERY_INFO of quotas: those of a list of SIDs, or all of them, as far as they fit, call after call.

Source: [MS-SMB2] 2.2.37.1 SMB2_QUERY_QUOTA_INFO; 3.3.5.20.4 Handling SMB2_0_INFO_QUOTA; [MS-FSA] 2.1.5.21
Server Requests Querying Quota Information; [MS-FSCC] 2.4.41 FileQuotaInformation. What the user may see is
the volume's judgement. An enumeration goes in the order of the SIDs' bytes, so that it survives changes in
between; it begins at RestartScan or at the start SID, and ends with NO_MORE_ENTRIES.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smbproto.dtyp import Sid
from smbproto.errors import WireError
from smbproto.fscc.quota import Quota, decode_get_quotas_untrusted, encode_quotas
from smbproto.smb2.query_info import QueryQuotaInfo
from smbproto.status import Status, StatusError
from smbsrv.commands.query_info.result import Result

if TYPE_CHECKING:
    from storage.volume import File, QuotaRecord

_ENTRY_FIXED_BYTES = 40


def query(file: File, asked: memoryview, room: int) -> Result:
    """Raises: NOT_SUPPORTED; INVALID_PARAMETER for a malformed SMB2_QUERY_QUOTA_INFO; NO_MORE_ENTRIES;
    BUFFER_TOO_SMALL for a first entry that does not fit."""
    if file.quota_control() is None:
        raise StatusError(
            Status.NOT_SUPPORTED, f"volume {file.volume.identity.label!r} keeps no quotas"
        )
    try:
        wanted = QueryQuotaInfo.decode_untrusted(asked)
        if wanted.sid_list_length:
            if wanted.sid_list_length > len(wanted.sids):
                raise WireError(f"a list of {wanted.sid_list_length} bytes in {len(wanted.sids)}")
            sids = decode_get_quotas_untrusted(wanted.sids[: wanted.sid_list_length])
            found = [file.quota(sid.encode()) for sid in sids[: 1 if wanted.return_single else None]]
            fitting = _fitting(found, room)
            status = Status.SUCCESS if len(fitting) == len(found) else Status.BUFFER_OVERFLOW
            return Result(_encode(fitting), 0, status)
        start = _start(wanted)
    except WireError as error:
        raise StatusError(Status.INVALID_PARAMETER, str(error)) from None
    if wanted.restart_scan:
        file.quota_scan_at = b""
    after = file.quota_scan_at
    found = [one for one in file.quotas() if (one.sid >= start if start else one.sid > after)]
    if not found:
        raise StatusError(Status.NO_MORE_ENTRIES)
    fitting = _fitting(found[:1] if wanted.return_single else found, room)
    file.quota_scan_at = fitting[-1].sid
    return Result(_encode(fitting), 0)


def _start(wanted: QueryQuotaInfo) -> bytes:
    """The SID to begin at; b"": go on where the last call ended."""
    if not wanted.start_sid_length:
        return b""
    end = wanted.start_sid_offset + wanted.start_sid_length
    if end > len(wanted.sids):
        raise WireError(f"a start SID that ends at {end} in {len(wanted.sids)} bytes")
    return Sid.decode_untrusted(wanted.sids[wanted.start_sid_offset : end]).encode()


def _fitting(records: list[QuotaRecord], room: int) -> list[QuotaRecord]:
    """As many as the output has room for, each on a multiple of eight bytes."""
    out: list[QuotaRecord] = []
    used = 0
    for record in records:
        used = -(-used // 8) * 8 + _ENTRY_FIXED_BYTES + len(record.sid)
        if used > room:
            break
        out.append(record)
    if records and not out:
        raise StatusError(Status.BUFFER_TOO_SMALL, f"{room} bytes hold no entry")
    return out


def _encode(records: list[QuotaRecord]) -> bytes:
    return encode_quotas(
        Quota(Sid.decode_untrusted(sid), changed, used, threshold, limit)
        for sid, used, threshold, limit, changed in records
    )
