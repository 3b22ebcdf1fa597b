"""What a peer can make grow, and how far. One place, so that the limits can be compared with each other.

Sources: [MS-SMB2] 3.3.1.1 Algorithm for Handling Available Message Sequence Numbers; 3.3.1.2 Algorithm for
the Granting of Credits; 3.3.5.4 Receiving an SMB2 NEGOTIATE Request (MaxTransactSize and its like; 8 MiB as
Windows has them). Units: bytes and seconds, as the names say; everything else is a count.
"""

from __future__ import annotations

from dataclasses import dataclass

from smbproto.status import Status, StatusError

__all__ = ["Limits", "need"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Defaults suit one node; every one may be lowered, none may be absent."""

    connections: int = 4096
    sessions_per_connection: int = 2048
    setups_before_session: int = 16
    """Session setups that a connection may begin until somebody has authenticated on it."""
    sessions: int = 16384
    channels_per_session: int = 32
    trees_per_session: int = 4096
    opens_per_session: int = 131072
    opens: int = 1 << 20
    async_requests_per_connection: int = 511
    """That have had their interim response: as many as Windows, whose clients know how to live with it."""
    compound_elements: int = 128
    io_size_max_bytes: int = 8 << 20
    """MaxTransactSize, MaxReadSize, MaxWriteSize with large MTU."""
    io_size_small_bytes: int = 65536
    """The same without (SMB 2.0.2)."""
    credits_max: int = 8192
    credits_before_session: int = 16
    """Granted at a time until somebody has authenticated."""
    frame_before_session_bytes: int = 128 << 10
    security_buffer_bytes: int = 65535
    """One token; what a session setup may bring in all is this times `setup_rounds`."""
    setup_rounds: int = 8
    unauthenticated_s: float = 30.0
    """A connection without a session for this long is dropped."""
    partial_frame_s: float = 60.0
    """A frame that has begun must be there within this time."""
    reading_bytes: int = 64 << 20
    """READs, WRITEs and listings under way, by what they bring: past this a connection's further requests
    wait in its socket."""
    unsent_s: float = 120.0
    """A connection that takes no response for this long is dropped."""
    interim_s: float = 1.0
    """A request that takes longer gets STATUS_PENDING even if it only waits for a disk."""

    def __post_init__(self) -> None:
        assert self.io_size_small_bytes <= self.io_size_max_bytes <= 8 << 20
        assert 1 <= self.credits_before_session <= self.credits_max <= 65535
        assert self.frame_before_session_bytes >= self.security_buffer_bytes + 4096
        assert self.reading_bytes >= self.io_size_max_bytes
        assert self.sessions_per_connection <= self.sessions

    @property
    def frame_max_bytes(self) -> int:
        """The longest frame with large MTU: a WRITE of the greatest size, sealed, with room for its
        headers."""
        return self.io_size_max_bytes + 65536


def need(condition: bool, what: str, status: Status = Status.INSUFFICIENT_RESOURCES) -> None:
    """A limit is reached: say no. Raises: StatusError."""
    if not condition:
        raise StatusError(status, f"limit reached: {what}")
