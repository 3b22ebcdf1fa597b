"""CLOSE. Source: [MS-SMB2] 3.3.5.10 Receiving an SMB2 CLOSE Request; [MS-FSA] 2.1.5.5 Server Requests Closing
an Open."""

from __future__ import annotations

from smbproto.smb2.close import CLOSE_RESPONSE, SMB2_CLOSE_FLAG_POSTQUERY_ATTRIB, CloseRequest
from smbsrv.request import Request
from storage.volume import File

_NOTHING = CLOSE_RESPONSE.pack(60, 0, 0, 0, 0, 0, 0, 0, 0, 0)
FILE_ATTRIBUTE_NORMAL = 0x00000080


async def handle(request: Request) -> bytes:
    message = CloseRequest.decode_untrusted(request.message)
    open = request.open_of(*message.file_id)
    request.done()
    await request.server.close_open(open)
    if open.file is None or not message.flags & SMB2_CLOSE_FLAG_POSTQUERY_ATTRIB:
        return _NOTHING
    return _attributes(open.file)


def _attributes(file: File) -> bytes:
    """As they are once the open is closed."""
    node, stream = file.node, file.stream
    return CLOSE_RESPONSE.pack(
        60, SMB2_CLOSE_FLAG_POSTQUERY_ATTRIB, 0, node.created, node.accessed, node.written, node.changed_time,
        0 if stream is None else stream.allocated_bytes, 0 if stream is None else stream.size_bytes,
        node.attributes or FILE_ATTRIBUTE_NORMAL,
    )  # fmt: skip
