"""[MS-SMB2] 2.2.44 SMB2 SERVER_TO_CLIENT_NOTIFICATION."""

from __future__ import annotations

from typing import ClassVar, Final

from smbproto.codec import Message, message, reserved2, rest, u32

SMB2_NOTIFY_SESSION_CLOSED: Final = 0x00000000


@message(structure_size=4, counted_bytes=-4)  # StructureSize leaves NotificationType out
class ServerToClientNotification(Message):
    """[MS-SMB2] 2.2.44 SMB2 SERVER_TO_CLIENT_NOTIFICATION."""

    reserved: ClassVar[reserved2]
    notification_type: u32 = SMB2_NOTIFY_SESSION_CLOSED
    notification: rest = bytes(4)  # 2.2.44.1 SMB2_NOTIFY_SESSION_CLOSED: Reserved
