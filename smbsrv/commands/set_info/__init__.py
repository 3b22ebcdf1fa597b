"""SET_INFO: change an open file, its security descriptor; refuse what volumes here do not keep.

Source: [MS-SMB2] 3.3.5.21 Receiving an SMB2 SET_INFO Request. One module for each InfoType: `file`
(3.3.5.21.1), `filesystem` (3.3.5.21.2), `security` (3.3.5.21.3), `quota` (3.3.5.21.4).
"""

from __future__ import annotations

from smbproto.smb2.query_info import (
    SMB2_0_INFO_FILE,
    SMB2_0_INFO_FILESYSTEM,
    SMB2_0_INFO_QUOTA,
    SMB2_0_INFO_SECURITY,
)
from smbproto.smb2.set_info import SetInfoRequest
from smbproto.status import Status, StatusError
from smbsrv.commands.payload import check_payload
from smbsrv.commands.set_info import file, filesystem, quota, security
from smbsrv.request import Reply, Request

_RESPONSE = b"\x02\0"  # [MS-SMB2] 2.2.40 SMB2 SET_INFO Response


async def handle(request: Request) -> Reply | bytes:
    """[MS-SMB2] 3.3.5.21 Receiving an SMB2 SET_INFO Request."""
    message = SetInfoRequest.decode_untrusted(request.message)
    opened = request.open_of(*message.file_id)
    if not opened.is_persistent:
        opened.is_replay_eligible = False
    data = message.buffer
    check_payload(request, 0, len(data))
    target = opened.file
    if target is None:
        raise StatusError(Status.NOT_SUPPORTED, "a pipe has nothing to set")
    kind = message.info_type
    if kind == SMB2_0_INFO_FILE:
        await file.change(target, message.file_info_class, data)
    elif kind == SMB2_0_INFO_FILESYSTEM:
        filesystem.change(target, message.file_info_class, data)
    elif kind == SMB2_0_INFO_SECURITY:
        await security.change(target, message.additional_information, data)
    elif kind == SMB2_0_INFO_QUOTA:
        quota.change(target, data)
    else:
        raise StatusError(Status.INVALID_PARAMETER, f"InfoType {kind}")
    return _RESPONSE
