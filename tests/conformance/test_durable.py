"""Durable, persistent, resilient opens; replays; application instances. WPTS DurableHandle, Replay,
ResilientHandle, AppInstanceId."""

from __future__ import annotations

import struct

import pytest

from smbproto import fscc
from smbproto.fscc import fsctl_codes
from smbproto.smb2.header import SMB2_FLAGS_REPLAY_OPERATION, Command
from smbproto.smb2.write import WriteRequest
from smbproto.status import Status
from tests.conformance.harness import (
    BATCH,
    DHNQ,
    RH,
    RW,
    RWH,
    Client,
    Opened,
    app,
    dh2c,
    dh2q,
    dhnc,
    lease_v1,
    lease_v2,
    version,
)
from tests.conformance.test_sessions import second_channel

FOUR = b"\4\0\0\0"
AT_ONCE = 0x12  # exclusive, fail immediately


def kept(client: Client, file: Opened, data: bytes = b"kept") -> None:
    client.write(file.id, data)
    client.lose()


# version 1


@pytest.mark.parametrize("dialect", [0x0202, 0x0210, 0x0311])
def test_v1_with_a_batch_oplock(world, dialect):
    """WPTS BVT_DurableHandleV1_Reconnect_WithBatchOplock."""
    client = world.client(dialect=dialect)
    file = client.open("f", DHNQ, oplock=BATCH, share=0)
    assert file.tags == [b"DHnQ"]
    kept(client, file)
    again = world.client(dialect=dialect)
    back = again.open("f", dhnc(file), oplock=BATCH, share=0)
    assert back.id.persistent == file.id.persistent
    assert again.read_bytes(back.id, 4) == b"kept"


@pytest.mark.parametrize(("name", "status"), [("f", Status.SUCCESS), ("g", Status.INVALID_PARAMETER)])
def test_v1_with_a_lease(world, name, status):
    """WPTS BVT_DurableHandleV1_Reconnect_WithLeaseV1,
    DurableHandleV1_Reconnect_WithLeaseV1_WithDifferentFileName."""
    client = world.client(dialect=0x0210)
    file = client.open("f", DHNQ, lease_v1(RWH), share=0)
    kept(client, file)
    assert world.client(dialect=0x0210).try_open(name, dhnc(file), lease_v1(RWH)).status == status


def test_v1_without_handle_caching(client):
    """WPTS DurableHandleV1_WithLeaseV1_WithoutHandleCaching."""
    assert client.open("f", DHNQ, lease_v1(RW)).tags == [b"RqLs"]


@pytest.mark.parametrize("is_told", [True, False])
def test_v1_while_the_connection_is_there(world, client, is_told):
    """WPTS DurableHandleV1_Reconnect_WithoutLogoffOrDisconnect_With(out)PreviousSessionIdSet: only a client
    that names its previous session gets the open."""
    file = client.open("f", DHNQ, oplock=BATCH, share=0)
    again = world.connection()
    again.negotiate()
    again.log_on(previous=client.keys.session_id if is_told else 0)
    again.tree_connect()
    status = again.try_open("f", dhnc(file), oplock=BATCH).status
    assert status == (Status.SUCCESS if is_told else Status.OBJECT_NAME_NOT_FOUND)


# version 2


@pytest.mark.parametrize("lease", [lease_v1, lease_v2])
def test_v2_with_a_lease(world, client, lease):
    """WPTS DurableHandleV2_Reconnect_WithoutPersistence, BVT_DurableHandleV2_Reconnect_WithLeaseV1."""
    file = client.open("f", dh2q(), lease(RWH), share=0)
    assert file.durable.flags == 0 and 0 < file.durable.timeout_ms <= 300_000
    kept(client, file)
    again = world.client()
    back = again.open("f", dh2c(file), lease(RWH), share=0)
    assert again.read_bytes(back.id, 4) == b"kept" and back.caching == RWH


def test_v2_without_handle_caching(client):
    """WPTS DurableHandleV2_WithLeaseV1_WithoutHandleCaching."""
    assert client.open("f", dh2q(), lease_v1(RW)).tags == [b"RqLs"]


