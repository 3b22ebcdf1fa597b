"""Slices of a stripe, put together from the columns that are there: pure, and the two ways of feeding it.

    columns read, each verified against the truth --> good, or not, block by block
    a slice with at most as many bad blocks as there are parities --> recovered, and verified again
    more: BlockCorrupt if the blocks are there, SlabLost if too many columns are not

Columns that hold data are read first; a parity column only if something is missing (or it is asked for), so a
single loss costs no more reads than a column less. `fetch` rewrites the bad copies that it met (read-repair);
its caller holds the stripe (claims.py). `fetch_blocking` runs in any thread and repairs nothing. Bytes that
don't fit the truth are never given out. Awaits disks only.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from storage.errors import BlockCorrupt, DiskFailed, SlabLost, StorageError
from storage.pool.batcher import gather
from storage.space.parity.codec import Words, octets, words
from storage.space.parity.truth import fits, fitting
from storage.space.slabset import Place, SlabSet
from storage.units import BLOCK_BYTES, DiskOffset

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from storage.space.parity.machine import ParityMachine

BLOCK_WORDS = BLOCK_BYTES // 8


class Slices:
    """`count` slices from `first` on, of one stripe and one page of the truth. `blocks[column]` are verified
    where `good[column]` says so."""

    __slots__ = (
        "absent",
        "bad",
        "base",
        "blocks",
        "count",
        "first",
        "good",
        "machine",
        "page",
        "row",
        "sets",
    )

    def __init__(
        self, machine: ParityMachine, sets: Sequence[SlabSet], first: int, count: int, page: array[int]
    ) -> None:
        self.machine = machine
        self.sets = sets
        self.row = sets[0].row
        self.first = first
        self.count = count
        base = machine.truth.base(first)
        self.page = page[base : base + count * machine.map.group * 2]
        self.blocks: dict[int, bytearray] = {}
        self.good: dict[int, list[bool]] = {}
        self.bad: list[tuple[Place, int, int]] = []
        """(where, column, number of the slice from `first` on) of copies that didn't fit."""
        self.absent: set[int] = set()
        """Columns without a current copy on a disk that is there."""

    @property
    def stripe(self) -> int:
        return self.first // self.machine.map.unit_blocks

    def column(self, role: int) -> int:
        return self.machine.map.column_of(self.stripe, role)

    def is_written(self, column: int) -> bool:
        return any(self.page[2 * column + 1 :: self.machine.map.group * 2])

    def take_whole(self, column: int, buffer: bytearray) -> bool:
        """The same, if all of it is good."""
        step, seed = self.machine.map.group * 2, self.sets[column].seed
        if not fits(self.page, 2 * column, step, seed, self.first, memoryview(buffer)):
            return False
        self.blocks[column], self.good[column] = buffer, [True] * self.count
        return True

    def take(self, column: int, buffer: bytearray, place: Place) -> None:
        """A copy of the column that was read; what is good of it counts."""
        if self.take_whole(column, buffer):
            return
        view = memoryview(buffer)
        step, seed = self.machine.map.group * 2, self.sets[column].seed
        found = fitting(self.page, 2 * column, step, seed, self.first, view)
        self.bad.extend((place, column, number) for number, is_good in enumerate(found) if not is_good)
        known = self.good.get(column)
        if known is None:
            self.blocks[column], self.good[column] = buffer, found
            return
        for number, is_good in enumerate(found):
            if is_good and not known[number]:
                at = number * BLOCK_BYTES
                self.blocks[column][at : at + BLOCK_BYTES] = buffer[at : at + BLOCK_BYTES]
                known[number] = True

    def take_nothing(self, column: int) -> None:
        """No copy could be read: good only where nothing was written."""
        if column not in self.good:
            step = self.machine.map.group * 2
            self.blocks[column] = bytearray(self.count * BLOCK_BYTES)
            self.good[column] = [generation == 0 for generation in self.page[2 * column + 1 :: step]]

    def is_whole(self, columns: Collection[int]) -> bool:
        return all(column in self.good and all(self.good[column]) for column in columns)

    def solve(self) -> None:
        """Recover what can be had with the columns taken so far."""
        patterns: dict[tuple[int, ...], list[int]] = {}
        roles = [(role, self.column(role)) for role in range(self.machine.map.columns)]
        taken = [(role, self.good[column]) for role, column in roles if column in self.good]
        for number in range(self.count):
            missing = tuple(role for role, good in taken if not good[number])
            if missing:
                patterns.setdefault(missing, []).append(number)
        for missing, numbers in patterns.items():
            self._solve_pattern(missing, numbers)

    def require(self, wanted: Collection[int]) -> None:
        """Raises BlockCorrupt or SlabLost if a block of these columns could not be had."""
        for column in wanted:
            if not self.is_whole((column,)):
                raise self._trouble(column)

    def _solve_pattern(self, missing: tuple[int, ...], numbers: list[int]) -> None:
        present: dict[int, Words] = {}
        for role in range(self.machine.map.columns):
            column = self.column(role)
            if role not in missing and column in self.blocks:
                block = words(self.blocks[column]).reshape(self.count, BLOCK_WORDS)
                present[role] = block[numbers].reshape(-1)
        try:
            found = self.machine.codec.recover(present, missing)
        except ValueError:  # a parity that isn't read yet, or cannot be: `require` says what is missing
            return
        for role, block in found.items():
            column = self.column(role)
            found_bytes = octets(block)
            for position, number in enumerate(numbers):
                piece = found_bytes[position * BLOCK_BYTES : (position + 1) * BLOCK_BYTES]
                at = number * self.machine.map.group * 2 + 2 * column
                if fits(self.page, at, 2, self.sets[column].seed, self.first + number, piece):
                    self.blocks[column][number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES] = piece
                    self.good[column][number] = True

    def _trouble(self, column: int) -> StorageError:
        number = self.good[column].index(False)
        role = self.machine.map.role_of(self.stripe, column)
        name, slab_block = self.machine.name, self.first + number
        where = f"space {name} row {self.row} block {slab_block} of column {column}"
        if role < self.machine.map.data_columns:
            where = f"space {name} byte {self.machine.map.unmap(self.row, role, slab_block * BLOCK_BYTES)}"
        if len(self.absent) > self.machine.tolerance:
            gone = ", ".join(
                f"disk {copy.disk}{' (stale)' if copy.stale else ''}"
                for one in sorted(self.absent)
                for copy in self.sets[one].copies
            )
            return SlabLost(
                f"{where}: {len(self.absent)} columns have no current copy that can be reached: {gone}"
            )
        bad = sorted({column for column in self.good if not self.good[column][number]})
        return BlockCorrupt(
            f"{where}: columns {bad} of the stripe are gone or fail their checksums, "
            f"and parity makes up for {self.machine.tolerance}"
        )


