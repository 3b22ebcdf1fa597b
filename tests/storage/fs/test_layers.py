"""The layers under the catalog: upper-casing, the header, the order in which SQLite's writes reach the
space."""

import random
import unicodedata

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import CatalogCorrupt
from storage.fs import schema
from storage.fs.attributes import decode_eas, encode_eas
from storage.fs.layout import Layout, decode_layout, plan_layout
from storage.fs.limits import METADATA_BYTES_MIN, PAGE_BYTES
from storage.fs.overlay import Overlay
from storage.fs.port import ExtendedAttribute
from storage.fs.upcase import UPCASE, upcase
from storage.fs.vfs import SpaceVfs
from tests.suites.memoryspace import MemorySpace

PAGE = b"p" * PAGE_BYTES
FRAME = b"f" * 4120


# upper-casing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, expected",
    [
        ("readme.TXT", "README.TXT"),
        ("straße", "STRAßE"),
        ("ÿ", "Ÿ"),
        ("ａ", "Ａ"),
        ("ǆ", "Ǆ"),
        ("ᾀ", "ᾈ"),
        ("ı ſ µ", "ı ſ µ"),
        ("ﬁ", "ﬁ"),
        ("𐐨", "𐐨"),
        ("\ud800a\udc00", "\ud800A\udc00"),
    ],
)
def test_upper_casing_maps_one_unit_to_one(name, expected):
    """[MS-FSA] 2.1.1.1 Per Volume: the upcase table maps a 16-bit unit to one; there are no longer
    results."""
    assert upcase(name) == expected


@given(st.text())
def test_upper_casing_keeps_lengths_and_is_stable(name):
    """Folding twice is folding once; the length never changes; no other letter becomes an ASCII one."""
    fold = upcase(name)
    assert len(fold) == len(name) and upcase(fold) == fold
    assert all(a.isascii() == b.isascii() for a, b in zip(name, fold, strict=True))


def test_the_table_is_the_simple_mapping_of_unicode():
    """Each entry is an upper (or title) case letter in the plane; lower case letters with a simple one are
    in it."""
    assert 900 < len(UPCASE) < 1500
    assert all(0 <= to < 0x10000 and to not in UPCASE for to in UPCASE.values())
    for code in range(0x80, 0x600):
        if (
            unicodedata.category(chr(code)) == "Ll"
            and len(chr(code).upper()) == 1
            and chr(code).upper() != chr(code)
        ):
            assert (code in UPCASE) == (code not in (0x131, 0x17F, 0xB5)), hex(code)


# header -------------------------------------------------------------------------------------------


def test_the_header_is_as_the_format_page_says():
    """docs/formats/catalog.md, Header block."""
    layout = Layout(65536, 0x10000, 0x300000, 0x100000, bytes(range(16)))
    block = layout.encode()
    assert block[:68].hex() == (
        "534f465343544c47" "01000000" "00100000" "0000010000000000" "0000010000000000"
        "0000300000000000" "0000100000000000" "000102030405060708090a0b0c0d0e0f" + block[64:68].hex()
    )  # fmt: skip
    assert len(block) == PAGE_BYTES and not any(block[68:])
    assert decode_layout(block, 0x400000) == layout


@given(st.integers(0, 67), st.integers(1, 255))
def test_any_damage_of_the_header_is_a_typed_error(at, flip):
    """Never a layout that was not written."""
    block = bytearray(plan_layout(METADATA_BYTES_MIN, bytes(16)).encode())
    block[at] ^= flip
    with pytest.raises(CatalogCorrupt):
        decode_layout(block, METADATA_BYTES_MIN)


def test_a_layout_larger_than_its_space_is_refused():
    """A header copied to a smaller space."""
    block = plan_layout(2 * METADATA_BYTES_MIN, bytes(16)).encode()
    with pytest.raises(CatalogCorrupt):
        decode_layout(block, METADATA_BYTES_MIN)


# order --------------------------------------------------------------------------------------------


def queue() -> Overlay:
    return Overlay(plan_layout(METADATA_BYTES_MIN, bytes(16)))


def shape(overlay: Overlay) -> list[tuple[bool, int]]:
    """(has a piece of the log, number of pages) of each segment."""
    overlay.cut()
    return [(bool(segment.wal), len(segment.pages)) for segment in overlay.segments]


def test_commits_that_only_append_to_the_log_share_a_segment():
    """storage/fs/overlay.py: A barrier between two segments that only append to the log is left out."""
    overlay = queue()
    for i in range(3):
        overlay.write_wal(32 + i * 4120, FRAME)
        overlay.barrier()
    assert shape(overlay) == [(True, 0)]


def test_a_checkpoint_comes_after_its_log_and_before_the_next():
    """A barrier beside writes to the database, or beside the log's header, stays."""
    overlay = queue()
    overlay.write_wal(0, bytes(32))
    overlay.barrier()
    overlay.write_wal(32, FRAME)
    overlay.barrier()
    overlay.write_page(0, PAGE)
    overlay.write_page(8192, PAGE)
    overlay.barrier()
    overlay.write_wal(0, bytes(32))
    overlay.barrier()
    overlay.write_wal(32, FRAME)
    assert shape(overlay) == [(True, 0), (True, 0), (False, 2), (True, 0), (True, 0)]


