"""The write-back cache's engine: what becomes durable in which order. The destager and the port stand on it.

    put ---> young --append--> records --journal flush--> stored --destager--> backing --flush--> mark
    TRIM, NOTE --------^ (ahead of the data in the same append)

Why a power cut at any moment loses nothing flushed and revives nothing old:
  C1 A flush returns after its data is durable in the journal, or (what went around it) in the backing.
  C2 A version leaves the map, and its segment the ring, only after a backing flush that began after it was
     applied; space of the ring is written again only after a mark behind it is durable.
  C3 What goes around the journal meets no dirty block: unreferenced (fresh) ranges drop theirs, others go
     through the journal then. Where reading at opening could still meet older data of the range (`presence`),
     a TRIM record voids it, durable no later than the flush that makes the new data count.
  C4 A batch with redo records is applied only when they and its data are durable in the journal; its stripes
     are `moving` until a mark behind it is durable, and nothing else is done to them meanwhile.
  C5 A trim's TRIM record is durable before the backing trims.

Claims: writes that await, passes and trims claim their range; inline writes that overlap one say False. The
destager leaves stripes of passes and trims alone. All on the loop's thread. Raises storage errors.
Source: docs/formats/journal.md, docs/design-spaces.md.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

from storage.cache import journal
from storage.cache.dirty import DirtyMap
from storage.cache.journal import Kind, Mark, Run
from storage.cache.limits import CacheLimits, Throttle
from storage.cache.port import Backing
from storage.cache.ring import Ring, Segment
from storage.cache.status import Counters
from storage.cache.store import JournalStore
from storage.errors import PoolFull, StorageError
from storage.pool.batcher import Batcher
from storage.runtime import Event, Runtime
from storage.space.port import Space
from storage.units import BLOCK_BYTES

RESERVE_BLOCKS_MIN: Final = 8
CONTROL_BLOCKS: Final = 2
"""Room that one TRIM or NOTE is promised: itself, and what the ring's end may waste."""
PROMISED_FRACTION: Final = 4
"""One part in so many of the ring is promised at most: who waits for room while others wait for him gets
it."""
Abandon = Callable[[], Awaitable[None]]


class Note:
    """Stripes being written around the journal. `active`: writes under way; `sequence`: of its record."""

    __slots__ = ("active", "ranges", "sequence")

    def __init__(self, ranges: Sequence[tuple[int, int]]) -> None:
        self.ranges = ranges
        self.active = 0
        self.sequence: int | None = None

    def covers(self, start: int, end: int) -> bool:
        """Does it name any byte of [start, end)?"""
        return any(begin < end and start < begin + length for begin, length in self.ranges)


class CacheClaim:
    """Bytes [start, end) belong to one asynchronous operation until `done`. `excludes_destage`: it changes
    the backing."""

    __slots__ = ("done", "end", "excludes_destage", "start")

    def __init__(self, start: int, end: int, excludes_destage: bool, done: Event) -> None:
        self.start = start
        self.end = end
        self.excludes_destage = excludes_destage
        self.done = done


