"""What caching and what durability a CREATE may ask of the object store, by dialect, capability and share.

Source: [MS-SMB2] 3.3.5.9 Receiving an SMB2 CREATE Request ("Oplock Acquisition"); 3.3.5.9.6 Handling the
SMB2_CREATE_DURABLE_HANDLE_REQUEST Create Context; 3.3.5.9.8 Handling the SMB2_CREATE_REQUEST_LEASE Create
Context; 3.3.5.9.10 Handling the SMB2_CREATE_DURABLE_HANDLE_REQUEST_V2 Create Context; 3.3.5.9.11 Handling the
SMB2_CREATE_REQUEST_LEASE_V2 Create Context. What is granted then is the object store's decision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smbproto.fscc import FILE_DIRECTORY_FILE
from smbproto.status import Status, StatusError
from storage.volume import NO_LEASE, CachingRequest, DurableRequest

if TYPE_CHECKING:
    from smbsrv.commands.create.contexts import Contexts
    from smbsrv.commands.create.validate import Wish
    from smbsrv.connection import Connection
    from smbsrv.share import Share

SMB2_OPLOCK_LEVEL_NONE = 0x00
SMB2_OPLOCK_LEVEL_II = 0x01
SMB2_OPLOCK_LEVEL_EXCLUSIVE = 0x08
SMB2_OPLOCK_LEVEL_BATCH = 0x09
SMB2_OPLOCK_LEVEL_LEASE = 0xFF
SMB2_LEASE_HANDLE_CACHING = 0x02
SMB2_LEASE_WRITE_CACHING = 0x04
SMB2_LEASE_ALL = 0x07

SMB2_GLOBAL_CAP_LEASING = 0x00000002
SMB2_GLOBAL_CAP_PERSISTENT_HANDLES = 0x00000010
SMB2_GLOBAL_CAP_DIRECTORY_LEASING = 0x00000020
DIALECT_2_1 = 0x0210
DIALECT_3_0 = 0x0300
DIALECT_3_1_1 = 0x0311

DURABLE_TIMEOUT_DEFAULT_MS = 60_000
DURABLE_TIMEOUT_MAX_MS = 300_000
"""[MS-SMB2] 3.3.5.9.10, behaviour note: what Windows chooses for 0, and its most."""


def check_combination(contexts: Contexts, dialect: int) -> None:
    """Durable contexts that exclude each other. Raises: INVALID_PARAMETER.

    [MS-SMB2] 3.3.5.9.6, .7, .10, .12: DHnQ beside DH2Q or DH2C; DHnC beside DH2Q or DH2C; DH2Q or DH2C beside
    any other. DHnQ beside DHnC is fine: DHnC is obeyed. Below SMB 3.0 the version 2 contexts do not exist.
    """
    if dialect < DIALECT_3_0:
        return
    v1 = contexts.durable_v1 or contexts.reconnect_v1 is not None
    v2 = (contexts.durable_v2 is not None) + (contexts.reconnect_v2 is not None)
    if v2 == 2 or (v2 and v1):
        raise StatusError(Status.INVALID_PARAMETER, "durable contexts that exclude each other")


def caching_request(wish: Wish, connection: Connection, share: Share) -> CachingRequest:
    """The oplock or lease to ask for."""
    level = wish.oplock_level
    if level == SMB2_OPLOCK_LEVEL_NONE:
        return NO_LEASE
    if level == SMB2_OPLOCK_LEVEL_LEASE:
        return _lease_request(wish, connection, share)
    if level not in (SMB2_OPLOCK_LEVEL_II, SMB2_OPLOCK_LEVEL_EXCLUSIVE, SMB2_OPLOCK_LEVEL_BATCH):
        return NO_LEASE
    # 3.3.5.9: TreeConnect.Share.ForceLevel2Oplock turns exclusive and batch into level II
    if share.force_level_ii:
        level = SMB2_OPLOCK_LEVEL_II
    return CachingRequest(level=level, client_guid=connection.client_guid)


def _lease_request(wish: Wish, connection: Connection, share: Share) -> CachingRequest:
    lease = wish.contexts.lease
    if lease is None or not connection.server_capabilities & SMB2_GLOBAL_CAP_LEASING:
        return NO_LEASE
    dialect = connection.dialect
    if dialect < DIALECT_2_1 or (lease.version == 2 and dialect < DIALECT_3_0):
        return NO_LEASE
    if (
        wish.options & FILE_DIRECTORY_FILE
        and not connection.server_capabilities & SMB2_GLOBAL_CAP_DIRECTORY_LEASING
    ):
        return NO_LEASE
    state = lease.state & SMB2_LEASE_ALL
    if share.force_level_ii:
        state &= ~SMB2_LEASE_WRITE_CACHING
    return CachingRequest(
        level=SMB2_OPLOCK_LEVEL_LEASE,
        lease_key=lease.key,
        state=state,
        version=lease.version,
        epoch=lease.epoch,
        parent_key=lease.parent_key,
        client_guid=connection.client_guid,
    )


def durable_request(
    contexts: Contexts, caching: CachingRequest, connection: Connection, share: Share
) -> DurableRequest | None:
    """The durability to ask for: only with a batch oplock or HANDLE caching, or persistent on a continuously
    available share."""
    holds = caching.level == SMB2_OPLOCK_LEVEL_BATCH or bool(caching.state & SMB2_LEASE_HANDLE_CACHING)
    wanted = contexts.durable_v2
    if wanted is not None and connection.dialect >= DIALECT_3_0:
        persistent = (
            wanted.is_persistent
            and share.is_continuously_available
            and bool(connection.server_capabilities & SMB2_GLOBAL_CAP_PERSISTENT_HANDLES)
        )
        if not holds and not persistent:
            return None
        timeout_ms = min(wanted.timeout_ms or DURABLE_TIMEOUT_DEFAULT_MS, DURABLE_TIMEOUT_MAX_MS)
        return DurableRequest(2, wanted.create_guid, timeout_ms, persistent)
    return DurableRequest(1) if contexts.durable_v1 and holds else None
