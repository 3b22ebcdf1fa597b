"""What the object store knows of a node that is, or was lately, open.

`NodeState` hangs on `Node.state`, so that it is found without a table and goes with the node. It has one
`StreamState` for the default stream (for a directory: for itself), one for each named stream in use, and
a `Link` for each name by which it is open. Sources: [MS-FSA] 2.1.1.4 Per File, 2.1.1.5 Per Link, 2.1.1.6
Per Stream; 2.1.5.1.2.2 Algorithm to Check Sharing Access to an Existing Stream or Directory.
Sharing counts only opens that read, write or delete; one that only looks at attributes does not take part.
Invariants: the counts of a StreamState are the sums over its `opens`. No I/O.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from smbproto import dtyp, fscc
from storage.fs.port import Node, Stream
from storage.objectstore.caching import Caching
from storage.objectstore.locks import LockTable

if TYPE_CHECKING:
    from storage.objectstore.file import OpenFile

READS: Final = dtyp.FILE_READ_DATA | dtyp.FILE_EXECUTE
WRITES: Final = dtyp.FILE_WRITE_DATA | dtyp.FILE_APPEND_DATA
SHARED: Final = READS | WRITES | dtyp.DELETE
"""An open with none of these neither conflicts nor is conflicted with."""


class Blocked(Exception):
    """An attempt met a break in progress; it is tried again when `state` is woken. Nothing was changed."""

    def __init__(self, state: StreamState) -> None:
        self.state = state


class Waiting(Protocol):
    """An operation that was Blocked."""

    def retry(self) -> None:
        """At once, in the order in which they came, before any later request is looked at."""
        ...


class Link:
    """A name by which a node is open. Renaming changes it in place, for every open that came by it."""

    __slots__ = ("delete_pending", "deleter_key", "directory", "is_gone", "name", "opens")

    def __init__(self, directory: Node | None, name: str) -> None:
        self.directory = directory
        self.name = name
        self.opens = 0
        self.delete_pending = False
        self.deleter_key = b""
        """The parent lease key of who marked it for deletion; none if several did, with different keys."""
        self.is_gone = False
        """The name was removed while it was open (POSIX-style delete, or it was replaced)."""


class StreamState:
    """`stream` is None for a directory itself."""

    __slots__ = (
        "caching",
        "delete_pending",
        "deleters",
        "locks",
        "node_state",
        "opens",
        "readers",
        "share_deletes",
        "share_reads",
        "share_writes",
        "sharers",
        "stream",
        "waiters",
        "writers",
    )

    def __init__(self, node_state: NodeState, stream: Stream | None) -> None:
        self.node_state = node_state
        self.stream = stream
        self.opens: list[OpenFile] = []
        self.caching: Caching | None = None
        self.locks: LockTable | None = None
        self.waiters: list[Waiting] = []
        self.delete_pending = False
        self.sharers = self.readers = self.writers = self.deleters = 0
        self.share_reads = self.share_writes = self.share_deletes = 0

    def conflicts(self, access: int, share: int) -> bool:
        """A new open of this stream with these would violate sharing."""
        count = self.sharers
        if not count or not access & SHARED:
            return False
        return bool(
            (access & READS and self.share_reads < count)
            or (access & WRITES and self.share_writes < count)
            or (access & dtyp.DELETE and self.share_deletes < count)
            or (self.readers and not share & fscc.FILE_SHARE_READ)
            or (self.writers and not share & fscc.FILE_SHARE_WRITE)
            or (self.deleters and not share & fscc.FILE_SHARE_DELETE)
        )

    def count(self, access: int, share: int, step: int) -> None:
        """Add (step 1) or remove (-1) an open's share."""
        if not access & SHARED:
            return
        self.sharers += step
        if access & READS:
            self.readers += step
        if access & WRITES:
            self.writers += step
        if access & dtyp.DELETE:
            self.deleters += step
        if share & fscc.FILE_SHARE_READ:
            self.share_reads += step
        if share & fscc.FILE_SHARE_WRITE:
            self.share_writes += step
        if share & fscc.FILE_SHARE_DELETE:
            self.share_deletes += step

    def wake(self) -> None:
        """Something that others wait for has ended: a break, an open."""
        if self.waiters:
            waiters, self.waiters = self.waiters, []
            for waiting in waiters:
                waiting.retry()


class NodeState:
    """See the module."""

    __slots__ = ("access", "inherited", "links", "main", "named", "node", "opens", "security", "watchers")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.main = StreamState(self, node.data)
        self.named: dict[Stream, StreamState] = {}
        self.links: list[Link] = []
        self.opens = 0
        self.security: bytes | None = None
        self.access: dict[int, tuple[object, int]] = {}
        """By identity of the token, which is kept so that the identity stays its own."""
        self.inherited: dict[tuple[int, bool], tuple[object, bytes]] = {}
        """Descriptors that new children without one of their own get, by token and kind."""
        self.watchers: list[OpenFile] = []

    def of(self, stream: Stream | None) -> StreamState:
        if stream is None or stream is self.main.stream:
            return self.main
        state = self.named.get(stream)
        if state is None:
            state = self.named[stream] = StreamState(self, stream)
        return state

    def all_streams(self) -> list[StreamState]:
        return [self.main, *self.named.values()] if self.named else [self.main]

    def deletion_conflicts(self, mine: StreamState, access: int, share: int) -> bool:
        """Deleting a file takes its streams along: DELETE on the file and the sharing of its streams'
        opens meet."""
        if mine is self.main:
            if not access & dtyp.DELETE:
                return False
            return any(s.share_deletes < s.sharers for s in self.named.values())
        return bool(self.main.deleters and not share & fscc.FILE_SHARE_DELETE and access & SHARED)


def state_of(node: Node) -> NodeState:
    state = node.state
    if state is None:
        state = node.state = NodeState(node)
    assert isinstance(state, NodeState)
    return state
