"""The journal's codec: what is written is read; what was not written is refused, and nothing else happens.

docs/formats/journal.md, "Reading": "a record counts if its identity fits, its sequence is one more than the
one before, its epoch is not below that of the one before and not above the mark's, and both checksums fit."
"""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.cache import journal
from storage.cache.journal import Geometry, Kind, Mark, Run
from storage.errors import LabelCorrupt
from storage.units import BLOCK_BYTES

IDENTITY = 0x1122334455667788
MARK_CRC, DATA_CRC, HEAD_CRC = "52194a0d", "e3844ac6", "c8585d60"
RECORD_SHA256 = "2f577036abce8c47148249cc0193a6bf0330d02a09ac434573727bc7b37d5ea8"
runs_in_space = st.lists(
    st.builds(Run, st.integers(0, 1 << 50), st.integers(1, 8), st.integers(0, (1 << 32) - 1)), max_size=300
)
marks = st.builds(
    lambda redo, tail, numbers: Mark(
        IDENTITY, numbers[0], numbers[1], Geometry(4096, redo), 2 + redo + tail, *numbers[2:]
    ),
    st.integers(0, 1000),
    st.integers(0, 3000),
    st.tuples(*[st.integers(0, (1 << 64) - 1)] * 5),
)


def data_of(runs: list[Run]) -> list[bytes]:
    return [bytes([index % 251]) * BLOCK_BYTES for run in runs for index in range(run.length)]


@settings(max_examples=60)
@given(marks)
def test_a_mark_reads_as_it_was_written(mark: Mark) -> None:
    block = journal.encode_mark(mark)
    assert len(block) == BLOCK_BYTES
    assert not any(block[512:]), "a mark lies in one sector: it is never torn"
    assert journal.decode_mark(block, IDENTITY) == mark


@settings(max_examples=60)
@given(marks, st.integers(0, 91), st.integers(1, 255), st.integers(0, 91))
def test_a_changed_or_cut_mark_is_refused(mark: Mark, at: int, change: int, cut: int) -> None:
    block = bytearray(journal.encode_mark(mark))
    block[at] ^= change
    with pytest.raises(LabelCorrupt):
        journal.decode_mark(block, IDENTITY)
    with pytest.raises(LabelCorrupt):
        journal.decode_mark(journal.encode_mark(mark)[:cut], IDENTITY)
    with pytest.raises(LabelCorrupt):
        journal.decode_mark(journal.encode_mark(mark), IDENTITY + 1)


def test_the_newer_of_two_marks_counts_and_a_torn_one_does_not() -> None:
    old = Mark(IDENTITY, 1, 4, Geometry(256, 0), 2, 1, 1, 1)
    new = Mark(IDENTITY, 2, 5, Geometry(256, 0), 9, 3, 1, 1)
    blank = bytes(BLOCK_BYTES)
    torn = b"\x55" * 40 + journal.encode_mark(new)[40:]
    assert journal.newest_mark([journal.encode_mark(old), journal.encode_mark(new)], IDENTITY) == new
    assert journal.newest_mark([journal.encode_mark(old), torn], IDENTITY) == old
    assert journal.newest_mark([blank, blank], IDENTITY) is None
    with pytest.raises(LabelCorrupt):
        journal.newest_mark([torn, blank], IDENTITY)


@settings(max_examples=60)
@given(runs_in_space, st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1))
def test_a_record_reads_as_it_was_written(runs: list[Run], sequence: int, epoch: int) -> None:
    while sum(run.length for run in runs) > journal.DATA_BLOCKS_MAX:
        runs.pop()
    kind = Kind.DATA if runs else Kind.TRIM
    data = data_of(runs)
    whole = journal.encode_record(kind, IDENTITY, sequence, epoch, runs, data)
    head = journal.decode_head(whole, IDENTITY)
    assert (head.kind, head.sequence, head.epoch, list(head.runs)) == (kind, sequence, epoch, runs)
    assert journal.decode_sizes(whole, IDENTITY) == (head.head_blocks, head.data_blocks)
    assert head.blocks * BLOCK_BYTES == len(whole)
    content = memoryview(whole)[head.head_blocks * BLOCK_BYTES :]
    assert bytes(content) == b"".join(data)
    assert journal.is_data_whole(head, content, IDENTITY)


@settings(max_examples=100)
@given(st.data())
def test_a_damaged_record_is_refused_with_a_typed_error(data: st.DataObject) -> None:
    runs = data.draw(runs_in_space.filter(len).map(lambda some: some[:40]))
    whole = journal.encode_record(Kind.DATA, IDENTITY, 7, 3, runs, data_of(runs))
    head = journal.decode_head(whole, IDENTITY)
    checked = [*range(journal.HEADER.size + len(runs) * 16)]
    at = data.draw(st.sampled_from([*checked, *range(head.head_blocks * BLOCK_BYTES, len(whole), 999)]))
    whole[at] ^= data.draw(st.integers(1, 255))
    content = memoryview(whole)[head.head_blocks * BLOCK_BYTES :]
    if at in checked:
        with pytest.raises(LabelCorrupt):
            journal.decode_head(whole, IDENTITY)
    else:
        assert not journal.is_data_whole(head, content, IDENTITY)


@settings(max_examples=100)
@given(st.binary(max_size=200), st.booleans())
def test_noise_is_no_record(noise: bytes, has_magic: bool) -> None:
    data = (journal.RECORD_MAGIC + noise if has_magic else noise).ljust(BLOCK_BYTES, b"\xff")
    with pytest.raises(LabelCorrupt):
        journal.decode_head(data, IDENTITY)
    with pytest.raises(LabelCorrupt):
        journal.decode_mark(data, IDENTITY)


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=5000), max_size=6), st.binary(max_size=9))
def test_redo_records_are_given_back_or_refused(records: list[bytes], tail: bytes) -> None:
    packed = b"".join(journal.pack_redo(records))
    assert journal.unpack_redo(memoryview(packed)) == records
    for cut in range(0, len(packed), max(1, len(packed) // 20)):
        try:
            found = journal.unpack_redo(memoryview(packed[:cut] + tail))
        except LabelCorrupt:
            continue
        assert all(isinstance(record, bytes) for record in found)


@settings(max_examples=60)
@given(st.sets(st.integers(0, 300)))
def test_runs_hold_exactly_their_blocks(blocks: set[int]) -> None:
    runs = journal.runs_of(sorted(blocks))
    assert {run.block + i for run in runs for i in range(run.length)} == blocks
    assert all(a.block + a.length < b.block for a, b in zip(runs, runs[1:], strict=False))


def test_the_format_is_the_one_of_version_1() -> None:
    """docs/formats/journal.md: what this program wrote, the next one reads."""
    mark = Mark(IDENTITY, 2, 3, Geometry(256, 8), 12, 34, 5, 6)
    assert journal.encode_mark(mark)[:92].hex() == (
        "534f46535742434d01000000000000008877665544332211020000000000000003000000000000000001000000000000"
        "08000000000000000c00000000000000220000000000000005000000000000000600000000000000" + MARK_CRC
    )
    record = journal.encode_record(Kind.DATA, IDENTITY, 9, 2, [Run(5, 1), Run(7, 1)], data_of([Run(0, 2)]))
    assert bytes(record[:96]).hex() == (
        "534f46535742435201000100020000008877665544332211090000000000000002000000000000000100000002000000"
        "00200000" + DATA_CRC + "00000000" + HEAD_CRC + "05000000000000000100000000000000"
        "07000000000000000100000000000000"
    )
    assert hashlib.sha256(record).hexdigest() == RECORD_SHA256
