"""[MS-SMB2] 2.2.11 SMB2 TREE_DISCONNECT Request; 2.2.12 SMB2 TREE_DISCONNECT Response."""

from __future__ import annotations

from typing import ClassVar

from smbproto.codec import Message, message, reserved2


@message(structure_size=4)
class TreeDisconnectRequest(Message):
    """[MS-SMB2] 2.2.11 SMB2 TREE_DISCONNECT Request."""

    reserved: ClassVar[reserved2]


@message(structure_size=4)
class TreeDisconnectResponse(Message):
    """[MS-SMB2] 2.2.12 SMB2 TREE_DISCONNECT Response."""

    reserved: ClassVar[reserved2]