# -- on the loop's thread ----------------------------------------------------------------------------------


async def _read_columns(slices: Slices, columns: Collection[int]) -> None:
    waiting = [column for column in columns if not _read_column_now(slices, column)]

    def one(column: int) -> Callable[[], Awaitable[None]]:
        return lambda: _read_column(slices, column)

    if waiting:
        await gather(slices.machine.host.runtime, [one(column) for column in waiting], "read columns")


def _read_column_now(slices: Slices, column: int) -> bool:
    """Inline, if it is all there and good, or nothing is."""
    slabs = slices.sets[column]
    if not slabs.readers or not slices.is_written(column):
        if not slabs.readers:
            slices.absent.add(column)
        slices.take_nothing(column)
        return True
    place = slabs.readers[0]
    buffer = bytearray(slices.count * BLOCK_BYTES)
    try:
        where = DiskOffset(place.data + slices.first * BLOCK_BYTES)
        if not place.disk.read_now(where, (memoryview(buffer),)):
            return False
    except DiskFailed:  # met again, and told to the pool, by `_read_column`
        return False
    return slices.take_whole(column, buffer)


async def _read_column(slices: Slices, column: int) -> None:
    slabs = slices.sets[column]
    if not slabs.readers:
        slices.absent.add(column)
    for place in slabs.readers if slices.is_written(column) else ():
        buffer = bytearray(slices.count * BLOCK_BYTES)
        try:
            where = DiskOffset(place.data + slices.first * BLOCK_BYTES)
            if not place.disk.read_now(where, (memoryview(buffer),)):
                await place.disk.read(where, (memoryview(buffer),))
        except DiskFailed as error:
            await slices.machine.host.read_failed(place.number, error)
            if place in slabs.readers:  # the disk goes on: its blocks are written again
                slices.bad.extend((place, column, number) for number in range(slices.count))
            else:
                slices.absent.add(column)
            continue
        slices.take(column, buffer, place)
        if all(slices.good[column]):
            return
    slices.take_nothing(column)


