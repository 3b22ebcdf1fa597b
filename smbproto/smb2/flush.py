"""[MS-SMB2] 2.2.17 SMB2 FLUSH Request; 2.2.18 SMB2 FLUSH Response."""

from __future__ import annotations

from typing import ClassVar

from smbproto.codec import FileId, Message, message, reserved2, reserved4


@message(structure_size=24)
class FlushRequest(Message):
    """[MS-SMB2] 2.2.17 SMB2 FLUSH Request."""

    reserved_1: ClassVar[reserved2]
    reserved_2: ClassVar[reserved4]
    file_id: FileId


@message(structure_size=4)
class FlushResponse(Message):
    """[MS-SMB2] 2.2.18 SMB2 FLUSH Response."""

    reserved: ClassVar[reserved2]