def test_v2_by_another_user(world, client):
    """WPTS DurableHandleV2_Reconnect_WithDifferentDurableOwner."""
    file = client.open("f", dh2q(), lease_v2(RWH), share=0)
    kept(client, file)
    other = world.client(user="bob")
    assert other.try_open("f", dh2c(file), lease_v2(RWH)).status == Status.ACCESS_DENIED


def test_v2_with_another_lease_key(world, client):
    """WPTS DurableHandleV2_WithLeaseV1AndV2_WithDifferentLeaseKey."""
    file = client.open("f", dh2q(), lease_v2(RWH), share=0)
    kept(client, file)
    status = world.client().try_open("f", dh2c(file), lease_v2(RWH, b"x" * 16)).status
    assert status == Status.OBJECT_NAME_NOT_FOUND


@pytest.mark.parametrize("more", [DHNQ, (b"DHnC", bytes(16)), dh2q(b"x" * 16)])
def test_v2_with_other_durable_contexts(world, client, more):
    """[MS-SMB2] 3.3.5.9.6, 3.3.5.9.7, 3.3.5.9.10: DH2C beside another is INVALID_PARAMETER. (WPTS's newest
    cases, DurableHandleV2_Reconnect_With...Context, want OBJECT_NAME_NOT_FOUND; smbtorture's
    smb2.durable-v2-open.create-blob and those sections do not.) The open stays kept."""
    file = client.open("f", dh2q(), oplock=BATCH, share=0)
    client.lose()
    again = world.client()
    assert again.try_open("f", dh2c(file), more, oplock=BATCH).status == Status.INVALID_PARAMETER
    assert again.try_open("f", dh2c(file), oplock=BATCH).status == Status.SUCCESS


def test_v2_of_a_directory(client):
    """[MS-SMB2] 3.3.5.9.10: "If Open.FileAttributes includes FILE_ATTRIBUTE_DIRECTORY ... the server MUST
    skip the rest"."""
    assert b"DH2Q" not in client.directory("d", dh2q(), lease_v2(RH)).tags


def test_a_kept_open_is_gone_after_its_time(world, client):
    """[MS-SMB2] 3.3.2.2 Durable Open Scavenger Timer."""
    file = client.open("f", dh2q(timeout_ms=30_000), lease_v2(RWH), share=0)
    client.lose()
    world.advance(31)
    again = world.client()
    assert again.try_open("f", dh2c(file), lease_v2(RWH)).status == Status.OBJECT_NAME_NOT_FOUND


@pytest.mark.parametrize("share", ["data", "ca"])
def test_persistence_without_the_capability(world, share):
    """WPTS DurableHandleV2_NoPersistenceGrantedOnNonCAShare; [MS-SMB2] 3.3.5.9.10: without
    SMB2_GLOBAL_CAP_PERSISTENT_HANDLES the flag asks for a durable open."""
    client = world.client(share=share)
    assert client.open("f", dh2q(persistent=True)).tags == []
    assert client.open("g", dh2q(b"g" * 16, persistent=True), oplock=BATCH).durable.flags == 0


# resilient


def resilient(client: Client, file: Opened, timeout_ms: int = 60_000) -> Status:
    body = struct.pack("<II", timeout_ms, 0)
    return client.ioctl(fsctl_codes.FSCTL_LMR_REQUEST_RESILIENCY, body, file)[0]


def test_resilient_and_back(world, client):
    """WPTS BVT_ResilientHandle_Reconnect, BVT_ResilientHandle_Reconnect_Leasing: no oplock is needed."""
    file = client.open("f")
    assert resilient(client, file) == Status.SUCCESS
    kept(client, file)
    again = world.client()
    back = again.open("f", dhnc(file), oplock=BATCH)
    assert again.read_bytes(back.id, 4) == b"kept"


