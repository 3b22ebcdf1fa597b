"""What must be true of the disks of a pool in the end: parity is what the data gives, block by block."""

from __future__ import annotations

from storage.space.checksums import block_crc
from storage.space.parity.codec import words
from storage.space.parity.machine import ParityMachine
from storage.units import BLOCK_BYTES, DiskOffset


async def check_parity(machine: ParityMachine) -> int:
    """Every column: data as the truth says, P and Q as the data says. Blocks looked at."""
    looked = 0
    for row in sorted(machine.state.rows):
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
                    assert slabs.readers, (machine.name, row, slabs.column, "no current copy")
                    place = slabs.readers[0]
                    where = DiskOffset(place.data + number * BLOCK_BYTES)
                    await place.disk.read(where, [memoryview(buffer)])
                    found = block_crc(buffer, slabs.seed, number, generation)
                    assert found == crc, (machine.name, row, slabs.column, number)
                    looked += 1
                contents[machine.map.role_of(stripe, slabs.column)] = bytes(buffer)
            if any(page[base : base + 2 * machine.map.columns]):
                data = machine.map.data_columns
                wanted = machine.codec.encode([words(contents[role]) for role in range(data)])
                for parity, one in enumerate(wanted):
                    assert one.tobytes() == contents[data + parity], (machine.name, row, number, parity)
    return looked
