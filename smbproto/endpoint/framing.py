"""Frames on a stream, in memory where they are sent from.

    base   base+4                 base+56             end      end+16
    | len  | (TRANSFORM_HEADER)   | message(s)        | slack |

The length is 4 bytes, big-endian, top byte zero. The TRANSFORM_HEADER is there only if the frame is sealed;
else the message begins at base+4. A message is built in its place, then signed or sealed there; nothing is
copied.

Source: [MS-SMB2] 2.1 Transport (Direct TCP transport packet header); 3.3.4.1 Sending Any Outgoing Message.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

from smbproto.errors import ProtocolViolation
from smbproto.security.encryption import TAG_BYTES, TRANSFORM_HEADER_BYTES, Sealer
from smbproto.security.preauth import PreauthIntegrity
from smbproto.security.signing import Signer
from smbproto.smb2.header import HEADER, SIGNATURE_OFFSET, SMB2_FLAGS_SIGNED, SMB2_HEADER_BYTES

__all__ = [
    "BODY_START",
    "LENGTH_BYTES",
    "SEALED_START",
    "Arena",
    "OutMessage",
    "finish_frame",
    "finish_single",
    "frame_bytes_max",
    "frame_length_untrusted",
    "write_frame",
]

LENGTH_BYTES = 4
SEALED_START = LENGTH_BYTES + TRANSFORM_HEADER_BYTES
BODY_START = SEALED_START + SMB2_HEADER_BYTES
"""Where the body lies in memory prepared for one message, sealed or not."""
KEEP_ALIVE = 0x85000000
"""[RFC1002] 4.3.1: a session keep-alive packet has no data."""
FRAME_BYTES_MAX = 0x00FFFFFF

_LENGTH = Struct(">I")
_unpack_length = _LENGTH.unpack_from
_pack_length = _LENGTH.pack_into
_pack_header = HEADER.pack_into


class Arena:
    """Memory in which frames are built one after another; `end` is where the next begins."""

    __slots__ = ("buffer", "end", "view")

    def __init__(self, size_bytes: int) -> None:
        self.buffer = bytearray(size_bytes)
        self.view = memoryview(self.buffer)
        self.end = 0

    @property
    def room_bytes(self) -> int:
        return len(self.buffer) - self.end


class OutMessage:
    """A message that is to be sent: its header's fields, its body, who signs it."""

    __slots__ = (
        "body", "command", "credit_charge", "credits", "flags", "high", "low", "message_id", "preauth",
        "session_id", "signer", "status",
    )  # fmt: skip

    def __init__(
        self,
        command: int,
        status: int,
        flags: int,
        message_id: int,
        low: int,
        high: int,
        session_id: int,
        body: bytes | bytearray | memoryview,
        *,
        credit_charge: int = 0,
        credits: int = 0,
        signer: Signer | None = None,
        preauth: PreauthIntegrity | None = None,
    ) -> None:
        """`low`, `high`: process id and tree id, or the halves of the async id. `preauth` goes on over the
        message."""
        self.command = command
        self.status = status
        self.flags = flags
        self.message_id = message_id
        self.low = low
        self.high = high
        self.session_id = session_id
        self.body = body
        self.credit_charge = credit_charge
        self.credits = credits
        self.signer = signer
        self.preauth = preauth


def frame_length_untrusted(buffer: memoryview, at: int, limit: int) -> int:
    """Bytes of the frame after the 4-byte length at `at`; 0 for a keep-alive. Raises: ProtocolViolation."""
    length: int = _unpack_length(buffer, at)[0]
    if length > limit:
        if length == KEEP_ALIVE:
            return 0
        raise ProtocolViolation(f"a frame of {length} bytes; at most {limit}")
    return length


def frame_bytes_max(bodies: Sequence[bytes | bytearray | memoryview]) -> int:
    """Memory that a frame of these bodies may take, slack included."""
    return SEALED_START + TAG_BYTES + sum(SMB2_HEADER_BYTES + len(body) + 7 for body in bodies)


def write_frame(view: memoryview, base: int, messages: Sequence[OutMessage], sealer: Sealer | None) -> int:
    """Build a frame at `base`: the messages one after another, those of a compound padded to 8 bytes, each
    signed. Returns its end; `frame_bytes_max` of memory must be there. Source: [MS-SMB2] 3.3.4.1.3 Sending
    Compounded Responses.
    """
    start = base + (LENGTH_BYTES if sealer is None else SEALED_START)
    last = len(messages) - 1
    for index, message in enumerate(messages):
        body = message.body
        end = start + SMB2_HEADER_BYTES + len(body)
        view[start + SMB2_HEADER_BYTES : end] = body
        following = 0
        if last:
            padding = -(end - start) % 8
            view[end : end + padding] = bytes(padding)
            end += padding
            following = end - start if index < last else 0
        write_header(view, start, message, following)
        if message.signer is not None and sealer is None:
            sign_in_place(view, start, end, message.message_id, message.signer)
        if message.preauth is not None:
            message.preauth.update(view[start:end])
        start = end
    return finish_frame(view, base, start, sealer)


def write_header(view: memoryview, start: int, message: OutMessage, following: int = 0) -> None:
    _pack_header(
        view, start, b"\xfeSMB", SMB2_HEADER_BYTES, message.credit_charge, message.status, message.command,
        message.credits, message.flags, following, message.message_id, message.low, message.high,
        message.session_id, b"",
    )  # fmt: skip


def sign_in_place(view: memoryview, start: int, end: int, message_id: int, signer: Signer) -> None:
    """A message from the server: its SIGNED flag and its signature."""
    view[start + 16] |= SMB2_FLAGS_SIGNED
    signature = signer.sign(view[start:end], message_id, True)
    view[start + SIGNATURE_OFFSET : start + SMB2_HEADER_BYTES] = signature


def finish_single(
    arena: Arena, start: int, end: int, message_id: int, signer: Signer | None, sealer: Sealer | None
) -> None:
    """The hot path's end: one message stands at `start` in the arena's next frame, its SIGNED flag set if
    there is a signer. Sign or seal it, write the length, move the arena's end."""
    view = arena.view
    base = arena.end
    if sealer is not None:
        sealer.seal_in_place(view, base + LENGTH_BYTES, end - start)
    elif signer is not None:
        signature = signer.sign(view[start:end], message_id, True)
        view[start + SIGNATURE_OFFSET : start + SMB2_HEADER_BYTES] = signature
    _pack_length(arena.buffer, base, end - base - LENGTH_BYTES)
    arena.end = end


def finish_frame(view: memoryview, base: int, end: int, sealer: Sealer | None) -> int:
    """The messages stand, up to `end`: seal them if need be, write the length. Returns `end`."""
    if sealer is not None:
        sealer.seal_in_place(view, base + LENGTH_BYTES, end - base - SEALED_START)
    length = end - base - LENGTH_BYTES
    assert length <= FRAME_BYTES_MAX, f"a frame of {length} bytes"
    _pack_length(view, base, length)
    return end
