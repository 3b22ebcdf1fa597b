"""LOGOFF. Source: [MS-SMB2] 3.3.5.6 Receiving an SMB2 LOGOFF Request."""

from __future__ import annotations

from smbproto.smb2.logoff import LogoffRequest, LogoffResponse
from smbsrv.request import Request

_BODY = LogoffResponse().encode()


async def handle(request: Request) -> bytes:
    LogoffRequest.decode_untrusted(request.message)
    assert request.session is not None
    await request.server.end_session(request.session)
    return _BODY
