"""CREATE: open or make a file, a directory, a stream or a pipe; take up an open again after the client was
gone.

Source: [MS-SMB2] 3.3.5.9 Receiving an SMB2 CREATE Request. Phases, each a module: `validate` (what is asked),
`contexts` (create contexts), `app_instance` (3.3.5.9.13), `replay` (3.3.5.9.10), `reconnect` (3.3.5.9.7,
.12), `grants` (what to ask of the object store), `opening` (the open itself), `pipe` (named pipes), `reply`
(the response).
"""

from __future__ import annotations

from smbproto.status import Status, StatusError
from smbsrv.commands.create import app_instance, opening, pipe, reconnect, replay
from smbsrv.commands.create.grants import DIALECT_3_0, check_combination
from smbsrv.commands.create.validate import check_parameters, check_share_access, decode_untrusted, path_of
from smbsrv.request import Reply, Request


async def handle(request: Request) -> Reply | bytes:
    """[MS-SMB2] 3.3.5.9 Receiving an SMB2 CREATE Request."""
    wish = decode_untrusted(request.message)
    tree = request.tree
    if tree is None or request.session is None:
        raise StatusError(Status.NETWORK_NAME_DELETED)
    if tree.share.is_pipe:
        return pipe.open_pipe(request, wish)
    contexts = wish.contexts
    dialect = request.connection.dialect
    check_combination(contexts, dialect)
    if contexts.reconnect_v2 is not None and dialect >= DIALECT_3_0:
        return await reconnect.reconnect(request, wish, contexts.reconnect_v2)
    if contexts.reconnect_v1 is not None:
        return await reconnect.reconnect(request, wish, contexts.reconnect_v1)
    path, options = path_of(wish.name, wish.options)
    check_parameters(wish, options)
    if contexts.durable_v2 is not None and dialect >= DIALECT_3_0:
        replayed = replay.find(request, wish, contexts.durable_v2)
        if replayed is not None:
            return replay.answer(request, wish, replayed)
    check_share_access(wish.desired_access, options, tree)
    if contexts.app_instance_id:
        await app_instance.close_other(request, contexts, path)
    return await opening.open_file(request, wish, path, options)