def test_resilient_locks_by_sequence(world, client):
    """WPTS BVT_ResilientHandle_LockSequence: the same request again succeeds, another does not."""
    file = client.open("f")
    resilient(client, file)
    client.write(file.id, b"12345678")
    assert client.lock(file, (0, 4, AT_ONCE), sequence=1 << 4 | 1) == Status.SUCCESS
    client.lose()
    again = world.client()
    back = again.open("f", dhnc(file), oplock=BATCH)
    assert again.lock(back, (0, 4, AT_ONCE), sequence=1 << 4 | 1) == Status.SUCCESS
    assert again.lock(back, (0, 4, AT_ONCE), sequence=1 << 4 | 2) == Status.LOCK_NOT_GRANTED


def test_resilient_is_gone_after_its_time(world, client):
    """WPTS ResilientOpenScavengerTimer: ResilientOpenScavengerTimer_ReconnectAfterTimeout."""
    file = client.open("f")
    resilient(client, file, 20_000)
    client.lose()
    world.advance(21)
    assert world.client().try_open("f", dhnc(file)).status == Status.OBJECT_NAME_NOT_FOUND


def test_resiliency_asked_wrongly(client):
    """[MS-SMB2] 3.3.5.15.9: an input too short, or a timeout over the maximum: INVALID_PARAMETER."""
    file = client.open("f")
    status, _ = client.ioctl(fsctl_codes.FSCTL_LMR_REQUEST_RESILIENCY, bytes(7), file)
    assert status == Status.INVALID_PARAMETER
    assert resilient(client, file, 0xFFFFFFFF) == Status.INVALID_PARAMETER


# replay


def test_a_write_from_before(world, client):
    """WPTS BVT_Replay_WriteWithInvalidChannelSequence: a ChannelSequence that lies behind is refused."""
    file = client.open("f", dh2q(), oplock=BATCH)
    second = second_channel(world, client)
    client.write(file.id, b" ")
    client.lose()
    body = WriteRequest(file_id=file.id, offset=0, data=b" ").encode()
    response = second.ask(Command.WRITE, body, status=0x8000, flags=SMB2_FLAGS_REPLAY_OPERATION)
    assert response.status == Status.FILE_NOT_AVAILABLE
    response = second.ask(Command.WRITE, body, status=1, flags=SMB2_FLAGS_REPLAY_OPERATION)
    assert response.status == Status.SUCCESS
    assert second.ask(Command.WRITE, body, status=0).status == Status.FILE_NOT_AVAILABLE


def test_a_create_again_on_another_channel(world, client):
    """WPTS BVT_Replay_ReplayCreate."""
    second = second_channel(world, client)
    file = client.open("f", dh2q(), oplock=BATCH)
    client.lose()
    again = second.open("f", dh2q(), oplock=BATCH, flags=SMB2_FLAGS_REPLAY_OPERATION)
    assert again.id == file.id and again.tags == [b"DH2Q"]
    assert again.answer.create_action == fscc.FILE_CREATED


def test_a_create_again_without_the_flag(client):
    """[MS-SMB2] 3.3.5.9.10: DUPLICATE_OBJECTID."""
    client.open("f", dh2q(), oplock=BATCH)
    assert client.try_open("f", dh2q(), oplock=BATCH).status == Status.DUPLICATE_OBJECTID


def test_requests_that_say_replay(client):
    """WPTS Replay_NonPersistentHandle_Write_ReplayEligibleCleared, _Read_, _Flush_, _SetInfo_: what is not a
    CREATE is done anew, and the CREATE's answer is not given again."""
    replay = SMB2_FLAGS_REPLAY_OPERATION
    file = client.open("f", dh2q(), oplock=BATCH)
    for data in (b"original", b"original", b"modified"):
        body = WriteRequest(file_id=file.id, offset=0, data=data).encode()
        assert client.ask(Command.WRITE, body, flags=replay).status == Status.SUCCESS
    assert client.read_bytes(file.id, 8) == b"modified"
    client.shut(file)
    again = client.open("f", dh2q(), oplock=BATCH, flags=replay)
    assert again.id != file.id and again.answer.create_action == fscc.FILE_OPENED


# application instances


