"""Create contexts: caching, durability, reconnects, replays, and the small ones. [MS-SMB2] 3.3.5.9.1 to
3.3.5.9.14."""

from __future__ import annotations

import struct

import pytest

from smbproto import dtyp, fscc
from smbproto.errors import WireError
from smbproto.fscc.ea import FullEa, encode_full_eas
from smbproto.smb2 import contexts as wire
from smbproto.smb2.create import CreateResponse
from smbproto.status import Status
from tests.smbsrv.commands.client import Client, World, refused, token

BATCH, LEASE = 0x09, 0xFF
R, H, W = 1, 2, 4
GUID = bytes(range(16))


def lease_v1(state: int, key: bytes = b"k" * 16) -> tuple[bytes, bytes]:
    return b"RqLs", wire.Lease(lease_key=key, lease_state=state).encode()


def lease_v2(state: int, key: bytes = b"k" * 16, epoch: int = 0) -> tuple[bytes, bytes]:
    return b"RqLs", wire.LeaseV2(lease_key=key, lease_state=state, epoch=epoch).encode()


def dh2q(guid: bytes = GUID, timeout_ms: int = 0) -> tuple[bytes, bytes]:
    return b"DH2Q", wire.DurableHandleRequestV2(timeout_ms=timeout_ms, create_guid=guid).encode()


def dh2c(found: CreateResponse, guid: bytes = GUID) -> tuple[bytes, bytes]:
    return b"DH2C", wire.DurableHandleReconnectV2(file_id=found.file_id, create_guid=guid).encode()


def dhnc(found: CreateResponse) -> tuple[bytes, bytes]:
    return b"DHnC", wire.DurableHandleReconnect(file_id=found.file_id).encode()


DHNQ = (b"DHnQ", bytes(16))


def tags(found: CreateResponse) -> list[bytes]:
    return [one.name for one in found.contexts]


def data_of(found: CreateResponse, tag: bytes) -> bytes:
    return next(one.data for one in found.contexts if one.name == tag)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def client(world) -> Client:
    return world.client()


# small contexts


def test_unknown_contexts_are_ignored(client):
    """[MS-SMB2] 3.3.5.9: "The server MUST ... ignore create contexts having a NameLength ... that it doesn't
    know"."""
    assert tags(client.create("a", contexts=[(b"what", b"ever"), (b"sixteen bytes id", b"")])) == []


@pytest.mark.parametrize(
    "context",
    [
        (b"DHnQ", bytes(15)),
        (b"DHnC", bytes(17)),
        (b"AlSi", bytes(4)),
        (b"MxAc", bytes(4)),
        (b"TWrp", b""),
        (b"RqLs", bytes(40)),
        (b"DH2Q", bytes(31)),
        (b"DH2C", bytes(35)),
        (wire.SMB2_CREATE_APP_INSTANCE_ID, bytes(19)),
        (wire.SMB2_CREATE_APP_INSTANCE_ID, bytes(20)),
        (wire.SMB2_CREATE_APP_INSTANCE_VERSION, bytes(24)),
        (b"abc", b""),
    ],
)
def test_a_malformed_context_is_refused(client, context):
    """[MS-SMB2] 3.3.5.9: a context that does not have its form fails the request with INVALID_PARAMETER."""
    with pytest.raises(WireError):
        client.create("a", contexts=[context])


def test_maximal_access_is_what_file_and_share_give(world, client):
    """[MS-SMB2] 3.3.5.9.5 Handling the SMB2_CREATE_QUERY_MAXIMAL_ACCESS_REQUEST Create Context."""
    found = client.create("a", contexts=[(b"MxAc", b"")])
    assert struct.unpack("<II", data_of(found, b"MxAc")) == (Status.SUCCESS, dtyp.FILE_ALL_ACCESS)
    client.connect(world.share, dtyp.FILE_GENERIC_READ)
    found = client.create("a", access=dtyp.FILE_READ_DATA, disposition=1, contexts=[(b"MxAc", b"")])
    assert struct.unpack("<II", data_of(found, b"MxAc")) == (Status.SUCCESS, dtyp.FILE_GENERIC_READ)


def test_maximal_access_is_not_told_of_a_file_that_did_not_change(client):
    """[MS-SMB2] 3.3.5.9.5: if LastModifiedTime equals the request's Timestamp, QueryStatus is
    STATUS_NONE_MAPPED."""
    found = client.create("a")
    again = client.create("a", contexts=[(b"MxAc", struct.pack("<Q", found.last_write_time))])
    assert struct.unpack("<II", data_of(again, b"MxAc")) == (Status.NONE_MAPPED, 0)