class CacheCore:
    """Made by WriteBackCache; `ring` and `mark` are there once it is open."""

    ring: Ring
    mark: Mark

    def __init__(
        self,
        space: Space,
        backing: Backing,
        runtime: Runtime,
        identity: int,
        limits: CacheLimits,
        abandon: Abandon | None,
    ) -> None:
        self.store = JournalStore(space, identity)
        self.backing = backing
        self.runtime = runtime
        self.limits = limits
        self.abandon = abandon
        self.dirty = DirtyMap()
        self.throttle = Throttle(limits.slow)
        self.counters = Counters()
        self.stripe_bytes = backing.stripe_bytes
        self.is_independent = backing.redo_bytes_max(1) == 0
        """Each block of the backing stands for itself."""
        self.claims: list[CacheClaim] = []
        self.moving: dict[int, None] = {}
        """Stripes that the destager has in hand (C4)."""
        self.controls: list[tuple[Kind, list[Run], Note | None]] = []
        self.notes: list[Note] = []
        self.stored_sequence = 0
        """Records below it are durable."""
        self.redo_place = self.redo_sequence = 0
        self.changes = self._changes_flushed = 0
        """Behind the cache: how often it was written there; up to which of these it is flushed."""
        self.passes = self._passes_flushed = 0
        """Of these, by users, around the journal."""
        self.lost: StorageError | None = None
        """Why the journal can't be written any more."""
        self.is_write_through = False
        """The journal is lost, and all that was in it is in the backing."""
        self.destage_failure: StorageError | None = None
        """What the space behind says to something that is to be destaged."""
        self.is_stalled = False
        """And nothing else could be destaged either."""
        self.trouble = ""
        self.young_max = 0
        """Young blocks up to which inline writes are accepted."""
        self.check_at = 0
        """Young blocks from which on `on_pressure` wants to be told."""
        self.waiting_for_room = 0
        self.on_pressure: Callable[[], None] = lambda: None
        """The destager's; called when there may be something for it to do."""
        self.on_trimmed: Callable[[], None] = lambda: None
        """The destager's, too: there may be room behind the cache again."""
        self._usable = self._reserve = 0
        self._promised = 0
        self._room = runtime.event()
        self.waiting_for_still = 0
        self._still = runtime.event()
        self._appends = Batcher(runtime, "cache journal", self._append_work)
        self._backing_flushes = Batcher(runtime, "cache backing flush", self._backing_work)

    def begin(self, ring: Ring, mark: Mark) -> None:
        """The journal is read; from now on it may be written."""
        self.ring, self.mark = ring, mark
        self.stored_sequence = ring.sequence
        self.redo_place, self.redo_sequence = mark.geometry.redo_start, mark.redo_sequence
        self._reserve = max(RESERVE_BLOCKS_MIN, ring.geometry.ring_blocks // 32)
        self._usable = ring.geometry.ring_blocks - self._reserve
        self.refresh_room()

    # -- room ----------------------------------------------------------------------------------------------

    def fill(self, more: int = 0) -> float:
        """How full the journal is, with `more` young blocks; above 1 there is no room for them."""
        wanted = self.ring.need(len(self.dirty.young) + more) + self._promised_beyond()
        return (self.ring.used + wanted) / self._usable

    def _promised_beyond(self) -> int:
        """Blocks promised to records that the reserve doesn't hold."""
        return max(0, CONTROL_BLOCKS * self._promised - self._reserve)

    def refresh_room(self) -> None:
        budget = int(self.limits.slow * self._usable) - self.ring.used - self._promised_beyond() - 4
        self.young_max = max(0, min(self.limits.young_bytes // BLOCK_BYTES, budget * 125 // 128))
        if self.lost is not None:
            self.young_max = -1
        if self.waiting_for_room:
            self._room.set()
            self._room = self.runtime.event()
        self.on_pressure()

    async def wait_for_room(self) -> None:
        self.waiting_for_room += 1
        event = self._room
        self.on_pressure()
        try:
            await event.wait()
        finally:
            self.waiting_for_room -= 1

    async def promise_control(self, is_trim: bool = False) -> None:
        """Room for one TRIM and one NOTE record, before anything is claimed for them."""
        while True:
            if is_trim and self.is_write_through:
                self._promised += 2
                return
            self.require_usable()
            blocks = self.ring.geometry.ring_blocks
            promised = CONTROL_BLOCKS * (self._promised + 2)
            needed = self.ring.used + self.ring.need(len(self.dirty.young)) + promised
            if needed <= blocks and promised <= blocks // PROMISED_FRACTION:
                self._promised += 2
                if self._promised_beyond():
                    self.refresh_room()
                return
            await self.wait_for_room()

    def end_promise(self) -> None:
        is_room_back = self._promised_beyond() > 0
        self._promised -= 2
        if is_room_back or self.waiting_for_room:
            self.refresh_room()

    def require_usable(self) -> None:
        if self.lost is not None:
            raise self.lost

    # -- the journal ---------------------------------------------------------------------------------------

    async def append(self) -> None:
        """Everything put so far, and the controls, are durable in the journal on return."""
        if self.dirty.young or self.controls or self._appends.is_active:
            await self._appends.run()

    async def _append_work(self) -> None:
        self.require_usable()
        controls, self.controls = self.controls, []
        taken = self.dirty.take_young()
        if not controls and not taken:
            return
        ring = self.ring
        placed = []
        for kind, runs, note in controls:
            placed += ring.place_control(kind, runs)
            if note is not None:
                note.sequence = placed[-1].sequence
        placed += ring.place_data(taken)
        behind = ring.sequence
        self.refresh_room()  # writers go on while the journal is written: less room is left for them
        try:
            for record in placed:
                await self.store.write(record.place, record.buffer)
            await self.store.flush()
        except StorageError as error:
            self.lose(error)
            raise
        self.stored_sequence = behind
        for record in placed:
            if record.segment is not None and record.taken:
                numbers = self.dirty.stored(record.taken, record.data_place, record.sequence)
                record.segment.numbers += numbers
        self.dirty.evict(self.limits.memory_bytes // BLOCK_BYTES)
        self.refresh_room()

    def encode_redo(self, records: list[bytes], runs: list[Run]) -> bytearray:
        """The REDO record of a batch; empty if it needs none."""
        if not records:
            return bytearray()
        data = journal.pack_redo(records)
        number, epoch = self.redo_sequence, self.mark.epoch
        return journal.encode_record(Kind.REDO, self.store.identity, number, epoch, runs, data)

    def redo_fits(self, buffer: bytearray) -> bool:
        """Is there room for it in the redo area?"""
        return self.redo_place + len(buffer) // BLOCK_BYTES <= self.mark.geometry.ring_start

    async def write_redo(self, buffer: bytearray) -> None:
        """Durable on return."""
        assert self.redo_fits(buffer), "more redo than was announced"
        try:
            await self.store.write(self.redo_place, buffer)
            await self.store.flush()
        except StorageError as error:
            self.lose(error)
            raise
        self.redo_place += len(buffer) // BLOCK_BYTES
        self.redo_sequence += 1

    async def write_mark(self, given_up: list[Segment]) -> int:
        """A mark behind these oldest segments, durable on return; redo records and void notes are behind it
        too. A backing flush after the last `apply` has ended. Returns the blocks that are free now."""
        live = [note.sequence for note in self.notes if note.sequence is not None]
        notes_from = min(live, default=self.ring.sequence)
        while given_up and given_up[-1].last_sequence >= notes_from:
            given_up = given_up[:-1]
        tail, tail_sequence = self.ring.tail_after(given_up)
        before = self.mark
        mark = Mark(
            before.identity,
            before.epoch,
            before.serial + 1,
            before.geometry,
            tail,
            tail_sequence,
            self.redo_sequence,
            notes_from,
        )
        try:
            await self.store.write_mark(mark)
        except StorageError as error:
            self.lose(error)
            raise
        self.mark = mark
        self.redo_place = mark.geometry.redo_start
        used = self.ring.used
        self.ring.release(given_up)
        freed = used - self.ring.used
        self.refresh_room()
        return freed

    def refuses(self, fresh: bool) -> bool:
        """A thin space behind has no room left: what would need more of it is refused, the rest goes on."""
        return fresh and isinstance(self.destage_failure, PoolFull)

    def lose(self, error: StorageError) -> None:
        """The journal can't be written: nothing more is accepted until the destager has seen to it."""
        if self.lost is None:
            self.lost = error
            self.trouble = f"the journal can't be written: {error}"
            self.refresh_room()

    # -- the backing ---------------------------------------------------------------------------------------

    def passed(self) -> None:
        """Bytes are about to go, or went, around the journal."""
        self.changes += 1
        self.passes += 1

    async def flush_passed(self) -> None:
        """What went around the journal is durable on return."""
        if self._passes_flushed < self.passes:
            await self._backing_flushes.run()

    async def flush_backing(self) -> None:
        """Everything behind the cache is durable on return."""
        if self._changes_flushed < self.changes:
            await self._backing_flushes.run()

    async def _backing_work(self) -> None:
        void = [note for note in self.notes if not note.active and note.sequence is not None]
        changes, passes = self.changes, self.passes
        await self.backing.flush()
        self._changes_flushed, self._passes_flushed = changes, passes
        self.notes = [note for note in self.notes if note not in void]

    # -- claims --------------------------------------------------------------------------------------------

    def is_claimed(self, start: int, end: int) -> bool:
        return any(claim.start < end and start < claim.end for claim in self.claims)

    async def acquire(self, start: int, end: int, excludes_destage: bool = False) -> CacheClaim:
        while True:
            for claim in self.claims:
                if claim.start < end and start < claim.end:
                    break
            else:
                break
            await claim.done.wait()
        claim = CacheClaim(start, end, excludes_destage, self.runtime.event())
        self.claims.append(claim)
        return claim

    def release(self, claim: CacheClaim) -> None:
        self.claims.remove(claim)
        claim.done.set()

    def passing(self, stripe: int) -> CacheClaim | None:
        """Who changes this stripe of the backing around the destager."""
        start, end = stripe * self.stripe_bytes, (stripe + 1) * self.stripe_bytes
        for claim in self.claims:
            if claim.excludes_destage and claim.start < end and start < claim.end:
                return claim
        return None

    # -- stripes in the destager's hand --------------------------------------------------------------------

    async def still(self, start: int, end: int) -> None:
        """Wait until the destager has nothing in hand in the stripes of bytes [start, end)."""
        first, last = start // self.stripe_bytes, (end - 1) // self.stripe_bytes
        while any(first <= stripe <= last for stripe in self.moving):
            if self.is_stalled and self.destage_failure is not None:
                raise self.destage_failure
            self.waiting_for_still += 1
            try:
                await self._still.wait()
            finally:
                self.waiting_for_still -= 1

    def stop_moving(self, stripes: Iterable[int] | None = None) -> None:
        """None: all."""
        gone = set(self.moving if stripes is None else stripes)
        self.moving = {stripe: None for stripe in self.moving if stripe not in gone}
        self.wake_still()

    def wake_still(self) -> None:
        self._still.set()
        self._still = self.runtime.event()


def redo_blocks(backing: Backing, blocks: int) -> int:
    """Blocks of the redo area that a batch of so many blocks may take."""
    length = backing.redo_bytes_max(blocks) + 4 * (blocks + 1)
    return journal.head_blocks(blocks) + -(-length // BLOCK_BYTES)
