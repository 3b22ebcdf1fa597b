"""When what was changed becomes durable: the commit timer, the drain, flush and sync.

      change            COMMIT_DELAY_S           DRAIN_DELAY_S, or somebody waits
    CLEAN ------> DIRTY ---------------> COMMITTED -----------------------------> DURABLE
                        commit()                     drain

A drain (one at a time, in a task of its own, so that no cancelled request ends it) takes everything
committed so far and
  1. flushes the data space, if data was written: no metadata becomes durable before the bytes it exposes;
  2. writes each segment of the overlay and flushes the metadata space after it;
  3. lets everybody go on who waited for these changes: they all shared it (group commit);
  4. frees for reuse the clusters that these commits freed, trimmed first where they make long runs.
A drain that fails ends the file system: every later change and flush raises the same error. A flush is
never tried again.

Sources: storage/disk.py (a failed flush is final), docs/formats/catalog.md.
"""

from __future__ import annotations

from collections import deque

import apsw

from storage.errors import StorageError
from storage.fs import limits
from storage.fs.allocator import PENDING
from storage.fs.core import ROOT_ID, Core, Parts
from storage.fs.overlay import Segment
from storage.fs.port import Node
from storage.fs.state import NodeState
from storage.units import SpaceOffset


class Drain(Core):
    """Durability. See the module."""

    def __init__(self, *parts: *Parts) -> None:
        super().__init__(*parts)
        self._round = self._runtime.event()
        """Set when one more batch is durable, or the drain failed."""
        self._draining = False
        self._wanted = 0
        """The change up to which somebody waits."""
        self._dirty_since = 0.0
        self._epoch = 0
        self._moving: dict[int, int] = {}
        """Operations that wait for the data space, by the epoch in which they began."""
        self._moved = self._runtime.event()
        self._to_release: deque[tuple[int, list[tuple[int, int]]]] = deque()
        """(epoch, runs): to be freed when no operation of that epoch or before is left."""
        self._releasing = False
        self._trimming = 0
        """Trims of free clusters under way that nothing freed just now (thin.py)."""
        self._released = self._runtime.event()
        row_bytes = self._data.usage().row_bytes
        if row_bytes:
            self.trim_bytes_min = min(limits.TRIM_BYTES_MIN, row_bytes)

    # asked ----------------------------------------------------------------------------------------
    async def flush(self, node: Node) -> None:
        """The node, its data, and every name above it."""
        needed = 0
        seen: Node | None = node
        while seen is not None:
            state: NodeState = seen.private  # type: ignore[assignment]
            needed = max(needed, state.changed_at)
            seen = self._nodes.get(state.parent)
        await self._make_durable(needed)

    async def sync(self) -> None:
        await self._make_durable(self._changes)

    async def _make_durable(self, needed: int) -> None:
        while self._durable < needed:
            if self._failure is not None:
                raise self._failure
            self._wanted = max(self._wanted, needed)
            self._hurry()
            await self._round.wait()

    # by itself ------------------------------------------------------------------------------------
    def _arm(self) -> None:
        self._armed = True
        self._dirty_since = self._runtime.now()
        self._runtime.spawn(self._timer, "catalog commit timer")

    async def _timer(self) -> None:
        """Commits what changed, again and again until nothing is left to make durable."""
        while not self._ended():
            await self._runtime.sleep(limits.COMMIT_DELAY_S)
            if self._ended():
                break
            try:
                self.commit()
            except StorageError as error:
                self._fail(error)
                break
            self.forget()
            if self._durable == self._changes and self._overlay.is_empty():
                break
            if self._runtime.now() - self._dirty_since >= limits.DRAIN_DELAY_S:
                self._hurry()
        self._armed = False

    def _ended(self) -> bool:
        return self._failure is not None or self._closed

    def _hurry(self) -> None:
        """Drain now, unless that is under way."""
        if not self._draining:
            self._draining = True
            self._runtime.spawn(self._drain, "catalog drain")

    async def _drain(self) -> None:
        try:
            while True:
                await self._drain_once()
                if self._durable >= self._wanted:
                    break
        except StorageError as error:
            self._fail(error)
        finally:
            self._draining = False
            self._wake()

    async def _drain_once(self) -> None:
        self.commit()
        target = self._committed
        started = self._runtime.now()
        count = self._overlay.cut()
        freed, self._freed = self._freed, []
        self._shared.seal()
        if self._data_dirty:
            self._data_dirty = False
            await self._data.flush()
        for _ in range(count):
            segment = self._overlay.segments[0]
            await self._write_segment(segment)
            self._overlay.done(segment)
        self._durable = target
        self._shared.settled()
        self._dirty_since = started
        self._wake()
        self._reuse([run for _, runs in freed for run in runs])

    async def _write_segment(self, segment: Segment) -> None:
        metadata = self._metadata
        for offset, buffers in self._overlay.writes(segment):
            where = SpaceOffset(offset)
            if not metadata.write_now(where, buffers):
                await metadata.write(where, buffers)
        await metadata.flush()

    def _wake(self) -> None:
        """Everybody who waits looks again; those not served yet wait for the next round."""
        event, self._round = self._round, self._runtime.event()
        event.set()

    def _fail(self, error: StorageError) -> None:
        self._failure = self._failure or error
        self._wake()

    # clusters -------------------------------------------------------------------------------------
    def _reuse(self, runs: list[tuple[int, int]]) -> None:
        """The commit that freed these clusters is durable: they are trimmed and freed once nobody moves
        bytes of them."""
        if not runs:
            return
        self._to_release.append((self._epoch, runs))
        self._epoch += 1
        if not self._releasing:
            self._releasing = True
            self._runtime.spawn(self._release, "catalog release")

    async def _release(self) -> None:
        try:
            while self._to_release:
                epoch, runs = self._to_release.popleft()
                while any(began <= epoch for began in self._moving):
                    self._moved = self._runtime.event()
                    await self._moved.wait()
                for first, count in runs:
                    await self._release_run(first, count)
                self._tell_released()
        except StorageError as error:
            self._fail(error)
        finally:
            self._releasing = False
            self._tell_released()

    def _tell_released(self) -> None:
        event, self._released = self._released, self._runtime.event()
        event.set()

    async def _release_run(self, first: int, count: int) -> None:
        if self._allocator.state(first) != PENDING:
            return  # It went with a neighbour that was widened over it.
        low, length = self._allocator.widen(first, count)
        if length << limits.CLUSTER_SHIFT >= self.trim_bytes_min:
            await self._data.trim(SpaceOffset(low << limits.CLUSTER_SHIFT), length << limits.CLUSTER_SHIFT)
        self._allocator.release(low, length)

    trim_bytes_min = limits.TRIM_BYTES_MIN

    def _begin_move(self) -> int:
        """An operation is about to wait while it reads or writes clusters: they must not get another owner
        meanwhile."""
        epoch = self._epoch
        self._moving[epoch] = self._moving.get(epoch, 0) + 1
        return epoch

    def _end_move(self, epoch: int) -> None:
        left = self._moving[epoch] - 1
        if left:
            self._moving[epoch] = left
        else:
            del self._moving[epoch]
            self._moved.set()

    async def _wait_for_clusters(self) -> None:
        """Clusters were freed and cannot be used yet: make the commit durable that freed them, and wait for
        their release."""
        self._changes += 1
        await self._make_durable(self._changes)
        while (self._releasing or self._trimming) and self._allocator.pending:
            await self._released.wait()

    async def _wait_for_queue(self) -> None:
        """The metadata space cannot keep up: wait until the queue is short again."""
        while self._overlay.queued_bytes() > limits.QUEUE_BYTES_MAX and self._failure is None:
            await self._make_durable(self._committed)

    # the end --------------------------------------------------------------------------------------
    async def close(self) -> None:
        if self._closed:
            return
        self._release_ahead(only_unheld=False)
        for node in list(self._nodes.values()):
            state: NodeState = node.private  # type: ignore[assignment]
            if node.links == 0 and node.id != ROOT_ID:
                self._purge(node, state)
        try:
            await self.sync()
            while self._draining:
                await self._round.wait()
            while self._releasing or self._trimming:
                await self._released.wait()
            self._db.execute("pragma wal_checkpoint(truncate)").fetchall()
            self._changes += 1
            await self.sync()
            while self._is_draining():  # for a change that came meanwhile
                await self._round.wait()
                await self.sync()
        except apsw.Error as error:
            self._broken(error)
        finally:
            self._closed = True
            self._db.close(True)
            self._vfs.unregister()
        await self._finish_queue()

    def _is_draining(self) -> bool:
        return self._draining

    async def _finish_queue(self) -> None:
        """What closing the database wrote."""
        for _ in range(self._overlay.cut()):
            segment = self._overlay.segments[0]
            await self._write_segment(segment)
            self._overlay.done(segment)
