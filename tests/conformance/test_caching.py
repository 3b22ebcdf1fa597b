"""Leases and oplocks. WPTS SMB2/TestSuite/Leasing, OpLock."""

from __future__ import annotations

import pytest

from smbproto import dtyp, fscc
from smbproto.fscc import FILE_DELETE_ON_CLOSE
from smbproto.smb2.header import Command
from smbproto.smb2.set_info import SetInfoRequest
from smbproto.status import Status
from tests.conformance.harness import (
    BATCH,
    EXCLUSIVE,
    LEASE,
    LEVEL_II,
    NONE,
    RH,
    RW,
    RWH,
    SHARE_NONE,
    SHARE_R,
    SHARE_W,
    H,
    R,
    W,
    lease_v1,
    lease_v2,
    rename,
)

KEY = b"k" * 16
ACK = 1


# files


@pytest.mark.parametrize("lease", [lease_v1, lease_v2])
def test_a_file_s_lease_in_two_steps(client, other, lease):
    """WPTS BVT_Leasing_FileLeasingV1, BVT_Leasing_FileLeasingV2: RWH to RH at an open, to none at a write."""
    found = client.open("f", lease(RWH))
    assert found.caching == RWH and found.lease.lease_key == KEY and found.lease.lease_flags == 0
    waiting = other.opening("f")
    assert client.lease_break() == (KEY, RWH, RH, ACK)
    assert other.result(waiting) is None
    assert client.acknowledge(KEY, RH).status == Status.SUCCESS
    response = other.result(waiting)
    assert response is not None and response.status == Status.SUCCESS
    theirs = other.open("f")
    assert other.write(theirs.id, b"\0").status == Status.SUCCESS
    key, old, new, _ = client.lease_break()
    assert (key, old, new) == (KEY, RH, 0)


def test_a_lease_nobody_acknowledges(world, client, other):
    """[MS-SMB2] 3.3.6.5 Lease Break Acknowledgment Timer Event: after 35 seconds the server goes on."""
    client.open("f", lease_v2(RWH))
    waiting = other.opening("f")
    world.advance(30)
    assert other.result(waiting) is None
    world.advance(10)
    assert other.result(waiting).status == Status.SUCCESS
    assert client.acknowledge(KEY, RH).status == Status.UNSUCCESSFUL


def test_one_key_in_two_opens_of_one_client(world, client):
    """WPTS Comparing_Same_LeaseKeys: one lease, no break."""
    second = world.client(1)
    one = client.open("f", lease_v2(RWH))
    two = second.open("f", lease_v2(RWH))
    assert one.lease.lease_key == two.lease.lease_key == KEY
    assert two.caching == RWH and not client.notices and not second.notices


def test_another_key_breaks(world, client):
    """WPTS Comparing_Different_LeaseKeys (FSA): the client's own other key breaks its lease."""
    client.open("f", lease_v2(RWH))
    waiting = client.opening("f", lease_v2(RWH, b"x" * 16))
    assert client.lease_break() == (KEY, RWH, RH, ACK)
    client.acknowledge(KEY, RH)
    assert client.result(waiting).status == Status.SUCCESS


def test_one_key_for_two_files(client):
    """[MS-SMB2] 3.3.5.9.8: INVALID_PARAMETER."""
    client.open("f", lease_v2(RWH))
    assert client.try_open("g", lease_v2(RWH)).status == Status.INVALID_PARAMETER


def test_a_parent_s_key_is_told_back(client):
    """WPTS DirectoryComparing_ParentLeaseKey_ChildLeaseKey; and the child spares its parent's lease."""
    client.directory("d", lease_v2(RH))
    child = client.open(r"d\f", lease_v2(RWH, b"c" * 16, parent=KEY))
    assert child.lease.parent_lease_key == KEY and child.lease.lease_flags & 4
    assert not client.notices


@pytest.mark.parametrize(("asked", "given"), [(W, 0), (H, 0), (W | H, 0), (R, R), (RH, RH), (RW, RW)])
def test_states_of_a_file_s_lease(client, asked, given):
    """[MS-SMB2] 3.3.1.4: WRITE or HANDLE caching without READ is no lease."""
    assert client.open("f", lease_v2(asked)).caching == given


def test_acknowledgments_that_are_wrong(client, other):
    """[MS-SMB2] 3.3.5.22.2: of no lease OBJECT_NAME_NOT_FOUND, of more than was left
    REQUEST_NOT_ACCEPTED, when nothing breaks UNSUCCESSFUL."""
    client.open("f", lease_v2(RWH))
    assert client.acknowledge(b"?" * 16, 0).status == Status.OBJECT_NAME_NOT_FOUND
    assert client.acknowledge(KEY, RWH).status == Status.UNSUCCESSFUL
    other.opening("f")
    assert client.acknowledge(KEY, RWH).status == Status.REQUEST_NOT_ACCEPTED
    assert client.acknowledge(KEY, RH).status == Status.SUCCESS


