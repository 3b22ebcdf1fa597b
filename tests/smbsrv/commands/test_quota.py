"""Quotas by QUERY_INFO and SET_INFO, on a volume with a catalog."""

from __future__ import annotations

import pytest

from smbproto import dtyp, fscc
from smbproto.dtyp import Sid
from smbproto.fscc.quota import Quota, decode_quotas_untrusted, encode_get_quotas, encode_quotas
from smbproto.fscc.volume import FileFsControlInformation, FileFsFullSizeInformation
from smbproto.smb2.query_info import QueryQuotaInfo
from smbproto.status import Status
from smbsrv.share import Share
from storage.fs.catalog import CatalogFileSystem
from storage.objectstore.volume import ObjectStoreVolume
from tests.smbsrv.commands.client import World, refused, token
from tests.suites.memoryspace import MemorySpace

FILESYSTEM, QUOTA = 2, 4
QUOTA_FILE = "$Extend\\$Quota:$Q:$INDEX_ALLOCATION"
CLUSTER = 65536
ANA, BOB, EVE = (Sid.parse(f"S-1-5-21-1-2-3-{rid}") for rid in (1001, 1002, 1003))
UNLIMITED = 0xFFFFFFFFFFFFFFFF


class QuotaWorld(World):
    """Its volume has a catalog."""

    def __init__(self) -> None:
        super().__init__()
        metadata, data = MemorySpace(8 << 20, self.runtime), MemorySpace(64 << 20, self.runtime)
        fs = self.runtime.run(CatalogFileSystem.format(metadata, data, self.runtime))
        self.volume = ObjectStoreVolume(fs, self.runtime)
        self.share = Share("quotas", self.volume)
        self.server.add_share(self.share)


@pytest.fixture
def world():
    return QuotaWorld()


@pytest.fixture
def admin(world):
    return world.client()


@pytest.fixture
def quota_file(admin):
    return admin.create(QUOTA_FILE, access=0x16, disposition=fscc.FILE_OPEN).file_id


def listed(client, file_id, room=65536, **asked):
    status, data = client.query(file_id, QUOTA, 0, room, input=QueryQuotaInfo(**asked).encode())
    assert status == Status.SUCCESS
    return decode_quotas_untrusted(data)


def bob(world):
    return world.client(2, who=token(str(BOB), admin=False))


def write(client, name, length):
    found = client.create(name)
    client.write(found.file_id, bytes(length))
    return found


def test_the_quota_file_is_for_administrators_and_cannot_be_made(world, admin):
    """[MS-FSA] 2.1.5.21: "An Open of a Quota Stream"."""
    with refused(Status.ACCESS_DENIED):
        bob(world).create(QUOTA_FILE, access=0x16, disposition=fscc.FILE_OPEN)
    with refused(Status.ACCESS_DENIED):
        admin.create(QUOTA_FILE, access=0x16, disposition=fscc.FILE_SUPERSEDE)


def test_the_quota_file_is_no_way_into_the_volumes_root(admin):
    """It opens as the root, whatever part of the volume the share shows."""
    found = admin.create(QUOTA_FILE, access=dtyp.FILE_ALL_ACCESS, disposition=fscc.FILE_OPEN)
    assert admin.open_of(found.file_id).file.granted_access == (
        dtyp.FILE_WRITE_DATA | dtyp.FILE_READ_ATTRIBUTES
    )
    with refused(Status.ACCESS_DENIED):
        admin.list(found.file_id, fscc.FILE_NAMES_INFORMATION)


def test_an_enumeration_goes_on_until_no_more_entries(admin, quota_file):
    """[MS-SMB2] 2.2.37.1: RestartScan FALSE "MUST be continued from the previous enumeration"."""
    admin.set(quota_file, QUOTA, 0, encode_quotas([Quota(sid, limit=9) for sid in (BOB, ANA, EVE)]))
    first = listed(admin, quota_file, restart_scan=1, return_single=1)
    assert [quota.sid for quota in first] == [ANA]
    assert [quota.sid for quota in listed(admin, quota_file)] == [BOB, EVE]
    with refused(Status.NO_MORE_ENTRIES):
        listed(admin, quota_file)
    assert [quota.sid for quota in listed(admin, quota_file, restart_scan=1, room=160)] == [ANA, BOB]
    with refused(Status.BUFFER_TOO_SMALL):
        listed(admin, quota_file, room=60)


def test_an_enumeration_may_begin_at_a_sid(admin, quota_file):
    """[MS-SMB2] 2.2.37.1 SMB2_QUERY_QUOTA_INFO: StartSidLength and StartSidOffset."""
    admin.set(quota_file, QUOTA, 0, encode_quotas([Quota(sid, limit=9) for sid in (ANA, BOB, EVE)]))
    asked = {"start_sid_length": BOB.size_bytes, "sids": BOB.encode()}
    assert [quota.sid for quota in listed(admin, quota_file, **asked)] == [BOB, EVE]
    asked["start_sid_offset"] = 4
    with refused(Status.INVALID_PARAMETER):
        listed(admin, quota_file, **asked)


