"""Messages that answer no request: oplock and lease break notifications.

Their MessageId is all ones, SessionId and TreeId are zero, they are never signed.
Source: [MS-SMB2] 3.3.4.6 Object Store Indicates an Oplock Break; 3.3.4.7 Object Store Indicates a Lease
Break.
"""

from __future__ import annotations

from smbproto.codec import FileId
from smbproto.smb2.header import (
    SMB2_FLAGS_SERVER_TO_REDIR,
    UNSOLICITED_MESSAGE_ID,
    Command,
    Header,
)
from smbproto.smb2.oplock_break import (
    SMB2_NOTIFY_BREAK_LEASE_FLAG_ACK_REQUIRED,
    LeaseBreakNotification,
    OplockBreakNotification,
)
from storage.volume import LeaseBreak

__all__ = ["lease_break_message", "oplock_break_message"]

_HEADER = Header(
    command=Command.OPLOCK_BREAK,
    flags=SMB2_FLAGS_SERVER_TO_REDIR,
    message_id=UNSOLICITED_MESSAGE_ID,
    process_id=0,
).encode()


def oplock_break_message(level: int, persistent_id: int, volatile_id: int) -> bytes:
    return (
        _HEADER
        + OplockBreakNotification(oplock_level=level, file_id=FileId(persistent_id, volatile_id)).encode()
    )


def lease_break_message(notice: LeaseBreak) -> bytes:
    body = LeaseBreakNotification(
        new_epoch=notice.epoch,
        flags=SMB2_NOTIFY_BREAK_LEASE_FLAG_ACK_REQUIRED if notice.ack_required else 0,
        lease_key=notice.lease_key,
        current_lease_state=notice.current,
        new_lease_state=notice.new,
    )
    return _HEADER + body.encode()
