"""What a space is made of: the space, its journal and its checksums; and the whole that users see.

    v/data          as asked                                            `WriteBackCache`  <- what
    `Pool.space` gives
    v/data#journal  mirror of tolerance + 1 copies, fixed, fast disks        |   \\
    v/data#checks   (parity) mirror of tolerance + 1 copies, thin       machine   journal

A simple or mirror space without a journal is its machine, and nothing lies between. Parts are spaces of their
own in the pool's map, with `SpaceRecord.parent`. Sizes: docs/design-spaces.md; New-VirtualDisk
-WriteCacheSize (auto: 1 GiB if there are enough Journal or faster disks, otherwise 32 MiB for parity, else
none). Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from storage.cache.limits import CacheLimits
from storage.pool.metadata import (
    Awareness,
    DiskRecord,
    MediaRule,
    MediaType,
    SpaceRecord,
    Usage,
)
from storage.space.parity.map import ParityMap
from storage.space.resiliency import Provisioning, Resiliency, ResiliencyKind

JOURNAL: Final = "#journal"
CHECKS: Final = "#checks"
INTERLEAVE_BYTES_DEFAULT: Final = 256 << 10
JOURNAL_AUTO_BYTES: Final = 1 << 30
JOURNAL_AUTO_MIN_BYTES: Final = 32 << 20
JOURNAL_PARITY_BYTES: Final = 32 << 20
JOURNAL_MIN_BYTES: Final = 1 << 20
STRIPES_MIN: Final = 12
SHARE_MAX: Final = 8
"""An automatic journal takes at most 1/8 of what is free on its disks."""


def journal_auto_bytes(
    kind: Resiliency, disks: Sequence[DiskRecord], free_bytes: dict[int, int], least: int
) -> int:
    """0: none. `disks` are those there; `free_bytes` by number; `least` as `journal_least_bytes` says."""
    copies = kind.tolerance + 1
    fast = [disk for disk in disks if disk.usage is Usage.JOURNAL]
    if not fast and len({disk.media for disk in disks if disk.media is not MediaType.UNSPECIFIED}) > 1:
        slowest = min(disk.media for disk in disks if disk.media is not MediaType.UNSPECIFIED)
        fast = [disk for disk in disks if disk.media > slowest]
    if len(fast) >= copies:
        room = sum(free_bytes.get(disk.number, 0) for disk in fast) // copies // SHARE_MAX
        size = min(JOURNAL_AUTO_BYTES, room)
        if size >= JOURNAL_AUTO_MIN_BYTES:
            return size
    if kind.kind is not ResiliencyKind.PARITY:
        return 0
    room = sum(free_bytes.values()) // copies // SHARE_MAX
    return max(min(JOURNAL_PARITY_BYTES, room), least)


def interleave_default(strategy: Resiliency) -> int:
    """Of parity a quarter of the others', a cluster of the file system: most bulk writes are whole
    stripes."""
    return INTERLEAVE_BYTES_DEFAULT // 4 if strategy.parity_columns else INTERLEAVE_BYTES_DEFAULT


def journal_least_bytes(record: SpaceRecord) -> int:
    """A parity journal redoes whole stripes, out of a quarter of it."""
    if record.kind is not ResiliencyKind.PARITY:
        return JOURNAL_MIN_BYTES
    return max(2 * JOURNAL_MIN_BYTES, STRIPES_MIN * record.data_columns * record.interleave_bytes)


def cache_limits(journal_bytes: int, stripe_bytes: int) -> CacheLimits:
    """Batches that a small journal can redo."""
    usual = CacheLimits()
    share = journal_bytes // STRIPES_MIN
    return replace(usual, batch_bytes=max(stripe_bytes, min(usual.batch_bytes, share)))


def part_records(
    record: SpaceRecord, next_id: int, slab_bytes: int, journal_bytes: int
) -> list[SpaceRecord]:
    """The parts of a new space, ids from `next_id` on."""
    copies = record.tolerance + 1
    kind = ResiliencyKind.MIRROR if copies > 1 else ResiliencyKind.SIMPLE
    interleave = min(INTERLEAVE_BYTES_DEFAULT, slab_bytes)
    found: list[SpaceRecord] = []

    def part(suffix: str, size: int, provisioning: Provisioning) -> None:
        found.append(
            SpaceRecord(
                next_id + len(found),
                kind,
                copies,
                1,
                provisioning,
                interleave,
                size,
                record.name + suffix,
                parent=record.space_id,
                media=MediaType.SSD,
                media_rule=MediaRule.PREFER,
                awareness=Awareness(record.awareness),
            )
        )

    if record.kind is ResiliencyKind.PARITY:
        part(CHECKS, truth_bytes(record, slab_bytes), Provisioning.THIN)
    if journal_bytes:
        part(JOURNAL, -(-journal_bytes // slab_bytes) * slab_bytes, Provisioning.FIXED)
    return found


def truth_bytes(record: SpaceRecord, slab_bytes: int) -> int:
    """Size of a parity space's checksums."""
    stripes = ParityMap(record.columns, record.parity_columns, record.interleave_bytes, slab_bytes)
    return stripes.truth_bytes(record.size_bytes)
