"""The destager: moves what the journal holds to the space behind it, by address.

    asleep (nothing dirty) -> ticking -> round, round, ... -> asleep
      begins   idle for a while; 25 % filled (with rests); 75 % (without); a writer waits for room
      round    oldest segments -> their stripes by address -> batches -> backing flush -> mark: segments free
      batch    whatever is dirty in these stripes -> prepare -> redo records durable -> apply

A round ends early when it is told to stop; what it has applied is marked then. When the journal is lost, the
destager writes through what is left (`rescue`). One task; only the ports are awaited. Invariants: C2 and C4
of core.py. Errors of the backing end the round and are told to writers that wait for room; it tries again
later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from storage.cache.core import CacheCore
from storage.cache.dirty import Taken
from storage.cache.journal import Run, runs_of
from storage.cache.ring import SEGMENT_BLOCKS_MIN, Segment
from storage.errors import BlockCorrupt, PoolFull, SlabLost, StorageError
from storage.runtime import Event
from storage.units import BLOCK_BYTES

CHECK_BLOCKS = 32
READ_GAP_BLOCKS = 16
"""Blocks of the journal that are read along rather than skipped."""


class Destager:
    def __init__(self, core: CacheCore) -> None:
        self._core = core
        self._runtime = core.runtime
        self._wake = core.runtime.event()
        self._ended = core.runtime.event()
        self.rescued = core.runtime.event()
        """Set when it is decided what becomes of a cache whose journal is lost."""
        self._is_waiting = False
        self._is_spilling = False
        self._is_started = False
        self._is_stopping = False
        self._retry_at_s = 0.0
        self._seen_bytes = -1
        self._done: Taken = []
        self._listed: dict[int, list[int]] = {}
        self._stuck: list[int] = []
        """Stripes that the space behind does not take, in this round."""
        self._stuck_error: StorageError | None = None
        limits, ring = core.limits, core.ring.geometry.ring_blocks
        self._batch_blocks = max(1, limits.batch_bytes // BLOCK_BYTES)
        self._round_blocks = max(
            SEGMENT_BLOCKS_MIN, min(limits.round_bytes // BLOCK_BYTES, int(ring * limits.round_fraction))
        )
        self._spill_blocks = max(1, limits.spill_bytes // BLOCK_BYTES)
        core.on_pressure = self.pressure
        core.on_trimmed = self.try_again

    # -- life ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._is_started = True
        self._runtime.spawn(self._run, "destage")

    async def stop(self) -> None:
        """No round is under way on return."""
        self._is_stopping = True
        self._wake.set()
        if self._is_started:
            await self._ended.wait()

    def pressure(self) -> None:
        """Something changed that may be a reason to begin."""
        young = len(self._core.dirty.young)
        if young >= self._spill_blocks and not self._is_spilling and self._core.lost is None:
            self._is_spilling = True
            self._runtime.spawn(self._spill, "cache spill")
        if self._is_waiting and (self._seen_bytes < 0 or self._reason()):
            self._wake.set()
        self._core.check_at = young + CHECK_BLOCKS

    def try_again(self) -> None:
        """There may be room behind now."""
        self._retry_at_s = 0.0
        self._wake.set()

    async def _spill(self) -> None:
        try:
            await self._core.append()
        except StorageError as error:
            self._core.lose(error)
        finally:
            self._is_spilling = False

    def _reason(self) -> str:
        core = self._core
        if core.lost is not None:
            return "" if self.rescued.is_set() else "rescue"
        fill = core.fill()
        if self._runtime.now() < self._retry_at_s and (core.is_stalled or fill < core.limits.earnest):
            return ""
        if fill >= core.limits.earnest or core.waiting_for_room:
            return "earnest"
        return "begin" if fill >= core.limits.begin else ""

    async def _run(self) -> None:
        try:
            while not self._is_stopping:
                reason = self._reason()
                if reason == "rescue":
                    await self.rescue()
                elif reason:
                    await self._round_or_rest(reason)
                else:
                    await self._wait()
        finally:
            self._ended.set()

    async def _round_or_rest(self, reason: str) -> None:
        core = self._core
        begin_s = self._runtime.now()
        is_progress = await self._try_round()
        if not is_progress:
            await self._sleep(core.limits.idle_s)
        elif reason == "begin":
            limits = core.limits
            share = (limits.earnest - core.fill()) / (limits.earnest - limits.begin)
            await self._sleep((self._runtime.now() - begin_s) * min(1.0, max(0.0, share)))

    async def _wait(self) -> None:
        """Until there is a reason; when nothing was written for a while, being idle is one."""
        core = self._core
        if core.lost is not None or not (core.dirty.blocks or core.notes or core.ring.used):
            self._seen_bytes = -1
            await self._sleep(None)
            return
        seen = core.counters.written_bytes + core.counters.passed_bytes
        if seen == self._seen_bytes and self._runtime.now() >= self._retry_at_s:
            if not await self._try_round():
                await self._sleep(core.limits.retry_s)
            return
        self._seen_bytes = seen
        await self._sleep(core.limits.idle_s)

    async def _sleep(self, seconds: float | None) -> None:
        """Until something happens, or so long."""
        if self._is_stopping:
            return
        event = self._wake = self._runtime.event()
        if seconds is not None:
            self._runtime.spawn(lambda: self._ring(event, seconds), "destage tick")
        self._is_waiting = True
        await event.wait()
        self._is_waiting = False

    async def _ring(self, event: Event, seconds: float) -> None:
        await self._runtime.sleep(seconds)
        event.set()

    # -- rounds --------------------------------------------------------------------------------------------

    async def empty(self) -> None:
        """Destage everything; nobody writes. The destager is stopped. Raises the backing's errors."""
        core = self._core
        self._is_stopping = False
        while core.dirty.blocks or core.ring.used:
            if not await self.round():
                text = f"cache of {core.backing.name}: {len(core.dirty)} blocks do not destage"
                raise self._stuck_error or StorageError(text)

    async def _try_round(self) -> bool:
        core = self._core
        try:
            is_progress = await self.round()
        except StorageError as error:
            self._done = []
            if core.is_independent:
                core.stop_moving()
            self._failed(error)  # else the stripes stay in hand (C4); who waits for them is told
            return False
        if self._stuck_error is not None:
            is_stalled = not is_progress and core.fill() >= core.limits.earnest
            self._failed(self._stuck_error, is_stalled, must_wait=not is_progress)
        elif core.destage_failure is not None:
            core.destage_failure, core.trouble, core.is_stalled = None, "", False
        return is_progress

    def _failed(self, error: StorageError, is_stalled: bool = True, must_wait: bool = True) -> None:
        core = self._core
        if core.lost is None:
            core.destage_failure = error
            core.trouble = f"destaging fails: {error}"
            core.is_stalled = is_stalled
            if must_wait:
                self._retry_at_s = self._runtime.now() + core.limits.retry_s
        core.wake_still()
        core.refresh_room()

    async def round(self) -> bool:
        """Empty the oldest segments. False: there was nothing to do."""
        core = self._core
        begin_s = self._runtime.now()
        await core.append()
        segments = core.ring.oldest(self._round_blocks, core.stored_sequence)
        if not segments:
            return False
        batches = core.counters.batches
        self._stuck, self._stuck_error = [], None
        self._listed = self._listed_in(segments)
        stripes = deque(sorted(self._listed))
        passed_over: deque[int] = deque()
        while stripes and not self._is_stopping:
            await self._next_batch(stripes, passed_over)
            if not stripes and passed_over and not self._is_stopping:
                await self._checkpoint([])
                claim = core.passing(passed_over[0])
                if claim is not None:
                    await claim.done.wait()
                stripes, passed_over = passed_over, deque()
        is_whole = not stripes and not passed_over and (not self._stuck or await self._carry())
        batches = core.counters.batches - batches
        freed = await self._checkpoint(segments if is_whole else [])
        core.throttle.freed(freed * BLOCK_BYTES, self._runtime.now() - begin_s)
        return freed > 0 or batches > 0

    def _listed_in(self, segments: Sequence[Segment]) -> dict[int, list[int]]:
        """Blocks whose newest stored version lies in these oldest segments, by stripe."""
        last, dirty = segments[-1].last_sequence, self._core.dirty
        stripe_blocks = self._core.stripe_bytes // BLOCK_BYTES
        found: dict[int, list[int]] = {}
        for segment in segments:
            for number in segment.numbers:
                version = dirty.stored_version(number)
                if version is not None and version.sequence <= last:
                    found.setdefault(number // stripe_blocks, []).append(number)
        return found

    async def _next_batch(self, stripes: deque[int], passed_over: deque[int]) -> None:
        core = self._core
        if core.moving and core.waiting_for_still:
            await self._checkpoint([])
        taken: Taken = []
        moving: dict[int, None] = {}
        while stripes and len(taken) < self._batch_blocks:
            stripe = stripes[0]
            if core.passing(stripe) is not None:
                passed_over.append(stripes.popleft())
                continue
            more = self._dirty_in(stripe)
            if taken and len(taken) + len(more) > self._batch_blocks:
                break
            stripes.popleft()
            if more:
                moving[stripe] = None
                taken += more
        if taken:
            core.moving.update(moving)
            try:
                await self._destage(taken, moving)
            except (PoolFull, SlabLost, BlockCorrupt) as error:
                if self._is_begun(moving):
                    raise
                await self._one_by_one(list(moving), error)
            if core.is_independent:
                core.stop_moving()

    def _is_begun(self, stripes: Iterable[int]) -> bool:
        """Was something done to them that only the same batch can do again? (C4)"""
        return not self._core.is_independent and any(stripe in self._core.moving for stripe in stripes)

    async def _one_by_one(self, stripes: Sequence[int], error: StorageError) -> None:
        """The space behind has no room for some of these stripes, or has lost them: the others go."""
        if len(stripes) == 1:
            self._stuck.append(stripes[0])
            self._stuck_error = error
            return
        for stripe in stripes:
            if self._core.passing(stripe) is not None:
                self._stuck.append(stripe)  # they wait for the next round
                continue
            taken = self._dirty_in(stripe)
            self._core.moving[stripe] = None
            try:
                await self._destage(taken, {stripe: None})
            except (PoolFull, SlabLost, BlockCorrupt) as trouble:
                if self._is_begun((stripe,)):
                    raise
                await self._one_by_one((stripe,), trouble)

    async def _carry(self) -> bool:
        """Write what is stuck into the journal again, so that what is around it gets out of the way. False:
        not worth it yet, or there is no room."""
        core = self._core
        numbers = [number for stripe in self._stuck for number in self._listed[stripe]]
        stuck = [(number, version) for number in numbers if (version := core.dirty.stored_version(number))]
        is_all = len(stuck) >= len(core.dirty)
        if is_all and core.fill() < core.limits.earnest or core.ring.need(len(stuck)) > core.ring.free // 2:
            return False
        contents = {number: version.data for number, version in stuck if version.data is not None}
        absent = [(version.place, number) for number, version in stuck if version.data is None]
        await self._read_absent(sorted(absent), contents)
        for number, version in stuck:
            if core.dirty.blocks.get(number) is version:
                core.dirty.put(number, contents[number])
        await core.append()
        return True

    def _dirty_in(self, stripe: int) -> Taken:
        """What goes with a batch: all of the stripe if its blocks depend on each other, else what was to go
        and what continues it."""
        dirty = self._core.dirty
        stripe_blocks = self._core.stripe_bytes // BLOCK_BYTES
        first, end = stripe * stripe_blocks, (stripe + 1) * stripe_blocks
        if not self._core.is_independent:
            numbers: Iterable[int] = dirty.inside(first, end)
        else:
            chosen = set(self._listed[stripe])
            for listed in self._listed[stripe]:
                for step, edge in ((-1, first - 1), (1, end)):
                    number = listed + step
                    while number != edge and number not in chosen and number in dirty.blocks:
                        chosen.add(number)
                        number += step
            numbers = chosen
        taken: Taken = []
        for number in sorted(numbers):
            version = dirty.stored_version(number)
            if version is not None:
                taken.append((number, version))
        return taken

    async def _destage(self, taken: Taken, moving: dict[int, None]) -> None:
        core = self._core
        try:
            batch = await self._contents(taken)
            buffer = core.encode_redo(list(await core.backing.prepare(batch)), _placed_runs(taken))
            if buffer and not core.redo_fits(buffer):
                await self._checkpoint([], moving)
        except StorageError:
            core.stop_moving(stripes=moving)  # nothing of it was logged or applied
            raise
        if buffer:
            await core.write_redo(buffer)
        core.changes += 1
        await core.backing.apply(batch)
        core.changes += 1
        self._done += taken
        core.counters.batches += 1
        core.counters.destaged_bytes += len(taken) * BLOCK_BYTES

    async def _contents(self, taken: Taken) -> list[tuple[int, memoryview]]:
        """The batch, in runs as long as can be."""
        contents = {number: version.data for number, version in taken if version.data is not None}
        if len(contents) < len(taken):
            absent = [(version.place, number) for number, version in taken if number not in contents]
            await self._read_absent(sorted(absent), contents)
        return _merged(contents)

    async def _read_absent(self, absent: list[tuple[int, int]], contents: dict[int, bytes]) -> None:
        at = 0
        while at < len(absent):
            first, behind = absent[at][0], at + 1
            while behind < len(absent) and absent[behind][0] - absent[behind - 1][0] <= READ_GAP_BLOCKS:
                behind += 1
            data = memoryview(bytearray((absent[behind - 1][0] - first + 1) * BLOCK_BYTES))
            await self._core.store.read(first, data)
            for place, number in absent[at:behind]:
                where = (place - first) * BLOCK_BYTES
                contents[number] = bytes(data[where : where + BLOCK_BYTES])
            at = behind

    async def _checkpoint(self, given_up: list[Segment], moving: dict[int, None] | None = None) -> int:
        """What was applied is durable, and the journal needs no more of it. Stripes `moving` stay in hand.
        Returns the blocks that it has more room for now."""
        core = self._core
        await core.flush_backing()
        done, self._done = self._done, []
        core.dirty.destaged(done)
        freed = 0
        if given_up or done or core.moving:
            freed = await core.write_mark(given_up)
        core.stop_moving()
        core.moving.update(moving or {})
        return freed

    # -- a lost journal ------------------------------------------------------------------------------------

    async def rescue(self) -> None:
        """Write through what is only in memory, and go on without a journal. What can't be had any more
        leaves the cache refusing writes, and reads of those blocks fail."""
        core = self._core
        try:
            if self.rescued.is_set() or not core.is_independent or core.abandon is None:
                return
            self._done = []
            numbers = sorted(core.dirty.blocks)
            for first in range(0, len(numbers), self._batch_blocks):
                await self._write_through(numbers[first : first + self._batch_blocks])
            core.changes += 1
            await core.flush_backing()
            await core.abandon()
            core.dirty.drop(0, 1 << 62)
            core.is_write_through = True
            core.controls, core.notes = [], []
        except StorageError as error:
            core.trouble += f"; nor can what it holds be written: {error}"
        finally:
            core.stop_moving()
            self.rescued.set()

    async def _write_through(self, numbers: list[int]) -> None:
        core = self._core
        taken: Taken = []
        contents: dict[int, bytes] = {}
        for number in numbers:
            version = core.dirty.blocks.get(number)  # what was trimmed meanwhile is gone
            if version is not None and version.data is not None:
                contents[number] = version.data
            elif version is not None:
                taken.append((number, version))
        await self._read_absent(sorted((version.place, number) for number, version in taken), contents)
        await core.backing.apply(_merged(contents))


def _merged(contents: dict[int, bytes]) -> list[tuple[int, memoryview]]:
    """Blocks by number as a batch, in runs as long as can be."""
    batch = []
    for run in runs_of(sorted(contents)):
        parts = [contents[number] for number in range(run.block, run.block + run.length)]
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        batch.append((run.block * BLOCK_BYTES, memoryview(data)))
    return batch


def _placed_runs(taken: Taken) -> list[Run]:
    """Where in the journal the data of a batch lies."""
    runs: list[Run] = []
    for number, version in taken:
        last = runs[-1] if runs else None
        if (
            last is not None
            and last.block + last.length == number
            and last.place + last.length == version.place
        ):
            runs[-1] = Run(last.block, last.length + 1, last.place)
        else:
            runs.append(Run(number, 1, version.place))
    return runs
