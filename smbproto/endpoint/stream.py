"""The port of a byte stream to a peer: what both TCP and memory give.

Source: [MS-SMB2] 2.1 Transport.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["ByteStream"]


class ByteStream(Protocol):
    """Ordered, reliable bytes both ways. One task receives, one sends. Errors are `OSError`."""

    async def receive_into(self, buffer: memoryview) -> int:
        """Wait for bytes; how many came into `buffer`, 0 if the peer has ended. Cancel: safe."""
        ...

    def send_nowait(self, data: memoryview) -> int:
        """How many of the bytes could be taken without waiting; perhaps 0."""
        ...

    async def send_all(self, data: memoryview) -> None:
        """Send all of it. Cancel: some of it may have been sent; the stream is then of no further use."""
        ...

    async def aclose(self) -> None:
        """Close it at once; may be called again. Who waits in another method gets an OSError or 0."""
        ...
