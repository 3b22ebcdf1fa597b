"""CHANGE_NOTIFY: wait until something changes in a directory.

Source: [MS-SMB2] 3.3.5.19 Receiving an SMB2 CHANGE_NOTIFY Request; [MS-FSA] 2.1.5.11 Server Requests Change
Notifications for a Directory; [MS-FSCC] 2.7.1 FILE_NOTIFY_INFORMATION. The object store keeps the changes
that come between two requests of an open. Cancel: the driver cancels the wait; nothing that was not told is
lost.
"""

from __future__ import annotations

from smbproto.dtyp import FILE_LIST_DIRECTORY
from smbproto.fscc.notify import encode_notify
from smbproto.smb2.change_notify import SMB2_WATCH_TREE, ChangeNotifyRequest, ChangeNotifyResponse
from smbproto.status import Status, StatusError
from smbsrv.commands.payload import check_payload
from smbsrv.request import Reply, Request


async def handle(request: Request) -> Reply | bytes:
    """[MS-SMB2] 3.3.5.19 Receiving an SMB2 CHANGE_NOTIFY Request."""
    message = ChangeNotifyRequest.decode_untrusted(request.message)
    opened = request.open_of(*message.file_id)
    if not opened.is_persistent:
        opened.is_replay_eligible = False
    check_payload(request, message.output_buffer_length)
    file = opened.file
    if file is None or not file.is_directory or file.stream is not None:
        raise StatusError(Status.INVALID_PARAMETER, "not an open of a directory")
    if not file.granted_access & FILE_LIST_DIRECTORY:
        raise StatusError(Status.ACCESS_DENIED, "the open may not list")
    changes = await file.watch(
        message.completion_filter,
        bool(message.flags & SMB2_WATCH_TREE),
        message.output_buffer_length,
    )
    output = encode_notify(changes)
    if len(output) > message.output_buffer_length:
        # [MS-FSA] 2.1.5.11.1: more than fits, so the client shall list the directory anew.
        return Reply(ChangeNotifyResponse().encode(), Status.NOTIFY_ENUM_DIR)
    return ChangeNotifyResponse(output=output).encode()
