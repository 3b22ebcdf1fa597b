"""Which function answers which command. A handler is `async def handle(request: Request) -> Reply | bytes`;
bytes are the body of a SUCCESS response. It raises StatusError to say no, WireError for a malformed body.

Source: [MS-SMB2] 3.3.5 Processing Events and Sequencing Rules.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from smbproto.smb2.header import Command
from smbsrv.commands import (
    change_notify,
    close,
    create,
    echo,
    flush,
    ioctl,
    lock,
    logoff,
    negotiate,
    oplock_break,
    query_directory,
    query_info,
    read,
    session_setup,
    set_info,
    tree_connect,
    tree_disconnect,
    write,
)
from smbsrv.request import Reply, Request

Handler: TypeAlias = Callable[[Request], Awaitable[Reply | bytes]]

HANDLERS: dict[int, Handler] = {
    Command.NEGOTIATE: negotiate.handle,
    Command.SESSION_SETUP: session_setup.handle,
    Command.LOGOFF: logoff.handle,
    Command.TREE_CONNECT: tree_connect.handle,
    Command.TREE_DISCONNECT: tree_disconnect.handle,
    Command.CREATE: create.handle,
    Command.CLOSE: close.handle,
    Command.FLUSH: flush.handle,
    Command.READ: read.handle,
    Command.WRITE: write.handle,
    Command.LOCK: lock.handle,
    Command.IOCTL: ioctl.handle,
    Command.ECHO: echo.handle,
    Command.QUERY_DIRECTORY: query_directory.handle,
    Command.CHANGE_NOTIFY: change_notify.handle,
    Command.QUERY_INFO: query_info.handle,
    Command.SET_INFO: set_info.handle,
    Command.OPLOCK_BREAK: oplock_break.handle,
}
