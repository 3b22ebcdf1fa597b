"""docs/formats/parity.md, byte by byte: what is on the disks and in the truth, from that page alone."""

from __future__ import annotations

import struct

import pytest
from crc32c import crc32c

from storage.units import BLOCK_BYTES
from tests.storage.space.parity.rig import Rig
from tests.storage.space.parity.test_codec import dumb_parities

SEED = 99
"""Of the space, as the rig has it."""


def entry_of(truth: bytes, group: int, number: int, column: int) -> tuple[int, int]:
    return struct.unpack_from("<II", truth, (number * group + column) * 8)


@pytest.mark.parametrize("columns,parities,group", [(3, 1, 4), (4, 2, 4), (5, 1, 8), (8, 2, 8)])
def test_an_image_is_as_the_page_says(columns: int, parities: int, group: int) -> None:
    rig = Rig(columns, parities, rows=1, slab=32768, interleave=8192, spares=0)
    data_columns, unit = columns - parities, 2
    written = {1, 2 * data_columns * unit, 2 * data_columns * unit + unit}

    async def work() -> None:
        await rig.write([(block, 1) for block in sorted(written)])
        await rig.flush()

    rig.run(work())
    truth = bytes(rig.truth.content)
    copies = rig.host.state.columns(0) or []
    slabs = [
        bytes(rig.disks[one.disk].content[one.slab * rig.host.stride :][: rig.slab]) for (one,) in copies
    ]
    for number in range(rig.slab // BLOCK_BYTES):
        stripe, within = divmod(number, unit)
        at = number * BLOCK_BYTES
        blocks = [
            min(rig.model.get((stripe * data_columns + role) * unit + within, {bytes(BLOCK_BYTES)}))
            for role in range(data_columns)
        ]
        roles = [any(block) for block in blocks]
        roles += [any(roles)] * parities
        contents = blocks + dumb_parities(blocks)[:parities]
        for role, is_written in enumerate(roles):
            column = (stripe + role) % columns
            crc, generation = entry_of(truth, group, number, column)
            assert bool(generation) == is_written
            if is_written:
                assert slabs[column][at : at + BLOCK_BYTES] == contents[role]
                slab_seed = crc32c(struct.pack("<IQI", SEED, 0, column))
                seed = (slab_seed + number + generation * 0x9E3779B1) % 2**32
                assert crc == crc32c(contents[role], seed)
            else:
                assert crc == 0
        assert not any(truth[(number * group + columns) * 8 : (number + 1) * group * 8])
