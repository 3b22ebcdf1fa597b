"""What lies on the disks: frames, labels, records, slots, intent logs; what is refused; what allocation
promises."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import LabelCorrupt, PoolFull
from storage.pool import allocation, codec, frame, intents, label, metadata, quorum, slots
from storage.pool.allocation import FreeSlabs
from storage.pool.metadata import (
    Awareness,
    CopyRecord,
    DiskFlags,
    DiskRecord,
    DiskState,
    DropDiskRecord,
    DropJobRecord,
    DropRowRecord,
    DropSpaceRecord,
    JobRecord,
    MediaRule,
    MediaType,
    PoolRecord,
    PoolState,
    RetireMissing,
    RowRecord,
    SpaceRecord,
    Usage,
)
from storage.space.resiliency import Provisioning, ResiliencyKind

ids = st.binary(min_size=16, max_size=16)
u8 = st.integers(0, 255)
u16, u32, u64 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF), st.integers(0, (1 << 64) - 1)
names = st.text(max_size=40)
space_fields = (
    *(u32, st.sampled_from(ResiliencyKind), st.integers(1, 8), st.integers(1, 8)),
    *(st.sampled_from(Provisioning), u32, u64, names),
)
records = st.one_of(
    st.builds(PoolRecord, ids, u64, u32, names),
    st.builds(
        PoolRecord,
        *(ids, u64, u32, names, st.integers(1, 2), u32, u32, u8, st.sampled_from(RetireMissing), u32, u8),
    ),
    st.builds(DiskRecord, u32, ids, u64, u32, st.sampled_from(DiskState), names, names),
    st.builds(
        DiskRecord,
        *(u32, ids, u64, u32, st.sampled_from(DiskState), names, names),
        *(st.sampled_from(MediaType), st.sampled_from(Usage), st.sampled_from(list(DiskFlags))),
    ),
    st.builds(SpaceRecord, *space_fields),
    st.builds(
        SpaceRecord,
        *(*space_fields, st.just(0), u8, u32),
        *(st.sampled_from(MediaType), st.sampled_from(MediaRule), st.sampled_from(Awareness)),
    ),
    st.builds(JobRecord, u32, u8, st.none() | st.integers(0, 1 << 30), u8, st.binary(max_size=1024)),
    *(st.builds(kind, u32) for kind in (DropSpaceRecord, DropDiskRecord, DropJobRecord)),
    st.builds(
        RowRecord,
        u32,
        u32,
        st.lists(st.builds(CopyRecord, u16, u32, st.booleans(), st.booleans()), min_size=1, max_size=8).map(
            metadata.pack_copies
        ),
    ),
    st.builds(DropRowRecord, u32, u32),
)


@settings(max_examples=150)
@given(st.lists(records, max_size=5))
def test_records_survive_the_disk(some: list[metadata.Record]) -> None:
    data = b"".join(map(codec.encode_record, some))
    assert list(codec.decode_records(memoryview(data))) == some


@settings(max_examples=150)
@given(st.lists(records, min_size=1, max_size=3), st.data())
def test_spoiled_records_are_refused_or_read_never_anything_else(
    some: list[metadata.Record], data: st.DataObject
) -> None:
    good = bytearray(b"".join(map(codec.encode_record, some)))
    good[data.draw(st.integers(0, len(good) - 1))] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(good)))
    try:
        list(codec.decode_records(memoryview(bytes(good[:cut]))))
    except LabelCorrupt:
        pass


@settings(max_examples=60)
@given(st.binary(max_size=9000), u32, st.data())
def test_a_frame_is_read_whole_or_refused(payload: bytes, seed: int, data: st.DataObject) -> None:
    whole = frame.encode(b"SOFSTEST", 7, payload, seed)
    assert len(whole) % 4096 == 0
    found = frame.decode(whole, b"SOFSTEST", seed)
    assert (found.epoch, bytes(found.payload)) == (7, payload)
    used = frame.HEADER.size + len(payload)
    spoiled = bytearray(whole)
    spoiled[data.draw(st.integers(0, used - 1))] ^= data.draw(st.integers(1, 255))
    for bad, magic, other in (
        (bytes(spoiled), b"SOFSTEST", seed),
        (whole, b"SOFSELSE", seed),
        (whole, b"SOFSTEST", seed ^ 1),
        (whole[: used - 1], b"SOFSTEST", seed),
        (whole[:10], b"SOFSTEST", seed),
    ):
        with pytest.raises(LabelCorrupt):
            frame.decode(bad, magic, other)


def a_label(size: int = 64 << 20) -> label.Label:
    return label.plan(b"P" * 16, "tank", b"D" * 16, 3, size, 1 << 20)


@pytest.mark.parametrize("size", [2 << 20, 64 << 20, 10 << 40])
def test_a_label_lays_the_disk_out_without_overlap(size: int) -> None:
    one = label.plan(b"P" * 16, "tank", b"D" * 16, 0, size, 1 << 20)
    spans = [(place, place + 4096) for place in one.places]
    spans += [(one.intents_at(i), one.intents_at(i) + label.INTENT_SLOT_BYTES) for i in range(2)]
    spans += [(one.slot_at(i), one.slot_at(i) + one.slot_bytes) for i in range(2)]
    spans += [(one.slab_at(i), one.slab_at(i) + one.stride_bytes) for i in {0, one.slab_count - 1}]
    spans.sort()
    assert all(a[1] <= b[0] for a, b in zip(spans, spans[1:], strict=False)) and spans[-1][1] <= size
    assert label.decode(label.encode(one), size) == one


def test_labels_that_contradict_themselves_or_the_disk_are_refused() -> None:
    good = a_label()
    with pytest.raises(LabelCorrupt, match="was it cut off"):
        label.decode(label.encode(good), (64 << 20) - 4096)
    for field, value in (
        ("slab_bytes", 1 << 40),
        ("slab_bytes", 3 << 20),
        ("slot_bytes", 4096),
        ("data_offset", 0),
        ("slab_count", 1 << 30),
        ("slab_count", 0),
    ):
        wrong = label.Label(**{name: getattr(good, name) for name in label.Label.__slots__} | {field: value})
        with pytest.raises(LabelCorrupt, match="contradict"):
            label.decode(label.encode(wrong), 64 << 20)
    with pytest.raises(PoolFull, match="too small"):
        a_label(1 << 20)


def a_state(rows: dict[int, list[CopyRecord]] | None = None) -> PoolState:
    state = PoolState(PoolRecord(b"P" * 16, 1 << 20, 5, "tank"))
    for number in range(3):
        state.apply(DiskRecord(number, bytes([number]) * 16, 1 << 30, 10, DiskState.OK, f"d{number}"))
    state.apply(SpaceRecord(1, ResiliencyKind.MIRROR, 2, 1, Provisioning.THIN, 65536, 1 << 30, "s"))
    for row, copies in (rows or {}).items():
        state.apply(RowRecord(1, row, metadata.pack_copies(copies)))
    return state


def test_metadata_that_breaks_the_slab_rules_is_refused() -> None:
    a_state({0: [CopyRecord(0, 1), CopyRecord(1, 1)], 1: [CopyRecord(0, 2), CopyRecord(2, 1)]}).check()
    for rows, text in (
        ({0: [CopyRecord(0, 1), CopyRecord(0, 2)]}, "two copies of a column"),
        (
            {0: [CopyRecord(0, 1), CopyRecord(1, 1)], 1: [CopyRecord(0, 1), CopyRecord(2, 1)]},
            "allotted twice",
        ),
        ({0: [CopyRecord(0, 10), CopyRecord(1, 1)]}, "isn't there"),
        ({0: [CopyRecord(9, 1), CopyRecord(1, 1)]}, "isn't there"),
        ({0: [CopyRecord(0, 1)]}, "bytes of copies"),
    ):
        with pytest.raises(LabelCorrupt, match=text):
            a_state(rows).check()


def a_parity_state(copies: list[CopyRecord]) -> PoolState:
    state = a_state()
    state.apply(DiskRecord(3, b"3" * 16, 1 << 30, 10, DiskState.OK, "d3"))
    kind = ResiliencyKind.PARITY, 1, 3, Provisioning.THIN, 65536, 1 << 30, "p"
    state.apply(SpaceRecord(2, *kind, parity_columns=1))
    state.apply(RowRecord(2, 0, metadata.pack_copies(copies)))
    return state


def test_the_columns_of_a_parity_row_are_on_different_disks() -> None:
    copies = [CopyRecord(number, 1) for number in range(3)]
    a_parity_state(copies).check()
    a_parity_state([*copies[:2], CopyRecord(3, 0, True, True), copies[2]]).check()
    for bad in (
        [copies[0], copies[1], CopyRecord(1, 2)],
        [copies[0], CopyRecord(2, 0, True, True), copies[1], copies[2]],
    ):
        with pytest.raises(LabelCorrupt, match="two columns of a row on disk"):
            a_parity_state(bad).check()


def test_a_joining_copy_belongs_to_the_column_before_it_and_is_not_one_of_its_copies() -> None:
    state = a_state()
    state.apply(SpaceRecord(1, ResiliencyKind.MIRROR, 2, 2, Provisioning.THIN, 65536, 1 << 30, "s"))
    first, second = [CopyRecord(0, 0), CopyRecord(1, 0, True)], [CopyRecord(1, 1), CopyRecord(2, 1)]
    joins = CopyRecord(2, 5, True, True)
    state.apply(RowRecord(1, 3, metadata.pack_copies([*first, joins, *second])))
    state.check()
    space = state.spaces[1]
    assert space.columns(3) == [[*first, joins], second]
    assert (space.stale_rows, space.joining_rows) == ({3}, {3})
    space.drop_joining()
    assert space.columns(3) == [first, second] and (space.stale_rows, space.joining_rows) == ({3}, set())
    state.apply(RowRecord(1, 3, metadata.pack_copies([joins, *first, *second])))
    with pytest.raises(LabelCorrupt):
        state.check()


def test_records_that_say_nothing_new_keep_the_bytes_of_version_1() -> None:
    """Pools of version 1 stay readable for the program that made them, until they are upgraded."""
    for record in a_state().records():
        assert codec.encode_record(record)[0] in (1, 2, 3)
    newest = PoolRecord(b"P" * 16, 1 << 20, 5, "tank", version=metadata.VERSION_NEWEST)
    assert codec.encode_record(newest)[0] == 7
    with pytest.raises(LabelCorrupt, match="version 3"):
        list(codec.decode_records(memoryview(codec.encode_record(replace(newest, version=3)))))


def test_a_slot_is_read_up_to_its_last_whole_record() -> None:
    state = a_state()
    snapshot = frame.encode(
        slots.SNAPSHOT_MAGIC, 100, b"".join(map(codec.encode_record, state.records())), 7
    )
    row = RowRecord(1, 4, metadata.pack_copies([CopyRecord(0, 0), CopyRecord(1, 0)]))
    first = frame.encode(slots.RECORD_MAGIC, 101, codec.encode_record(row), 7)
    second = frame.encode(slots.RECORD_MAGIC, 102, codec.encode_record(DropRowRecord(1, 4)), 7)
    stale = frame.encode(slots.RECORD_MAGIC, 95, codec.encode_record(DropSpaceRecord(1)), 7)

    def read(*parts: bytes) -> slots.SlotContent:
        return slots.parse(memoryview(b"".join(parts).ljust(65536, b"\0")), 7)

    assert (read(snapshot).epoch, read(snapshot, first).epoch, read(snapshot, first, second).epoch) == (
        100,
        101,
        102,
    )
    assert 4 in read(snapshot, first).state.spaces[1].rows
    assert 4 not in read(snapshot, first, second).state.spaces[1].rows
    torn = bytearray(second)
    torn[40] ^= 1
    content = read(snapshot, first, bytes(torn))
    assert content.epoch == 101 and content.used_bytes == len(snapshot) + len(first)
    assert read(snapshot, first, stale).epoch == 101, "left over from an earlier use of the slot"
    assert read(snapshot, second).epoch == 100, "a gap"
    with pytest.raises(LabelCorrupt):
        read(first, snapshot)


def test_the_newer_whole_image_of_the_intent_log_counts() -> None:
    log = intents.DiskIntents()
    log.bits = {7: 0b101, 3: (1 << 64) - 1}
    images = dict(log.next_image(1) for _ in range(2))
    log.bits = {9: 1}
    slot, newest = log.next_image(1)
    both = [images[0], images[1]]
    both[slot] = newest
    assert intents.decode(both, 1) == (3, {9: 1})
    both[slot] = newest[:20] + b"?" + newest[21:]
    assert intents.decode(both, 1) == (2, {3: (1 << 64) - 1, 7: 0b101})
    with pytest.raises(LabelCorrupt, match="neither slot"):
        intents.decode([b"", b"x" * 4096], 1)


@pytest.mark.parametrize(
    ("slab", "count"), [(64 << 10, 1), (1 << 20, 1), (16 << 20, 4), (256 << 20, 64), (4 << 30, 64)]
)
def test_a_slab_has_at_most_64_regions(slab: int, count: int) -> None:
    assert intents.all_regions(slab) == (1 << count) - 1


@settings(max_examples=100)
@given(st.integers(1, 9), st.data())
def test_every_opening_sees_every_change_that_counted(voters: int, data: st.DataObject) -> None:
    everyone = range(voters)
    opening = data.draw(st.sets(st.sampled_from(everyone)))
    change = data.draw(st.sets(st.sampled_from(everyone)))
    if quorum.can_open(everyone, opening) and quorum.change_counts(everyone, change):
        assert opening & change
    assert quorum.can_open(everyone, everyone) and quorum.change_counts(everyone, everyone)
    assert not (quorum.can_open(everyone, opening) and quorum.can_open(everyone, set(everyone) - opening))


@pytest.mark.slow
def test_a_thousand_disks_are_filled_evenly_and_their_map_is_read_back() -> None:
    """1,000 disks of 10 TiB; a part of a thin space of 8 columns, two copies. The packed map stays small."""
    slab = 256 << 20
    disks = {number: FreeSlabs((10 << 40) // slab, []) for number in range(1000)}
    state = PoolState(PoolRecord(b"P" * 16, slab, 2, "large"))
    domains = {number: str(number) for number in disks}
    for number, free in disks.items():
        disk_id = number.to_bytes(16, "little")
        state.apply(DiskRecord(number, disk_id, 10 << 40, free.count, DiskState.OK, f"d{number}"))
    state.apply(SpaceRecord(1, ResiliencyKind.MIRROR, 2, 8, Provisioning.THIN, 256 << 10, 1 << 50, "s"))
    for row in range(125):
        ones = allocation.choose_row(disks, domains, 8, 2, row)
        copies = [copy for copies in ones for copy in copies]
        state.apply(RowRecord(1, row, metadata.pack_copies(copies)))
    assert {free.count - free.free for free in disks.values()} == {2}
    data = b"".join(map(codec.encode_record, state.records()))
    again = codec.build(memoryview(data))
    again.check()
    assert again == state
    rows = (1 << 50) // (8 * slab)
    assert rows * len(codec.encode_record(RowRecord(1, 0, state.spaces[1].rows[0]))) < label.SLOT_MAX_BYTES
