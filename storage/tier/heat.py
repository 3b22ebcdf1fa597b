"""How much the ranges of a volume's files are used: bytes read and written, an older one counting less. Pure.

    hot path --recent[key] += bytes--> recent --fold(now)--> table --snapshot, pack / load--> the catalog

A key is a stream's id and the number of its 1 MiB range. What was counted halves each half-life, so a range's
heat is about the bytes that went through it during the last one and a half half-lives. Values in `table` are
kept as they would be at `_origin` (so an old value needs no touch to become smaller); `_origin` moves before
the numbers grow too large.

Bounds: RECENT_MAX keys counted since the last fold, RANGES_MAX ranges in all; beyond that the coldest quarter
is forgotten. A range that is not here is cold.
Units: bytes; seconds of the caller's clock. Owner: one mounted volume. Not exact, and need not be: heat is a
hint, and losing it loses no data.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import numpy

from storage.errors import CatalogCorrupt

RANGE_SHIFT: Final = 20
RANGE_BYTES: Final = 1 << RANGE_SHIFT
KEY_SHIFT: Final = 44
"""key = stream id << KEY_SHIFT | range number."""
_RANGE_MASK: Final = (1 << KEY_SHIFT) - 1
HALF_LIFE_S: Final = 3600.0
RANGES_MAX: Final = 65_536
RECENT_MAX: Final = 16_384
_ROW: Final = struct.Struct("<QQd")
CHUNK_RANGES: Final = 512
"""Ranges of one saved piece (12 KiB)."""
_DOUBLINGS_MAX: Final = 64.0
_COLD_BYTES: Final = 1.0


class RangeHeat(NamedTuple):
    stream: int
    number: int
    """Number of the 1 MiB range in the stream."""
    heat_bytes: float


class Heat:
    """The heat of one volume's ranges."""

    def __init__(self, now: float, half_life_s: float = HALF_LIFE_S, ranges_max: int = RANGES_MAX) -> None:
        assert half_life_s > 0 and ranges_max > 0
        self.recent: dict[int, int] = {}
        """Bytes by key since the last fold; the hot path adds to what is here, `touch` makes new keys."""
        self._table: dict[int, float] = {}
        self._half_life_s = half_life_s
        self._ranges_max = ranges_max
        self._origin = now
        self._folded_at = now

    def __len__(self) -> int:
        return len(self._table)

    # counting ---------------------------------------------------------------------------------------
    def touch(self, key: int, length: int) -> None:
        """So many bytes of the range were read or written."""
        if len(self.recent) >= RECENT_MAX:
            self.fold(self._folded_at)
        self.recent[key] = self.recent.get(key, 0) + length

    def touch_range(self, stream: int, offset: int, length: int) -> None:
        """The same for bytes that may lie in several ranges."""
        end = offset + length
        while offset < end:
            upto = min(end, (offset | RANGE_BYTES - 1) + 1)
            self.touch(stream << KEY_SHIFT | offset >> RANGE_SHIFT, upto - offset)
            offset = upto

    def fold(self, now: float) -> None:
        """What was counted since the last time counts as of `now`."""
        self._folded_at = max(now, self._folded_at)
        scale = self._scale(self._folded_at)
        table = self._table
        for key, length in self.recent.items():
            table[key] = table.get(key, 0.0) + length * scale
        self.recent.clear()
        if len(table) > self._ranges_max:
            self._prune(self._ranges_max // 4 * 3)

    def _scale(self, now: float) -> float:
        """What a byte of `now` is worth at the origin."""
        doublings = (now - self._origin) / self._half_life_s
        if doublings > _DOUBLINGS_MAX:
            shrink = 0.5**doublings
            limit = _COLD_BYTES / 2
            self._table = {
                key: value * shrink for key, value in self._table.items() if value * shrink >= limit
            }
            self._origin = now
            return 1.0
        return float(2.0**doublings)

    def _prune(self, keep: int) -> None:
        values = numpy.fromiter(self._table.values(), dtype=numpy.float64, count=len(self._table))
        limit = float(numpy.partition(values, len(values) - keep)[len(values) - keep])
        kept = {key: value for key, value in self._table.items() if value > limit}
        for key, value in self._table.items():
            if len(kept) >= keep:
                break
            if value == limit:
                kept[key] = value
        self._table = kept

    def set_half_life(self, now: float, half_life_s: float) -> None:
        """From `now` on heat fades at another rate."""
        assert half_life_s > 0
        self.fold(now)
        scale = self._scale(now)
        self._table = {key: value / scale for key, value in self._table.items()}
        self._origin, self._half_life_s = self._folded_at, half_life_s

    # asking -----------------------------------------------------------------------------------------
    def of(self, stream: int, index: int, now: float) -> float:
        """The heat of one range as of `now`, in bytes, without what was not folded yet."""
        return self._table.get(stream << KEY_SHIFT | index, 0.0) / self._scale(now)

    def ranges(self, now: float) -> Iterator[RangeHeat]:
        """Every range that is not cold, in no order."""
        scale = self._scale(now)
        for key, value in list(self._table.items()):
            heat = value / scale
            if heat >= _COLD_BYTES:
                yield RangeHeat(key >> KEY_SHIFT, key & _RANGE_MASK, heat)

    def streams(self, now: float) -> dict[int, float]:
        """The heat of whole streams."""
        out: dict[int, float] = {}
        for stream, _, heat in self.ranges(now):
            out[stream] = out.get(stream, 0.0) + heat
        return out

    def forget(self, streams: Iterable[int]) -> None:
        """These streams are gone."""
        gone = set(streams)
        if gone:
            self._table = {key: value for key, value in self._table.items() if key >> KEY_SHIFT not in gone}

    # saving -----------------------------------------------------------------------------------------
    def snapshot(self, now: float) -> dict[int, float]:
        """Heat in bytes by key, as of `now`; a copy, for `pack`."""
        self.fold(now)
        scale = self._scale(now)
        return {key: value / scale for key, value in self._table.items()}

    def load(self, pieces: Iterable[bytes], age_s: float) -> None:
        """What `pack` gave, `age_s` seconds ago. Raises: CatalogCorrupt."""
        fade = 0.5 ** (max(age_s, 0.0) / self._half_life_s) * self._scale(self._folded_at)
        for piece in pieces:
            if len(piece) % _ROW.size:
                raise CatalogCorrupt(f"a piece of heat of {len(piece)} bytes is none")
            for stream, index, heat in _ROW.iter_unpack(piece):
                if not 0 <= heat < float("inf") or index > _RANGE_MASK:
                    raise CatalogCorrupt(f"range {index} of stream {stream} has a heat of {heat}")
                if len(self._table) < self._ranges_max:
                    self._table[stream << KEY_SHIFT | index] = heat * fade


def pack(snapshot: dict[int, float], ranges_max: int) -> list[bytes]:
    """The hottest ranges in pieces: stream, range, heat (u64, u64, f64, little-endian). Needs nothing else,
    so a thread may do it."""
    limit = _COLD_BYTES
    if len(snapshot) > ranges_max:
        values = numpy.fromiter(snapshot.values(), dtype=numpy.float64, count=len(snapshot))
        place = len(values) - ranges_max
        limit = max(limit, float(numpy.partition(values, place)[place]))
    hotter = [item for item in snapshot.items() if item[1] > limit]
    chosen = hotter + [item for item in snapshot.items() if item[1] == limit]
    rows = [_ROW.pack(key >> KEY_SHIFT, key & _RANGE_MASK, heat) for key, heat in chosen[:ranges_max]]
    return [b"".join(rows[at : at + CHUNK_RANGES]) for at in range(0, len(rows), CHUNK_RANGES)]