def test_an_application_moves(world, client, other):
    """WPTS AppInstanceId_Smb311, AppInstanceId_Smb302: without a durable context too; the first open is
    closed."""
    file = client.open("f", app(), share=0)
    moved = other.open("f", app(), share=0)
    assert client.write(file.id, b"x").status == Status.FILE_CLOSED
    assert other.write(moved.id, b"x").status == Status.SUCCESS


def test_an_application_moves_with_a_durable_open(client, other):
    """WPTS BVT_AppInstanceId, AppInstanceId_Negative_DifferentAppInstanceIdInReopen."""
    file = client.open("f", dh2q(), app(), share=0)
    denied = other.try_open("f", dh2q(b"x" * 16), app(b"j" * 16), share=0)
    assert denied.status == Status.SHARING_VIOLATION
    assert client.write(file.id, b"x").status == Status.SUCCESS
    other.open("f", dh2q(b"y" * 16), app(), share=0)
    assert client.write(file.id, b"x").status == Status.FILE_CLOSED


def test_an_application_moves_with_a_lock(world, client, other):
    """WPTS AppInstanceId_Lock_ExpectNoLockInReOpen: its locks go with the open."""
    file = client.open("f", dh2q(), app(), share=0)
    client.lock(file, (0, 10, AT_ONCE))
    moved = other.open("f", dh2q(b"x" * 16), app(), share=0)
    assert other.lock(moved, (0, 10, AT_ONCE)) == Status.SUCCESS


def test_an_application_moves_with_its_lease(world, client, other):
    """WPTS AppInstanceId_FileLeasing_NoLeaseInReOpen, AppInstanceId_DirectoryLeasing_...: no break is
    sent."""
    client.open("f", dh2q(), lease_v2(RWH), app(), share=0)
    moved = other.open("f", dh2q(b"x" * 16), lease_v2(RWH), app(), share=0)
    assert moved.caching == RWH and not client.notices


def test_another_application(client, other):
    """WPTS AppInstanceId_...: another AppInstanceId meets the sharing as anybody."""
    client.open("f", app(), share=0)
    assert other.try_open("f", app(b"j" * 16), share=0).status == Status.SHARING_VIOLATION


def test_an_application_on_an_encrypted_share(world):
    """WPTS AppInstanceId_Encryption."""
    first, second = (world.client(n, share="secret") for n in (1, 2))
    first.is_sealing = second.is_sealing = True
    file = first.open("f", app(), share=0)
    second.open("f", app(), share=0)
    assert first.write(file.id, b"x").status == Status.FILE_CLOSED


@pytest.mark.parametrize(
    ("first", "second", "dialects", "takes_over"),
    [
        ((1, 0), (2, 1), (0x0311, 0x0311), True),
        ((2, 0), (1, 0), (0x0311, 0x0311), False),
        ((1, 2), (1, 1), (0x0311, 0x0311), False),
        ((2, 0), (2, 0), (0x0311, 0x0311), False),
        ((1, 0), None, (0x0311, 0x0311), False),
        ((1, 0), None, (0x0311, 0x0302), False),
        (None, (1, 0), (0x0302, 0x0311), True),
        ((9, 0), (1, 0), (0x0302, 0x0311), True),
    ],
)
def test_versions_of_an_application(world, first, second, dialects, takes_over):
    """WPTS BVT_AppInstanceVersion_SMB311_GreaterVersion, _LowerAppInstanceVersionHigh,
    _LowerAppInstanceVersionLow, _SameVersion; Negative_AppInstanceVersion_SMB311_NoVersion;
    AppInstanceVersion_SMB311_SMB302, AppInstanceVersion_SMB302_SMB311."""
    one, two = world.client(1, dialect=dialects[0]), world.client(2, dialect=dialects[1])
    file = one.open("f", app(), *([version(*first)] if first else []), share=0)
    status = two.try_open("f", app(), *([version(*second)] if second else []), share=0).status
    assert status == (Status.SUCCESS if takes_over else Status.FILE_FORCED_CLOSED)
    assert one.write(file.id, b"x").status == (Status.FILE_CLOSED if takes_over else Status.SUCCESS)
