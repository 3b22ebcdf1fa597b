"""A CREATE that came before: the same CreateGuid of the same client.

Source: [MS-SMB2] 3.3.5.9.10 Handling the SMB2_CREATE_DURABLE_HANDLE_REQUEST_V2 Create Context.

      CREATE with a new CreateGuid      answered            anything but a replay on the open, closed
   -------------------------> IN PROGRESS -----> ELIGIBLE ------------------------------------------->
   forgotten
                                  | the same again: FILE_NOT_AVAILABLE (with the replay flag), else
                                  DUPLICATE_OBJECTID
                                                   | the same again with the replay flag: the same answer
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smbproto.status import Status, StatusError
from smbsrv.commands.create.reply import response

if TYPE_CHECKING:
    from smbsrv.commands.create.contexts import DurableWish
    from smbsrv.commands.create.validate import Wish
    from smbsrv.open import Open
    from smbsrv.request import Request

SMB2_OPLOCK_LEVEL_BATCH = 0x09
SMB2_OPLOCK_LEVEL_LEASE = 0xFF


def find(request: Request, wish: Wish, asked: DurableWish) -> Open | None:
    """The open that this request has made before; None: go on as for a new one.

    Raises: DUPLICATE_OBJECTID without the replay flag; FILE_NOT_AVAILABLE while the first is not answered.
    """
    opened = request.server.create_guids.get((request.connection.client_guid, asked.create_guid))
    if opened is None:
        return None
    if opened.file is None:
        if request.is_replay:
            raise StatusError(Status.FILE_NOT_AVAILABLE, "the first of these requests is not answered yet")
        raise StatusError(Status.DUPLICATE_OBJECTID, "a request with this CreateGuid is in progress")
    if not opened.is_replay_eligible:
        return None
    if not request.is_replay:
        raise StatusError(Status.DUPLICATE_OBJECTID, "there is an open with this CreateGuid")
    return opened


def answer(request: Request, wish: Wish, opened: Open) -> bytes:
    """The response again, with what is granted now. Raises: ACCESS_DENIED, DUPLICATE_OBJECTID,
    INVALID_PARAMETER."""
    session, tree, file = request.session, request.tree, opened.file
    assert session is not None and tree is not None and file is not None and session.token is not None
    if opened.durable_owner != session.token.user:
        raise StatusError(Status.ACCESS_DENIED, "another user opened it")
    if opened.session is not None and opened.session is not session:
        raise StatusError(Status.DUPLICATE_OBJECTID, "the open belongs to another session")
    lease = wish.contexts.lease if wish.oplock_level == SMB2_OPLOCK_LEVEL_LEASE else None
    if lease is not None and lease.key != opened.lease_key:
        raise StatusError(Status.ACCESS_DENIED, "the open has no lease, or another")
    if lease is None and opened.lease_key:
        raise StatusError(Status.ACCESS_DENIED, "the open has a lease, none was asked for")
    if opened.session is None:
        # Its client was gone: this is a reconnect, as 3.3.5.9.10 allows for a replay.
        request.server.adopt_open(opened, session, tree)
        file.reclaim(opened)
    opened.channel_sequence = request.channel_sequence
    request.set_open(opened)
    # Windows tells no more than is asked for this time (smbtorture's smb2.replay.replay-dhv2-oplock2).
    level = file.caching.level if lease is not None else min(wish.oplock_level, file.caching.level)
    is_durable = lease is not None or level == SMB2_OPLOCK_LEVEL_BATCH or opened.is_persistent
    return response(opened, file, wish.contexts, opened.create_action, is_new=is_durable, level=level)
