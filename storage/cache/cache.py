"""The write-back cache of a space: writes go to a journal on fast disks, and later, by address, to the space.

    write  -> memory                                       microseconds; nothing awaited   (`write_now`)
    flush  -> one append to the journal + its flush        shared by all who ask meanwhile
    read   -> memory, journal or the space, block by block
    later  -> destage.py: sorted, merged, in stripes; the journal's space comes back

Up to 256 KiB go through the journal, longer writes around it (core.py, C3). It fills: destaging begins at
25 %, in earnest at 75 %; from 90 % on writers are slowed in proportion, at 100 % they wait. A journal that is
lost is written through, once `abandon` has made durable that nobody replays it; a space whose blocks depend
on each other (parity) refuses writes then. It caches no reads of clean data: what was read lies in the memory
of the system, where the disks' files are cached.

`storage.space.port.Space`. Owner: the loop's thread, but for `read_blocking`. Source: docs/design-spaces.md,
"Write-back cache"; docs/formats/journal.md.
"""

from __future__ import annotations

from storage.cache import slow
from storage.cache.core import Abandon, CacheCore
from storage.cache.destage import Destager
from storage.cache.limits import PASS_BYTES, CacheLimits
from storage.cache.opening import open_journal
from storage.cache.port import Backing
from storage.cache.status import CacheStatus
from storage.errors import StorageError
from storage.runtime import Runtime
from storage.space.blocks import EDGE, Buffers, edges, one_view
from storage.space.port import Space, SpaceUsage
from storage.units import BLOCK_BYTES, SpaceOffset

SHIFT = BLOCK_BYTES.bit_length() - 1
LIMITS_DEFAULT = CacheLimits()


