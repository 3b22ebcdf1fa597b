"""ECHO. Source: [MS-SMB2] 3.3.5.17 Receiving an SMB2 ECHO Request."""

from __future__ import annotations

from smbproto.smb2.echo import EchoRequest, EchoResponse
from smbsrv.request import Request

_BODY = EchoResponse().encode()


async def handle(request: Request) -> bytes:
    EchoRequest.decode_untrusted(request.message)
    return _BODY
