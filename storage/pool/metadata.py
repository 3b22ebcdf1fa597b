"""What a pool knows about itself: disks and their states, spaces, the slab map, jobs.

State is changed only by records (`apply`), and a snapshot is the records that build it up from nothing, so
there is one codec (storage/pool/codec.py). Rows of the slab map are kept packed, 8 bytes a copy (disk u16,
flags u16, slab u32; column by column): a 1 PiB two-way mirror of 256 MiB slabs is 4 million rows, some 110
MiB on disk, and a change costs one record of 27 bytes, in one 4 KiB block a disk
(docs/formats/pool-metadata.md).

    row, packed:  | column 0: copy, copy, joining | column 1: copy, copy | ...

A copy whose flag JOINING is set belongs to the column of the copy before it, and comes on top of the number
that the resiliency wants: the slab that will take the place of another one (storage/pool/moves.py).

Invariants (checked by `check`): a slab belongs to at most one row; the copies of a column are on different
disks, and so are all columns of a parity row; each disk and slab number exists; space names are unique; a
part has a parent. Owner: Pool. No I/O.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import Final, NamedTuple

from storage.errors import LabelCorrupt
from storage.space.resiliency import Provisioning, ResiliencyKind, resiliency_of

COPY: Final = struct.Struct("<HHI")
STALE: Final = 1
JOINING: Final = 2
NAME_MAX_BYTES: Final = 255
VERSION_NEWEST: Final = 2
"""Of a pool. 1: simple and two-way mirror, disks as they came; 2: everything else here."""


class DiskState(IntEnum):
    """On-disk numbers. Only an OK disk votes; only its copies are used."""

    OK = 0
    LOST = 1
    FAILED = 2


class MediaType(IntEnum):
    """[Get-PhysicalDisk] MediaType."""

    UNSPECIFIED = 0
    HDD = 3
    SSD = 4
    SCM = 5


class Usage(IntEnum):
    """[Set-PhysicalDisk] Usage."""

    AUTO_SELECT = 1
    MANUAL_SELECT = 2
    HOT_SPARE = 3
    RETIRED = 4
    JOURNAL = 5


class DiskFlags(IntFlag):
    """On-disk bits. MAINTENANCE: out on purpose, and awaited back."""

    NONE = 0
    MAINTENANCE = 1


class Awareness(IntEnum):
    """[New-VirtualDisk] FaultDomainAwareness: what may fail without taking more than one copy with it. NODE
    is
    Windows' storage scale unit."""

    DISK = 1
    NODE = 3
    CHASSIS = 4
    RACK = 5


class MediaRule(IntEnum):
    """On-disk numbers. Of a space: which disks may hold it. PREFER: that medium or a faster one, while there
    is room."""

    ANY = 0
    REQUIRE = 1
    PREFER = 2


class RetireMissing(IntEnum):
    """[Set-StoragePool] RetireMissingPhysicalDisks."""

    AUTO = 1
    ALWAYS = 2
    NEVER = 3


class CopyRecord(NamedTuple):
    disk: int
    slab: int
    stale: bool = False
    joining: bool = False


@dataclass(frozen=True, slots=True)
class PoolRecord:
    """`next_disk` 0: one above the highest number there is (version 1)."""

    pool_id: bytes
    slab_bytes: int
    next_space_id: int
    name: str
    version: int = 1
    next_disk: int = 0
    next_job: int = 1
    thin_alert_percent: int = 70
    retire_missing: RetireMissing = RetireMissing.AUTO
    retire_delay_s: int = 300
    repair_queue_depth: int = 4


@dataclass(frozen=True, slots=True)
class DiskRecord:
    """`fault_domain`: a path rack/chassis/node, or its end; disks of one path fail together. Empty: this
    node's
    own."""

    number: int
    disk_id: bytes
    size_bytes: int
    slab_count: int
    state: DiskState
    name: str
    fault_domain: str = ""
    media: MediaType = MediaType.UNSPECIFIED
    usage: Usage = Usage.AUTO_SELECT
    flags: DiskFlags = DiskFlags.NONE


