"""What a simulated client has in hands: connections, leases, handles, writes it keeps back. See
`tests/sim/client.py`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trio

from smbclient.io.connection import Connection
from smbproto import dtyp, fscc
from smbproto.codec import FileId
from smbproto.endpoint.client import Answer, BreakNotice, Event
from smbproto.smb2.create import (
    SMB2_LEASE_HANDLE_CACHING,
    SMB2_LEASE_READ_CACHING,
    SMB2_LEASE_WRITE_CACHING,
    SMB2_OPLOCK_LEVEL_BATCH,
    SMB2_OPLOCK_LEVEL_EXCLUSIVE,
)
from smbproto.status import Status
from tests.sim.model import Lock, ModelFile, ModelStream, Op
from tests.sim.node import SimNode

if TYPE_CHECKING:
    from tests.sim.client import SimClient

ACCESS = dtyp.FILE_GENERIC_READ | dtyp.FILE_GENERIC_WRITE | dtyp.DELETE
SHARE_ALL = fscc.FILE_SHARE_READ | fscc.FILE_SHARE_WRITE | fscc.FILE_SHARE_DELETE
LOST = (Status.CONNECTION_DISCONNECTED,)
KEPT_S = 30.0
"""A durable open is kept at least so long."""
QUIET_S = 10.0
"""No answer and no break is under way for longer."""
HEARD_DELAYS = 60
"""A break arrives within so many delays of the wire, if it is not stalled."""
SILENCE = 0.02
"""How often a break is never acknowledged; the server then goes on after its timeout."""


class Lost(Exception):
    """The connection broke while an answer was awaited: what was asked may have happened."""


class SimConnection(Connection):
    """Counts what arrives, so that answers and breaks can be put in the order in which the server sent
    them."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.arrivals = 0
        self.answered_at: dict[int, int] = {}

    def _handle(self, event: Event) -> None:
        if isinstance(event, (Answer, BreakNotice)):
            self.arrivals += 1
        if isinstance(event, Answer):
            self.answered_at[event.message_id] = self.arrivals
        super()._handle(event)


@dataclass(eq=False, repr=False)
class SimLease:
    """A lease of this client. `cap`: what breaks that arrived since `granted_at` left of it."""

    key: bytes
    version: int
    stream: ModelStream
    state: int = 0
    granted_at: int = 0
    breaks: list[tuple[int, int]] = field(default_factory=list)
    handles: int = 0
    reads_since: int = 0
    """The moment from which on it has READ caching, if it has."""
    answering: int = 0
    """Breaks that are to be acknowledged; of further ones it hears after that."""
    answered_at_s: float = 0.0

    def __repr__(self) -> str:
        return f"lease {self.key.hex()[:16]} state {self.state}"

    def granted(self, order: int, state: int, is_breaking: bool, now: int) -> None:
        """`is_breaking`: the state is the one from which a break takes something; we may have answered it."""
        if not self.state & SMB2_LEASE_READ_CACHING:
            self.reads_since = now
        if order > self.granted_at:
            self.granted_at = order
            self.state = state & self.breaks[-1][1] if is_breaking and self.breaks else state
        for at, new in self.breaks:
            if at > self.granted_at:
                self.state &= new


@dataclass(eq=False, repr=False)
class Handle:
    """An open of this client."""

    client: SimClient
    generation: int
    file: ModelFile
    stream: ModelStream
    path: str
    file_id: FileId
    access: int
    size: int
    is_through: bool = False
    level: int = 0
    lease: SimLease | None = None
    stream_name: str = ""
    share: int = 7
    opened_at: int = 0
    """The moment when it was granted."""
    durable: int = 0
    """Version of the durable handle, 0: none."""
    opens_then: int = 0
    """CREATEs on the file when this open was granted; -1: others were under way."""
    create_guid: bytes = b""
    locks: list[Lock] = field(default_factory=list)
    locking: int = 0
    """Requests to lock and unlock whose answers never came, or are awaited."""
    life: SimNode | None = None
    """The node that has it: a restart forgets it."""
    is_open: bool = True
    is_lingering: bool = False
    was_kept: bool = False
    """When the connection was cut it held HANDLE caching, so that the server keeps it."""
    cut_at_s: float = 0.0
    broken: trio.Event = field(default_factory=trio.Event)
    """HANDLE caching is being taken from it."""

    @property
    def may_cache_writes(self) -> bool:
        if self.lease is not None:
            return bool(self.lease.state & SMB2_LEASE_WRITE_CACHING)
        return self.level in (SMB2_OPLOCK_LEVEL_BATCH, SMB2_OPLOCK_LEVEL_EXCLUSIVE)

    @property
    def reads_since(self) -> int | None:
        """Since when it may answer reads from its cache."""
        if self.lease is not None:
            return self.lease.reads_since if self.lease.state & SMB2_LEASE_READ_CACHING else None
        return self.opened_at if self.level else None

    def check_cached_reads(self, now_s: float) -> bool:
        """Whether it may answer reads from its cache; then it has heard of what others changed meanwhile."""
        since, wire = self.reads_since, self.client.wire
        if since is None or wire is None or not self.is_certain:
            return False
        answered_s = 0.0
        if self.lease is not None:
            if self.lease.answering:
                return False
            answered_s = self.lease.answered_at_s
        for began, ended_s, number in self.stream.changes:
            if number != self.client.number and began > since:
                heard_s = max(ended_s, wire.stall_until[1], answered_s)
                heard_s += HEARD_DELAYS * self.client.sim.plan.wire_delay_s
                assert now_s <= heard_s, f"{self} has READ caching, and {number} changed it at {ended_s}"
        return True

    @property
    def may_linger(self) -> bool:
        """It may stay open after its user has closed it."""
        if self.lease is not None:
            return bool(self.lease.state & SMB2_LEASE_HANDLE_CACHING)
        return self.level == SMB2_OPLOCK_LEVEL_BATCH

    @property
    def may_be_kept(self) -> bool:
        """The server keeps it for a lost client: HANDLE caching, and WRITE caching if it has locks."""
        return self.may_linger and (self.may_cache_writes or not (self.locks or self.locking))

    @property
    def is_certain(self) -> bool:
        """The server has it, as far as its client can know."""
        return self.is_open and self.generation == self.client.generation and self.client.is_up

    def excludes(self, access: int, share: int) -> bool:
        """Another open with this access and sharing cannot be beside it."""
        return bool(_shares(access) & ~self.share or _shares(self.access) & ~share)

    def __repr__(self) -> str:
        return f"open {self.file_id.persistent:#x} of client {self.client.number} on {self.path}"


def _shares(access: int) -> int:
    """What others must share for this access ([MS-FSA] 2.1.5.1.2 Open of an Existing File)."""
    return (
        (fscc.FILE_SHARE_READ if access & (dtyp.FILE_READ_DATA | dtyp.FILE_EXECUTE) else 0)
        | (fscc.FILE_SHARE_WRITE if access & (dtyp.FILE_WRITE_DATA | dtyp.FILE_APPEND_DATA) else 0)
        | (fscc.FILE_SHARE_DELETE if access & dtyp.DELETE else 0)
    )


@dataclass(frozen=True)
class Dirty:
    """A cached write."""

    handle: Handle
    offset: int
    data: bytes
    op: Op
