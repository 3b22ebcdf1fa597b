"""QUERY_INFO of quotas: a clean refusal, since volumes track none and say so in FileFsControlInformation and
FileFsAttributeInformation.

Source: [MS-SMB2] 3.3.5.20.4 Handling SMB2_0_INFO_QUOTA; [MS-FSA] 2.1.5.21 Server Requests Querying Quota
Information: "If Volume.QuotaNotSupported ... STATUS_INVALID_DEVICE_REQUEST"."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smbproto.errors import WireError
from smbproto.fscc.quota import decode_get_quotas_untrusted
from smbproto.smb2.query_info import QueryQuotaInfo
from smbproto.status import Status, StatusError
from smbsrv.commands.query_info.result import Result

if TYPE_CHECKING:
    from storage.volume import File


def query(file: File, asked: memoryview) -> Result:
    """Raises: INVALID_PARAMETER for a malformed SMB2_QUERY_QUOTA_INFO, else INVALID_DEVICE_REQUEST."""
    try:
        wanted = QueryQuotaInfo.decode_untrusted(asked)
        if wanted.sid_list_length:
            decode_get_quotas_untrusted(wanted.sids[: wanted.sid_list_length])
    except WireError as error:
        raise StatusError(Status.INVALID_PARAMETER, str(error)) from None
    raise StatusError(Status.INVALID_DEVICE_REQUEST, f"volume {file.volume.identity.label!r} keeps no quotas")