def test_a_list_of_sids_is_answered_for_each_even_unknown_ones(admin, quota_file):
    """[MS-SMB2] 3.3.5.20.4: "enumerate the quota information entries for all the SIDs specified"."""
    admin.set(quota_file, QUOTA, 0, encode_quotas([Quota(BOB, threshold=5, limit=9)]))
    sids = encode_get_quotas([EVE, BOB])
    found = listed(admin, quota_file, sid_list_length=len(sids), sids=sids)
    assert [(q.sid, q.used, q.threshold, q.limit) for q in found] == [(EVE, 0, -1, -1), (BOB, 0, 5, 9)]
    assert len(listed(admin, quota_file, sid_list_length=len(sids), sids=sids, return_single=1)) == 1
    with refused(Status.INVALID_PARAMETER):
        listed(admin, quota_file, sid_list_length=len(sids) + 1, sids=sids)
    with refused(Status.INVALID_PARAMETER):
        admin.query(quota_file, QUOTA, 0, input=b"xx")


def test_users_see_their_own_quota_and_change_none(world):
    client = bob(world)
    found = write(client, "f", 5)
    assert [(q.sid, q.used) for q in listed(client, found.file_id)] == [(BOB, CLUSTER)]
    asked = encode_get_quotas([ANA])
    with refused(Status.ACCESS_DENIED):
        listed(client, found.file_id, sid_list_length=len(asked), sids=asked)
    with refused(Status.ACCESS_DENIED):
        client.set(found.file_id, QUOTA, 0, encode_quotas([Quota(BOB)]))
    with refused(Status.ACCESS_DENIED):
        client.set(found.file_id, FILESYSTEM, fscc.FILE_FS_CONTROL_INFORMATION, bytes(48))


def test_what_cannot_be_set_is_refused(admin, quota_file):
    """[MS-FSA] 2.1.5.22 Server Requests Setting Quota Information."""
    for quotas, status in (
        ([], Status.INVALID_PARAMETER),
        ([Quota(Sid.parse("S-1-5-32-544"), limit=5)], Status.ACCESS_DENIED),
        ([Quota(BOB, limit=-2)], Status.NO_MATCH),
        ([Quota(BOB, limit=-3)], Status.INVALID_PARAMETER),
    ):
        with refused(status):
            admin.set(quota_file, QUOTA, 0, encode_quotas(quotas))


def test_an_open_without_write_access_changes_nothing(admin):
    found = admin.create("d", access=dtyp.FILE_READ_DATA, options=fscc.FILE_DIRECTORY_FILE)
    with refused(Status.ACCESS_DENIED):
        admin.set(found.file_id, QUOTA, 0, encode_quotas([Quota(BOB)]))


def test_defaults_are_enforced_as_disk_full_and_show_in_the_size_of_the_volume(world, admin, quota_file):
    """[MS-FSCC] 2.5.2 FileFsControlInformation; 2.5.4 FileFsFullSizeInformation."""
    status, data = admin.query(quota_file, FILESYSTEM, fscc.FILE_FS_CONTROL_INFORMATION)
    before = FileFsControlInformation.decode_untrusted(data)
    assert (status, before.default_quota_limit) == (Status.SUCCESS, UNLIMITED)
    assert before.file_system_control_flags == fscc.FILE_VC_QUOTA_TRACK
    new = FileFsControlInformation(
        default_quota_limit=4 * CLUSTER,
        file_system_control_flags=fscc.FILE_VC_QUOTA_TRACK | fscc.FILE_VC_QUOTA_ENFORCE,
    )
    admin.set(quota_file, FILESYSTEM, fscc.FILE_FS_CONTROL_INFORMATION, new.encode())
    client = bob(world)
    found = write(client, "f", 3 * CLUSTER)
    _, data = client.query(found.file_id, FILESYSTEM, fscc.FILE_FS_FULL_SIZE_INFORMATION)
    size = FileFsFullSizeInformation.decode_untrusted(data)
    assert (size.total_allocation_units, size.caller_available_allocation_units) == (4, 1)
    assert size.actual_available_allocation_units > 100
    with refused(Status.DISK_FULL):
        write(client, "g", 2 * CLUSTER)
    admin.set(quota_file, QUOTA, 0, encode_quotas([Quota(BOB, limit=6 * CLUSTER)]))
    write(client, "h", 2 * CLUSTER)
    admin.set(quota_file, QUOTA, 0, encode_quotas([Quota(BOB, limit=-2)]))
    with refused(Status.DISK_FULL):
        write(client, "i", 1)