def test_the_id_on_disk_is_the_file_s_own(client):
    """[MS-SMB2] 2.2.14.2.9 SMB2_CREATE_QUERY_ON_DISK_ID: DiskFileId, VolumeId."""
    found = client.create("a", contexts=[(b"QFid", b"")])
    file = client.open_of(found.file_id).file
    assert file is not None
    file_id, volume_id = struct.unpack("<QQ16x", data_of(found, b"QFid"))
    assert (file_id, volume_id) == (file.node.id, file.volume.identity.serial)


def test_attributes_and_allocation_come_with_the_file(client):
    """[MS-SMB2] 3.3.5.9.1 (ExtA), 3.3.5.9.3 (AlSi): passed to the object store when the file is made."""
    eas = encode_full_eas([FullEa(b"NAME", b"value")])
    found = client.create("a", contexts=[(b"ExtA", eas), (b"AlSi", struct.pack("<Q", 100_000))])
    assert found.allocation_size >= 100_000
    file = client.open_of(found.file_id).file
    assert file is not None and [(ea.name, ea.value) for ea in file.eas()] == [(b"NAME", b"value")]


@pytest.mark.parametrize("eas", [bytes(7), struct.pack("<IBBH", 0, 0, 9, 0) + b"x\0"])
def test_a_broken_list_of_attributes_is_inconsistent(client, eas):
    """[MS-FSA] 2.1.5.15.5: "STATUS_EA_LIST_INCONSISTENT"."""
    with refused(Status.EA_LIST_INCONSISTENT):
        client.create("a", contexts=[(b"ExtA", eas)])


def test_a_snapshot_that_is_not_there_is_object_name_not_found(client):
    """[MS-SMB2] 3.3.5.9.4 Handling the SMB2_CREATE_TIMEWARP_TOKEN Create Context."""
    client.create("a")
    with refused(Status.OBJECT_NAME_NOT_FOUND):
        client.create("a", disposition=1, access=1, contexts=[(b"TWrp", struct.pack("<Q", 10_000))])


# oplocks and leases


def test_a_lease_is_granted_and_told(client):
    """[MS-SMB2] 3.3.5.9.11 Handling the SMB2_CREATE_REQUEST_LEASE_V2 Create Context."""
    found = client.create("a", oplock=LEASE, contexts=[lease_v2(R | H | W, epoch=5)])
    answer = wire.LeaseV2.decode_untrusted(data_of(found, b"RqLs"))
    assert found.oplock_level == LEASE and answer.lease_state == R | H | W and answer.epoch == 6


def test_a_lease_level_without_its_context_grants_nothing(client):
    """[MS-SMB2] 3.3.5.9.8: without the context the requested level is treated as SMB2_OPLOCK_LEVEL_NONE."""
    assert client.create("a", oplock=LEASE).oplock_level == 0


@pytest.mark.parametrize(("dialect", "context"), [(0x0202, lease_v1(R)), (0x0210, lease_v2(R))])
def test_leases_that_the_dialect_has_not_are_ignored(world, dialect, context):
    """[MS-SMB2] 3.3.5.9.8, 3.3.5.9.11: "If Connection.Dialect is ... the server MUST ignore"."""
    found = world.client(dialect=dialect).create("a", oplock=LEASE, contexts=[context])
    assert (found.oplock_level, tags(found)) == (0, [])


def test_a_share_may_force_level_ii(world, client):
    """[MS-SMB2] 3.3.5.9: Share.ForceLevel2Oplock turns exclusive and batch into level II; of a lease WRITE
    goes."""
    world.share.force_level_ii = True
    assert client.create("a", oplock=BATCH).oplock_level == 1
    found = client.create("b", oplock=LEASE, contexts=[lease_v1(R | H | W)])
    assert wire.Lease.decode_untrusted(data_of(found, b"RqLs")).lease_state == R | H


def test_contexts_answer_in_windows_order(client):
    """[MS-SMB2] 2.2.14.2: durable, maximal access, disk id, lease, in whatever order they were asked."""
    asked = [lease_v2(R | H | W), (b"QFid", b""), (b"MxAc", b""), dh2q()]
    assert tags(client.create("a", oplock=LEASE, contexts=asked)) == [b"DH2Q", b"MxAc", b"QFid", b"RqLs"]


# durable opens


@pytest.mark.parametrize("level", [0, 1, 8])
def test_durability_needs_handle_caching(client, level):
    """[MS-SMB2] 3.3.5.9.6: "If the RequestedOplockLevel ... is not set to SMB2_OPLOCK_LEVEL_BATCH ... MUST
    ignore"."""
    assert tags(client.create("a", oplock=level, contexts=[DHNQ])) == []


def test_durable_requests_that_exclude_each_other(client):
    """[MS-SMB2] 3.3.5.9.6, 3.3.5.9.10: DHnQ together with DH2Q fails with INVALID_PARAMETER."""
    with refused(Status.INVALID_PARAMETER):
        client.create("a", oplock=BATCH, contexts=[DHNQ, dh2q()])


