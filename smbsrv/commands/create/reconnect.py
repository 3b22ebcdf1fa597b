"""DHnC and DH2C: a client that was gone takes up its open again.

Source: [MS-SMB2] 3.3.5.9.7 Handling the SMB2_CREATE_DURABLE_HANDLE_RECONNECT Create Context; 3.3.5.9.12
Handling the SMB2_CREATE_DURABLE_HANDLE_RECONNECT_V2 Create Context. The open itself waits in the object store
(KEPT); that no one else may take it is checked here: client, user, lease key, CreateGuid, share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smbproto.status import Status, StatusError
from smbsrv.commands.create.grants import SMB2_GLOBAL_CAP_PERSISTENT_HANDLES
from smbsrv.commands.create.reply import response

if TYPE_CHECKING:
    from smbsrv.commands.create.contexts import Contexts, Reconnect
    from smbsrv.commands.create.validate import Wish
    from smbsrv.open import Open
    from smbsrv.request import Request

FILE_OPENED = 1
NO_GUID = bytes(16)


def _look_up(request: Request, asked: Reconnect) -> Open:
    """By the persistent half of the FileId; a persistent open also by its CreateGuid. Raises:
    OBJECT_NAME_NOT_FOUND."""
    server, tree = request.server, request.tree
    assert tree is not None
    opened = server.opens.get(asked.persistent_id)
    if (
        opened is None
        and asked.is_persistent
        and tree.share.is_continuously_available
        and request.connection.server_capabilities & SMB2_GLOBAL_CAP_PERSISTENT_HANDLES
    ):
        opened = server.create_guids.get((request.connection.client_guid, asked.create_guid))
    if opened is None or opened.file is None:
        raise StatusError(Status.OBJECT_NAME_NOT_FOUND, f"no open {asked.persistent_id:#x} is kept")
    return opened


def _mismatch(request: Request, opened: Open, asked: Reconnect, contexts: Contexts) -> str:
    """Why this open is not the one asked for; "" if it is. Each of these is OBJECT_NAME_NOT_FOUND."""
    assert request.tree is not None
    if opened.session is not None:
        return "its client is still there"
    if opened.share is not request.tree.share:
        return "it is of another share"
    if not (opened.is_durable or opened.is_resilient or opened.is_persistent):
        return "it is not durable"
    # Windows lets DHnC take up an open that DH2Q made (smbtorture's smb2.durable-v2-open.reopen2b expects
    # it).
    if asked.version == 2:
        if (opened.create_guid or NO_GUID) != asked.create_guid:
            return "its CreateGuid is another"
        if opened.is_persistent != asked.is_persistent:
            return "one of the two is persistent"
    lease = contexts.lease
    if not opened.lease_key:
        return "it has no lease" if lease is not None else ""
    if opened.client_guid != request.connection.client_guid:
        return "its ClientGuid is another"
    if lease is None:
        return "it has a lease"
    if lease.key != opened.lease_key:
        return "its lease key is another"
    if lease.version != opened.lease_version:
        return "its lease is of the other version"
    return ""


async def reconnect(request: Request, wish: Wish, asked: Reconnect) -> bytes:
    """Raises: OBJECT_NAME_NOT_FOUND, INVALID_PARAMETER for a lease on another file, ACCESS_DENIED for another
    user."""
    session, tree = request.session, request.tree
    assert session is not None and tree is not None and session.token is not None
    opened = _look_up(request, asked)
    reason = _mismatch(request, opened, asked, wish.contexts)
    if reason:
        raise StatusError(Status.OBJECT_NAME_NOT_FOUND, f"open {opened.persistent_id:#x}: {reason}")
    file = opened.file
    assert file is not None
    # 3.3.5.9.7, .12: Open.Lease.FileName against the name in the request, only where there is a lease
    if opened.lease_key and file.name().lstrip("\\").casefold() != wish.name.casefold():
        raise StatusError(Status.INVALID_PARAMETER, f"the lease is on {file.name()!r}")
    if opened.durable_owner != session.token.user:
        raise StatusError(Status.ACCESS_DENIED, "another user opened it")
    request.server.adopt_open(opened, session, tree)
    opened.client_guid = request.connection.client_guid
    opened.channel_sequence = request.channel_sequence
    opened.outstanding = opened.outstanding_before = 0
    file.reclaim(opened)
    request.set_open(opened)
    return response(opened, file, wish.contexts, FILE_OPENED, is_new=False)
