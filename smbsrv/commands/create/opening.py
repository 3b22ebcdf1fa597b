"""The open itself: ask the object store, and keep what it granted.

Source: [MS-SMB2] 3.3.5.9 Receiving an SMB2 CREATE Request, phases "Open Execution", "Successful Open
Initialization", "Failed Open Handling". The Open stands in the server's tables while the object store is
asked, so that the end of its session or tree finds it, and a second CREATE with the same CreateGuid as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smbproto.status import Status, StatusError
from smbsrv.commands.create.grants import DIALECT_3_0, DIALECT_3_1_1, caching_request, durable_request
from smbsrv.commands.create.reply import response
from storage.volume import OpenRequest

if TYPE_CHECKING:
    from smbsrv.commands.create.validate import Wish
    from smbsrv.open import Open
    from smbsrv.request import Request
    from storage.volume import OpenResult

SMB2_OPLOCK_LEVEL_LEASE = 0xFF


async def open_file(request: Request, wish: Wish, path: str, options: int) -> bytes:
    """A new open, and the body of its response."""
    server, session, tree = request.server, request.session, request.tree
    assert session is not None and tree is not None
    token = session.token
    assert token is not None, "a session with trees is VALID"
    share, contexts, connection = tree.share, wish.contexts, request.connection
    volume = share.volume
    assert volume is not None, "pipes are opened elsewhere"
    caching = caching_request(wish, connection, share)
    opened = server.new_open(session, tree)
    opened.path = path
    opened.durable_owner = token.user
    opened.channel_sequence = request.channel_sequence
    if contexts.durable_v2 is not None and connection.dialect >= DIALECT_3_0:
        opened.create_guid = contexts.durable_v2.create_guid
        server.create_guids[opened.client_guid, opened.create_guid] = opened
        request.outlives_connection = True
    asked = OpenRequest(
        path=path,
        desired_access=wish.desired_access,
        share_access=wish.share_access,
        disposition=wish.disposition,
        options=options,
        attributes=wish.attributes,
        token=token,
        caching=caching,
        durable=durable_request(contexts, caching, connection, share),
        access_limit=tree.maximal_access,
        root=share.path,
        is_read_only=share.is_read_only,
        security=contexts.security,
        eas=contexts.eas,
        allocation_bytes=contexts.allocation_bytes,
        client_guid=connection.client_guid,
        process_id=request.process_id,
        snapshot=contexts.snapshot,
        app_instance_id=contexts.app_instance_id,
        context=opened,
    )
    if caching.lease_key:
        server.leases.expect(opened, caching.lease_key)
    try:
        result = await volume.open(asked)
    except BaseException:
        server.drop_open(opened)
        raise
    finally:
        if caching.lease_key:
            server.leases.expect_no_more(opened, caching.lease_key)
    if opened.session is None:
        # The session or the tree connect ended meanwhile, and closed all it knew of.
        await result.file.close()
        raise StatusError(Status.NETWORK_NAME_DELETED, "the tree connect ended while the open waited")
    _initialize(request, opened, wish, result, asked.durable is not None and asked.durable.persistent)
    request.set_open(opened)
    if opened.held_breaks:
        server.runtime.spawn(lambda: _tell_held_breaks(opened), "breaks that follow a CREATE response")
    return response(opened, result.file, contexts, result.action)


async def _tell_held_breaks(opened: Open) -> None:
    """In a task of its own, so that the response goes first."""
    while opened.held_breaks:
        opened.held_breaks.pop(0)()


def _initialize(request: Request, opened: Open, wish: Wish, result: OpenResult, persistent: bool) -> None:
    """[MS-SMB2] 3.3.5.9, "Successful Open Initialization"; 3.3.5.9.6, 3.3.5.9.8, 3.3.5.9.10."""
    file, grant, contexts = result.file, result.caching, wish.contexts
    opened.file = file
    opened.create_action = result.action
    opened.oplock_level = grant.level
    if grant.level == SMB2_OPLOCK_LEVEL_LEASE:
        opened.lease_key = grant.lease_key
        opened.lease_version = grant.version
        request.server.leases.add(opened)
    if contexts.app_instance_id:
        opened.app_instance_id = contexts.app_instance_id
        if request.connection.dialect >= DIALECT_3_1_1:
            opened.app_instance_version = contexts.app_instance_version
    wanted = contexts.durable_v2
    if wanted is not None and opened.create_guid:
        opened.is_replay_eligible = True
    if result.is_durable:
        opened.is_durable = True
        opened.durable_timeout_ms = result.durable_timeout_ms
        opened.durable_version = 1
        if opened.create_guid:
            assert wanted is not None
            opened.durable_version = 2
            opened.is_persistent = persistent
            if opened.is_persistent:
                opened.lock_sequence = [-1] * 64
