"""[MS-SMB2] 2.2.30 SMB2 CANCEL Request. It has no response."""

from __future__ import annotations

from typing import ClassVar

from smbproto.codec import Message, message, reserved2


@message(structure_size=4)
class CancelRequest(Message):
    """[MS-SMB2] 2.2.30 SMB2 CANCEL Request."""

    reserved: ClassVar[reserved2]
