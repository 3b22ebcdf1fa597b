"""A space of two tiers: pieces of a fast and of a slow space, one behind the other.

    SpaceOffset  0                  a                         b            c
                 +------------------+-------------------------+------------+
    segments     | fast, 0 .. a     | slow, 0 .. b-a          | fast, a .. |   ... one more for each growth
                 +------------------+-------------------------+------------+

As Windows lays out a tiered volume: the fast tier's clusters first. A segment never moves, so what the file
system stored stays where it is; a part that grew gets a further segment. Which segments there are is the
catalog's fact (docs/formats/catalog.md); `arrange` says it to the space before anything is read.

It must not decide what lies where: that is the allocator's and the mover's (storage/fs).
Units: bytes. Owner: whoever mounts the volume. Not covered: more than one space a tier."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from storage.errors import CatalogCorrupt
from storage.space.port import Space, SpaceUsage
from storage.units import SpaceOffset

GRANULE_BYTES: Final = 65_536
"""Segments begin and end at multiples of this: the file system's cluster."""


class Tier(IntEnum):
    """In the order of preference for what is used much."""

    FAST = 0
    SLOW = 1


class Segment(NamedTuple):
    """`length` bytes of the tier's space from `at` on."""

    tier: Tier
    at: int
    length: int


class _Place(NamedTuple):
    """Where a segment begins and ends here; `delta` leads to its own space."""

    first: int
    end: int
    delta: int
    space: Space


