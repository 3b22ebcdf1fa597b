"""Chains of entries: listings, EAs, streams, quotas, change notices, interfaces; and reparse buffers."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smbproto import fscc, limits
from smbproto.dtyp import Sid
from smbproto.errors import WireError
from smbproto.fscc import directory, ea, file_info, fsctl, notify, quota, reparse

NAMES = st.text(st.characters(max_codepoint=0x1FFFF, exclude_categories=("Cs",)), max_size=20)
U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
ENTRIES = st.builds(
    directory.DirectoryEntry,
    NAMES, U64, U64, U64, U64, U64, U64, U32, U32, U32, U64,
    st.sampled_from(("", "A~1.TXT", "ABCDEFGH.IJK")), U32,
)  # fmt: skip
EAS = st.builds(
    ea.FullEa,
    st.binary(min_size=1, max_size=254).map(lambda name: name.replace(b"\0", b"x")),
    st.binary(max_size=100),
    st.sampled_from((0, 0x80)),
)
I64 = st.integers(-(2**63), 2**63 - 1)
SIDS = st.builds(Sid, st.just(5), st.lists(U32, max_size=15).map(tuple))
LISTS = {
    "eas": (st.lists(EAS, max_size=6), ea.encode_full_eas, ea.decode_full_eas_untrusted),
    "ea names": (
        st.lists(EAS.map(lambda e: e.name), max_size=6),
        ea.encode_get_eas,
        ea.decode_get_eas_untrusted,
    ),
    "streams": (
        st.lists(st.builds(file_info.Stream, NAMES, U64, U64), max_size=6),
        file_info.encode_streams,
        file_info.decode_streams_untrusted,
    ),
    "notices": (
        st.lists(st.builds(notify.NotifyInformation, U32, NAMES), max_size=6),
        notify.encode_notify,
        notify.decode_notify_untrusted,
    ),
    "quotas": (
        st.lists(st.builds(quota.Quota, SIDS, U64, I64, I64, I64), max_size=4),
        quota.encode_quotas,
        quota.decode_quotas_untrusted,
    ),
    "quota names": (st.lists(SIDS, max_size=6), quota.encode_get_quotas, quota.decode_get_quotas_untrusted),
    "interfaces": (
        st.lists(
            st.builds(
                fsctl.NetworkInterface, U32, st.ip_addresses(), st.integers(0, 3), U64, st.integers(0, 65535)
            ),
            max_size=4,
        ),
        fsctl.encode_interfaces,
        fsctl.decode_interfaces_untrusted,
    ),
}


@pytest.mark.parametrize("kind", LISTS)
@given(data=st.data())
@settings(max_examples=60)
def test_any_list_survives_a_round_trip_and_any_damage_is_a_wire_error_or_a_list(kind, data):
    """[MS-FSCC] 2.4: chains by NextEntryOffset."""
    values, encode, decode = LISTS[kind]
    drawn = data.draw(values)
    wire = encode(drawn)
    assert decode(wire) == drawn
    assert decode(memoryview(wire)) == drawn
    damaged = bytearray(wire[: data.draw(st.integers(0, len(wire)))])
    if damaged:
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert isinstance(decode(bytes(damaged)), list)
    except WireError:
        pass


FIXED_BYTES = {1: 64, 2: 68, 3: 94, 12: 12, 37: 104, 38: 80, 60: 88, 78: 80, 79: 106, 80: 96, 81: 122}


@pytest.mark.parametrize("info_class", sorted(directory.DIRECTORY_CLASSES))
def test_the_name_starts_where_the_layout_says(info_class):
    """[MS-FSCC] 2.4: FieldOffset(FileName) of each directory class."""
    assert directory.fixed_bytes_of(info_class) == FIXED_BYTES[info_class]
    entry = directory.encode_entry(info_class, directory.DirectoryEntry("name"))
    assert entry[FIXED_BYTES[info_class] :] == "name".encode("utf-16-le")


@pytest.mark.parametrize("info_class", sorted(directory.DIRECTORY_CLASSES))
@given(entries=st.lists(ENTRIES, max_size=5))
@settings(max_examples=30)
def test_any_listing_survives_a_round_trip(info_class, entries):
    """Every field that the class has."""
    listing = directory.encode_directory(info_class, entries)
    found = directory.decode_directory_untrusted(info_class, listing)
    names = directory.LAYOUTS[info_class].extras if info_class in directory.LAYOUTS else None
    kept = {"ea_size", "reparse_tag", "short_name"} & set(names or ())
    for entry, again in zip(entries, found, strict=True):
        lost = {name: directory.DirectoryEntry("")._asdict()[name]
                for name in {"ea_size", "reparse_tag", "short_name"} - kept}  # fmt: skip
        if names is None:
            assert again == directory.DirectoryEntry(entry.file_name, file_index=entry.file_index)
            continue
        if not {"file_id", "file_id_128"} & set(names):
            lost["file_id"] = 0
        assert again == entry._replace(**lost)


def test_a_both_directory_entry_has_its_golden_bytes():
    """[MS-FSCC] 2.4.22 FileIdBothDirectoryInformation."""
    entry = directory.DirectoryEntry("ab", 1, 2, 3, 4, 5, 6, 0x20, 7, 0, 8, "A~1", 9)
    assert directory.encode_entry(fscc.FILE_ID_BOTH_DIRECTORY_INFORMATION, entry).hex() == (
        "00000000" "09000000" "0100000000000000" "0200000000000000" "0300000000000000" "0400000000000000"
        "0500000000000000" "0600000000000000" "20000000" "04000000" "07000000"
        "06" "00" "41007e003100" + "00" * 18 + "0000" "0800000000000000" "61006200"
    )  # fmt: skip


def test_an_all_extended_entry_has_its_golden_bytes():
    """[MS-FSCC] 2.4.20 FileIdAllExtdBothDirectoryInformation: EaSize, ReparsePointTag, FileId, FileId128,
    short name."""
    entry = directory.DirectoryEntry("a", 1, 2, 3, 4, 5, 6, 0x400, 7, 0xA000000C, 8)
    assert directory.encode_entry(fscc.FILE_ID_ALL_EXTD_BOTH_DIRECTORY_INFORMATION, entry)[64:].hex() == (
        "07000000" "0c0000a0" "0800000000000000" "0800000000000000" "0000000000000000" + "00" * 26 + "6100"
    )  # fmt: skip


def test_a_class_that_lists_nothing_is_a_wire_error():
    with pytest.raises(WireError):
        directory.decode_directory_untrusted(fscc.FILE_BASIC_INFORMATION, b"")


def test_an_ea_list_has_its_golden_bytes():
    """[MS-FSCC] 2.4.16 FileFullEaInformation: 4-byte aligned, the name with a NUL that its length does not
    count."""
    wire = ea.encode_full_eas([ea.FullEa(b"AB", b"xyz", 0x80), ea.FullEa(b"C")])
    assert wire.hex() == "100000008002030041420078797a000000000000000100004300"


@pytest.mark.parametrize(
    "wire",
    [
        "00000000 00 02 0300 414200 7879",  # value cut
        "00000000 00 02 0000 414243",  # no NUL
        "00000000 00 02 0000 410000",  # a NUL in the name
        "0b000000 00 01 0000 4100 00 00000000 00 01 0000 4200",  # next entry not aligned
        "04000000 00 01 0000 4100",  # next entry inside this one
        "00010000 00 01 0000 4100",  # next entry outside
        "000000",
    ],
)
def test_an_inconsistent_ea_list_is_a_wire_error(wire):
    """[MS-FSCC] 2.4.16 FileFullEaInformation."""
    with pytest.raises(WireError):
        ea.decode_full_eas_untrusted(bytes.fromhex(wire))


def test_an_endless_chain_ends_at_its_limit():
    """A chain may have no more entries than the limit, however small they are."""
    wire = ea.encode_get_eas([b"a"] * (limits.EA_LIST_ENTRIES_MAX + 1))
    with pytest.raises(WireError):
        ea.decode_get_eas_untrusted(wire)


def test_change_notices_have_their_golden_bytes():
    """[MS-FSCC] 2.7.1 FILE_NOTIFY_INFORMATION: 4-byte aligned."""
    wire = notify.encode_notify([(fscc.FILE_ACTION_ADDED, "a"), (fscc.FILE_ACTION_REMOVED, "bc")])
    assert wire.hex() == "1000000001000000020000006100000000000000020000000400000062006300"


def test_streams_have_their_golden_bytes():
    """[MS-FSCC] 2.4.49 FileStreamInformation: 8-byte aligned."""
    wire = file_info.encode_streams([file_info.Stream("::$DATA", 5, 8), file_info.Stream(":s:$DATA", 1, 8)])
    assert wire == bytes.fromhex(
        "28000000 0e000000 0500000000000000 0800000000000000 3a00 3a00 2400 4400 4100 5400 4100 0000"
        "00000000 10000000 0100000000000000 0800000000000000 3a00 7300 3a00 2400 4400 4100 5400 4100"
    )


def test_hard_links_count_names_in_characters():
    """[MS-FSCC] 2.4.17 FileHardLinkInformation."""
    wire = file_info.encode_hard_links([file_info.HardLink(5, "ab")])
    assert wire.hex() == "2000000001000000000000000000000005000000000000000200000061006200"


def test_interfaces_have_their_golden_bytes():
    """[MS-SMB2] 2.2.32.5 NETWORK_INTERFACE_INFO Response: the family little-endian, address and port
    big-endian."""
    wire = fsctl.encode_interfaces([
        fsctl.NetworkInterface(2, IPv4Address("10.1.2.3"), 1, 10**9, 445),
        fsctl.NetworkInterface(3, IPv6Address("::1"), 2, 10**10),
    ])  # fmt: skip
    assert len(wire) == 2 * 152
    assert wire[:32].hex() == "9800000002000000010000000000000000ca9a3b00000000020001bd0a010203"
    assert wire[152 + 24 : 152 + 52].hex() == "17000000000000000000000000000000000000000000000100000000"


def test_an_empty_snapshot_array_announces_its_two_bytes():
    """[MS-SMB2] 2.2.32.2 SRV_SNAPSHOT_ARRAY; 3.3.5.15.1 Handling an Enumeration of Previous Versions
    Request."""
    assert fsctl.encode_snapshots([], 16).hex() == "00000000000000000200000000000000"
    token = "@GMT-2026.01.02-03.04.05"
    whole = fsctl.encode_snapshots([token], 1000)
    assert fsctl.decode_snapshot_names_untrusted(whole) == [token]
    assert fsctl.encode_snapshots([token], 16).hex() == "01000000000000003400000000000000"
    assert fsctl.decode_snapshot_names_untrusted(fsctl.encode_snapshots([token], 16)) == []
    with pytest.raises(WireError):
        fsctl.decode_snapshot_names_untrusted(whole[:-1])


def test_set_sparse_without_data_sets():
    """[MS-FSCC] 2.3.73 FSCTL_SET_SPARSE Request."""
    assert fsctl.decode_set_sparse_untrusted(b"")
    assert fsctl.decode_set_sparse_untrusted(b"\1")
    assert not fsctl.decode_set_sparse_untrusted(b"\0")


def test_a_symbolic_link_has_its_golden_bytes():
    """[MS-FSCC] 2.1.2.4 Symbolic Link Reparse Data Buffer."""
    point = reparse.encode_symlink(reparse.Link("ab", "c", fscc.SYMLINK_FLAG_RELATIVE))
    wire = reparse.encode_reparse(point)
    assert wire.hex() == "0c0000a012000000000004000400020001000000610062006300"
    assert reparse.decode_symlink_untrusted(reparse.decode_reparse_untrusted(wire).data) == ("ab", "c", 1)


def test_a_mount_point_has_its_golden_bytes():
    """[MS-FSCC] 2.1.2.5 Mount Point Reparse Data Buffer: names with NULs that their lengths do not count."""
    wire = reparse.encode_reparse(reparse.encode_mount_point(reparse.Link("ab", "c")))
    assert wire.hex() == "030000a012000000000004000600020061006200000063000000"
    assert reparse.decode_mount_point_untrusted(wire[8:]) == ("ab", "c", 0)


@pytest.mark.parametrize(
    ("file", "data"),
    [
        (reparse.NfsFile(reparse.NFS_SPECFILE_LNK, target="a"), "4c4e4b0100000000 6100"),
        (reparse.NfsFile(reparse.NFS_SPECFILE_CHR, major=1, minor=2), "4348520000000000 01000000 02000000"),
        (reparse.NfsFile(reparse.NFS_SPECFILE_BLK, major=8, minor=1), "424c4b0000000000 08000000 01000000"),
        (reparse.NfsFile(reparse.NFS_SPECFILE_FIFO), "4649464f00000000"),
        (reparse.NfsFile(reparse.NFS_SPECFILE_SOCK), "534f434b00000000"),
    ],
)
def test_nfs_special_files_have_their_golden_bytes(file, data):
    """[MS-FSCC] 2.1.2.6 Network File System (NFS) Reparse Data Buffer."""
    assert reparse.encode_nfs(file) == (fscc.IO_REPARSE_TAG_NFS, bytes.fromhex(data), b"")
    assert reparse.decode_nfs_untrusted(bytes.fromhex(data)) == file


def test_a_lx_symbolic_link_is_utf8_of_version_2():
    """[MS-FSCC] 2.1.2.7 LX SYMLINK REPARSE_DATA_BUFFER."""
    point = reparse.encode_lx_symlink("/tmp/ä")
    assert point.data == b"\2\0\0\0/tmp/\xc3\xa4"
    assert reparse.decode_lx_symlink_untrusted(point.data) == "/tmp/ä"
    for broken in (b"", b"\1\0\0\0x", b"\2\0\0\0\xff"):
        with pytest.raises(WireError):
            reparse.decode_lx_symlink_untrusted(broken)


def test_a_tag_of_others_has_a_guid():
    """[MS-FSCC] 2.1.2.3 REPARSE_GUID_DATA_BUFFER."""
    point = reparse.ReparsePoint(0x00001234, b"data", bytes(range(16)))
    wire = reparse.encode_reparse(point)
    assert wire == bytes.fromhex("34120000 0400 0000") + bytes(range(16)) + b"data"
    assert reparse.decode_reparse_untrusted(wire) == point


@pytest.mark.parametrize(
    "wire",
    [
        "",
        "00" * 7,
        "0c0000a0 0500 0000 61",
        "00" * 20000,
        "0c0000a0 0000 0000 61",
        "34120000 0000 0000",
    ],
)
def test_a_reparse_buffer_of_another_length_is_a_wire_error(wire):
    """[MS-FSCC] 2.1.2.2 REPARSE_DATA_BUFFER: ReparseDataLength."""
    with pytest.raises(WireError):
        reparse.decode_reparse_untrusted(bytes.fromhex(wire))


@given(st.binary(max_size=60))
@settings(max_examples=200)
def test_any_link_data_give_a_link_or_a_wire_error(data):
    for decode in (
        reparse.decode_symlink_untrusted, reparse.decode_mount_point_untrusted, reparse.decode_nfs_untrusted,
        reparse.decode_lx_symlink_untrusted, reparse.decode_reparse_untrusted,
        fsctl.decode_snapshot_names_untrusted,
    ):  # fmt: skip
        try:
            decode(data)
        except WireError:
            pass
