"""Which parts of the data space lie on which tier: what the catalog stores of it, what the space is made of.

A volume without tiers stores no segments; its data space is a plain one. A volume that was made on a plain
space and gets tiers later begins with one segment, all that it had. Segments are only ever appended, the last
one may get longer; so a cluster stays where it is.

Format: docs/formats/catalog.md, table `segments`. Pure, but for telling the space its arrangement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from storage.errors import CatalogCorrupt
from storage.fs.allocator import Zone
from storage.fs.limits import CLUSTER_SHIFT
from storage.space.port import Space
from storage.tier.space import Segment, Tier, TieredSpace

Row = tuple[int, int, int]
"""(tier, at, length) of `segments`, in bytes."""


def settle(data: Space, rows: Sequence[Row], data_bytes: int) -> tuple[Segment, ...]:
    """The segments of a volume that is being mounted, with what its parts have grown; the space is arranged
    so. Empty: no tiers. Raises: CatalogCorrupt."""
    try:
        stored = tuple(Segment(Tier(tier), at, length) for tier, at, length in rows)
    except ValueError as error:
        raise CatalogCorrupt(f"a segment of the volume lies on an unknown tier: {error}") from error
    if not isinstance(data, TieredSpace):
        if stored:
            raise CatalogCorrupt("the volume has tiers, and one plain space was given for its data")
        return ()
    data.arrange(stored or (Segment(data.origin, 0, data_bytes >> CLUSTER_SHIFT << CLUSTER_SHIFT),))
    data.arrange(data.grown(data.segments))
    return data.segments


def zones(segments: Iterable[Segment]) -> tuple[Zone, ...]:
    """The clusters of each segment."""
    out: list[Zone] = []
    at = 0
    for tier, _, length in segments:
        end = at + (length >> CLUSTER_SHIFT)
        out.append(Zone(at, end, int(tier)))
        at = end
    return tuple(out)


def rows_of(segments: Iterable[Segment]) -> list[tuple[object, ...]]:
    """(id, tier, at, length) for the table."""
    return [(number, int(tier), at, length) for number, (tier, at, length) in enumerate(segments)]
