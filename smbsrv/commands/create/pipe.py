"""CREATE on IPC$: named pipes. Source: [MS-SMB2] 3.3.5.9 Receiving an SMB2 CREATE Request (share type
SHARE_TYPE_PIPE).

Options, contexts and oplocks do not apply: a pipe is opened or it is not there (OBJECT_NAME_NOT_FOUND).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smbproto.status import Status, StatusError
from smbsrv.commands.create.reply import pipe_response
from smbsrv.pipes.registry import open_service

if TYPE_CHECKING:
    from smbsrv.commands.create.validate import Wish
    from smbsrv.request import Request


def open_pipe(request: Request, wish: Wish) -> bytes:
    """Raises: OBJECT_NAME_NOT_FOUND, INVALID_PARAMETER."""
    session, tree = request.session, request.tree
    assert session is not None and tree is not None
    name = wish.name
    if name.startswith("\\"):
        raise StatusError(Status.INVALID_PARAMETER, "a path name begins with a backslash")
    pipe = open_service(request.server, session, name)
    if pipe is None:
        raise StatusError(Status.OBJECT_NAME_NOT_FOUND, f"no pipe {name[:80]!r}")
    opened = request.server.new_open(session, tree)
    opened.path = name
    opened.pipe = pipe
    opened.channel_sequence = request.channel_sequence
    request.set_open(opened)
    return pipe_response(opened)
