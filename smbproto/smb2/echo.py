"""[MS-SMB2] 2.2.28 SMB2 ECHO Request; 2.2.29 SMB2 ECHO Response."""

from __future__ import annotations

from typing import ClassVar

from smbproto.codec import Message, message, reserved2


@message(structure_size=4)
class EchoRequest(Message):
    """[MS-SMB2] 2.2.28 SMB2 ECHO Request."""

    reserved: ClassVar[reserved2]


@message(structure_size=4)
class EchoResponse(Message):
    """[MS-SMB2] 2.2.29 SMB2 ECHO Response."""

    reserved: ClassVar[reserved2]
