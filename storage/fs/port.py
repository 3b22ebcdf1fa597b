"""Port: a file system, as the object store sees it: names, nodes, streams, bytes. It stores; it decides
nothing.

Implementations: `storage/fs/catalog` (SQLite catalog and extents over spaces), `storage/hostfs` (a directory
of the host), `tests/suites` runs over both. Whether an open may succeed, share modes, locks, leases, access
checks, inheritance and timestamp rules are the object store's alone; the file system keeps what it is told.

Threading and waiting: metadata methods are plain `def` and answer at once from memory or the page cache. Data
methods come in two forms: `*_now` never waits and says False when it would have to; the `async` twin then
does it.

Durability: a change is visible at once. It is durable after `flush(node)` (that node: data, metadata and the
names that lead to it) or `sync()` returned, or a short time later by itself. After a crash the file system is
as it was at some moment not earlier than the last flush; never metadata that exposes bytes which were not
written.

Names are as the client gave them (str, no surrogate check here: a lone surrogate is kept); comparison folds
with the volume's upcase table. Times are FILETIME (100 ns since 1601). Sizes and offsets are bytes.

Raises: StorageError subclasses (VolumeFull when no cluster is left, BlockCorrupt ...), never StatusError.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, NewType, Protocol

from storage.units import FileOffset

NodeId = NewType("NodeId", int)
"""64-bit file id: unique in the volume, stable over rename, equal for hard links, never 0, never reused for
another file."""


@dataclass(slots=True, eq=False)
class Stream:
    """One data stream. `name` is "" for the default one. A directory has no default stream but may have
    named ones.

    `size_bytes` is end of file; `valid_bytes` (<= size) is where never-written bytes begin, which read as
    zeros;
    `allocated_bytes` is what the stream takes on the volume, a multiple of the cluster size.
    `private` belongs to the file system that made it.
    """

    node: Node
    name: str
    size_bytes: int = 0
    valid_bytes: int = 0
    allocated_bytes: int = 0
    private: object = None


@dataclass(slots=True, eq=False)
class Node:
    """One file or directory. There is exactly one Node object per file while anyone holds it (`hold`), so
    that the object
    store may hang its own state on `state`. Assign to the fields below, then call `FileSystem.changed(node)`.
    """

    id: NodeId
    attributes: int
    """FILE_ATTRIBUTE_*; DIRECTORY, REPARSE_POINT, SPARSE_FILE are kept in step by the file system."""
    created: int
    accessed: int
    written: int
    changed_time: int
    links: int = 1
    reparse_tag: int = 0
    ea_bytes: int = 0
    """EaSize as FileEaInformation gives it; 0 without EAs."""
    data: Stream | None = None
    """The default stream; None for a directory."""
    state: object = None
    """Belongs to the object store."""
    private: object = None
    """Belongs to the file system."""
    extra: dict[str, object] = field(default_factory=dict)


class Entry(NamedTuple):
    """A name in a directory, as stored, and what it leads to."""

    name: str
    node: Node


@dataclass(frozen=True, slots=True)
class ExtendedAttribute:
    """One EA. `name` is kept in the case it was given; compared without case. `flags`: FILE_NEED_EA
    (0x80)."""

    name: bytes
    value: bytes
    flags: int = 0


@dataclass(frozen=True, slots=True)
class VolumeUsage:
    """Bytes, and what never changes in the life of a volume. Of a thin volume less may be free than isn't
    used: what its pool has left."""

    total_bytes: int
    used_bytes: int
    free_bytes: int
    cluster_bytes: int
    sector_bytes: int


@dataclass(frozen=True, slots=True)
class VolumeIdentity:
    """`features`: FILE_SUPPORTS_* and the like of [MS-FSCC] 2.5.1 FileFsAttributeInformation; advertise only
    what works."""

    label: str
    serial: int
    created: int
    features: int
    object_id: bytes
    component_max: int = 255


class QuotaRecord(NamedTuple):
    """What one owner uses and may use. `sid` in binary form; bytes, -1: no limit; `changed` is FILETIME."""

    sid: bytes
    used_bytes: int
    threshold_bytes: int
    limit_bytes: int
    changed: int


class QuotaControl(NamedTuple):
    """The volume's own: FILE_VC_* flags of [MS-FSCC] 2.5.2 FileFsControlInformation, and what an owner has
    who was given no limits of his own. Bytes, -1: no limit."""

    flags: int
    threshold_bytes: int
    limit_bytes: int


class QuotaBook(Protocol):
    """A volume's quotas. Bytes are charged to the owners of files by the file system itself, which raises
    QuotaExceeded for what would go beyond an enforced limit."""

    @property
    def control(self) -> QuotaControl: ...
    def set_control(self, control: QuotaControl) -> None: ...
    def records(self) -> list[QuotaRecord]:
        """All, in the order of their SIDs' bytes."""
        ...

    def record(self, sid: bytes) -> QuotaRecord | None: ...
    def set_limits(self, sid: bytes, threshold_bytes: int, limit_bytes: int, now: int) -> None: ...
    def forget(self, sid: bytes) -> bool:
        """The owner has the volume's limits again. False: there is no such entry."""
        ...


