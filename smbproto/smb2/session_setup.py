"""[MS-SMB2] 2.2.5 SMB2 SESSION_SETUP Request; 2.2.6 SMB2 SESSION_SETUP Response."""

from __future__ import annotations

from typing import Annotated, Final

from smbproto.codec import BYTES, Message, Names, Pair, message, u8, u16, u32, u64
from smbproto.smb2.negotiate import CAPABILITIES, SECURITY_MODES

SMB2_SESSION_FLAG_BINDING: Final = 0x01

SMB2_SESSION_FLAG_IS_GUEST: Final = 0x0001
SMB2_SESSION_FLAG_IS_NULL: Final = 0x0002
SMB2_SESSION_FLAG_ENCRYPT_DATA: Final = 0x0004

SETUP_FLAGS = Names(((1, "BINDING"),))
SESSION_FLAGS = Names(((1, "IS_GUEST"), (2, "IS_NULL"), (4, "ENCRYPT_DATA")))

Token = Annotated[bytes, Pair("HH", BYTES, points_when_empty=True)]


@message(structure_size=25)
class SessionSetupRequest(Message):
    """[MS-SMB2] 2.2.5 SMB2 SESSION_SETUP Request."""

    flags: Annotated[u8, SETUP_FLAGS] = 0
    security_mode: Annotated[u8, SECURITY_MODES] = 0
    capabilities: Annotated[u32, CAPABILITIES] = 0
    channel: u32 = 0
    security_buffer: Token = b""  # SPNEGO, or raw NTLMSSP
    previous_session_id: u64 = 0


@message(structure_size=9)
class SessionSetupResponse(Message):
    """[MS-SMB2] 2.2.6 SMB2 SESSION_SETUP Response."""

    session_flags: Annotated[u16, SESSION_FLAGS] = 0
    security_buffer: Token = b""
