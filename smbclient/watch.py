"""What changes in a directory: CHANGE_NOTIFY, asked for again and again. The server keeps what happens in
between.

Source: [MS-SMB2] 3.2.4.16 Application Requests Change Notifications for a Directory; [MS-FSCC] 2.7.1
FILE_NOTIFY_INFORMATION.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import NamedTuple

from smbclient.errors import error_of
from smbclient.names import join
from smbclient.tree import Tree
from smbproto import dtyp, fscc
from smbproto.fscc.notify import decode_notify_untrusted
from smbproto.smb2.change_notify import SMB2_WATCH_TREE, ChangeNotifyRequest, ChangeNotifyResponse
from smbproto.smb2.header import Command
from smbproto.status import Status

__all__ = ["Change", "watch"]

ROOM_BYTES = 65536
OVERFLOW = "overflow"
_ACTIONS = {
    fscc.FILE_ACTION_ADDED: "added",
    fscc.FILE_ACTION_REMOVED: "removed",
    fscc.FILE_ACTION_MODIFIED: "modified",
    fscc.FILE_ACTION_RENAMED_OLD_NAME: "renamed_from",
    fscc.FILE_ACTION_RENAMED_NEW_NAME: "renamed_to",
    fscc.FILE_ACTION_ADDED_STREAM: "added_stream",
    fscc.FILE_ACTION_REMOVED_STREAM: "removed_stream",
    fscc.FILE_ACTION_MODIFIED_STREAM: "modified_stream",
}


class Change(NamedTuple):
    """`action`: added, removed, modified, renamed_from, renamed_to, ...; overflow: list it anew."""

    action: str
    path: str  # relative to the share


async def watch(tree: Tree, path: str, *, recursive: bool) -> AsyncGenerator[list[Change], None]:
    """See `Tree.watch`."""
    access = dtyp.FILE_LIST_DIRECTORY | dtyp.FILE_READ_ATTRIBUTES | dtyp.SYNCHRONIZE
    async with await tree.create(path, access=access, options=fscc.FILE_DIRECTORY_FILE) as directory:
        request = ChangeNotifyRequest(
            flags=SMB2_WATCH_TREE if recursive else 0,
            output_buffer_length=ROOM_BYTES,
            file_id=directory.file_id,
            completion_filter=fscc.FILE_NOTIFY_VALID_MASK,
        ).encode()
        while True:
            reply = await tree.channel.submit(
                Command.CHANGE_NOTIFY, request, tree_id=tree.tree_id, sealed=tree.sealed
            )
            status, message = await reply.wait()
            if status == Status.NOTIFY_ENUM_DIR:
                yield [Change(OVERFLOW, directory.path)]
                continue
            if status == Status.NOTIFY_CLEANUP:
                return
            if status != Status.SUCCESS:
                raise error_of(status, message, f"watching {path!r}")
            output = ChangeNotifyResponse.decode_untrusted(message).output
            changes = [
                Change(
                    _ACTIONS.get(found.action, f"action {found.action}"),
                    join(directory.path, found.file_name),
                )
                for found in decode_notify_untrusted(output)
            ]
            yield changes or [Change(OVERFLOW, directory.path)]
