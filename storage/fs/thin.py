"""Giving room back to the pool, and taking more: retrim, consolidation, growth.

A thin space gives a row back when nothing written is left in it. What files free is trimmed as it is freed
(drain.py), where it makes runs of 1 MiB; `retrim` tells the space of every free cluster, also of shorter
runs and of those whose trim was lost in a crash. `consolidate` empties rows that are half full at most into
the fullest ones, then trims them.

Source: [MS-FSCC] 2.3.73 FSCTL_FILE_LEVEL_TRIM is the client's way to the same; Optimize-Volume -ReTrim,
-SlabConsolidate are Windows' names for these two. docs/design-spaces.md, "Tiers".
Units: clusters, unless a name says bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import apsw

from storage.errors import CatalogCorrupt, StorageError
from storage.fs import segments
from storage.fs.layout import extend_layout
from storage.fs.limits import CLUSTER_MASK, CLUSTER_SHIFT, GROUP_CLUSTERS, PAGE_BYTES
from storage.fs.mover import Mover, MoveResult, Pace, no_pace
from storage.fs.state import StreamState
from storage.space.port import Space
from storage.tier.space import TieredSpace
from storage.units import SpaceOffset

SPARSE: Final = 0.5
"""Rows in use up to this share are worth emptying."""
ROWS_AT_ONCE: Final = 64
"""Rows emptied after one look through all runs."""


def rows_to_empty(used: Sequence[int], size: int, sparse: float = SPARSE) -> tuple[list[int], list[int]]:
    """(rows to be emptied, the emptiest first; rows that take what was in them, the fullest first), by their
    numbers in `used`, the clusters of each row in use. Pure."""
    order = sorted((number for number, count in enumerate(used) if count), key=lambda n: (used[n], n))
    room = sum(size - used[number] for number in order)
    load = 0
    empty: list[int] = []
    for number in order:
        room -= size - used[number]
        load += used[number]
        if used[number] > size * sparse or load > room:
            break
        empty.append(number)
    return empty, order[: len(empty) - 1 if empty else None : -1]


class Thin(Mover):
    """Space given back, and grown."""

    # trim -------------------------------------------------------------------------------------------
    async def retrim(self, pace: Pace = no_pace) -> int:
        """Tell the data space of every free cluster. Gives back how many bytes that were."""
        total = 0
        for first in range(0, self._allocator.clusters, GROUP_CLUSTERS):
            if not self._may_go_on():
                break
            total += await self._trim_free(first, min(first + GROUP_CLUSTERS, self._allocator.clusters), pace)
        return total << CLUSTER_SHIFT

    async def _trim_free(self, first: int, end: int, pace: Pace) -> int:
        """Trim what is free in the range; how many clusters. Nobody gets them while they are trimmed."""
        allocator = self._allocator
        total = 0
        for low, count in allocator.free_runs(first, end):
            await pace(count << CLUSTER_SHIFT)
            if not self._may_go_on():
                break
            for at, length in allocator.free_runs(low, low + count):  # what is still free of it
                allocator.withdraw(at, length)
                self._trimming += 1
                try:
                    await self._data.trim(SpaceOffset(at << CLUSTER_SHIFT), length << CLUSTER_SHIFT)
                finally:
                    self._trimming -= 1
                    allocator.release(at, length)
                    self._tell_released()
                total += length
                break  # the others may be gone by now
        return total

    # consolidation ----------------------------------------------------------------------------------
    def _thin_rows(self) -> list[list[tuple[int, int]]]:
        """(first, end) of the rows that each thin space of the data gives back, one list for a space."""
        if not isinstance(self._data, TieredSpace):
            row = self._data.usage().row_bytes
            return [_rows(0, self._allocator.clusters, 0, row)] if row else []
        out: dict[int, list[tuple[int, int]]] = {}
        at = 0
        for tier, inner, length in self._data.segments:
            part = self._data.part(tier)
            row = 0 if part is None else part.usage().row_bytes
            if row:
                out.setdefault(tier, []).extend(_rows(at, at + (length >> CLUSTER_SHIFT), inner, row))
            at += length >> CLUSTER_SHIFT
        return list(out.values())

    async def consolidate(self, pace: Pace = no_pace) -> MoveResult:
        """Empty sparse rows into fuller ones and give them back."""
        result = MoveResult()
        for rows in self._thin_rows():
            if not rows:
                continue
            used = [self._allocator.used_in(*row) for row in rows]
            empty, full = rows_to_empty(used, rows[0][1] - rows[0][0])
            targets = [rows[number] for number in full]
            for at in range(0, len(empty), ROWS_AT_ONCE):
                some = [rows[number] for number in empty[at : at + ROWS_AT_ONCE]]
                await self._empty_rows(some, targets, pace, result)
                if result.is_full or result.is_stopped:
                    return result
        return result

    async def _empty_rows(
        self, rows: list[tuple[int, int]], targets: list[tuple[int, int]], pace: Pace, result: MoveResult
    ) -> None:
        load = sum(self._allocator.used_in(*row) for row in rows)
        areas = []
        for row in targets:  # those with room, as many as are needed
            room = sum(count for _, count in self._allocator.free_runs(*row))
            if room:
                areas.append(row)
                load -= room
            if load <= 0:
                break
        await self._move_pieces(await self._owned(sorted(rows)), areas, pace, result)
        if self._may_go_on():
            await self._wait_for_clusters()  # what was moved away is free now
        for row in rows:
            await self._trim_free(*row, no_pace)

    # growth -----------------------------------------------------------------------------------------
    async def grow(self, data: Space | None = None) -> int:
        """Take what the data space has more than when it was mounted, or a larger one in its place, or one
        with a tier added to it; and what the metadata space has more. Durable when it returns; gives back
        how many bytes of data more there are.

        Raises: CatalogCorrupt if `data` does not hold what the present one does; nothing has changed then."""
        allocator = self._allocator
        space = self._data if data is None else data
        old = allocator.clusters
        rows = [(int(tier), at, length) for tier, at, length in self._segments]
        found = segments.settle(space, rows, old << CLUSTER_SHIFT)
        if space.size_bytes >> CLUSTER_SHIFT < old:
            raise CatalogCorrupt(f"the volume has {old << CLUSTER_SHIFT} bytes, the space {space.size_bytes}")
        await self._grow_catalog()
        self._admit(4)
        self._data = space
        self._segments = found
        allocator.grow(space.size_bytes >> CLUSTER_SHIFT, segments.zones(found))
        self._forget_runs()
        self._store_size()
        self._changes += 1
        await self.sync()
        return (allocator.clusters - old) << CLUSTER_SHIFT

    async def _grow_catalog(self) -> None:
        """The metadata space may have grown: the log moves to its new end, the database gets what is between.
        In a task of its own: half of it, because a caller was cancelled, would be the end of the catalog."""
        if extend_layout(self._layout, self._metadata.size_bytes) is None:
            return
        done, errors = self._runtime.event(), list[StorageError]()

        async def work() -> None:
            try:
                await self._move_log()
            except StorageError as error:
                errors.append(error)
            finally:
                done.set()

        self._runtime.spawn(work, "catalog growth")
        await done.wait()
        if errors:
            raise errors[0]

    async def _move_log(self) -> None:
        """With the drain's turn taken: all that SQLite wrote is put in its place and the log emptied,
        durably; then the new end says that no log is there; then the header says where to look. Whatever is
        committed meanwhile waits in the queue, and goes to the new places."""
        while self._draining:
            await self._round.wait()
        if self._failure is not None:
            raise self._failure
        self._draining = True
        try:
            self.commit()
            self._db.execute("pragma wal_checkpoint(truncate)").fetchall()
            layout = extend_layout(self._layout, self._metadata.size_bytes)
            if layout is None or self._overlay.wal_size:
                return
            await self._drain_once()
            for where, block in ((layout.wal_at, bytes(PAGE_BYTES)), (0, layout.encode())):
                await self._metadata.write(SpaceOffset(where), [block])
                await self._metadata.flush()
            self._layout = self._overlay.layout = layout
            self._db.execute(f"pragma max_page_count={layout.database_bytes // PAGE_BYTES}").fetchall()
            self._measure_room()
        except apsw.Error as error:
            self._broken(error)
        except StorageError as error:
            self._fail(error)
            raise
        finally:
            self._draining = False
            self._wake()

    def _store_size(self) -> None:
        """The size and the segments, if they are not what the catalog has."""
        size = self._data.size_bytes
        if int(self._meta["data_bytes"]) < size:
            self._run("update meta set value=? where key='data_bytes'", [(size,)])
            self._meta["data_bytes"] = size
        self._run("insert or replace into segments values(?,?,?,?)", segments.rows_of(self._segments))

    def _forget_runs(self) -> None:
        """What streams remember for the next access may be on another tier than it says."""
        for node in self._nodes.values():
            for stream in self.streams(node):
                state: StreamState = self._stream_state(stream)
                state.begin = state.end = 0


def _rows(first: int, end: int, inner: int, row_bytes: int) -> list[tuple[int, int]]:
    """The whole rows in [first, end), which lies `inner` bytes inside its space."""
    if row_bytes & CLUSTER_MASK:
        return []
    row = row_bytes >> CLUSTER_SHIFT
    at = first + -(inner >> CLUSTER_SHIFT) % row
    return [(low, low + row) for low in range(at, end - row + 1, row)]

