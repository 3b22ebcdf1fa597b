"""What the catalog keeps with each node, stream and held directory in memory (`Node.private`,
`Stream.private`).

Owner: the catalog file system; nothing else looks inside.
"""

from __future__ import annotations

from typing import Any

from storage.fs.extents import ExtentMap
from storage.fs.port import Stream
from storage.runtime import Event
from storage.space.port import Space

HAS_EAS = 1
HAS_REPARSE = 2
HAS_OBJECT_ID = 4
HAS_STREAMS = 8
HAS_HARDLINKS = 16
"""`hardlinks` has rows for the node beside the name in its own row."""

ATTRIBUTE_DIRECTORY = 0x10
ATTRIBUTE_SPARSE = 0x200
ATTRIBUTE_REPARSE = 0x400


class NodeState:
    """`names` (directories): fold -> (name, child) of the entries in memory; all of them if `complete`.
    `order` is the sorted folds of a complete directory, or None until a listing needs it. `parent`, `fold`:
    one name that leads here (parent 0: none); `more_names`: the others, None until loaded. `changed_at`:
    the change after which a flush must wait for a commit. `is_stored`: the catalog has a row of it."""

    __slots__ = (
        "changed_at",
        "complete",
        "fold",
        "has",
        "holds",
        "is_stored",
        "misses",
        "more_names",
        "names",
        "order",
        "parent",
        "recent",
        "security",
        "streams",
    )

    def __init__(self, security: int, parent: int, fold: str) -> None:
        self.holds = 0
        self.changed_at = 0
        self.is_stored = False
        self.recent = True
        self.security = security
        self.has = 0
        self.parent = parent
        self.fold = fold
        self.more_names: set[tuple[int, str]] | None = None
        self.streams: dict[str, Stream] | None = None
        self.names: dict[str, tuple[str, int]] = _NONE
        self.complete = False
        self.order: list[str] | None = None
        self.misses = 0


_NONE: dict[str, tuple[str, int]] = {}
"""The names of a file, and of a directory of which none is in memory; never written to."""


_NO_SPACE: Any = None
"""Before the first run is remembered; never looked into."""
_NO_TALLY: list[int] = []


class StreamState:
    """`begin`..`end` (bytes of the stream) lie in one DATA run at `delta` bytes further in the space;
    `writable` if they may be overwritten in place. `busy`: an operation that waits is changing the stream;
    the next ones queue in `waiters`. `ahead`: (first cluster, count) kept back behind the end.
    `is_removed`: the stream was removed while somebody was busy with it. `space`: what
    `delta` leads to, the tier's own space if there are tiers; `tally` counts for that tier (placement.py).
    `stamp` grows with each change of its bytes, runs or sizes. `burst_clusters`, `burst_at`: how many
    clusters were asked for at once lately, and when."""

    __slots__ = (
        "ahead",
        "begin",
        "burst_at",
        "burst_clusters",
        "busy",
        "delta",
        "end",
        "extents",
        "id",
        "is_removed",
        "space",
        "stamp",
        "tally",
        "waiters",
        "writable",
    )

    def __init__(self, stream_id: int) -> None:
        self.id = stream_id
        self.extents: ExtentMap | None = None
        self.is_removed = False
        self.busy = False
        self.waiters: list[Event] = []
        self.ahead: tuple[int, int] = (0, 0)
        self.begin = 0
        self.end = 0
        self.delta = 0
        self.writable = False
        self.space: Space = _NO_SPACE
        self.tally: list[int] = _NO_TALLY
        self.stamp = 0
        self.burst_clusters = 0
        self.burst_at = 0.0

    def gone(self) -> bool:
        return self.is_removed