class FileSystem(Protocol):
    """What the object store may ask. See the module for durability, waiting and errors."""

    @property
    def identity(self) -> VolumeIdentity: ...
    @property
    def quotas(self) -> QuotaBook | None:
        """None: this file system keeps none."""
        ...

    def usage(self) -> VolumeUsage: ...
    def fold(self, name: str) -> str:
        """`name` upper-cased by the volume's table; two names are the same iff their folds are equal."""
        ...

    # names
    # -----------------------------------------------------------------------------------------------------
    def root(self) -> Node: ...
    def lookup(self, directory: Node, name: str) -> Entry | None:
        """The entry whose name equals `name` without case. "." and ".." are not entries."""
        ...

    def node(self, node_id: NodeId) -> Node | None: ...
    def names(self, node: Node) -> list[tuple[Node, str]]:
        """Every (directory, name) that leads to the node; empty for the root and for an unlinked node."""
        ...

    def entries(self, directory: Node, after: str | None, limit: int) -> list[Entry]:
        """Up to `limit` entries in the order of their folded names, from the first whose fold is >
        `fold(after)`
        (all if None), without "." and "..". Nodes are loaded, so that a listing needs no further calls."""
        ...

    def is_empty(self, directory: Node) -> bool: ...

    def make(
        self, directory: Node, name: str, *, is_directory: bool, attributes: int, now: int, security: bytes
    ) -> Node:
        """Create an empty file or directory with all four times `now` and link it. The name must be free."""
        ...

    def link(self, node: Node, directory: Node, name: str) -> None: ...
    def unlink(self, directory: Node, name: str) -> None:
        """Remove the name. A node without names lives on, nameless, until the last `drop`, then its space is
        freed; a
        crash frees it too."""
        ...

    def rename(self, directory: Node, name: str, to_directory: Node, to_name: str) -> None:
        """Move one name, atomically replacing a file of the new name if there is one (which loses that
        name)."""
        ...

    # nodes
    # -----------------------------------------------------------------------------------------------------
    def hold(self, node: Node) -> None:
        """One more user of the object: it stays the only Node of its id, and its space stays, until
        `drop`."""
        ...

    def drop(self, node: Node) -> None: ...
    def changed(self, node: Node) -> None:
        """The caller assigned to attributes or times of the node."""
        ...

    def security(self, node: Node) -> bytes:
        """The self-relative security descriptor last set; b"" if there never was one (hostfs)."""
        ...

    def set_security(self, node: Node, descriptor: bytes) -> None: ...
    def eas(self, node: Node) -> list[ExtendedAttribute]: ...
    def set_eas(self, node: Node, eas: Sequence[ExtendedAttribute]) -> None:
        """Replace the whole list; updates `node.ea_bytes`."""
        ...

    def reparse(self, node: Node) -> bytes:
        """The REPARSE_DATA_BUFFER (header included) of [MS-FSCC] 2.1.2; b"" if there is none."""
        ...

    def set_reparse(self, node: Node, tag: int, buffer: bytes) -> None:
        """tag 0 removes it. Keeps FILE_ATTRIBUTE_REPARSE_POINT and `reparse_tag` in step."""
        ...

    def object_id(self, node: Node) -> bytes:
        """64 bytes (FILE_OBJECTID_BUFFER) or b""."""
        ...

    def set_object_id(self, node: Node, object_id: bytes) -> None: ...
    def find_object_id(self, object_id: bytes) -> Node | None:
        """By the first 16 bytes."""
        ...

    # streams
    # ---------------------------------------------------------------------------------------------------
    def streams(self, node: Node) -> list[Stream]:
        """The default stream first (for files), then the named ones in order of name."""
        ...

    def stream(self, node: Node, name: str) -> Stream | None:
        """By name without case; "" is the default stream. The same object while the node is held."""
        ...

    def make_stream(self, node: Node, name: str) -> Stream: ...
    def remove_stream(self, stream: Stream) -> None: ...
    def rename_stream(self, stream: Stream, name: str) -> None: ...

    # bytes
    # -----------------------------------------------------------------------------------------------------
    def read_now(self, stream: Stream, offset: FileOffset, into: memoryview) -> bool:
        """Fill `into` from `offset`; the range lies wholly below `size_bytes`. Holes and what lies past
        `valid_bytes`
        are zeros. False: await `read`."""
        ...

    async def read(self, stream: Stream, offset: FileOffset, into: memoryview) -> None: ...
    def write_now(self, stream: Stream, offset: FileOffset, data: memoryview) -> bool:
        """Write, extending size and allocation as needed; a gap reads as zeros. True: done. False: await
        `write`.
        Raises VolumeFull with nothing changed that a reader could see."""
        ...

    async def write(self, stream: Stream, offset: FileOffset, data: memoryview) -> None: ...
    async def set_size(self, stream: Stream, size_bytes: int) -> None:
        """Truncate, or extend with zeros (allocation grows with it unless the node is sparse)."""
        ...

    async def set_allocation(self, stream: Stream, allocated_bytes: int) -> None:
        """Reserve or give back clusters, rounded up; below `size_bytes` it truncates ([MS-FSA] 2.1.5.15.1
        FileAllocationInformation)."""
        ...

    async def set_valid(self, stream: Stream, valid_bytes: int) -> None:
        """Only upwards; what was between reads as zeros."""
        ...

    async def zero(self, stream: Stream, offset: FileOffset, length: int) -> None:
        """The range, clipped to the size, reads as zeros; whole clusters in it are given back if the node is
        sparse."""
        ...

    async def trim(self, stream: Stream, offset: FileOffset, length: int) -> None:
        """As `zero`, and the clusters wholly inside go back whether sparse or not ([MS-FSCC] 2.3.73
        FSCTL_FILE_LEVEL_TRIM)."""
        ...

    def allocated_ranges(self, stream: Stream, offset: FileOffset, length: int) -> list[tuple[int, int]]:
        """(offset, length) of the ranges that may hold other than zeros, in order, clipped to the asked
        range and the size."""
        ...

    async def clone(
        self,
        source: Stream,
        source_offset: FileOffset,
        target: Stream,
        target_offset: FileOffset,
        length: int,
    ) -> bool:
        """Share the clusters of a cluster-aligned range. False if this file system cannot; the caller then
        copies."""
        ...

    async def flush(self, node: Node) -> None: ...
    async def sync(self) -> None: ...
    async def close(self) -> None:
        """Make all durable and let go of what lies below."""
        ...