@dataclass(frozen=True, slots=True)
class SpaceRecord:
    """`columns` counts parity columns too. `parent`: the id of the space that this one is a part of; 0: none.
    `groups`: of local reconstruction codes; 0 today."""

    space_id: int
    kind: ResiliencyKind
    copies: int
    columns: int
    provisioning: Provisioning
    interleave_bytes: int
    size_bytes: int
    name: str
    parity_columns: int = 0
    groups: int = 0
    parent: int = 0
    media: MediaType = MediaType.UNSPECIFIED
    media_rule: MediaRule = MediaRule.ANY
    awareness: Awareness = Awareness.DISK

    @property
    def tolerance(self) -> int:
        """Fault domains that may be lost at once."""
        return self.copies - 1 + self.parity_columns

    @property
    def data_columns(self) -> int:
        return self.columns - self.parity_columns


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A long work that goes on after a crash. `kind`, `state` and `checkpoint` are the job runner's own
    (storage/pool/jobs); `target`: a space's id or a disk's number, as the kind wants it."""

    job_id: int
    kind: int
    target: int | None
    state: int
    checkpoint: bytes = b""


@dataclass(frozen=True, slots=True)
class DropSpaceRecord:
    space_id: int


@dataclass(frozen=True, slots=True)
class DropDiskRecord:
    number: int


@dataclass(frozen=True, slots=True)
class DropJobRecord:
    job_id: int


@dataclass(frozen=True, slots=True)
class RowRecord:
    space_id: int
    row: int
    packed: bytes


@dataclass(frozen=True, slots=True)
class DropRowRecord:
    space_id: int
    row: int


Record = (
    PoolRecord
    | DiskRecord
    | SpaceRecord
    | JobRecord
    | DropSpaceRecord
    | DropDiskRecord
    | DropJobRecord
    | RowRecord
    | DropRowRecord
)


def pack_copies(copies: list[CopyRecord]) -> bytes:
    return b"".join(COPY.pack(disk, stale | joining << 1, slab) for disk, slab, stale, joining in copies)


def unpack_copies(packed: bytes) -> list[CopyRecord]:
    return [
        CopyRecord(disk, slab, bool(flags & STALE), bool(flags & JOINING))
        for disk, flags, slab in COPY.iter_unpack(packed)
    ]


@dataclass(slots=True)
class SpaceState:
    record: SpaceRecord
    rows: dict[int, bytes] = field(default_factory=dict)
    stale_rows: set[int] = field(default_factory=set)
    """Rows with a stale copy; one that joins doesn't count."""
    joining_rows: set[int] = field(default_factory=set)
    changes: int = field(default=0, compare=False)
    """Of the rows, since the pool was opened."""

    def put_row(self, row: int, packed: bytes) -> None:
        self.changes += 1
        self.rows[row] = packed
        every = [flags for _, flags, _ in COPY.iter_unpack(packed) if flags]
        (self.stale_rows.add if STALE in every else self.stale_rows.discard)(row)
        (self.joining_rows.add if any(one & JOINING for one in every) else self.joining_rows.discard)(row)

    def drop_row(self, row: int) -> None:
        self.changes += 1
        del self.rows[row]
        self.stale_rows.discard(row)
        self.joining_rows.discard(row)

    def columns(self, row: int) -> list[list[CopyRecord]] | None:
        """The copies of each column of a row, those that join last; None if it isn't allocated."""
        packed = self.rows.get(row)
        if packed is None:
            return None
        flat, each = unpack_copies(packed), self.record.copies
        if row not in self.joining_rows:
            return [flat[at : at + each] for at in range(0, len(flat), each)]
        columns: list[list[CopyRecord]] = []
        regular = 0
        for copy in flat:
            if not copy.joining:
                if regular % each == 0:
                    columns.append([])
                regular += 1
            columns[-1].append(copy)
        return columns

    def drop_joining(self) -> None:
        """Forget the copies that were about to join: after a crash nobody fills them."""
        for row in list(self.joining_rows):
            kept = [copy for copy in unpack_copies(self.rows[row]) if not copy.joining]
            self.put_row(row, pack_copies(kept))


