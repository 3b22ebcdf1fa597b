"""The one SMB1 message that a server of SMB2 must read: a negotiate that offers SMB2 dialects.

Source: [MS-SMB2] 3.3.5.3 Receiving an SMB_COM_NEGOTIATE; [MS-CIFS] 2.2.4.52.1 Request.
"""

from __future__ import annotations

import struct
from typing import Final

from smbproto import limits
from smbproto.codec import Buffer
from smbproto.errors import WireError

SMB1_PROTOCOL_ID: Final = b"\xffSMB"
SMB_COM_NEGOTIATE: Final = 0x72
SMB1_HEADER_BYTES: Final = 32

DIALECT_SMB_2_002: Final = "SMB 2.002"
DIALECT_SMB_2_WILDCARD: Final = "SMB 2.???"

_DIALECT_FORMAT: Final = 0x02  # BufferFormat of a null-terminated dialect string


def decode_dialects_untrusted(buf: Buffer) -> tuple[str, ...]:
    """The dialect names of an SMB_COM_NEGOTIATE. Raises: WireError if it is another message or not well
    formed."""
    size = len(buf)
    if not SMB1_HEADER_BYTES + 3 <= size <= limits.SMB1_NEGOTIATE_BYTES_MAX:
        raise WireError(f"an SMB1 message of {size} bytes")
    if bytes(buf[:4]) != SMB1_PROTOCOL_ID or buf[4] != SMB_COM_NEGOTIATE:
        raise WireError(f"SMB1 command {buf[4]:#x} is not spoken here")
    if buf[SMB1_HEADER_BYTES] != 0:
        raise WireError(f"SMB_COM_NEGOTIATE has {buf[SMB1_HEADER_BYTES]} parameter words, not 0")
    (count,) = struct.unpack_from("<H", buf, SMB1_HEADER_BYTES + 1)
    data = bytes(buf[SMB1_HEADER_BYTES + 3 : SMB1_HEADER_BYTES + 3 + count])
    if len(data) != count or (data and data[-1] != 0):
        raise WireError(f"{count} bytes of dialects are cut off")
    names: list[str] = []
    for entry in data.split(b"\0")[:-1]:
        if entry[:1] != bytes([_DIALECT_FORMAT]) or len(names) == limits.DIALECTS_MAX:
            raise WireError(f"no dialect, or too many: {entry[:32]!r}")
        names.append(entry[1:].decode("ascii", "replace"))
    return tuple(names)


def encode_negotiate(dialects: tuple[str, ...]) -> bytes:
    """The whole message, as a client that also speaks SMB1 sends it."""
    data = b"".join(bytes([_DIALECT_FORMAT]) + name.encode("ascii") + b"\0" for name in dialects)
    header = struct.pack(
        "<4sBIBH12sHHHH", SMB1_PROTOCOL_ID, SMB_COM_NEGOTIATE, 0, 0x18, 0xC853, bytes(12), 0, 0, 0, 0
    )
    return header + struct.pack("<BH", 0, len(data)) + data


def offers_smb2(dialects: tuple[str, ...]) -> bool:
    return DIALECT_SMB_2_002 in dialects or DIALECT_SMB_2_WILDCARD in dialects
