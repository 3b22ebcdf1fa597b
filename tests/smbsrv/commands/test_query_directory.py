"""QUERY_DIRECTORY. [MS-SMB2] 3.3.5.18 Receiving an SMB2 QUERY_DIRECTORY Request; [MS-FSA] 2.1.5.6.3 Query
Directory Information."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smbproto import dtyp, fscc
from smbproto.fscc.directory import DIRECTORY_CLASSES, LAYOUTS, decode_directory_untrusted, fixed_bytes_of
from smbproto.smb2.query_directory import (
    SMB2_REOPEN,
    SMB2_RESTART_SCANS,
    SMB2_RETURN_SINGLE_ENTRY,
)
from smbproto.status import Status
from tests.smbsrv.commands.client import Client, World, refused, token

ID_BOTH = fscc.FILE_ID_BOTH_DIRECTORY_INFORMATION


@pytest.fixture
def client() -> Client:
    return World().client()


def filled(client: Client, *names: str):
    found = client.directory("d").file_id
    for name in names:
        client.create(f"d\\{name}")
    return found


def names_of(info_class: int, data: bytes) -> list[str]:
    return [entry.file_name for entry in decode_directory_untrusted(info_class, data)]


@pytest.mark.parametrize("info_class", sorted(DIRECTORY_CLASSES))
def test_every_class_lists_everything(client, info_class):
    """[MS-SMB2] 2.2.33: each FileInformationClass; "." and ".." come first."""
    d = filled(client, "a", "b", "longer name.txt")
    status, data = client.list(d, info_class)
    assert status == Status.SUCCESS
    assert names_of(info_class, data) == [".", "..", "a", "b", "longer name.txt"]


@pytest.mark.parametrize("info_class", sorted(LAYOUTS))
def test_entries_tell_what_the_file_is(client, info_class):
    """[MS-FSCC] 2.4: times, EndOfFile, AllocationSize, FileAttributes; ids where the class has them."""
    d = filled(client)
    made = client.create("d\\a")
    client.write(made.file_id, bytes(5000))
    (entry,) = decode_directory_untrusted(info_class, client.list(d, info_class, "a")[1])
    assert (entry.end_of_file, entry.allocation_size) == (5000, 8192)
    assert entry.file_attributes == fscc.FILE_ATTRIBUTE_ARCHIVE
    assert entry.creation_time == made.creation_time
    node = client.open_of(made.file_id).file.node
    if "file_id" in LAYOUTS[info_class].extras or "file_id_128" in LAYOUTS[info_class].extras:
        assert entry.file_id == node.id


def test_entries_are_aligned_and_the_last_says_so(client):
    """[MS-SMB2] 3.3.5.18, [MS-FSCC] 2.4: NextEntryOffset is a multiple of 8, and 0 in the last entry."""
    d = filled(client, *("x" * n for n in range(1, 20)))
    _, data = client.list(d, ID_BOTH)
    at = count = 0
    while True:
        (following,) = struct.unpack_from("<I", data, at)
        count += 1
        if not following:
            break
        assert following % 8 == 0
        at += following
    assert count == 21


def test_a_listing_goes_on_where_it_stopped(client):
    """[MS-SMB2] 3.3.5.18: without RESTART_SCANS the enumeration is resumed; at its end NO_MORE_FILES."""
    expected = [f"file {n:03}" for n in range(50)]
    d = filled(client, *expected)
    seen: list[str] = []
    with refused(Status.NO_MORE_FILES):
        while True:
            seen += names_of(ID_BOTH, client.list(d, ID_BOTH, room=500)[1])
    assert seen == [".", "..", *expected]


def test_a_single_entry_at_a_time(client):
    """[MS-SMB2] 2.2.33: SMB2_RETURN_SINGLE_ENTRY."""
    d = filled(client, "a", "b")
    got = [names_of(ID_BOTH, client.list(d, ID_BOTH, flags=SMB2_RETURN_SINGLE_ENTRY)[1]) for _ in range(4)]
    assert got == [["."], [".."], ["a"], ["b"]]


def test_restart_begins_anew_and_reopen_takes_the_new_pattern(client):
    """[MS-SMB2] 2.2.33: SMB2_RESTART_SCANS, SMB2_REOPEN; without them the first pattern stays."""
    d = filled(client, "a.txt", "b.doc")
    assert names_of(ID_BOTH, client.list(d, ID_BOTH, "*.txt")[1]) == ["a.txt"]
    with refused(Status.NO_MORE_FILES):
        client.list(d, ID_BOTH, "*.doc")
    assert names_of(ID_BOTH, client.list(d, ID_BOTH, "*.doc", SMB2_REOPEN)[1]) == ["b.doc"]
    assert names_of(ID_BOTH, client.list(d, ID_BOTH, "", SMB2_RESTART_SCANS)[1]) == ["b.doc"]


def test_the_first_query_that_finds_nothing_is_no_such_file(client):
    """[MS-FSA] 2.1.5.6.3: "STATUS_NO_SUCH_FILE" on the first query of an open, later
    "STATUS_NO_MORE_FILES"."""
    d = filled(client, "a")
    with refused(Status.NO_SUCH_FILE):
        client.list(d, ID_BOTH, "nothing")
    with refused(Status.NO_MORE_FILES):
        client.list(d, ID_BOTH, "nothing")


def test_a_buffer_below_the_fixed_part_is_info_length_mismatch(client):
    """[MS-FSA] 2.1.5.6.3.1: "OutputBufferSize is less than ... STATUS_INFO_LENGTH_MISMATCH"."""
    d = filled(client)
    with refused(Status.INFO_LENGTH_MISMATCH):
        client.list(d, ID_BOTH, room=fixed_bytes_of(ID_BOTH) - 1)


def test_a_first_name_that_does_not_fit_is_cut(client):
    """[MS-FSA] 2.1.5.6.3.1: "STATUS_BUFFER_OVERFLOW": as much of the first entry as fits, and the cursor
    moves on."""
    d = filled(client, "abcdefgh")
    room = fixed_bytes_of(ID_BOTH) + 6
    status, data = client.list(d, ID_BOTH, "abc*", room=room)
    assert status == Status.BUFFER_OVERFLOW and len(data) == room
    assert data[-6:].decode("utf-16-le") == "abc" and struct.unpack_from("<I", data, 60)[0] == 16
    with refused(Status.NO_MORE_FILES):
        client.list(d, ID_BOTH, room=room)


def test_what_may_not_be_listed(client):
    """[MS-SMB2] 3.3.5.18: no directory: INVALID_PARAMETER; unknown class: INVALID_INFO_CLASS; no
    FILE_LIST_DIRECTORY: ACCESS_DENIED; over MaxTransactSize: INVALID_PARAMETER; a path as pattern:
    OBJECT_NAME_INVALID."""
    d = filled(client, "a")
    with refused(Status.INVALID_PARAMETER):
        client.list(client.create("d\\a").file_id, ID_BOTH)
    with refused(Status.INVALID_INFO_CLASS):
        client.list(d, fscc.FILE_BASIC_INFORMATION)
    with refused(Status.INVALID_PARAMETER):
        client.list(d, ID_BOTH, room=(8 << 20) + 1)
    with refused(Status.OBJECT_NAME_INVALID):
        client.list(d, ID_BOTH, "x\\y")
    blind = client.directory("d", access=dtyp.FILE_READ_ATTRIBUTES)
    with refused(Status.ACCESS_DENIED):
        client.list(blind.file_id, ID_BOTH)


def test_a_share_may_hide_what_the_user_cannot_read():
    """[MS-SMB2] 3.3.5.18: "If TreeConnect.Share.DoAccessBasedDirectoryEnumeration is TRUE ... the server MUST
    also exclude entries for which the user ... does not have GENERIC_READ access"."""
    world = World()
    admin, plain = world.client(1), world.client(2, who=token("S-1-5-21-1-2-3-1002", admin=False))
    admins_only = dtyp.Acl((dtyp.Ace(0, 0, dtyp.FILE_ALL_ACCESS, dtyp.SID_BUILTIN_ADMINISTRATORS),))
    descriptor = dtyp.SecurityDescriptor(dacl=admins_only).encode()
    filled(admin, "open to all")
    admin.create("d\\secret", contexts=[(b"SecD", descriptor)])
    whole = [".", "..", "open to all", "secret"]
    for hides, expected in ((False, whole), (True, whole[:3])):
        world.share.access_based_enumeration = hides
        d = plain.directory("d", access=dtyp.FILE_LIST_DIRECTORY).file_id
        assert names_of(ID_BOTH, plain.list(d, ID_BOTH)[1]) == expected
        d = admin.directory("d").file_id
        assert names_of(ID_BOTH, admin.list(d, ID_BOTH)[1]) == whole


NAMES = st.lists(
    st.text(st.sampled_from("abcXYZ 01.é\u4e2d\U0001f600_-"), min_size=1, max_size=20)
    .map(lambda text: f"n{text}z")
    .filter(lambda text: not text.endswith((".", " "))),
    unique_by=str.upper,
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(names=NAMES, room=st.integers(200, 2000), info_class=st.sampled_from(sorted(DIRECTORY_CLASSES)))
def test_any_room_gives_each_name_once(names, room, info_class):
    """Whatever the buffer: all entries, each once, in one order, none cut."""
    client = World().client()
    d = filled(client, *names)
    seen: list[str] = []
    with refused(Status.NO_MORE_FILES):
        while True:
            status, data = client.list(d, info_class, room=room)
            assert status == Status.SUCCESS and len(data) <= room
            seen += names_of(info_class, data)
    assert sorted(seen) == sorted([".", "..", *names])
