"""What a column's own disk knows: its checksum area holds the truth as it was, or is; never as it will be.

    flush: data durable -> truth durable -> ... now and then: own pages of what changed, on current copies
    refill: own entry = the truth's?  yes: the block is there (what isn't, a read notices)
                                      no:  read and verified, put together if it doesn't fit

So a disk that was away is asked only for what changed meanwhile. An own entry may be written only for a
block that is durable on that disk in the state that the truth speaks of:

  H1 not before the flush that made the block durable there: what isn't durable now is left out, as "never
     written";
  H2 never to a stale copy, but by the refill that has just made it whole and flushed it.

Entries are never the same in two lives of a block (`ParityMachine.birth_generation`), so an old one is not
taken for a new one. Nothing is verified against these pages but whether to look. Format:
docs/formats/slab.md. Awaits disks and the truth.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final

from storage.errors import DiskFailed
from storage.space.checksums import PAGE_BYTES, new_page
from storage.space.machine import Pace
from storage.space.slabset import Place, SlabSet
from storage.space.stripemap import PAGE_BLOCKS
from storage.units import BLOCK_BYTES, DiskOffset

if TYPE_CHECKING:
    from storage.space.parity.machine import ParityMachine

PAGES_MAX: Final = 256
"""Own pages that are behind, before some are written; each covers 2 MiB of a column."""
PAGES_AT_ONCE: Final = 128
AGE_MAX_S: Final = 30.0


class Hints:
    """Which own pages are behind the truth: (row, column, page of the slab)."""

    __slots__ = ("behind", "pages_max", "written_s")

    def __init__(self, now: float) -> None:
        self.behind: dict[tuple[int, int, int], None] = {}
        self.pages_max = PAGES_MAX
        self.written_s = now

    def note(self, row: int, column: int, first: int, count: int) -> None:
        for page in range(first // PAGE_BLOCKS, (first + count - 1) // PAGE_BLOCKS + 1):
            self.behind[row, column, page] = None

    def forget_row(self, row: int) -> None:
        for key in [key for key in self.behind if key[0] == row]:
            del self.behind[key]

    def is_due(self, now: float) -> bool:
        return len(self.behind) >= self.pages_max or (bool(self.behind) and now - self.written_s > AGE_MAX_S)


async def write_some(machine: ParityMachine) -> None:
    """The ones that are behind for longest; after a flush. What fails on a disk takes that disk out."""
    hints = machine.hints
    hints.written_s = machine.host.runtime.now()
    behind = list(hints.behind)[:PAGES_AT_ONCE]
    for key in behind:
        del hints.behind[key]
    for row, column, page in sorted(behind):
        sets = machine.row(row)
        if sets is None:
            continue
        image = await _image(machine, sets[column], page)
        for place in sets[column].readers:
            try:
                await _write(place, page, image)
            except DiskFailed as error:
                machine.host.disk_failed(place.number, error)


async def renew(machine: ParityMachine, slabs: SlabSet, target: Place, pace: Pace) -> None:
    """The copy at `target` was refilled: it is flushed, then its own pages say so. Raises DiskFailed."""
    await machine.host.flush_disks((target.number,))
    for page in range(-(-machine.map.slab_blocks // PAGE_BLOCKS)):
        await pace(PAGE_BYTES)
        if slabs.is_dead:
            return
        if target not in slabs.writers:
            raise DiskFailed(f"disk {target.disk.name} went away while its slab {target.slab} was refilled")
        image = await _image(machine, slabs, page)
        try:
            await _write(target, page, image)
        except DiskFailed as error:
            machine.host.disk_failed(target.number, error)
            raise


async def read(machine: ParityMachine, target: Place, first: int, count: int) -> array[int]:
    """The own entries of these blocks, which lie in one own page. Raises DiskFailed."""
    page = new_page()
    where = DiskOffset(target.checks + first // PAGE_BLOCKS * PAGE_BYTES)
    view = memoryview(page).cast("B")
    if not target.disk.read_now(where, (view,)):
        await target.disk.read(where, (view,))
    at = first % PAGE_BLOCKS * 2
    return page[at : at + count * 2]


async def _image(machine: ParityMachine, slabs: SlabSet, page: int) -> array[int]:
    """H1. The pages of the truth may go while others come, so each is used at once."""
    stripes, image = machine.map, new_page()
    step, unit = stripes.group * 2, stripes.unit_blocks
    end = min((page + 1) * PAGE_BLOCKS, stripes.slab_blocks)
    for first in range(page * PAGE_BLOCKS, end, stripes.page_slices):
        count = min(stripes.page_slices, end - first)
        truth = await machine.truth.load(stripes.page_of(slabs.row, first))
        at, into = 2 * slabs.column, first % PAGE_BLOCKS * 2
        image[into : into + 2 * count : 2] = truth[at : at + count * step : step]
        image[into + 1 : into + 2 * count : 2] = truth[at + 1 : at + count * step : step]
        for stripe in range(first // unit, (first + count - 1) // unit + 1):
            if not machine.is_durable(machine.stripe_number(slabs.row, stripe)):
                low, high = max(stripe * unit, first), min((stripe + 1) * unit, first + count)
                blank = array("I", bytes(8 * (high - low)))
                image[low % PAGE_BLOCKS * 2 : low % PAGE_BLOCKS * 2 + len(blank)] = blank
    return image


async def _write(place: Place, page: int, image: array[int]) -> None:
    where = DiskOffset(place.checks + page * PAGE_BYTES)
    view = memoryview(image).cast("B")
    assert len(view) == PAGE_BYTES and PAGE_BYTES == BLOCK_BYTES
    if not place.disk.write_now(where, (view,)):
        await place.disk.write(where, (view,))
