"""OPLOCK_BREAK acknowledgments, of oplocks and of leases.

Source: [MS-SMB2] 3.3.5.22.1 Processing an Oplock Acknowledgment; 3.3.5.22.2 Processing a Lease
Acknowledgment.
"""

from __future__ import annotations

from smbproto.smb2.oplock_break import (
    LeaseBreakAcknowledgment,
    LeaseBreakResponse,
    OplockBreakAcknowledgment,
    OplockBreakResponse,
    decode_acknowledgment_untrusted,
)
from smbproto.status import Status, StatusError
from smbsrv.request import Request


async def handle(request: Request) -> bytes:
    message = decode_acknowledgment_untrusted(request.message)
    if isinstance(message, LeaseBreakAcknowledgment):
        return _lease(request, message)
    return _oplock(request, message)


def _oplock(request: Request, message: OplockBreakAcknowledgment) -> bytes:
    assert request.session is not None
    open = request.session.opens.get(message.file_id.volatile)
    if open is None or open.persistent_id != message.file_id.persistent or open.file is None:
        raise StatusError(Status.FILE_CLOSED)
    request.server.retelling.settled(open.persistent_id)
    # 3.3.5.22.1: a level that cannot be, LEASE too, ends the break at none; the object store knows
    level = open.file.volume.acknowledge_oplock(open.file, message.oplock_level)
    open.oplock_level = level
    return OplockBreakResponse(oplock_level=level, file_id=message.file_id).encode()


def _lease(request: Request, message: LeaseBreakAcknowledgment) -> bytes:
    guid = request.connection.client_guid
    opens = request.server.leases.opens_of(guid, message.lease_key)
    file = next((open.file for open in opens if open.file is not None), None)
    if file is None:
        raise StatusError(Status.OBJECT_NAME_NOT_FOUND, "no such lease")
    request.server.retelling.settled((guid, message.lease_key))
    state = file.volume.acknowledge_lease(guid, message.lease_key, message.lease_state)
    return LeaseBreakResponse(lease_key=message.lease_key, lease_state=state).encode()
