"""[MS-SMB2] 2.2.7 SMB2 LOGOFF Request; 2.2.8 SMB2 LOGOFF Response."""

from __future__ import annotations

from typing import ClassVar

from smbproto.codec import Message, message, reserved2


@message(structure_size=4)
class LogoffRequest(Message):
    """[MS-SMB2] 2.2.7 SMB2 LOGOFF Request."""

    reserved: ClassVar[reserved2]


@message(structure_size=4)
class LogoffResponse(Message):
    """[MS-SMB2] 2.2.8 SMB2 LOGOFF Response."""

    reserved: ClassVar[reserved2]
