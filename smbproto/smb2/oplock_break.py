"""Oplock and lease breaks: notification, acknowledgment, response.

Source: [MS-SMB2] 2.2.23 SMB2 OPLOCK_BREAK Notification; 2.2.24 SMB2 OPLOCK_BREAK Acknowledgment; 2.2.25 SMB2
OPLOCK_BREAK Response.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from smbproto.codec import (
    HEADER_BYTES,
    Buffer,
    FileId,
    Message,
    bytes16,
    message,
    reserved1,
    reserved2,
    reserved4,
    reserved8,
    u8,
    u16,
    u32,
)
from smbproto.errors import WireError
from smbproto.smb2.create import LEASE_STATES, OPLOCK_LEVELS

SMB2_NOTIFY_BREAK_LEASE_FLAG_ACK_REQUIRED: Final = 0x00000001

OPLOCK_BREAK_BYTES: Final = 24  # StructureSize of all three oplock forms
LEASE_BREAK_NOTIFICATION_BYTES: Final = 44
LEASE_BREAK_ACKNOWLEDGMENT_BYTES: Final = 36  # and of the response


@message(structure_size=24)
class OplockBreakNotification(Message):
    """[MS-SMB2] 2.2.23.1 Oplock Break Notification."""

    oplock_level: Annotated[u8, OPLOCK_LEVELS]
    reserved: ClassVar[reserved1]
    reserved_2: ClassVar[reserved4]
    file_id: FileId


@message(structure_size=44)
class LeaseBreakNotification(Message):
    """[MS-SMB2] 2.2.23.2 Lease Break Notification."""

    new_epoch: u16 = 0  # zero for a version 1 lease
    flags: u32 = 0
    lease_key: bytes16
    current_lease_state: Annotated[u32, LEASE_STATES]
    new_lease_state: Annotated[u32, LEASE_STATES]
    break_reason: u32 = 0
    access_mask_hint: u32 = 0
    share_mask_hint: u32 = 0


@message(structure_size=24)
class OplockBreakAcknowledgment(Message):
    """[MS-SMB2] 2.2.24.1 Oplock Break Acknowledgment."""

    oplock_level: Annotated[u8, OPLOCK_LEVELS]
    reserved: ClassVar[reserved1]
    reserved_2: ClassVar[reserved4]
    file_id: FileId


@message(structure_size=36)
class LeaseBreakAcknowledgment(Message):
    """[MS-SMB2] 2.2.24.2 Lease Break Acknowledgment."""

    reserved: ClassVar[reserved2]
    flags: u32 = 0
    lease_key: bytes16
    lease_state: Annotated[u32, LEASE_STATES]
    lease_duration: ClassVar[reserved8]


@message(structure_size=24)
class OplockBreakResponse(Message):
    """[MS-SMB2] 2.2.25.1 Oplock Break Response."""

    oplock_level: Annotated[u8, OPLOCK_LEVELS]
    reserved: ClassVar[reserved1]
    reserved_2: ClassVar[reserved4]
    file_id: FileId


@message(structure_size=36)
class LeaseBreakResponse(Message):
    """[MS-SMB2] 2.2.25.2 Lease Break Response."""

    reserved: ClassVar[reserved2]
    flags: u32 = 0
    lease_key: bytes16
    lease_state: Annotated[u32, LEASE_STATES]
    lease_duration: ClassVar[reserved8]


def _structure_size_untrusted(buf: Buffer) -> int:
    if len(buf) < HEADER_BYTES + 2:
        raise WireError(f"OPLOCK_BREAK: {len(buf)} bytes are too short")
    return buf[HEADER_BYTES] | buf[HEADER_BYTES + 1] << 8


def decode_acknowledgment_untrusted(buf: Buffer) -> OplockBreakAcknowledgment | LeaseBreakAcknowledgment:
    """Which of the two it is, StructureSize tells. Raises: WireError."""
    if _structure_size_untrusted(buf) == LEASE_BREAK_ACKNOWLEDGMENT_BYTES:
        return LeaseBreakAcknowledgment.decode_untrusted(buf)
    return OplockBreakAcknowledgment.decode_untrusted(buf)


def decode_from_server_untrusted(
    buf: Buffer, *, notification: bool
) -> OplockBreakNotification | LeaseBreakNotification | OplockBreakResponse | LeaseBreakResponse:
    """What a client got: a notification (its message id is all ones) or a response. Raises: WireError."""
    size = _structure_size_untrusted(buf)
    if notification:
        if size == LEASE_BREAK_NOTIFICATION_BYTES:
            return LeaseBreakNotification.decode_untrusted(buf)
        return OplockBreakNotification.decode_untrusted(buf)
    if size == LEASE_BREAK_ACKNOWLEDGMENT_BYTES:
        return LeaseBreakResponse.decode_untrusted(buf)
    return OplockBreakResponse.decode_untrusted(buf)
