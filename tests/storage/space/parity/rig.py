"""A parity machine on simulated disks, a small pool for it, a journal in memory, and what it must read as.

The pool (`FakeHost`) allots slabs, keeps the slab map (durable after `commit`) and knows which disks are
there. The journal is a list of batches, each durable once it is in the list. The truth lies on a disk of its
own, which loses power with the others; its copies are another machine's business.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Collection, Sequence

from storage.errors import DiskFailed, PoolFull, SlabLost
from storage.pool.metadata import CopyRecord, SpaceRecord, SpaceState, pack_copies
from storage.space.checksums import PAGE_BYTES, block_crc
from storage.space.machine import SpaceMachine
from storage.space.parity import hints
from storage.space.parity.codec import words
from storage.space.parity.machine import ParityMachine
from storage.space.parity.map import TRUTH_PAGE_BYTES, ParityMap
from storage.space.port import SpaceUsage
from storage.space.resiliency import Provisioning, ResiliencyKind
from storage.space.slabset import Place, SlabSet
from storage.space.stripemap import PAGE_SPAN_BYTES
from storage.units import BLOCK_BYTES, DiskOffset, SpaceOffset
from tests.sim.disk import PowerCut, SimDisk
from tests.sim.runtime import InlineRuntime

ZERO = bytes(BLOCK_BYTES)


async def no_pace(count: int) -> None:
    pass


class DiskSpace:
    """A space that is one disk."""

    def __init__(self, disk: SimDisk) -> None:
        self.disk = disk
        self.size_bytes = disk.size_bytes

    def usage(self) -> SpaceUsage:
        return SpaceUsage(self.size_bytes, self.size_bytes, 0, self.size_bytes)

    def read_now(self, offset: SpaceOffset, into: memoryview) -> bool:
        return self.disk.read_now(DiskOffset(offset), (into,))

    async def read(self, offset: SpaceOffset, into: memoryview) -> None:
        await self.disk.read(DiskOffset(offset), (into,))

    def read_blocking(self, offset: SpaceOffset, into: memoryview) -> None:
        self.disk.read_blocking(DiskOffset(offset), (into,))

    def write_now(self, offset: SpaceOffset, data: Sequence[memoryview | bytes], fresh: bool = False) -> bool:
        return self.disk.write_now(DiskOffset(offset), data)

    async def write(
        self, offset: SpaceOffset, data: Sequence[memoryview | bytes], fresh: bool = False
    ) -> None:
        await self.disk.write(DiskOffset(offset), data)

    async def flush(self) -> None:
        await self.disk.flush()

    async def trim(self, offset: SpaceOffset, length: int) -> None:
        pass


class FakeHost:
    """`storage.space.host.SpaceHost` for one machine."""

    def __init__(
        self, runtime: InlineRuntime, disks: list[SimDisk], slab_bytes: int, state: SpaceState
    ) -> None:
        self.runtime = runtime
        self.disks = disks
        self.out: set[int] = set()
        self.slab_bytes = slab_bytes
        self.state = state
        self.durable = copy.deepcopy(state)
        self.repaired = 0
        self.machine: ParityMachine | None = None
        self.young: list[SlabSet] = []
        self.stride = slab_bytes + PAGE_BYTES * -(-slab_bytes // PAGE_SPAN_BYTES)
        slabs = disks[0].size_bytes // self.stride
        self.free = {number: list(range(slabs - 1, -1, -1)) for number in range(len(disks))}

    def disk_failed(self, number: int, error: DiskFailed) -> None:
        if number not in self.out:
            self.out.add(number)
            self.resolve_all()
            for sets in self.machine.rows.values() if self.machine else ():
                for slabs in sets:
                    if slabs.is_hot and self.machine.may_mark_stale(slabs):
                        self.mark_absent(slabs)

    async def read_failed(self, number: int, error: DiskFailed) -> None:
        if self.disks[number].failure is not None:
            self.disk_failed(number, error)

    def resolve_all(self) -> None:
        for sets in self.machine.rows.values() if self.machine else ():
            for slabs in sets:
                self.resolve(slabs)

    def resolve(self, slabs: SlabSet) -> None:
        there = [one for one in slabs.copies if one.disk not in self.out]
        places = [(one, self.place(one)) for one in there]
        slabs.writers = tuple(place for _, place in places)
        slabs.readers = tuple(place for one, place in places if not one.stale)

    def place(self, one: CopyRecord) -> Place:
        data = one.slab * self.stride
        return Place(one.disk, self.disks[one.disk], data, data + self.slab_bytes, one.slab)

    async def make_ready(self, slabs: SlabSet, regions: int) -> None:
        raise AssertionError("a parity space has no write-intent log")

    async def mark_stale(self, machine: SpaceMachine, row: int) -> None:
        sets = machine.row(row) or []
        for slabs in sets:
            if any(one.disk in self.out and not one.stale for one in slabs.copies):
                if not machine.may_mark_stale(slabs):
                    raise SlabLost(f"row {row} cannot be read without what is missing")
                self.mark_absent(slabs)
        await self.commit()

    def mark_absent(self, slabs: SlabSet) -> None:
        slabs.copies = [one._replace(stale=one.stale or one.disk in self.out) for one in slabs.copies]
        self.put_row(slabs.row, self.machine.rows[slabs.row])

    def put_row(self, row: int, sets: Sequence[SlabSet]) -> None:
        self.state.put_row(row, pack_copies([one for slabs in sets for one in slabs.copies]))

    async def allocate_row(self, space: SpaceMachine, row: int) -> None:
        while True:
            disks = sorted((n for n in self.free if n not in self.out), key=lambda n: -len(self.free[n]))
            if len(disks) < self.state.record.columns:
                raise PoolFull("too few disks for a row")
            columns = [[CopyRecord(n, self.free[n].pop())] for n in disks[: self.state.record.columns]]
            if all([await self.zero_checks(copies[0]) for copies in columns]):
                break
            for copies in columns:
                self.free[copies[0].disk].append(copies[0].slab)
        await space.prepare_row(row)
        self.state.put_row(row, pack_copies([one for copies in columns for one in copies]))
        for slabs in space.attach_row(row, columns):
            slabs.is_young = True
            self.young.append(slabs)

    async def zero_checks(self, one: CopyRecord) -> bool:
        place = self.place(one)
        try:
            await place.disk.write(DiskOffset(place.checks), [bytes(self.stride - self.slab_bytes)])
        except DiskFailed as error:
            self.disk_failed(place.number, error)
            return False
        return True

    def release_row(self, space: SpaceMachine, row: int) -> None:
        for slabs in space.row(row) or ():
            for one in slabs.copies:
                self.free[one.disk].insert(0, one.slab)
        space.detach_row(row)
        self.state.drop_row(row)

    async def flush_space(self, space: SpaceMachine) -> None:
        raise AssertionError("a parity space flushes itself")

    async def flush_disks(self, numbers: Collection[int]) -> None:
        for number in numbers:
            try:
                if number not in self.out:
                    await self.disks[number].flush()
            except DiskFailed as error:
                self.disk_failed(number, error)

    async def commit(self) -> None:
        self.disks[0]._step("commit")
        self.durable = copy.deepcopy(self.state)
        for slabs in self.young:
            slabs.is_young = False
        self.young = []

    def page_loaded(self, slabs: SlabSet, number: int) -> None:
        raise AssertionError("pages of parity spaces are the machine's")

    def rows_available(self, space: SpaceMachine) -> int:
        return min(len(free) for free in self.free.values())

    def count_repair(self, number: int, blocks: int) -> None:
        self.repaired += blocks


class Rig:
    """`model`: block -> the contents that it may read as."""

    def __init__(
        self,
        columns: int,
        parities: int,
        *,
        rows: int = 2,
        slab: int = 32768,
        interleave: int = 8192,
        seed: int = 1,
        blocks: bool = False,
        is_random: bool = False,
        provisioning: Provisioning = Provisioning.THIN,
        spares: int = 2,
    ) -> None:
        self.rng = random.Random(seed)
        self.runtime = InlineRuntime(seed, self.rng if is_random else None)
        self.map = ParityMap(columns, parities, interleave, slab)
        self.size = rows * self.map.row_bytes
        self.disks = [
            SimDisk(
                f"d{n}", (rows + 2) * (slab + PAGE_BYTES * -(-slab // PAGE_SPAN_BYTES)), self.runtime, blocks
            )
            for n in range(columns + spares)
        ]
        self.truth = SimDisk("truth", self.map.truth_bytes(self.size), self.runtime, blocks)
        self.slab = slab
        record = SpaceRecord(
            7, ResiliencyKind.PARITY, 1, columns, provisioning, interleave, self.size, "v", parities
        )
        self.host = FakeHost(self.runtime, self.disks, slab, SpaceState(record))
        self.journal: list[tuple[list[bytes], list[tuple[int, bytes]]]] = []
        self.applied: list[tuple[list[bytes], list[tuple[int, bytes]]]] = []
        self.model: dict[int, set[bytes] | None] = {}
        self.operations = 0
        self.cut_at: int | None = None
        self.listen()
        self.start()

    def start(self) -> None:
        self.machine = ParityMachine(self.host, self.host.state, self.slab, 99, DiskSpace(self.truth))
        self.machine.hints.pages_max = 3
        self.host.machine = self.machine

    def listen(self) -> None:
        for disk in (*self.disks, self.truth):
            disk.hook = self._count

    def _count(self, disk: str, what: str) -> None:
        if self.operations == self.cut_at:
            raise PowerCut(f"before {what} on {disk}")
        self.operations += 1

    def run(self, work) -> None:
        self.runtime.run(work)

    # -- doing ---------------------------------------------------------------------------------------------

    def noise(self, blocks: int) -> bytes:
        return self.rng.randbytes(blocks * BLOCK_BYTES)

    async def write(self, pieces: Sequence[tuple[int, int]]) -> None:
        """(first block, blocks), sorted, as a batch of the cache."""
        batch = [(first * BLOCK_BYTES, self.noise(count)) for first, count in pieces]
        views = [(offset, memoryview(data)) for offset, data in batch]
        records = list(await self.machine.prepare(views))
        blocks = sum(count for _, count in pieces)
        assert sum(map(len, records)) <= self.machine.redo_bytes_max(blocks)
        entry = (records, batch)
        self.journal.append(entry)
        for offset, data in batch:
            for at in range(0, len(data), BLOCK_BYTES):
                self.model[(offset + at) // BLOCK_BYTES] = {data[at : at + BLOCK_BYTES]}
        await self.machine.apply(views)
        self.applied.append(entry)

    async def write_fresh(self, stripe: int, count: int) -> None:
        size = self.map.stripe_bytes
        data = self.rng.randbytes(count * size)
        first, blocks = stripe * size // BLOCK_BYTES, count * size // BLOCK_BYTES
        self.model.update((block, None) for block in range(first, first + blocks))
        offset = SpaceOffset(stripe * size)
        if not self.machine.write_fresh_now(offset, [data]):
            await self.machine.write_fresh(offset, [data])
        self.fresh = {first + i: data[i * BLOCK_BYTES : (i + 1) * BLOCK_BYTES] for i in range(blocks)}

    async def flush(self) -> None:
        done, self.applied = self.applied, []
        await self.machine.flush()
        self.journal = [entry for entry in self.journal if not any(entry is one for one in done)]

    async def race(self, pieces: Sequence[tuple[int, int]]) -> None:
        """A flush beside a batch."""
        ended = self.runtime.event()

        async def flush() -> None:
            await self.flush()
            ended.set()

        self.runtime.spawn(flush, "flush")
        await self.write(pieces)
        await ended.wait()

    async def trim(self, offset: int, length: int) -> None:
        for block in range(-(-offset // BLOCK_BYTES), (offset + length) // BLOCK_BYTES):
            known = self.model.get(block, {ZERO})
            self.model[block] = None if known is None else known | {ZERO}
        await self.machine.trim(SpaceOffset(offset), length)

    # -- checking ------------------------------------------------------------------------------------------

    def check_bytes(self, content: bytes | bytearray) -> None:
        for block in range(self.size // BLOCK_BYTES):
            allowed = self.model.get(block, {ZERO})
            found = bytes(content[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES])
            assert allowed is None or found in allowed, f"block {block} is not what was written"

    async def check(self) -> None:
        content = bytearray(self.size)
        view = memoryview(content)
        at = 0
        while at < self.size:
            length = min(self.rng.choice((100, 4096, 5000, 8192, 28672, 65536)), self.size - at)
            part = view[at : at + length]
            if self.rng.random() < 0.3:
                self.machine.read_blocking(SpaceOffset(at), part)
            else:
                await self.machine.read(SpaceOffset(at), part)
            at += length
        self.check_bytes(content)

    async def check_redundancy(self) -> int:
        """Every column that is there: truth = data, and P and Q are what the data gives. Blocks."""
        machine, looked = self.machine, 0
        for row in sorted(self.host.state.rows):
            sets = machine.row(row)
            assert sets is not None
            for number in range(machine.map.slab_blocks):
                page = await machine.truth.load(machine.map.page_of(row, number))
                base = machine.truth.base(number)
                stripe = number // machine.map.unit_blocks
                contents: dict[int, bytes] = {}
                for slabs in sets:
                    crc, generation = page[base + 2 * slabs.column : base + 2 * slabs.column + 2]
                    buffer = bytearray(BLOCK_BYTES)
                    if generation:
                        place = slabs.readers[0]
                        await place.disk.read(
                            DiskOffset(place.data + number * BLOCK_BYTES), [memoryview(buffer)]
                        )
                        assert block_crc(buffer, slabs.seed, number, generation) == crc, (
                            row,
                            slabs.column,
                            number,
                        )
                        looked += 1
                    contents[machine.map.role_of(stripe, slabs.column)] = bytes(buffer)
                data = machine.map.data_columns
                is_written = any(page[base : base + 2 * machine.map.columns])
                p_column = machine.map.column_of(stripe, data)
                assert bool(page[base + 2 * p_column + 1]) == is_written, "T2"
                if is_written:
                    wanted = machine.codec.encode([words(contents[role]) for role in range(data)])
                    for parity, one in enumerate(wanted):
                        assert one.tobytes() == contents[data + parity], (row, number, parity)
        return looked

    async def check_hints(self) -> int:
        """A disk that says of itself that it has a block has it, stale or not. Blocks."""
        machine, looked = self.machine, 0
        for row in sorted(self.host.state.rows):
            for slabs in machine.row(row) or ():
                for place in slabs.writers:
                    for number in range(machine.map.slab_blocks):
                        page = await machine.truth.load(machine.map.page_of(row, number))
                        at = machine.truth.base(number) + 2 * slabs.column
                        own = await hints.read(machine, place, number, 1)
                        if own[1] and own == page[at : at + 2]:
                            buffer = bytearray(BLOCK_BYTES)
                            where = DiskOffset(place.data + number * BLOCK_BYTES)
                            await place.disk.read(where, [memoryview(buffer)])
                            assert block_crc(buffer, slabs.seed, number, own[1]) == own[0], (
                                row,
                                place.number,
                            )
                            looked += 1
        return looked

    # -- faults --------------------------------------------------------------------------------------------

    def power_cut(self, lost: Collection[int] = ()) -> None:
        """Everything stops; afterwards the disks in `lost` are not there."""
        self.cut_at = None
        for disk in (*self.disks, self.truth):
            disk.power_cut(self.rng)
        self.listen()
        self.host.state.rows.clear()
        self.host.state.stale_rows.clear()
        for row, packed in self.host.durable.rows.items():
            self.host.state.put_row(row, packed)
        self.host.out = set(lost)
        self.host.young = []
        self.rebuild_free()
        self.start()

    def rebuild_free(self) -> None:
        taken = {(one.disk, one.slab) for row in self.host.state.rows for one in self.copies(row)}
        slabs = self.disks[0].size_bytes // self.host.stride
        self.host.free = {
            n: [slab for slab in range(slabs - 1, -1, -1) if (n, slab) not in taken]
            for n in range(len(self.disks))
        }

    def copies(self, row: int) -> list[CopyRecord]:
        return [one for column in self.host.state.columns(row) or () for one in column]

    async def recover(self) -> None:
        """What the cache does when it is opened."""
        for records, batch in self.journal:
            await self.machine.redo(records, [(offset, memoryview(data)) for offset, data in batch])
        self.applied = list(self.journal)
        await self.flush()

    def bring_back(self) -> None:
        for disk in self.disks:
            disk.heal()
        self.host.out = set()
        self.host.resolve_all()

    async def refill_all(self) -> int:
        copied = 0
        for row in sorted(self.host.state.rows):
            sets = self.machine.row(row) or []
            for slabs in sets:
                for place in slabs.writers:
                    if place not in slabs.readers:
                        copied += await self.machine.refill(slabs, place, no_pace)
                        await place.disk.flush()
                        slabs.copies = [one._replace(stale=False) for one in slabs.copies]
                        self.host.resolve(slabs)
            self.host.put_row(row, sets)
        await self.host.commit()
        return copied

    def rot(self, row: int, column: int, block: int) -> None:
        one = (self.host.state.columns(row) or [])[column][0]
        at = one.slab * self.host.stride + block * BLOCK_BYTES
        self.disks[one.disk].rot(at, BLOCK_BYTES, self.rng)

    def truth_page(self, row: int, block: int) -> int:
        return self.map.page_of(row, block) * TRUTH_PAGE_BYTES
