"""The client's frames: cut from the stream as they come, and built where they are sent from.

A large frame is received straight into memory of its own, which then belongs to the answer; so the data of a
READ is never copied. Each frame has 16 bytes of slack behind it for the tag of a sealed one.

Source: [MS-SMB2] 2.1 Transport; 3.2.4.1 Sending Any Outgoing Message; 3.2.4.1.4 Sending Compounded Requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from smbproto.codec import Buffer
from smbproto.endpoint.framing import (
    LENGTH_BYTES,
    SEALED_START,
    finish_frame,
    frame_length_untrusted,
)
from smbproto.security.encryption import TAG_BYTES, Sealer
from smbproto.security.signing import Signer
from smbproto.smb2.header import (
    HEADER,
    NO_SIGNATURE,
    SIGNATURE_OFFSET,
    SMB2_FLAGS_SIGNED,
    SMB2_HEADER_BYTES,
    SMB2_PROTOCOL_ID,
    Command,
)

__all__ = ["Frame", "FrameReader", "Outgoing", "build_frame"]

BATCH_BYTES = 65536
OWN_MEMORY_BYTES_MIN = 16384  # a frame of that size that is not yet whole is received into memory of its own

Frame: TypeAlias = tuple[memoryview, int]
"""Writable memory and where the frame in it ends; it begins at 0, and 16 bytes behind it may be used."""


class FrameReader:
    """Bytes in, frames out. The driver fills `buffer()` and says how much it was."""

    __slots__ = ("_batch", "_batch_view", "_have", "_limit", "_own", "_own_have")

    def __init__(self, limit: int) -> None:
        """`limit`: bytes of the longest frame."""
        self._batch = bytearray(BATCH_BYTES)
        self._batch_view = memoryview(self._batch)
        self._limit = limit
        self._have = 0
        self._own: memoryview | None = None
        self._own_have = 0

    def buffer(self) -> memoryview:
        """Where the next bytes go; never empty."""
        if self._own is not None:
            return self._own[self._own_have : len(self._own) - TAG_BYTES]
        return self._batch_view[self._have :]

    def received(self, count: int) -> list[Frame]:
        """`count` bytes were put into `buffer()`. Raises: ProtocolViolation."""
        if self._own is not None:
            self._own_have += count
            end = len(self._own) - TAG_BYTES
            if self._own_have < end:
                return []
            own, self._own = self._own, None
            return [(own, end)]
        self._have += count
        return self._cut()

    def _cut(self) -> list[Frame]:
        frames: list[Frame] = []
        view, have, at = self._batch_view, self._have, 0
        while have - at >= LENGTH_BYTES:
            length = frame_length_untrusted(view, at, self._limit)
            start = at + LENGTH_BYTES
            if have - start >= length:
                if length:
                    memory = memoryview(bytearray(length + TAG_BYTES))
                    memory[:length] = view[start : start + length]
                    frames.append((memory, length))
                at = start + length
                continue
            if length >= OWN_MEMORY_BYTES_MIN:
                self._own = memoryview(bytearray(length + TAG_BYTES))
                self._own_have = have - start
                self._own[: self._own_have] = view[start:have]
                at = have
            break
        self._have = have - at
        if at and self._have:
            view[: self._have] = view[at:have]
        return frames


@dataclass(slots=True)
class Outgoing:
    """One request of a frame. `payload` follows `body` on the wire: a WRITE's data, copied once."""

    command: int
    body: Buffer
    payload: Buffer = b""
    message_id: int = 0
    charge: int = 1  # as in the header; 0 in SMB 2.0.2
    credits: int = 1  # CreditRequest
    flags: int = 0
    tree_id: int = 0
    async_id: int = 0  # of a CANCEL with ASYNC_COMMAND
    channel_sequence: int = 0


def build_frame(
    requests: Sequence[Outgoing], session_id: int, signer: Signer | None, sealer: Sealer | None
) -> memoryview:
    """The frame, its 4-byte length included. Each request but the last is padded to 8 bytes."""
    first = LENGTH_BYTES if sealer is None else SEALED_START
    size = first + TAG_BYTES
    for request in requests:
        size += (SMB2_HEADER_BYTES + len(request.body) + len(request.payload) + 7) & ~7
    view = memoryview(bytearray(size))
    start, last = first, len(requests) - 1
    for index, request in enumerate(requests):
        body_end = start + SMB2_HEADER_BYTES + len(request.body)
        end = body_end + len(request.payload)
        view[start + SMB2_HEADER_BYTES : body_end] = request.body
        if request.payload:
            view[body_end:end] = request.payload
        following = 0
        if index < last:
            end += -(end - start) % 8
            following = end - start
        _put_header(view, start, request, session_id, following, signer is not None)
        if signer is not None:
            is_cancel = request.command == Command.CANCEL
            signature = signer.sign(view[start:end], request.message_id, False, is_cancel)
            view[start + SIGNATURE_OFFSET : start + SMB2_HEADER_BYTES] = signature
        start = end
    return view[: finish_frame(view, 0, start, sealer)]


def _put_header(
    view: memoryview, start: int, request: Outgoing, session_id: int, following: int, signed: bool
) -> None:
    low, high = 0xFEFF, request.tree_id
    if request.async_id:
        low, high = request.async_id & 0xFFFFFFFF, request.async_id >> 32
    flags = request.flags | (SMB2_FLAGS_SIGNED if signed else 0)
    HEADER.pack_into(
        view, start, SMB2_PROTOCOL_ID, SMB2_HEADER_BYTES, request.charge, request.channel_sequence,
        request.command, request.credits, flags, following, request.message_id, low, high, session_id,
        NO_SIGNATURE,
    )  # fmt: skip