@pytest.mark.parametrize(("asked_ms", "given_ms"), [(0, 60_000), (30_000, 30_000), (0xFFFFFFFF, 300_000)])
def test_the_durable_timeout_is_bounded(client, asked_ms, given_ms):
    """[MS-SMB2] 3.3.5.9.10: Timeout 0 lets the server choose; Windows gives 60 seconds, and at most 300."""
    found = client.create("a", oplock=BATCH, contexts=[dh2q(timeout_ms=asked_ms)])
    assert struct.unpack("<II", data_of(found, b"DH2Q")) == (given_ms, 0)


def test_a_durable_open_is_taken_up_again(world, client):
    """[MS-SMB2] 3.3.5.9.7: the open gets a session again; its FileId.Persistent stays; nothing but the lease
    is answered."""
    found = client.create("a", oplock=BATCH, contexts=[DHNQ])
    assert tags(found) == [b"DHnQ"]
    client.write(found.file_id, b"kept")
    client.lost()
    again = world.client().create("whatever", impersonation=99, disposition=77, contexts=[dhnc(found)])
    assert again.file_id.persistent == found.file_id.persistent
    assert (again.oplock_level, again.end_of_file, tags(again)) == (BATCH, 4, [])


def test_what_was_never_kept_is_object_name_not_found(client):
    """[MS-SMB2] 3.3.5.9.7: "If the lookup fails, the server MUST fail the request with
    OBJECT_NAME_NOT_FOUND"."""
    found = client.create("a")
    for context in (dhnc(found), dh2c(found)):
        with refused(Status.OBJECT_NAME_NOT_FOUND):
            client.create("a", contexts=[context])


def test_reconnect_with_unknown_create_guid_is_object_name_not_found(world, client):
    """[MS-SMB2] 3.3.5.9.12: "If Open.CreateGuid is not equal to the CreateGuid ... OBJECT_NAME_NOT_FOUND"."""
    found = client.create("a", oplock=BATCH, contexts=[dh2q()])
    client.lost()
    other = world.client()
    with refused(Status.OBJECT_NAME_NOT_FOUND):
        other.create("a", contexts=[dh2c(found, bytes(16))])
    assert other.create("a", contexts=[dh2c(found)]).file_id.persistent == found.file_id.persistent


def test_another_user_may_not_take_up_an_open(world, client):
    """[MS-SMB2] 3.3.5.9.7: "If the user represented by Session.SecurityContext is not the same user denoted
    by Open.DurableOwner, the server MUST fail the request with STATUS_ACCESS_DENIED"."""
    found = client.create("a", oplock=BATCH, contexts=[dh2q()])
    client.lost()
    with refused(Status.ACCESS_DENIED):
        world.client(1, who=token("S-1-5-21-1-2-3-1002")).create("a", contexts=[dh2c(found)])


@pytest.mark.parametrize(
    ("number", "name", "more", "status"),
    [
        (2, "a", [lease_v2(R | H | W)], Status.OBJECT_NAME_NOT_FOUND),
        (1, "a", [], Status.OBJECT_NAME_NOT_FOUND),
        (1, "a", [lease_v2(R | H | W, b"x" * 16)], Status.OBJECT_NAME_NOT_FOUND),
        (1, "a", [lease_v1(R | H | W)], Status.OBJECT_NAME_NOT_FOUND),
        (1, "b", [lease_v2(R | H | W)], Status.INVALID_PARAMETER),
    ],
    ids=["other client", "no lease", "other key", "other version", "other name"],
)
def test_a_leased_open_wants_its_lease_named(world, client, number, name, more, status):
    """[MS-SMB2] 3.3.5.9.12: ClientGuid, the lease context, its key and version, and the lease's file name
    must fit."""
    found = client.create("a", oplock=LEASE, contexts=[lease_v2(R | H | W), dh2q()])
    assert b"DH2Q" in tags(found)
    client.lost()
    with refused(status):
        world.client(number).create(name, oplock=LEASE, contexts=[dh2c(found), *more])
    again = world.client().create("a", oplock=LEASE, contexts=[dh2c(found), lease_v2(R | H | W)])
    assert tags(again) == [b"RqLs"]


def test_an_open_whose_client_is_there_is_not_given_away(world, client):
    """[MS-SMB2] 3.3.5.9.7: "Open.Session is not NULL" fails with OBJECT_NAME_NOT_FOUND."""
    found = client.create("a", oplock=BATCH, contexts=[DHNQ])
    with refused(Status.OBJECT_NAME_NOT_FOUND):
        world.client(2).create("a", contexts=[dhnc(found)])


# replay