def test_reads_see_what_is_queued_and_a_segment_keeps_what_it_was():
    """A page written again while its older content is on the way is not lost when that arrives."""
    overlay = queue()
    overlay.write_page(4096, PAGE)
    overlay.cut()
    newer = b"n" * PAGE_BYTES
    overlay.write_page(4096, newer)
    first = overlay.segments[0]
    assert overlay.writes(first) == [(overlay.layout.database_at + 4096, [PAGE])]
    overlay.done(first)
    assert overlay.pages[4096] == newer
    overlay.cut()
    overlay.done(overlay.segments[0])
    assert overlay.is_empty() and not overlay.pages and overlay.queued_bytes() == 0


def test_a_piece_of_the_log_is_whole_blocks_as_they_were_at_its_barrier():
    """What the log becomes later must not leak into an earlier segment."""
    overlay = queue()
    overlay.write_wal(0, bytes(32))
    overlay.barrier()
    overlay.write_wal(32, FRAME)
    overlay.barrier()
    overlay.write_page(0, PAGE)
    overlay.barrier()
    overlay.write_wal(0, b"H" * 32)
    overlay.cut()
    frames = overlay.segments[1]
    assert frames.wal_low == 0 and len(frames.wal) % PAGE_BYTES == 0
    assert frames.wal[:32] == bytes(32) and frames.wal[32 : 32 + 4120] == FRAME


@pytest.mark.parametrize("seed", range(12))
def test_sqlite_survives_a_cut_anywhere_in_the_queue(seed):
    """Every prefix of segments, and any sectors of the next one: a database that is sound and holds a
    prefix of commits."""
    rng = random.Random(seed)
    layout = plan_layout(METADATA_BYTES_MIN, bytes(16))
    space = MemorySpace(METADATA_BYTES_MIN)
    overlay = Overlay(layout)
    vfs = SpaceVfs(f"cut-{seed}", overlay, space)
    connection = schema.connect(vfs.name, layout)
    connection.execute("pragma wal_autocheckpoint=20").fetchall()
    connection.execute("create table t(id integer primary key, b blob)")
    drain(overlay, space, 10_000)
    committed = 0
    for _ in range(60):
        with connection:
            for _ in range(rng.choice((1, 1, 5))):
                committed += 1
                connection.execute(
                    "insert into t values(?, ?)", (committed, rng.randbytes(rng.randrange(3000)))
                )
    segments = overlay.cut()
    durable = drain(overlay, space, rng.randrange(segments + 1))
    if overlay.segments:
        for offset, buffers in overlay.writes(overlay.segments[0]):
            data = b"".join(buffers)
            for at in range(0, len(data), 512):
                if rng.random() < 0.5:
                    space._bytes[offset + at : offset + at + 512] = data[at : at + 512]
    connection.close()
    vfs.unregister()
    again = Overlay(layout)
    again.database_size = (
        int.from_bytes(space._bytes[layout.database_at + 28 : layout.database_at + 32], "big") * 4096
    )
    again.wal += space._bytes[layout.wal_at : layout.wal_at + layout.wal_bytes]
    again.wal_size = layout.wal_bytes
    vfs = SpaceVfs(f"cut-again-{seed}", again, space)
    connection = schema.connect(vfs.name, layout)
    assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
    rows = [row[0] for row in connection.execute("select id from t order by id")]
    assert rows == list(range(1, len(rows) + 1)) and len(rows) <= committed
    assert durable < segments or len(rows) == committed
    connection.close()
    vfs.unregister()


def drain(overlay: Overlay, space: MemorySpace, count: int) -> int:
    overlay.cut()
    done = 0
    while overlay.segments and done < count:
        segment = overlay.segments[0]
        for offset, buffers in overlay.writes(segment):
            assert space.write_now(offset, buffers)
        overlay.done(segment)
        done += 1
    return done


def test_a_full_region_is_sqlites_full_error():
    """The database never grows out of its region."""
    layout = plan_layout(METADATA_BYTES_MIN, bytes(16))
    space = MemorySpace(METADATA_BYTES_MIN)
    vfs = SpaceVfs("full", Overlay(layout), space)
    connection = schema.connect(vfs.name, layout)
    connection.execute("create table t(b blob)")
    with pytest.raises(apsw.FullError):
        for _ in range(100):
            connection.execute("insert into t values(zeroblob(100000))")
    connection.close()
    vfs.unregister()


# small formats ------------------------------------------------------------------------------------


@given(
    st.lists(
        st.builds(ExtendedAttribute, st.binary(max_size=254), st.binary(max_size=300), st.integers(0, 255))
    )
)
def test_eas_come_back_as_they_were_and_cut_lists_are_typed_errors(eas):
    """docs/formats/catalog.md, `eas`."""
    blob = encode_eas(eas)
    assert decode_eas(blob) == eas
    for cut in range(1, min(len(blob), 6)):
        try:
            assert len(decode_eas(blob[:-cut])) <= len(eas)
        except CatalogCorrupt:
            pass
