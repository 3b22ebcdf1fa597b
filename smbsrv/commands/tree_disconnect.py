"""TREE_DISCONNECT. Source: [MS-SMB2] 3.3.5.8 Receiving an SMB2 TREE_DISCONNECT Request."""

from __future__ import annotations

from smbproto.smb2.tree_disconnect import TreeDisconnectRequest, TreeDisconnectResponse
from smbsrv.request import Request

_BODY = TreeDisconnectResponse().encode()


async def handle(request: Request) -> bytes:
    TreeDisconnectRequest.decode_untrusted(request.message)
    assert request.tree is not None
    await request.server.close_tree(request.tree)
    return _BODY
