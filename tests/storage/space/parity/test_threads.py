"""Reads in other threads (`read_blocking`) while the loop's thread writes, flushes and repairs."""

from __future__ import annotations

import sys
import threading

import pytest

from storage.units import BLOCK_BYTES, SpaceOffset
from tests.storage.space.parity.rig import Rig


@pytest.mark.parametrize("columns,parities,lost", [(4, 1, 0), (4, 1, 1), (6, 2, 2)])
def test_a_block_read_in_another_thread_is_one_that_was_written(
    columns: int, parities: int, lost: int
) -> None:
    rig = Rig(columns, parities, rows=1, spares=0)
    blocks = rig.size // BLOCK_BYTES
    contents: list[set[bytes]] = [set() for _ in range(blocks)]
    stop, troubles, reads = threading.Event(), [], [0]

    def note() -> None:
        for block, known in rig.model.items():
            contents[block] |= known or set()

    def reader() -> None:
        buffer, block = bytearray(BLOCK_BYTES), 0
        while not stop.is_set():
            block = (block + 5) % blocks
            try:
                rig.machine.read_blocking(SpaceOffset(block * BLOCK_BYTES), memoryview(buffer))
            except Exception as error:  # told below, on the test's thread
                troubles.append(repr(error))
                return
            reads[0] += 1
            if bytes(buffer) not in contents[block]:
                troubles.append(f"block {block} was never that")
                return

    async def prepare() -> None:
        await rig.write([(0, blocks)])
        await rig.flush()
        for number in range(lost):
            rig.disks[number].fail()
        await rig.check()
        note()

    async def work() -> None:
        for _ in range(60):
            batch_before = len(rig.journal)
            first = rig.rng.randrange(blocks)
            data = rig.noise(min(3, blocks - first))
            for at in range(0, len(data), BLOCK_BYTES):
                contents[first + at // BLOCK_BYTES].add(data[at : at + BLOCK_BYTES])
            views = [(first * BLOCK_BYTES, memoryview(data))]
            await rig.machine.prepare(views)
            await rig.machine.apply(views)
            assert len(rig.journal) == batch_before
            if rig.rng.random() < 0.3:
                await rig.machine.flush()

    rig.run(prepare())
    interval = sys.getswitchinterval()
    threads = [threading.Thread(target=reader) for _ in range(2)]
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        rig.run(work())
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    assert not troubles and reads[0]
