"""Redo records: what was encoded is decoded, whatever else is LabelCorrupt and nothing is written."""

from __future__ import annotations

import struct
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import LabelCorrupt
from storage.space.parity import redo
from storage.space.parity.map import ParityMap
from storage.space.parity.redo import Logged
from storage.units import BLOCK_BYTES
from tests.storage.space.parity.rig import Rig

STRIPES = ParityMap(4, 2, 16384, 65536)


def segment(first: int = 4, count: int = 2, written: int = 1) -> Logged:
    entries = array("I", range(count * STRIPES.group * 2))
    parities = [] if written == 3 else [memoryview(bytes([n]) * (count * BLOCK_BYTES)) for n in (1, 2)]
    return Logged(3, first, count, written, entries, entries[::-1], parities)


def test_what_is_encoded_is_decoded() -> None:
    segments = [segment(), segment(8, 4, 3), segment(15, 1, 2)]
    (record,) = redo.encode(STRIPES, 9, segments)
    found = list(redo.decode(STRIPES, 9, record))
    assert [(one.row, one.first, one.count, one.written, one.old, one.new) for one in found] == [
        (one.row, one.first, one.count, one.written, one.old, one.new) for one in segments
    ]
    assert [list(map(bytes, one.parities)) for one in found] == [
        list(map(bytes, one.parities)) for one in segments
    ]


def test_long_batches_make_several_records_and_none_makes_none() -> None:
    segments = [segment(first, 1) for _ in range(20) for first in range(16)]
    records = redo.encode(STRIPES, 9, segments)
    assert len(records) > 1 and redo.encode(STRIPES, 9, []) == []
    assert sum(len(list(redo.decode(STRIPES, 9, one))) for one in records) == len(segments)


def test_the_bytes_of_a_record_are_as_the_format_says() -> None:
    """docs/formats/parity.md, "Redo records"."""
    (record,) = redo.encode(STRIPES, 9, [segment(8, 4, 3)])
    head = struct.unpack("<8sHBBIIQI", record[:32])
    assert head == (b"SOFSPRTY", 1, 4, 2, 9, 1, len(record), 4)
    assert struct.unpack("<QIHBB", record[32:48]) == (3, 8, 4, 3, 0)
    assert record[48:56] == struct.pack("<II", 0, 1) and len(record) == 48 + 2 * 4 * 4 * 8


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_record_is_label_corrupt_or_a_record(data: st.DataObject) -> None:
    (record,) = redo.encode(STRIPES, 9, [segment(), segment(8, 4, 3)])
    cut = bytearray(record[: data.draw(st.integers(0, len(record)))] + data.draw(st.binary(max_size=20)))
    for _ in range(data.draw(st.integers(0, 3))):
        if cut:
            at = data.draw(st.integers(0, min(len(cut), 120) - 1))
            cut[at] = data.draw(st.integers(0, 255))
    try:
        for one in redo.decode(STRIPES, 9, bytes(cut)):
            assert one.count and one.first + one.count <= STRIPES.slab_blocks
    except LabelCorrupt:
        pass


@pytest.mark.parametrize("space_id,stripes", [(8, STRIPES), (9, ParityMap(6, 2, 16384, 65536))])
def test_a_record_of_another_space_is_refused(space_id: int, stripes: ParityMap) -> None:
    (record,) = redo.encode(STRIPES, 9, [segment()])
    with pytest.raises(LabelCorrupt, match="it was found for space"):
        list(redo.decode(stripes, space_id, record))


def test_a_record_with_another_batch_is_refused_before_anything_is_written() -> None:
    rig = Rig(3, 1)

    async def work() -> None:
        await rig.write([(0, 4)])
        await rig.flush()
        await rig.write([(1, 1)])
        records, batch = rig.journal[0]
        rig.power_cut()
        writes = sum(disk.writes for disk in rig.disks)
        for wrong in ([(2 * BLOCK_BYTES, batch[0][1])], [(BLOCK_BYTES, bytes(BLOCK_BYTES))], []):
            with pytest.raises(LabelCorrupt, match="contradict"):
                await rig.machine.redo(records, [(offset, memoryview(data)) for offset, data in wrong])
            assert sum(disk.writes for disk in rig.disks) == writes
        await rig.recover()
        await rig.check()

    rig.run(work())
