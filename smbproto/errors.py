"""What can be wrong with bytes from a peer.

`WireError`: the bytes are no well-formed message; a server answers STATUS_INVALID_PARAMETER.
`ProtocolViolation`: framing, sequence or signature is broken; the connection ends.

Source: [MS-SMB2] 3.3.5.2 Receiving Any Message.
"""

from __future__ import annotations


class WireError(Exception):
    """The bytes are not what their type says: too short, out of bounds, over a limit, a wrong constant."""


class ProtocolViolation(Exception):
    """The peer broke framing, message sequence or message security; nothing more can be read from it."""
