"""Which connection a break goes to. Source: [MS-SMB2] 3.3.1.12 Per Lease Table; 3.3.1.13 Per Lease;
3.3.4.6 Object Store Indicates an Oplock Break; 3.3.4.7 Object Store Indicates a Lease Break.

A lease is named by client GUID and lease key. Its state is the object store's; here are only the opens that
share it. Any connection of the client will do, or where encryption is a must, any channel of their sessions.
A lease may be granted, and broken again, before the CREATE that asked for it is answered; until then the open
is expected here.
Invariant: an open stands in at most one lease, under the key it has; no lease is without opens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from smbsrv.channel import Channel
    from smbsrv.connection import Connection
    from smbsrv.open import Open


class LeaseTable:
    """All leases of the server."""

    __slots__ = ("_expected", "_opens")

    def __init__(self) -> None:
        self._opens: dict[tuple[bytes, bytes], dict[Open, None]] = {}
        self._expected: dict[tuple[bytes, bytes], dict[Open, None]] = {}

    def expect(self, open: Open, lease_key: bytes) -> None:
        """Its CREATE asks for this lease and is not answered yet."""
        self._expected.setdefault((open.client_guid, lease_key), {})[open] = None

    def expect_no_more(self, open: Open, lease_key: bytes) -> None:
        """It is answered, or was refused."""
        key = (open.client_guid, lease_key)
        opens = self._expected[key]
        del opens[open]
        if not opens:
            del self._expected[key]

    def expected_by(self, client_guid: bytes, lease_key: bytes) -> Open | None:
        """An open whose CREATE asks for this lease and is not answered yet."""
        return next(iter(self._expected.get((client_guid, lease_key), ())), None)

    def add(self, open: Open) -> None:
        """`open.client_guid` and `open.lease_key` name the lease."""
        assert open.lease_key, "an open without a lease"
        self._opens.setdefault((open.client_guid, open.lease_key), {})[open] = None

    def discard(self, open: Open) -> None:
        """The open is gone, or its lease."""
        key = (open.client_guid, open.lease_key)
        opens = self._opens.get(key)
        if opens is not None:
            opens.pop(open, None)
            if not opens:
                del self._opens[key]

    def opens_of(self, client_guid: bytes, lease_key: bytes) -> list[Open]:
        return list(self._opens.get((client_guid, lease_key), ()))

    def __len__(self) -> int:
        return len(self._opens)


def live_channel(open: Open, tried: Collection[Connection]) -> Channel | None:
    """A channel of the open's session whose connection still takes messages; the best first, none that
    was tried."""
    if open.session is None:
        return None
    channels = open.session.channels
    return next((channels[one] for one in ways_to(channels) if one not in tried), None)


def ways_to(connections: Iterable[Connection]) -> list[Connection]:
    """A client's connections by which it can be told something, the best first: as Windows the oldest.

    One that has been silent since the client made a newer one for another session is likely to be lost,
    though nobody has noticed yet: it comes after all others. Channels of one session are often idle.
    """
    up = [one for one in connections if one.has_session and not one.is_closing]

    def is_doubtful(one: Connection) -> bool:
        return any(
            one.received_s < other.created_s and other.channels.keys().isdisjoint(one.channels)
            for other in up
        )

    return sorted(up, key=is_doubtful)
