"""The server's end of a connection: frames to messages, sans I/O.

    frame --0xFD--> decrypt in place --+
          --0xFE-----------------------+--> elements of a compound --> window --> signature --> whoever
          answers
          --0xFF--> SMB1 NEGOTIATE that leads to SMB2 (only as the first frame)
          --0xFC--> compression was never agreed to: the connection ends

It knows keys and sequence numbers; it never knows paths or opens. What it refuses with ProtocolViolation ends
the connection.

Source: [MS-SMB2] 3.3.5.2 Receiving Any Message; 3.3.5.2.1.1 Decrypting the Message; 3.3.5.2.7 Handling
Compounded Requests; 3.3.5.3 Receiving an SMB_COM_NEGOTIATE.
"""

from __future__ import annotations

from typing import TypeAlias

from smbproto.endpoint.window import ServerWindow
from smbproto.errors import ProtocolViolation
from smbproto.security.encryption import TRANSFORM_HEADER_BYTES, Opener, session_id_of
from smbproto.security.preauth import PreauthIntegrity
from smbproto.smb2.header import HEADER, SMB2_HEADER_BYTES

__all__ = ["Element", "HeaderFields", "ServerEndpoint"]

HeaderFields: TypeAlias = tuple[bytes, int, int, int, int, int, int, int, int, int, int, int, bytes]
"""A header unpacked by `HEADER`: magic, size, charge, status or channel sequence, command, credits, flags,
next, message id, process id, tree id (the halves of an async id), session id, signature."""
Element: TypeAlias = tuple[int, int, HeaderFields]
"""Start and end of a message in its buffer, and its header."""

_unpack_header = HEADER.unpack_from


class ServerEndpoint:
    """One connection. `frame_max_bytes` is small until somebody has authenticated."""

    __slots__ = ("_elements_max", "dialect", "frame_max_bytes", "openers", "preauth", "window")

    def __init__(self, *, frame_max_bytes: int, elements_max: int, credits_max: int) -> None:
        self.window = ServerWindow(credits_max)
        self.preauth = PreauthIntegrity()
        self.dialect = 0
        self.frame_max_bytes = frame_max_bytes
        self.openers: dict[int, Opener] = {}
        """By session id."""
        self._elements_max = elements_max

    def unseal(self, view: memoryview, start: int, end: int) -> tuple[int, int]:
        """Decrypt the frame in place: where the plain message begins, and the session that sealed it.

        Raises: ProtocolViolation.
        """
        if self.dialect < 0x0300:
            raise ProtocolViolation("a sealed message, but nothing was agreed to seal with")
        session_id = session_id_of(view[start : min(end, start + TRANSFORM_HEADER_BYTES)])
        opener = self.openers.get(session_id)
        if opener is None:
            raise ProtocolViolation(f"a message sealed for session {session_id:#x}, which is not here")
        opener.open_in_place(view, start, end)
        return start + TRANSFORM_HEADER_BYTES, session_id

    def elements(self, view: memoryview, start: int, end: int) -> list[Element]:
        """The messages of a frame. Raises: ProtocolViolation for a chain that is broken or too long."""
        found: list[Element] = []
        while True:
            if end - start < SMB2_HEADER_BYTES:
                raise ProtocolViolation(f"{end - start} bytes are too short for an SMB2 header")
            header = _unpack_header(view, start)
            if header[0] != b"\xfeSMB" or header[1] != SMB2_HEADER_BYTES:
                raise ProtocolViolation(f"no SMB2 header: {header[0]!r}, StructureSize {header[1]}")
            following = header[7]
            if not following:
                found.append((start, end, header))
                return found
            if following & 7 or following < SMB2_HEADER_BYTES or following > end - start - SMB2_HEADER_BYTES:
                raise ProtocolViolation(f"NextCommand {following} in a message of {end - start} bytes")
            found.append((start, start + following, header))
            if len(found) >= self._elements_max:
                raise ProtocolViolation(f"a compound of more than {self._elements_max} requests")
            start += following
