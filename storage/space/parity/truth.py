"""The truth: (crc, generation) of every block of every column of a parity space, kept on a mirror space.

    page (4 KiB)   | slice 0: column 0, 1, .. n-1, (padding) | slice 1: ... |       docs/formats/parity.md

Pages are read when wanted, kept in memory up to a limit, and written only by `write_images`, which the
machine's flush calls after the data they speak of is durable (writing.py, F1). Then a slice whose entries are
durable has its data on the disks, and one that is "never written" (all zero) needs no data at all.

Invariants
  T1 A page in `dirty` or `busy` is in `pages`; so is one that is pinned.
  T2 The entry of P is zero if and only if all entries of the slice are.
A page in memory is `array('I')` of 1,024 words. Owner: the machine, on the loop's thread, but `blocking`.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Final

from crc32c import crc32c

from storage.runtime import Event, Runtime
from storage.space.checksums import GENERATION_STEP, MASK, range_crcs
from storage.space.parity.map import TRUTH_PAGE_BYTES, ParityMap
from storage.space.port import Space
from storage.units import BLOCK_BYTES, SpaceOffset

PAGES_CACHED_MAX: Final = 16384
"""64 MiB, which cover 16 GiB of data in a space of 4+2 columns."""
ZERO_PAGE: Final = bytes(TRUTH_PAGE_BYTES)
CLEAR_BYTES: Final = 256 << 10
_ZEROS: Final = bytes(BLOCK_BYTES)


class Truth:
    def __init__(self, space: Space, stripes: ParityMap, runtime: Runtime) -> None:
        self.space = space
        self.map = stripes
        self.pages: dict[int, array[int]] = {}
        self.dirty: dict[int, None] = {}
        """In the order in which they became so."""
        self.busy: dict[int, None] = {}
        """Being written by a flush."""
        self.pages_max = PAGES_CACHED_MAX
        self._pins: dict[int, int] = {}
        self._loading: dict[int, Event] = {}
        self._runtime = runtime

    # -- pages ---------------------------------------------------------------------------------------------

    def now(self, number: int) -> array[int] | None:
        """The page, if it can be had without waiting."""
        page = self.pages.get(number)
        if page is not None:
            return page
        if number in self._loading:
            return None
        page = array("I", ZERO_PAGE)
        if not self.space.read_now(SpaceOffset(number * TRUTH_PAGE_BYTES), memoryview(page).cast("B")):
            return None
        return self._keep(number, page)

    async def load(self, number: int) -> array[int]:
        """Raises what the truth's space raises."""
        while True:
            page = self.now(number)
            if page is not None:
                return page
            loading = self._loading.get(number)
            if loading is not None:
                await loading.wait()
                continue
            loading = self._loading[number] = self._runtime.event()
            try:
                page = array("I", ZERO_PAGE)
                where = SpaceOffset(number * TRUTH_PAGE_BYTES)
                await self.space.read(where, memoryview(page).cast("B"))
                return self._keep(number, page)
            finally:
                del self._loading[number]
                loading.set()

    def blocking(self, number: int) -> array[int]:
        """From any thread; the page isn't kept."""
        page = self.pages.get(number)
        if page is None:
            page = array("I", ZERO_PAGE)
            where = SpaceOffset(number * TRUTH_PAGE_BYTES)
            self.space.read_blocking(where, memoryview(page).cast("B"))
        return page

    async def pin(self, numbers: Iterable[int]) -> None:
        """Load them; they stay in memory until `unpin`."""
        wanted = list(numbers)
        for number in wanted:
            self._pins[number] = self._pins.get(number, 0) + 1
        try:
            for number in wanted:
                await self.load(number)
        except BaseException:
            self.unpin(wanted)
            raise

    def pin_now(self, numbers: Iterable[int]) -> bool:
        """Are they all in memory? For code that doesn't wait between this and its changes."""
        return all(self.now(number) is not None for number in numbers)

    def unpin(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            left = self._pins[number] - 1
            if left:
                self._pins[number] = left
            else:
                del self._pins[number]

    def changed(self, number: int) -> None:
        self.dirty[number] = None

    def _keep(self, number: int, page: array[int]) -> array[int]:
        known = self.pages.setdefault(number, page)
        for _ in range(4):
            if len(self.pages) <= self.pages_max:
                break
            oldest = next(iter(self.pages))
            old = self.pages.pop(oldest)
            if oldest == number or oldest in self.dirty or oldest in self.busy or oldest in self._pins:
                self.pages[oldest] = old
        return known

    # -- durability ----------------------------------------------------------------------------------------

    def take_images(self) -> list[tuple[int, bytes]]:
        """The dirty pages as they are now; they are clean from here on. Give them to `write_images` or back
        to `give_back`."""
        taken, self.dirty = self.dirty, {}
        self.busy.update(taken)
        return [(number, self.pages[number].tobytes()) for number in sorted(taken)]

    def give_back(self, images: Iterable[tuple[int, bytes]]) -> None:
        for number, _ in images:
            self.busy.pop(number, None)
            if number in self.pages:
                self.dirty[number] = None

    async def write_images(self, images: list[tuple[int, bytes]]) -> None:
        """Durable on return. Raises what the truth's space raises."""
        at = 0
        while at < len(images):
            end = at + 1
            while end < len(images) and images[end][0] == images[end - 1][0] + 1 and end - at < 64:
                end += 1
            where = SpaceOffset(images[at][0] * TRUTH_PAGE_BYTES)
            data = [image for _, image in images[at:end]]
            if not self.space.write_now(where, data):
                await self.space.write(where, data)
            at = end
        await self.space.flush()
        for number, _ in images:
            self.busy.pop(number, None)

    # -- rows ----------------------------------------------------------------------------------------------

    def forget_row(self, row: int) -> None:
        """The row is gone, or about to be made anew: what is in memory of it is worth nothing."""
        first = row * self.map.row_pages
        for number in range(first, first + self.map.row_pages):
            self.pages.pop(number, None)
            self.dirty.pop(number, None)
            self.busy.pop(number, None)

    async def clear_row(self, row: int) -> None:
        """ "Never written", durably, whatever the row's last life left here."""
        self.forget_row(row)
        start = row * self.map.row_pages * TRUTH_PAGE_BYTES
        end = start + self.map.row_pages * TRUTH_PAGE_BYTES
        buffer = bytearray(CLEAR_BYTES)
        is_changed = False
        for at in range(start, end, CLEAR_BYTES):
            part = memoryview(buffer)[: end - at]
            await self.space.read(SpaceOffset(at), part)
            if any(part):
                is_changed = True
                await self.space.write(SpaceOffset(at), [bytes(len(part))])
        if is_changed:
            await self.space.flush()
        self.forget_row(row)

    # -- entries -------------------------------------------------------------------------------------------

    def base(self, slice_number: int) -> int:
        """Word of a page at which the slice's entries begin."""
        return slice_number % self.map.page_slices * self.map.group * 2


def fits(page: array[int], at: int, step: int, seed: int, index: int, view: memoryview) -> bool:
    """Do the blocks in `view` fit the entries at `at`, `at + step`, ...? Blocks that were never written are
    made zeros. `index`: number of the first block in its slab."""
    count = len(view) // BLOCK_BYTES
    if count == 1:
        generation = page[at + 1]
        if not generation:
            view[:] = _ZEROS
            return True
        return crc32c(view, (seed + index + generation * GENERATION_STEP) & MASK) == page[at]
    end = at + count * step
    generations = page[at + 1 : end : step]
    if 0 in generations:
        return all(fitting(page, at, step, seed, index, view))
    return range_crcs(view, seed, index, generations) == page[at:end:step]


def fitting(page: array[int], at: int, step: int, seed: int, index: int, view: memoryview) -> list[bool]:
    """The same for each block."""
    found = []
    for number in range(len(view) // BLOCK_BYTES):
        block = view[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES]
        generation = page[at + number * step + 1]
        if not generation:
            block[:] = _ZEROS
            found.append(True)
            continue
        crc = crc32c(block, (seed + index + number + generation * GENERATION_STEP) & MASK)
        found.append(crc == page[at + number * step])
    return found


def is_never_written(page: array[int], at: int, step: int, count: int) -> bool:
    if count == 1:
        return not page[at + 1]
    return not any(page[at + 1 : at + count * step : step])