def test_an_open_of_attributes_breaks_nothing(client, other):
    """[MS-SMB2] 3.3.1.4; [MS-FSA] 2.1.4.12."""
    client.open("f", lease_v2(RWH))
    other.open("f", access=dtyp.FILE_READ_ATTRIBUTES | dtyp.SYNCHRONIZE)
    assert not client.notices


# directories


@pytest.mark.parametrize(("asked", "given"), [(RW, R), (RWH, RH), (RH, RH), (R, R)])
def test_a_directory_s_lease(client, asked, given):
    """WPTS DirectoryLeasing_RWGrantedAsR, DirectoryLeasing_RWHGrantedAsRH."""
    assert client.directory("d", lease_v2(asked)).caching == given


def test_a_directory_lease_needs_the_dialect(world):
    """[MS-SMB2] 3.3.5.9.8: version 1 of a lease, or SMB 2.1: none on a directory."""
    client = world.client(dialect=0x0210)
    assert client.directory("d", lease_v1(RH)).answer.oplock_level == NONE


def test_a_deletion_breaks_two_clients(world, client, other):
    """WPTS BVT_DirectoryLeasing_LeaseBreakOnMultiClients: RH to R for both, and the third waits for both."""
    client.directory("d", lease_v2(RH), access=dtyp.GENERIC_READ, share=SHARE_R | SHARE_W)
    other.directory("d", lease_v2(RH), access=dtyp.GENERIC_READ, share=SHARE_R | SHARE_W)
    third = world.client(3)
    waiting = third.opening(
        "d",
        lease_v2(R),
        access=dtyp.DELETE,
        options=fscc.FILE_DIRECTORY_FILE | FILE_DELETE_ON_CLOSE,
    )
    assert client.lease_break() == (KEY, RH, R, ACK)
    assert other.lease_break() == (KEY, RH, R, ACK)
    client.acknowledge(KEY, R)
    assert third.result(waiting) is None
    other.acknowledge(KEY, R)
    assert third.result(waiting).status == Status.SHARING_VIOLATION


def ends(client, other, change) -> None:
    """A READ lease on "d" ends, unacknowledged, with `change`."""
    other.shut(other.directory("d"))
    other.put(r"d\old", b"x")
    client.directory("d", lease_v2(R), access=dtyp.GENERIC_READ)
    change()
    assert client.lease_break() == (KEY, R, 0, 0)


def test_a_child_is_deleted(client, other):
    """WPTS DirectoryLeasing_BreakReadCachingByChildDeleted."""

    def change():
        other.shut(other.open(r"d\old", access=dtyp.DELETE, options=FILE_DELETE_ON_CLOSE))

    ends(client, other, change)


def test_a_child_is_added(client, other):
    """WPTS DirectoryLeasing_BreakReadCachingByChildAdded."""
    ends(client, other, lambda: other.open(r"d\new"))


def test_a_child_is_modified(client, other):
    """WPTS DirectoryLeasing_BreakReadCachingByChildModified: at the latest when it closes."""

    def change():
        file = other.open(r"d\old", access=dtyp.GENERIC_WRITE)
        other.write(file.id, b"modified")
        other.shut(file)

    ends(client, other, change)


def test_a_child_is_renamed(client, other):
    """WPTS DirectoryLeasing_BreakReadCachingByChildRenamed."""

    def change():
        file = other.open(r"d\old", access=dtyp.DELETE)
        assert other.set(file, fscc.FILE_RENAME_INFORMATION, rename(r"d\renamed")) == Status.SUCCESS

    ends(client, other, change)


def test_the_parent_is_renamed(client, other):
    """WPTS DirectoryLeasing_BreakHandleCachingByParentRenamed: HANDLE caching below it ends; the open stays,
    so the rename is ACCESS_DENIED."""
    other.directory("p")
    client.directory(r"p\d", lease_v2(RH), access=dtyp.GENERIC_READ)
    parent = other.directory("p", access=dtyp.DELETE)
    body = rename("q")

    request = SetInfoRequest(
        info_type=1, file_info_class=fscc.FILE_RENAME_INFORMATION, buffer=body, file_id=parent.id
    )
    waiting = other.start(Command.SET_INFO, request.encode())
    assert client.lease_break() == (KEY, RH, R, ACK)
    client.acknowledge(KEY, R)
    assert other.result(waiting).status == Status.ACCESS_DENIED