async def fetch(
    machine: ParityMachine, sets: Sequence[SlabSet], first: int, count: int, wanted: Collection[int]
) -> Slices:
    """The blocks of the wanted columns, right ones. The caller holds the stripe. Raises: BlockCorrupt,
    SlabLost."""
    page = await machine.truth.load(machine.map.page_of(sets[0].row, first))
    slices = Slices(machine, sets, first, count, page)
    await _read_columns(slices, wanted)
    if not slices.is_whole(wanted):
        data = machine.map.data_columns
        every = [slices.column(role) for role in range(machine.map.columns)]
        await _read_columns(slices, [one for one in every[:data] if one not in slices.good])
        for parity in every[data:]:
            if parity not in slices.good:
                slices.solve()
                if slices.is_whole(wanted):
                    break
                await _read_column(slices, parity)
        slices.solve()
        slices.require(wanted)
    if slices.bad:
        await _repair(slices)
    return slices


async def inspect(machine: ParityMachine, sets: Sequence[SlabSet], first: int, count: int) -> Slices:
    """All columns, each read; what can be recovered is, and bad copies of it are rewritten. What is still not
    good cannot be had."""
    page = await machine.truth.load(machine.map.page_of(sets[0].row, first))
    slices = Slices(machine, sets, first, count, page)
    await _read_columns(slices, range(machine.map.columns))
    slices.solve()
    if slices.bad:
        await _repair(slices)
    return slices


async def _repair(slices: Slices) -> None:
    """Rewrite the copies that didn't fit, where the right content is known by now."""
    machine = slices.machine
    for place, column, number in slices.bad:
        if not slices.good[column][number]:
            continue
        block = memoryview(slices.blocks[column])[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES]
        where = DiskOffset(place.data + (slices.first + number) * BLOCK_BYTES)
        try:
            if not place.disk.write_now(where, (block,)):
                await place.disk.write(where, (block,))
        except DiskFailed as error:
            machine.host.disk_failed(place.number, error)
            continue
        machine.unflushed_disks.add(place.number)
        machine.host.count_repair(place.number, 1)


# -- in any thread -----------------------------------------------------------------------------------------


def fetch_blocking(
    machine: ParityMachine, sets: Sequence[SlabSet], first: int, count: int, wanted: Collection[int]
) -> Slices:
    """As `fetch`, without repair, and without holding the stripe: a writer may come between, so the caller
    tries again before it believes an error. Raises: BlockCorrupt, SlabLost."""
    page = machine.truth.blocking(machine.map.page_of(sets[0].row, first))
    slices = Slices(machine, sets, first, count, page)
    every = [slices.column(role) for role in range(machine.map.columns)]
    for column in wanted:
        _read_column_blocking(slices, column)
    for role, column in enumerate(every):
        if role >= machine.map.data_columns:
            slices.solve()
        if slices.is_whole(wanted):
            return slices
        if column not in slices.good:
            _read_column_blocking(slices, column)
    slices.solve()
    slices.require(wanted)
    return slices


def _read_column_blocking(slices: Slices, column: int) -> None:
    readers = slices.sets[column].readers
    if not readers:
        slices.absent.add(column)
    for place in readers if slices.is_written(column) else ():
        buffer = bytearray(slices.count * BLOCK_BYTES)
        try:
            where = DiskOffset(place.data + slices.first * BLOCK_BYTES)
            place.disk.read_blocking(where, (memoryview(buffer),))
        except DiskFailed:  # the loop's thread will meet it too, and act on it
            slices.absent.add(column)
            continue
        slices.take(column, buffer, place)
        if all(slices.good[column]):
            return
    slices.take_nothing(column)