def test_the_same_create_guid_twice_is_a_duplicate(client):
    """[MS-SMB2] 3.3.5.9.10: "SMB2_FLAGS_REPLAY_OPERATION ... is not set ... STATUS_DUPLICATE_OBJECTID"."""
    client.create("a", oplock=BATCH, contexts=[dh2q()])
    with refused(Status.DUPLICATE_OBJECTID):
        client.create("a", oplock=BATCH, contexts=[dh2q()])


def test_a_replay_gives_the_first_answer_again(client):
    """[MS-SMB2] 3.3.5.9.10: "the server MUST construct the create response from Open"."""
    first = client.create("a", oplock=BATCH, contexts=[dh2q()])
    client.is_replay = True
    again = client.create("a", oplock=BATCH, contexts=[dh2q()])
    assert (again.file_id, again.create_action) == (first.file_id, fscc.FILE_CREATED)
    assert len(client.session.opens) == 1


def test_a_replay_with_another_lease_is_denied(client):
    """[MS-SMB2] 3.3.5.9.10: Open.Lease and the request's lease key differ: ACCESS_DENIED."""
    client.create("a", oplock=LEASE, contexts=[lease_v2(R | H | W), dh2q()])
    client.is_replay = True
    with refused(Status.ACCESS_DENIED):
        client.create("a", oplock=LEASE, contexts=[lease_v2(R | H | W, b"x" * 16), dh2q()])
    with refused(Status.ACCESS_DENIED):
        client.create("a", oplock=BATCH, contexts=[dh2q()])


def test_after_another_request_on_the_open_a_replay_is_a_new_create(client):
    """[MS-SMB2] 3.3.5.20: "If Open.IsPersistent is FALSE and Open.IsReplayEligible is TRUE, the server MUST
    set Open.IsReplayEligible to FALSE": so the replay no longer finds it, and makes an open of its own."""
    first = client.create("a", oplock=BATCH, contexts=[dh2q()])
    client.query(first.file_id, 1, fscc.FILE_STANDARD_INFORMATION)
    client.close(first.file_id)
    client.is_replay = True
    assert client.create("a", oplock=BATCH, contexts=[dh2q()]).file_id != first.file_id


def test_a_closed_open_frees_its_create_guid(client):
    """[MS-SMB2] 3.3.4.17 Server Application Requests Closing an Open."""
    first = client.create("a", oplock=BATCH, contexts=[dh2q()])
    client.close(first.file_id)
    assert not client.server.create_guids
    assert client.create("a", oplock=BATCH, contexts=[dh2q()]).create_action == fscc.FILE_OPENED


# application instances


def app(instance: bytes = b"i" * 16) -> tuple[bytes, bytes]:
    return wire.SMB2_CREATE_APP_INSTANCE_ID, wire.AppInstanceId(app_instance_id=instance).encode()


def version(high: int, low: int) -> tuple[bytes, bytes]:
    made = wire.AppInstanceVersion(app_instance_version_high=high, app_instance_version_low=low)
    return wire.SMB2_CREATE_APP_INSTANCE_VERSION, made.encode()


def test_an_application_that_moved_closes_its_old_open(world, client):
    """[MS-SMB2] 3.3.5.9.13: the Open of the same AppInstanceId and file, by another client, is closed."""
    first = client.create("a", share=0, contexts=[dh2q(), app()])
    other = world.client(2)
    other.create("a", share=0, contexts=[dh2q(b"x" * 16), app()])
    with refused(Status.FILE_CLOSED):
        client.query(first.file_id, 1, fscc.FILE_STANDARD_INFORMATION)


def test_another_application_meets_a_sharing_violation(world, client):
    """[MS-SMB2] 3.3.5.9.13: another AppInstanceId closes nothing."""
    client.create("a", share=0, contexts=[dh2q(), app()])
    with refused(Status.SHARING_VIOLATION):
        world.client(2).create("a", share=0, contexts=[dh2q(b"x" * 16), app(b"j" * 16)])


@pytest.mark.parametrize(("newer", "closes"), [((1, 1), True), ((1, 0), False), ((0, 9), False)])
def test_only_a_newer_version_takes_over(world, client, newer, closes):
    """[MS-SMB2] 3.3.5.9.13, 2.2.13.2.15 SMB2_CREATE_APP_INSTANCE_VERSION: else FILE_FORCED_CLOSED."""
    client.create("a", share=0, contexts=[dh2q(), app(), version(1, 0)])
    asked = [dh2q(b"x" * 16), app(), version(*newer)]
    if closes:
        world.client(2).create("a", share=0, contexts=asked)
        assert not client.session.opens
    else:
        with refused(Status.FILE_FORCED_CLOSED):
            world.client(2).create("a", share=0, contexts=asked)
