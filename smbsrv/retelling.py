"""Breaks that may not have reached their holder: each is told again, on a connection that was not tried yet.

    told() --settled()---------------------> forgotten
      ^  |  `--GIVE_UP_S, and none of the connections it was told on gets through--> they are dropped
      |  | the connection is lost, or its peer has taken nothing for RETELL_S
      +--+ while there is another connection

A client on a path that is cut would otherwise go on caching until the object store gives up on it, and would
lose what it had not written yet, though it has other channels. One that was only slow may hear of a break
twice; it answers the second as it likes. Who cannot be told at all must not go on as if it still cached: its
connections end, so its opens are kept or closed, just before the object store gives up. Only breaks that
wait for an answer are here.

Source: [MS-SMB2] 3.3.4.6 Object Store Indicates an Oplock Break; 3.3.4.7 Object Store Indicates a Lease Break
(a notification that cannot be sent is sent again on an alternate connection). Windows does so for leases.
What it does not: decide when a break is over; that is the object store's. Times are seconds on the server's
clock. Owner: the Server. No I/O.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from smbsrv.connection import Connection

__all__ = ["GIVE_UP_S", "RETELL_S", "Retelling"]

log = logging.getLogger("sofs.smb")

RETELL_S: Final = 0.9
"""Ours: a peer that is there acknowledges what it is sent in a quarter of that; two ticks of the timer."""
GIVE_UP_S: Final = 34.0
"""[MS-SMB2] 3.3.2.1 Oplock Break Acknowledgment Timer: the object store waits a second longer."""

Tell: TypeAlias = "Callable[[Collection[Connection]], Connection | None]"
"""Sends on a connection that is not among these, and says on which; None: there is no other."""


@dataclass(slots=True)
class _Told:
    tell: Tell
    connection: Connection
    since_s: float
    """It was sent on `connection` then."""
    until_s: float
    tried: dict[Connection, None] = field(default_factory=dict)


class Retelling:
    """All breaks of a server that wait for their holders' answers, by a name for the holder."""

    def __init__(self) -> None:
        self._told: dict[Hashable, _Told] = {}

    def __len__(self) -> int:
        return len(self._told)

    def told(self, holder: Hashable, connection: Connection, tell: Tell, now: float) -> None:
        """Its break was sent on `connection`. In place of an earlier break of the same holder."""
        self._told[holder] = _Told(tell, connection, now, now + GIVE_UP_S, {connection: None})

    def settled(self, holder: Hashable) -> None:
        """It has answered, or is gone. Idempotent."""
        self._told.pop(holder, None)

    def lost(self, connection: Connection, now: float) -> None:
        """What was told on this connection last may never have arrived."""
        for holder, told in list(self._told.items()):
            if told.connection is connection:
                self._again(holder, told, now)

    def tick(self, now: float) -> None:
        """Call it about twice a second."""
        for holder, told in list(self._told.items()):
            if now >= told.until_s:
                self._told.pop(holder, None)
                _drop_if_stuck(told)
            elif now - told.since_s >= RETELL_S and told.connection.driver.is_stuck(told.connection):
                self._again(holder, told, now)

    def _again(self, holder: Hashable, told: _Told, now: float) -> None:
        connection = told.tell(told.tried)
        if connection is None:
            return
        assert connection not in told.tried, "told twice on one connection"
        told.connection, told.since_s = connection, now
        told.tried[connection] = None


def _drop_if_stuck(told: _Told) -> None:
    up = [one for one in told.tried if not one.is_closing]
    if all(one.driver.is_stuck(one) for one in up):
        for one in up:
            log.warning("dropped connection=%d peer=%s: it was not told of a break", one.id, one.peer)
            one.driver.close(one)
