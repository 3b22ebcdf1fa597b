"""FLUSH. Source: [MS-SMB2] 3.3.5.11 Receiving an SMB2 FLUSH Request; [MS-FSA] 2.1.5.7 Server Requests
Flushing Cached Data."""

from __future__ import annotations

from smbproto.smb2.flush import FlushRequest, FlushResponse
from smbproto.status import Status, StatusError
from smbsrv.request import Request

FILE_WRITE_DATA = 0x00000002
FILE_APPEND_DATA = 0x00000004
"""And FILE_ADD_FILE, FILE_ADD_SUBDIRECTORY of a directory."""

_BODY = FlushResponse().encode()


async def handle(request: Request) -> bytes:
    message = FlushRequest.decode_untrusted(request.message)
    open = request.open_of(*message.file_id)
    if open.file is not None:
        if not open.file.granted_access & (FILE_WRITE_DATA | FILE_APPEND_DATA):
            raise StatusError(Status.ACCESS_DENIED, "FLUSH of an open that may not write")
        await open.file.flush()
    return _BODY