class TieredSpace:
    """`storage.space.port.Space` over a space for each tier."""

    def __init__(
        self, parts: Mapping[Tier, Space], segments: Sequence[Segment] = (), origin: Tier = Tier.SLOW
    ) -> None:
        """Without `segments`: all of the fast space, then all of the slow one. `origin`: the tier whose space
        was the volume's only one, should it have been made without tiers."""
        if not parts:
            raise ValueError("a tiered space needs at least one space")
        self.origin = origin
        self._parts = dict(sorted(parts.items()))
        self._places: list[_Place] = []
        self._first: list[int] = []
        self.segments: tuple[Segment, ...] = ()
        self.arrange(segments or self.grown(()))

    # what it is made of -----------------------------------------------------------------------------
    def part(self, tier: Tier) -> Space | None:
        return self._parts.get(tier)

    def grown(self, segments: Sequence[Segment]) -> tuple[Segment, ...]:
        """The segments, and behind them what the parts have beyond these."""
        out = list(segments)
        for tier, space in self._parts.items():
            covered = max((s.at + s.length for s in segments if s.tier == tier), default=0)
            more = space.size_bytes // GRANULE_BYTES * GRANULE_BYTES - covered
            if more <= 0:
                continue
            if out and out[-1].tier == tier and out[-1].at + out[-1].length == covered:
                out[-1] = Segment(tier, out[-1].at, out[-1].length + more)
            else:
                out.append(Segment(tier, covered, more))
        return tuple(out)

    def arrange(self, segments: Sequence[Segment]) -> None:
        """From now on these are the segments. Raises: CatalogCorrupt if the parts do not have them."""
        places: list[_Place] = []
        at = 0
        for tier, inner, length in segments:
            space = self._parts.get(tier)
            if space is None:
                raise CatalogCorrupt(f"the volume lies on a {tier.name.lower()} tier, which is not there")
            if length <= 0 or inner < 0 or (inner | length) % GRANULE_BYTES:
                raise CatalogCorrupt(f"a segment of {length} bytes at {inner} of a tier is impossible")
            if inner + length > space.size_bytes:
                raise CatalogCorrupt(
                    f"the {tier.name.lower()} tier has {space.size_bytes} bytes; "
                    f"the volume was made on {inner + length} at least"
                )
            places.append(_Place(at, at + length, at - inner, space))
            at += length
        self.segments = tuple(segments)
        self._places = places
        self._first = [place.first for place in places]

    @property
    def size_bytes(self) -> int:
        return self._places[-1].end if self._places else 0

    def usage(self) -> SpaceUsage:
        """The sums. The tiers' spaces draw from different disks, so what is available adds up."""
        parts = [space.usage() for space in self._parts.values()]
        return SpaceUsage(
            self.size_bytes,
            sum(part.allocated_bytes for part in parts),
            sum(part.available_bytes for part in parts),
            sum(part.footprint_bytes for part in parts),
            min((part.row_bytes for part in parts if part.row_bytes), default=0),
        )

    def _pieces(self, offset: int, length: int) -> Iterator[tuple[Space, SpaceOffset, int, int]]:
        """(space, its offset, low, high): the range cut at the borders of segments."""
        index = bisect_right(self._first, offset) - 1
        low = 0
        while low < length:
            if not 0 <= index < len(self._places):
                raise ValueError(f"{length} bytes at {offset} lie outside a space of {self.size_bytes}")
            place = self._places[index]
            high = min(length, place.end - offset)
            yield place.space, SpaceOffset(offset + low - place.delta), low, high
            low = high
            index += 1

    def _whole(self, offset: int, length: int) -> _Place | None:
        """The one segment that holds the range."""
        place = self._places[bisect_right(self._first, offset) - 1]
        return place if offset + length <= place.end else None

    def locate(self, delta: int, inside: int) -> tuple[Space, int]:
        """For the hot path: the space of the segment at `inside`, and the delta that leads to it as `delta`
        leads here. Good until `arrange`."""
        place = self._places[bisect_right(self._first, inside) - 1]
        return place.space, delta - place.delta

    # reading ----------------------------------------------------------------------------------------
    def read_now(self, offset: SpaceOffset, into: memoryview) -> bool:
        place = self._whole(offset, len(into))
        if place is not None:
            return place.space.read_now(SpaceOffset(offset - place.delta), into)
        return all(
            space.read_now(inner, into[low:high])
            for space, inner, low, high in self._pieces(offset, len(into))
        )

    async def read(self, offset: SpaceOffset, into: memoryview) -> None:
        for space, inner, low, high in self._pieces(offset, len(into)):
            await space.read(inner, into[low:high])

    def read_blocking(self, offset: SpaceOffset, into: memoryview) -> None:
        for space, inner, low, high in self._pieces(offset, len(into)):
            space.read_blocking(inner, into[low:high])

    # writing ----------------------------------------------------------------------------------------
    def write_now(self, offset: SpaceOffset, data: Sequence[memoryview | bytes], fresh: bool = False) -> bool:
        length = len(data[0]) if len(data) == 1 else sum(map(len, data))
        place = self._whole(offset, length)
        if place is not None:
            return place.space.write_now(SpaceOffset(offset - place.delta), data, fresh)
        return all(
            space.write_now(inner, cut_buffers(data, low, high), fresh)
            for space, inner, low, high in self._pieces(offset, length)
        )

    async def write(
        self, offset: SpaceOffset, data: Sequence[memoryview | bytes], fresh: bool = False
    ) -> None:
        for space, inner, low, high in self._pieces(offset, sum(map(len, data))):
            await space.write(inner, cut_buffers(data, low, high), fresh)

    async def flush(self) -> None:
        for space in self._parts.values():
            await space.flush()

    async def trim(self, offset: SpaceOffset, length: int) -> None:
        for space, inner, low, high in self._pieces(offset, length):
            await space.trim(inner, high - low)


def cut_buffers(data: Sequence[memoryview | bytes], low: int, high: int) -> list[memoryview | bytes]:
    """The bytes [low, high) of what the buffers hold together, without copying."""
    out: list[memoryview | bytes] = []
    at = 0
    for buffer in data:
        begin, end = max(low - at, 0), min(high - at, len(buffer))
        if begin < end:
            out.append(memoryview(buffer)[begin:end])
        at += len(buffer)
    return out