class WriteBackCache:
    """`storage.space.port.Space` over a journal and a backing, neither of which anybody else writes to.

    `identity` is a number that no other space ever has; `abandon` makes durable that this journal is never
    opened again. Use it after `open`, and `close` it before its spaces are closed."""

    def __init__(
        self,
        journal: Space,
        backing: Backing,
        runtime: Runtime,
        *,
        identity: int,
        limits: CacheLimits = LIMITS_DEFAULT,
        abandon: Abandon | None = None,
    ) -> None:
        self._backing = backing
        self._core = CacheCore(journal, backing, runtime, identity, limits, abandon)
        self._dirty = self._core.dirty
        self._destager: Destager | None = None
        self._is_closed = False

    # -- life ----------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Read the journal, finish what a crash left undone, begin to destage. Raises: LabelCorrupt,
        SlabLost, BlockCorrupt, DiskFailed, PoolFull."""
        assert self._destager is None, "a cache is opened once"
        await open_journal(self._core)
        self._destager = Destager(self._core)
        self._destager.start()

    async def close(self, destage: bool = True) -> None:
        """Everything written is durable: in the space behind, or, without `destage`, in the journal, which
        the next `open` reads. Raises what could not be done; what was flushed is safe then too."""
        if self._is_closed or self._destager is None:
            return
        self._is_closed = True
        core = self._core
        await self._destager.stop()
        core.young_max = -1
        try:
            if core.lost is None:
                await core.append()
        except StorageError:
            if core.lost is None:
                raise
        if core.lost is not None:
            await self._destager.rescue()
            await self._is_written_through()
        await core.flush_backing()
        if destage and not core.is_write_through:
            await self._destager.empty()

    @property
    def name(self) -> str:
        return self._backing.name

    @property
    def backing(self) -> Backing:
        return self._backing

    @property
    def size_bytes(self) -> int:
        return self._backing.size_bytes

    def usage(self) -> SpaceUsage:
        return self._backing.usage()

    def status(self) -> CacheStatus:
        core, counters = self._core, self._core.counters
        is_open = self._destager is not None
        return CacheStatus(
            self._state(),
            core.store.space.size_bytes,
            len(core.dirty) << SHIFT,
            core.dirty.memory_blocks << SHIFT,
            round(100 * core.fill(), 1) if is_open else 0.0,
            core.store.written_bytes,
            counters.written_bytes,
            counters.passed_bytes,
            counters.destaged_bytes,
            core.dirty.absorbed << SHIFT,
            counters.batches,
            counters.reads,
            counters.hits,
            counters.slowed,
            core.throttle.rate,
            core.trouble,
        )

    def _state(self) -> str:
        if self._is_closed or self._destager is None:
            return "Closed"
        if self._core.is_write_through:
            return "Write-through"
        return "Write-back" if self._core.lost is None else "Failed"

    def _check_range(self, offset: int, length: int) -> None:
        if offset < 0 or offset + length > self._backing.size_bytes:
            raise ValueError(f"bytes {offset}+{length} are outside of {self.name} of {self.size_bytes}")

    # -- reading -------------------------------------------------------------------------------------------

    def read_now(self, offset: SpaceOffset, into: memoryview) -> bool:
        counters = self._core.counters
        counters.reads += 1
        blocks = self._dirty.blocks
        if not blocks:
            return self._backing.read_now(offset, into)
        length = len(into)
        if length == BLOCK_BYTES and not offset & EDGE:
            version = blocks.get(offset >> SHIFT)
            if version is None:
                return self._backing.read_now(offset, into)
            if (data := version.data) is not None:
                into[:] = data
                counters.hits += 1
                return True
        elif self._dirty.is_clear(offset >> SHIFT, (offset + length + EDGE) >> SHIFT):
            return self._backing.read_now(offset, into)
        self._check_range(offset, length)
        counters.hits += 1
        return self._read_mixed_now(offset, into)

    def _read_mixed_now(self, offset: int, into: memoryview) -> bool:
        for block, skip, begin, finish in edges(offset, len(into)):
            if not skip and finish - begin & EDGE == 0:
                if not self._read_aligned_now(block, into[begin:finish]):
                    return False
            else:
                buffer = memoryview(bytearray(BLOCK_BYTES))
                if not self._read_aligned_now(block, buffer):
                    return False
                into[begin:finish] = buffer[skip : skip + finish - begin]
        return True

    def _read_aligned_now(self, offset: int, into: memoryview) -> bool:
        blocks = self._dirty.blocks
        first = offset >> SHIFT
        number, end = first, first + (len(into) >> SHIFT)
        while number < end:
            at = (number - first) << SHIFT
            version = blocks.get(number)
            if version is not None:
                view, number = into[at : at + BLOCK_BYTES], number + 1
                if (data := version.data) is not None:
                    view[:] = data
                elif not self._core.store.space.read_now(SpaceOffset(version.place << SHIFT), view):
                    return False
                continue
            run = number + 1
            while run < end and run not in blocks:
                run += 1
            if not self._backing.read_now(SpaceOffset(number << SHIFT), into[at : (run - first) << SHIFT]):
                return False
            number = run
        return True

    async def read(self, offset: SpaceOffset, into: memoryview) -> None:
        self._check_range(offset, len(into))
        await slow.read(self._core, offset, into)

    def read_blocking(self, offset: SpaceOffset, into: memoryview) -> None:
        """From any thread. A block found nowhere here is in the backing (dirty.py)."""
        self._check_range(offset, len(into))
        for block, skip, begin, finish in edges(offset, len(into)):
            if not skip and finish - begin & EDGE == 0:
                self._read_aligned_blocking(block, into[begin:finish])
            else:
                buffer = memoryview(bytearray(BLOCK_BYTES))
                self._read_aligned_blocking(block, buffer)
                into[begin:finish] = buffer[skip : skip + finish - begin]

    def _read_aligned_blocking(self, offset: int, into: memoryview) -> None:
        blocks = self._dirty.blocks
        first = offset >> SHIFT
        number, end = first, first + (len(into) >> SHIFT)
        while number < end:
            at = (number - first) << SHIFT
            run = number
            while run < end and run not in blocks:
                run += 1
            if run > number:
                view = into[at : (run - first) << SHIFT]
                self._backing.read_blocking(SpaceOffset(number << SHIFT), view)
                number = run
            elif self._read_dirty_blocking(number, into[at : at + BLOCK_BYTES]):
                number += 1

    def _read_dirty_blocking(self, number: int, view: memoryview) -> bool:
        """False: look again, it has just changed."""
        version = self._dirty.blocks.get(number)
        if version is None:
            return False
        data, place = version.data, version.place
        if data is not None:
            view[:] = data
            return True
        if not place:
            return False
        try:
            self._core.store.space.read_blocking(SpaceOffset(place << SHIFT), view)
        except StorageError:
            if self._dirty.holds(number, version):
                raise
            return False
        return self._dirty.holds(number, version)

    # -- writing -------------------------------------------------------------------------------------------

    def write_now(self, offset: SpaceOffset, data: Buffers, fresh: bool = False) -> bool:
        view = one_view(data)
        length = len(view)
        core = self._core
        if core.claims and core.is_claimed(offset & ~EDGE, (offset + length + EDGE) & ~EDGE):
            return False
        if fresh and core.refuses(fresh):
            return False
        dirty = self._dirty
        count = len(dirty.young)
        if length == BLOCK_BYTES and not offset & EDGE:
            if count >= core.young_max:
                return False
            if offset < 0 or offset + length > self._backing.size_bytes:
                self._check_range(offset, length)
            dirty.put(offset >> SHIFT, bytes(view))
            core.counters.written_bytes += length
            if count >= core.check_at:
                core.on_pressure()
            return True
        self._check_range(offset, length)
        if count + (length >> SHIFT) + 2 > core.young_max:
            return False
        if self._goes_around(offset, length, fresh):
            return fresh and self._write_around_now(offset, view)
        for block, skip, begin, finish in edges(offset, length):
            if not self._put_now(block, skip, view[begin:finish]):
                return False
        core.counters.written_bytes += length
        if count >= core.check_at:
            core.on_pressure()
        return True

    def _put_now(self, block: int, skip: int, part: memoryview) -> bool:
        if skip or len(part) & EDGE:
            buffer = memoryview(bytearray(BLOCK_BYTES))
            if not self._read_aligned_now(block, buffer):
                return False
            buffer[skip : skip + len(part)] = part
            part = buffer
        put, number = self._dirty.put, block >> SHIFT
        for at in range(0, len(part), BLOCK_BYTES):
            put(number, bytes(part[at : at + BLOCK_BYTES]))
            number += 1
        return True

    def _goes_around(self, offset: int, length: int, fresh: bool) -> bool:
        core = self._core
        if length <= PASS_BYTES and (core.is_independent or not fresh or length < core.stripe_bytes):
            return False
        if not fresh:
            return core.is_independent
        start, end = (offset + EDGE) & ~EDGE, (offset + length) & ~EDGE
        return start < end and self._backing.may_pass(start, end - start)

    def _write_around_now(self, offset: int, view: memoryview) -> bool:
        """Fresh and inline, if the journal need not be told anything first."""
        core = self._core
        start, end = offset, offset + len(view)
        if (start | end) & EDGE or core.moving or core.notes or not core.is_independent:
            return False
        self._dirty.drop(start >> SHIFT, end >> SHIFT)
        is_young_void = not core.ring.is_present(start >> SHIFT, end >> SHIFT)
        if not is_young_void:
            return False
        core.passed()
        if not self._backing.write_fresh_now(SpaceOffset(start), (view,)):
            return False
        core.counters.passed_bytes += len(view)
        return True

    async def write(self, offset: SpaceOffset, data: Buffers, fresh: bool = False) -> None:
        view = one_view(data)
        self._check_range(offset, len(view))
        core = self._core
        if core.lost is not None and await self._is_written_through():
            await slow.write_through(core, offset, view, fresh)
            return
        if core.refuses(fresh) and core.destage_failure is not None:
            raise core.destage_failure
        if not self._goes_around(offset, len(view), fresh):
            await slow.write(core, offset, view)
            return
        for block, skip, begin, finish in edges(offset, len(view)):
            part = view[begin:finish]
            if skip or len(part) & EDGE:
                await slow.write(core, block + skip, part)
            else:
                await slow.write_bulk(core, block, part, fresh)

    async def _is_written_through(self) -> bool:
        """The journal is lost: wait until it is decided whether the cache goes on without it. Raises why
        not."""
        assert self._destager is not None and self._core.lost is not None
        await self._destager.rescued.wait()
        if not self._core.is_write_through:
            raise self._core.lost
        return True

    async def flush(self) -> None:
        core = self._core
        if core.lost is None:
            try:
                await core.append()
            except StorageError:
                if core.lost is None:
                    raise
        if core.lost is not None:
            await self._is_written_through()
        await core.flush_passed()

    async def trim(self, offset: SpaceOffset, length: int) -> None:
        self._check_range(offset, length)
        core = self._core
        if core.lost is not None:
            await self._is_written_through()
        await slow.trim(core, offset, length)