def test_a_conflicting_open(client, other):
    """WPTS DirectoryLeasing_BreakHandleCachingByConflictOpen: HANDLE caching ends, then SHARING_VIOLATION."""
    client.directory("d", lease_v2(RH), access=dtyp.GENERIC_READ, share=SHARE_NONE)
    waiting = other.opening("d", access=dtyp.GENERIC_WRITE, options=fscc.FILE_DIRECTORY_FILE)
    assert client.lease_break() == (KEY, RH, R, ACK)
    client.acknowledge(KEY, R)
    assert other.result(waiting).status == Status.SHARING_VIOLATION


def test_a_conflicting_open_and_a_handle_closed(client, other):
    """[MS-SMB2] 3.3.1.4: HANDLE caching ends so that the client may close what it does not need."""
    held = client.directory("d", lease_v2(RH), access=dtyp.GENERIC_READ, share=SHARE_NONE)
    waiting = other.opening("d", access=dtyp.GENERIC_WRITE, options=fscc.FILE_DIRECTORY_FILE)
    client.shut(held)
    assert other.result(waiting).status == Status.SUCCESS


# oplocks


@pytest.mark.parametrize("level", [LEVEL_II, EXCLUSIVE, BATCH])
def test_an_oplock_is_granted(client, level):
    """WPTS BVT_OpLockBreak and its kin: the level asked for, to the only one."""
    assert client.open("f", oplock=level).answer.oplock_level == level


@pytest.mark.parametrize("level", [EXCLUSIVE, BATCH])
def test_an_oplock_breaks_to_level_ii(client, other, level):
    """WPTS BVT_OpLockBreak: to level II at an open, none at a write; no answer to the latter."""
    file = client.open("f", oplock=level)
    waiting = other.opening("f", oplock=LEVEL_II)
    assert client.oplock_break() == (file.id, LEVEL_II)
    assert other.result(waiting) is None
    assert client.acknowledge_oplock(file, LEVEL_II).status == Status.SUCCESS
    response = other.result(waiting)
    assert response is not None and response.status == Status.SUCCESS
    writer = other.open("f")
    other.write(writer.id, b"x")
    assert client.oplock_break() == (file.id, NONE)
    assert client.acknowledge_oplock(file, NONE).status == Status.INVALID_DEVICE_STATE


def test_an_oplock_break_that_is_not_acknowledged(world, client, other):
    """[MS-SMB2] 3.3.6.1 Oplock Break Acknowledgment Timer Event."""
    client.open("f", oplock=BATCH)
    waiting = other.opening("f")
    world.advance(36)
    assert other.result(waiting).status == Status.SUCCESS


@pytest.mark.parametrize(
    ("level", "status"),
    [
        (BATCH, Status.INVALID_OPLOCK_PROTOCOL),
        (EXCLUSIVE, Status.INVALID_OPLOCK_PROTOCOL),
        (LEASE, Status.INVALID_PARAMETER),
    ],
)
def test_an_oplock_acknowledged_wrongly(client, other, level, status):
    """WPTS OplockModel; [MS-SMB2] 3.3.5.22.1 Processing an Oplock Acknowledgment."""
    file = client.open("f", oplock=BATCH)
    waiting = other.opening("f")
    assert client.acknowledge_oplock(file, level).status == status
    response = other.result(waiting)
    assert response is not None and response.status == Status.SUCCESS


def test_an_oplock_acknowledged_when_nothing_breaks(client):
    """[MS-SMB2] 3.3.5.22.1: Open.OplockState is not Breaking: INVALID_DEVICE_STATE."""
    file = client.open("f", oplock=BATCH)
    assert client.acknowledge_oplock(file, LEVEL_II).status == Status.INVALID_DEVICE_STATE


def test_a_directory_has_no_oplock(client):
    """[MS-SMB2] 3.3.5.9: no oplock on a directory, or on a pipe."""
    assert client.directory("d", oplock=BATCH).answer.oplock_level == NONE


def test_an_overwrite_ends_level_ii(client, other):
    """[MS-FSA] 2.1.5.1.2: an open that overwrites breaks READ caching as well."""
    file = client.open("f", oplock=LEVEL_II)
    other.open("f", disposition=fscc.FILE_OVERWRITE)
    assert client.oplock_break() == (file.id, NONE)


def test_a_lock_ends_level_ii(client, other):
    """[MS-FSA] 2.1.5.8 Server Requests a Byte-Range Lock: READ caching of others ends."""
    file = client.open("f", oplock=LEVEL_II)
    theirs = other.open("f")
    assert other.lock(theirs, (0, 1, 0x12)) == Status.SUCCESS
    assert client.oplock_break() == (file.id, NONE)