@dataclass(slots=True)
class PoolState:
    pool: PoolRecord
    disks: dict[int, DiskRecord] = field(default_factory=dict)
    spaces: dict[int, SpaceState] = field(default_factory=dict)
    jobs: dict[int, JobRecord] = field(default_factory=dict)

    def apply(self, record: Record) -> None:
        match record:
            case RowRecord():
                self.spaces[record.space_id].put_row(record.row, record.packed)
            case DropRowRecord():
                self.spaces[record.space_id].drop_row(record.row)
            case DiskRecord():
                self.disks[record.number] = record
            case SpaceRecord():
                known = self.spaces.get(record.space_id)
                if known is None:
                    self.spaces[record.space_id] = SpaceState(record)
                else:
                    known.record = record
            case JobRecord():
                self.jobs[record.job_id] = record
            case DropSpaceRecord():
                del self.spaces[record.space_id]
            case DropDiskRecord():
                del self.disks[record.number]
            case DropJobRecord():
                del self.jobs[record.job_id]
            case PoolRecord():
                self.pool = record

    def records(self) -> Iterator[Record]:
        """A snapshot: the records that make this state."""
        yield self.pool
        yield from self.disks.values()
        for space_id, space in self.spaces.items():
            yield space.record
            for row, packed in space.rows.items():
                yield RowRecord(space_id, row, packed)
        yield from self.jobs.values()

    def slabs(self) -> Iterator[tuple[int, int, CopyRecord]]:
        """(space id, row, copy) of each allotted slab."""
        for space_id, space in self.spaces.items():
            for row, packed in space.rows.items():
                for copy in unpack_copies(packed):
                    yield space_id, row, copy

    def next_disk(self) -> int:
        return max(self.pool.next_disk, max(self.disks, default=-1) + 1)

    def check(self) -> None:
        """Raises LabelCorrupt if the invariants don't hold; for metadata that was just read."""
        names = [space.record.name for space in self.spaces.values()]
        if len(set(names)) != len(names):
            raise LabelCorrupt("pool metadata: two spaces have one name")
        taken: set[tuple[int, int]] = set()
        for space_id, space in self.spaces.items():
            if space.record.parent and space.record.parent not in self.spaces:
                raise LabelCorrupt(f"pool metadata: space {space_id} is a part of nothing")
            kind = space.record.kind, space.record.copies, space.record.parity_columns
            try:
                resiliency_of(*kind)
            except ValueError as error:
                raise LabelCorrupt(f"pool metadata: space {space_id}: {error}") from error
            for row in space.rows:
                self._check_row(space, row, taken)

    def _check_row(self, space: SpaceState, row: int, taken: set[tuple[int, int]]) -> None:
        record = space.record
        where = f"pool metadata: space {record.space_id} row {row}"
        flat = unpack_copies(space.rows[row])
        regular = sum(1 for copy in flat if not copy.joining)
        if regular != record.columns * record.copies or flat[0].joining:
            raise LabelCorrupt(f"{where} has {len(space.rows[row])} bytes of copies")
        for copy in flat:
            disk = self.disks.get(copy.disk)
            if disk is None or copy.slab >= disk.slab_count:
                raise LabelCorrupt(f"{where} names slab {copy.slab} of disk {copy.disk}, which isn't there")
            if (copy.disk, copy.slab) in taken:
                raise LabelCorrupt(f"{where}: slab {copy.slab} of disk {copy.disk} is allotted twice")
            taken.add((copy.disk, copy.slab))
        is_parity = record.kind is ResiliencyKind.PARITY
        for apart in [flat] if is_parity else space.columns(row) or []:
            disks = [copy.disk for copy in apart]
            if len(set(disks)) != len(disks):
                twice = next(disk for disk in disks if disks.count(disk) > 1)
                what = "two columns of a row" if is_parity else "two copies of a column"
                raise LabelCorrupt(f"{where}: {what} on disk {twice}")
