"""Times, attributes, EAs, descriptors, reparse points, object ids, sizes and copies."""

import struct

import pytest

from smbproto import dtyp, fscc
from smbproto.dtyp import Ace, Acl, SecurityDescriptor, Sid
from smbproto.status import Status, StatusError
from storage import errors
from storage.objectstore import access
from storage.objectstore.errors import STATUS_OF, status_error
from storage.volume import RangeLock, Token
from tests.storage.objectstore.world import ALL, ANA, ANA_SID, READ, ROOT, START, WRITE, World, ea

S = Status
RESTORER = Token(ANA_SID, ANA.sids, ANA_SID, ANA.group, frozenset({"SeRestorePrivilege"}))


@pytest.fixture
def world():
    made = World()
    made.write_file("f", b"content")
    return made


def status_of(call, *args):
    with pytest.raises(StatusError) as caught:
        call(*args)
    return caught.value.status


def times(file):
    node = file.node
    return node.created, node.accessed, node.written, node.changed_time


# times


def test_a_write_shows_after_two_seconds_or_at_close(world):
    """Windows: the last write time of a write is lazy, the size is not; a flush or close settles it."""
    file = world.open("f")
    before = file.node.written
    assert file.write_now(0, memoryview(b"longer content"))
    assert file.node.written == before < file.node.changed_time and file.stream.size_bytes == 14
    world.advance(2.1)
    first = file.node.written
    assert first > before
    file.write_now(0, memoryview(b"x"))
    world.advance(10)
    assert file.node.written == first
    other = world.open("g", disposition=fscc.FILE_CREATE)
    made = other.node.written
    other.write_now(0, memoryview(b"x"))
    world.advance(3)
    assert other.node.written > made, "it does not wait for the later one"
    world.run(file.flush())
    assert file.node.written > first
    second = file.node.written
    file.write_now(0, memoryview(b"x"))
    world.close(file)
    assert file.node.written > second


def test_changing_the_size_shows_at_once(world):
    """[MS-FSA] 2.1.4.17 Algorithm for Noting That a File Has Been Modified."""
    file = world.open("f")
    before = file.node.written
    world.run(file.set_end_of_file(3))
    assert file.node.written > before


def test_times_that_are_set_stick_to_the_open(world):
    """[MS-FSCC] 2.4.7: -1 stops the updates by this handle, -2 lets them on again."""
    file, other = world.open("f"), world.open("f")
    world.run(file.set_basic(START, START + 1, START + 2, START + 3, 0))
    assert times(file) == (START, START + 1, START + 2, START + 3)
    file.write_now(0, memoryview(b"x"))
    world.run(file.set_end_of_file(3))
    assert times(file) == (START, START + 1, START + 2, START + 3)
    world.run(file.set_basic(0, 0, -2, -2, 0))
    assert times(file) == (START, START + 1, START + 2, START + 3)
    world.run(file.set_end_of_file(4))
    assert file.node.written > START + 2
    world.run(file.set_basic(0, 0, -1, 0, 0))
    before = file.node.written
    world.run(file.set_end_of_file(5))
    assert file.node.written == before
    world.run(other.set_end_of_file(6))
    assert file.node.written > before
    assert world.refuses(file.set_basic(-3, 0, 0, 0, 0)) is S.INVALID_PARAMETER


def test_a_directory_changes_with_its_names(world):
    """[MS-FSA] 2.1.5.1.1: creating, renaming and deleting set the directory's times."""
    root = world.fs.root()
    last = root.written
    for change in (lambda: world.write_file("new"),
                   lambda: world.run(world.open("new").rename("n2", False))):
        change()
        assert root.written > last and root.changed_time > last
        last = root.written


def test_reading_sets_the_access_time_to_the_hour(world):
    """NTFS: last access is coarse, and written when the open closes."""
    file = world.open("f", READ)
    before = file.node.accessed
    file.read_now(0, memoryview(bytearray(3)))
    world.close(file)
    assert file.node.accessed == before
    world.filetime_now += 2 * 3600 * 10_000_000
    file = world.open("f", READ)
    file.read_now(0, memoryview(bytearray(3)))
    world.close(file)
    assert file.node.accessed > before


# attributes


def test_attributes(world):
    """[MS-FSA] 2.1.5.15.2 FileBasicInformation."""
    file = world.open("f")
    world.run(file.set_basic(0, 0, 0, 0, 0x7))
    assert file.node.attributes == 0x7
    world.run(file.set_basic(0, 0, 0, 0, 0x80))
    assert file.node.attributes == 0x80
    file.set_sparse(True)
    assert file.node.attributes == fscc.FILE_ATTRIBUTE_SPARSE_FILE | fscc.FILE_ATTRIBUTE_ARCHIVE
    world.run(file.set_basic(0, 0, 0, 0, fscc.FILE_ATTRIBUTE_HIDDEN))
    assert file.node.attributes == fscc.FILE_ATTRIBUTE_SPARSE_FILE | fscc.FILE_ATTRIBUTE_HIDDEN
    assert world.refuses(file.set_basic(0, 0, 0, 0, 0x10)) is S.INVALID_PARAMETER
    assert world.refuses(world.open("", ROOT).set_basic(0, 0, 0, 0, 0x100)) is S.INVALID_PARAMETER
    assert world.refuses(world.open("f", READ).set_basic(0, 0, 0, 0, 1)) is S.ACCESS_DENIED


# EAs


def test_eas_merge_without_case(world):
    """[MS-FSA] 2.1.5.15.5 FileFullEaInformation: an empty value removes."""
    file = world.open("f")
    world.run(file.set_eas([ea(b"One", b"1"), ea(b"Two", b"2")]))
    world.run(file.set_eas([ea(b"ONE", b"eins"), ea(b"two", b""), ea(b"three", b"3", 0x80)]))
    assert file.eas() == [ea(b"ONE", b"eins"), ea(b"three", b"3", 0x80)]
    assert status_of(world.open("f", WRITE).eas) is S.ACCESS_DENIED
    assert world.refuses(world.open("f", READ).set_eas([])) is S.ACCESS_DENIED


@pytest.mark.parametrize(("bad", "status"), [
    (ea(b"a*b", b"1"), S.INVALID_EA_NAME), (ea(b"", b"1"), S.INVALID_EA_NAME),
    (ea(b"x" * 255, b"1"), S.INVALID_EA_NAME), (ea(b"a", b"1", 1), S.INVALID_EA_FLAG),
    (ea(b"a", b"x" * 0x10000), S.EA_TOO_LARGE)])
def test_eas_that_are_refused(world, bad, status):
    """[MS-FSCC] 2.4.16 FileFullEaInformation."""
    assert world.refuses(world.open("f").set_eas([bad])) is status
    assert world.open_status("new", eas=[bad]) is status and not world.exists("new")


def test_a_file_may_need_knowledge_of_its_eas(world):
    """[MS-FSA] 2.1.5.1.2: FILE_NO_EA_KNOWLEDGE and an EA with FILE_NEED_EA: STATUS_ACCESS_DENIED."""
    world.run(world.open("f").set_eas([ea(b"K", b"v", 0x80)]))
    assert world.open_status("f", READ, options=fscc.FILE_NO_EA_KNOWLEDGE) is S.ACCESS_DENIED


# security


def acl(*aces):
    return Acl(tuple(Ace(kind, flags, mask, sid) for kind, flags, mask, sid in aces))


def sd(owner=None, group=None, dacl=None, control=0):
    present = dtyp.SE_DACL_PRESENT if dacl is not None else 0
    return SecurityDescriptor(owner, group, dacl, None, dtyp.SE_SELF_RELATIVE | control | present).encode()


def decoded(data):
    return SecurityDescriptor.decode_untrusted(data)


EVERYONE, CREATOR = dtyp.SID_EVERYONE, dtyp.SID_CREATOR_OWNER
OI, CI, NP, IO, ID = 1, 2, 4, 8, 16


def test_a_descriptor_is_set_and_read_in_parts(world):
    """[MS-FSA] 2.1.5.14, 2.1.5.17: only the parts that are named."""
    file = world.open("f")
    before = decoded(file.security(7))
    world.run(file.set_security(4, sd(dacl=acl((0, 0, dtyp.GENERIC_ALL, EVERYONE)))))
    after = decoded(file.security(7))
    assert after.owner == before.owner and [a.mask for a in after.dacl.aces] == [ALL]
    only = decoded(file.security(1))
    assert only.owner == before.owner and only.group is None and only.dacl is None
    other = world.open("f", READ)
    assert world.refuses(other.set_security(4, sd(dacl=acl()))) is S.ACCESS_DENIED
    assert world.refuses(other.set_security(1, sd(owner=Sid.parse(ANA_SID)))) is S.ACCESS_DENIED
    assert status_of(world.open("f", 0x80).security, 4) is S.ACCESS_DENIED
    assert status_of(file.security, 8) is S.ACCESS_DENIED
    assert world.refuses(file.set_security(4, b"garbage" * 5)) is S.INVALID_SECURITY_DESCR


def test_access_follows_the_descriptor_at_once(world):
    """A descriptor that is set counts for the next open; those that are open keep what they have."""
    file = world.open("f")
    world.run(file.set_security(4, sd(dacl=acl())))
    assert world.open_status("f", READ | dtyp.FILE_EXECUTE) is S.ACCESS_DENIED
    assert file.write_now(0, memoryview(b"x"))
    assert world.open("f", dtyp.READ_CONTROL | dtyp.WRITE_DAC).granted_access == (
        dtyp.READ_CONTROL | dtyp.WRITE_DAC), "the owner's implicit rights"
    world.run(file.set_security(4, SecurityDescriptor(None, None, None, None, 0x8004).encode()))
    assert world.open("f", ALL), "a NULL DACL grants all"


def test_ownership_is_taken_or_given_with_a_privilege(world):
    """[MS-DTYP] 2.5.3.4: an owner is oneself, unless one may restore."""
    file = world.open("f")
    stranger = Sid.parse("S-1-5-21-9-9-9-9")
    assert world.refuses(file.set_security(1, sd(owner=stranger))) is S.INVALID_OWNER
    restorer = world.open("f", token=RESTORER)
    world.run(restorer.set_security(1, sd(owner=stranger)))
    assert decoded(file.security(1)).owner == stranger


@pytest.mark.parametrize(("flags", "is_directory", "expected"), [
    (OI, False, [0]), (CI, False, []), (OI | CI, False, [0]), (OI | IO, False, [0]), (OI | NP, False, [0]),
    (OI, True, [OI | IO]), (CI, True, [CI]), (OI | CI, True, [OI | CI]), (CI | NP, True, [0]),
    (OI | NP, True, []), (OI | CI | IO, True, [OI | CI]), (0, True, []), (0, False, [])])
def test_what_a_child_inherits(flags, is_directory, expected):
    """[MS-DTYP] 2.5.3.4.3 ComputeInheritedACLfromParent."""
    for control, mark in ((0, 0), (dtyp.SE_DACL_AUTO_INHERITED, ID)):
        parent = sd(EVERYONE, EVERYONE, acl((0, flags, READ, EVERYONE)), control)
        made = decoded(access.new_descriptor(parent, b"", is_directory, ANA))
        inherited = [ace.flags for ace in made.dacl.aces if ace.sid == EVERYONE]
        assert inherited == [flag | mark for flag in expected]
        if not expected:
            assert [(str(a.sid), a.mask) for a in made.dacl.aces] == [(ANA_SID, ALL), ("S-1-5-18", ALL)]
        assert bool(made.control & dtyp.SE_DACL_AUTO_INHERITED) is bool(expected and mark)
        assert str(made.owner) == ANA_SID


def test_creator_owner_becomes_the_creator_and_stays_for_grandchildren():
    """[MS-DTYP] 2.5.3.4.4 ComputeACL post-processing: one effective ACE, one to inherit."""
    parent = sd(EVERYONE, EVERYONE, acl((0, OI | CI | IO, dtyp.GENERIC_ALL, CREATOR)))
    made = decoded(access.new_descriptor(parent, b"", True, ANA)).dacl.aces
    assert [(str(a.sid), a.flags, a.mask) for a in made] == [
        (ANA_SID, 0, ALL), (str(CREATOR), OI | CI | IO, dtyp.GENERIC_ALL)]
    made = decoded(access.new_descriptor(parent, b"", False, ANA)).dacl.aces
    assert [(str(a.sid), a.flags, a.mask) for a in made] == [(ANA_SID, 0, ALL)]


@pytest.mark.parametrize(("aces", "granted"), [
    ([], dtyp.READ_CONTROL | dtyp.WRITE_DAC),
    ([(0, 0, READ, EVERYONE)], READ | dtyp.WRITE_DAC),
    ([(1, 0, 1, EVERYONE), (0, 0, ALL, EVERYONE)], ALL & ~1),
    ([(0, 0, ALL, EVERYONE), (1, 0, 1, EVERYONE)], ALL),
    ([(0, IO, ALL, EVERYONE)], dtyp.READ_CONTROL | dtyp.WRITE_DAC),
    ([(0, 0, 0x80, dtyp.SID_OWNER_RIGHTS)], 0x80),
    ([(1, 0, dtyp.WRITE_DAC, dtyp.SID_OWNER_RIGHTS), (0, 0, ALL, EVERYONE)], ALL & ~dtyp.WRITE_DAC),
    ([(0, 0, dtyp.GENERIC_READ, EVERYONE)], READ | dtyp.WRITE_DAC),
    ([(9, 0, ALL, EVERYONE)], dtyp.READ_CONTROL | dtyp.WRITE_DAC),
    ([(0, 0, ALL, Sid.parse("S-1-5-21-9-9-9-9"))], dtyp.READ_CONTROL | dtyp.WRITE_DAC)])
def test_access_checks(aces, granted):
    """[MS-DTYP] 2.5.3.2 Access Check Algorithm Pseudocode: in order, bit by bit."""
    descriptor = sd(Sid.parse(ANA_SID), EVERYONE, acl(*aces))
    assert access.maximal_access(descriptor, ANA) == granted


def test_privileges_give_their_rights(world):
    """[MS-DTYP] 2.5.3.2: take ownership and security; [MS-FSA] 2.1.5.1.2.1: backup and restore by intent."""
    empty = sd(EVERYONE, EVERYONE, acl())
    for name, right in (("SeTakeOwnershipPrivilege", dtyp.WRITE_OWNER),
                        ("SeSecurityPrivilege", dtyp.ACCESS_SYSTEM_SECURITY)):
        token = Token("S-1-1", frozenset({"S-1-1"}), "S-1-1", "S-1-1", frozenset({name}))
        assert access.maximal_access(empty, token) == right
    node = world.fs.lookup(world.fs.root(), "f").node
    world.volume.descriptor_changed(node, empty)
    backup = Token("S-1-1", frozenset({"S-1-1"}), "S-1-1", "S-1-1", frozenset({"SeBackupPrivilege"}))
    assert world.open_status("f", READ | dtyp.FILE_EXECUTE, token=backup) is S.ACCESS_DENIED
    world.open("f", READ | dtyp.FILE_EXECUTE, token=backup, options=fscc.FILE_OPEN_FOR_BACKUP_INTENT)


# reparse points and object ids


def buffer(tag, data=b"abcd", guid=b""):
    return struct.pack("<IHH", tag, len(data), 0) + guid + data


def test_reparse_points(world):
    """[MS-FSA] 2.1.5.10.35 FSCTL_SET_REPARSE_POINT, 2.1.5.10.7 FSCTL_DELETE_REPARSE_POINT."""
    file = world.open("f")
    assert status_of(file.reparse) is S.NOT_A_REPARSE_POINT
    nfs = fscc.IO_REPARSE_TAG_NFS
    world.run(file.set_reparse(buffer(nfs)))
    assert file.reparse() == buffer(nfs) and file.node.attributes & fscc.FILE_ATTRIBUTE_REPARSE_POINT
    assert world.open_status("f", READ) is S.IO_REPARSE_TAG_NOT_HANDLED
    other = buffer(fscc.IO_REPARSE_TAG_SYMLINK)
    assert world.refuses(file.set_reparse(other)) is S.IO_REPARSE_TAG_MISMATCH
    assert world.refuses(file.delete_reparse(buffer(0xA0000003))) is S.IO_REPARSE_TAG_MISMATCH
    world.run(file.delete_reparse(buffer(nfs, b"")))
    assert world.refuses(file.delete_reparse(buffer(nfs, b""))) is S.NOT_A_REPARSE_POINT
    guid = bytes(range(16))
    world.run(file.set_reparse(buffer(0x100, guid=guid)))
    assert world.refuses(file.set_reparse(buffer(0x100, guid=bytes(16)))) is S.REPARSE_ATTRIBUTE_CONFLICT


@pytest.mark.parametrize(("data", "status"), [
    (b"", S.IO_REPARSE_DATA_INVALID), (bytes(7), S.IO_REPARSE_DATA_INVALID),
    (buffer(fscc.IO_REPARSE_TAG_NFS) + b"x", S.IO_REPARSE_DATA_INVALID),
    (buffer(fscc.IO_REPARSE_TAG_NFS, bytes(17000)), S.IO_REPARSE_DATA_INVALID),
    (buffer(1, guid=bytes(16)), S.IO_REPARSE_TAG_INVALID)])
def test_reparse_data_that_is_refused(world, data, status):
    """[MS-FSCC] 2.1.2.2 REPARSE_DATA_BUFFER."""
    assert world.refuses(world.open("f").set_reparse(data)) is status


def test_reparse_points_and_eas_exclude_each_other(world):
    """[MS-FSA] 2.1.5.10.35: STATUS_EAS_NOT_SUPPORTED; a directory must be empty."""
    file = world.open("f")
    world.run(file.set_eas([ea(b"K", b"v")]))
    assert world.refuses(file.set_reparse(buffer(fscc.IO_REPARSE_TAG_NFS))) is S.EAS_NOT_SUPPORTED
    world.mkdir("d")
    world.write_file("d\\x")
    assert world.refuses(world.open("d").set_reparse(buffer(0xA0000003))) is S.DIRECTORY_NOT_EMPTY


def test_object_ids(world):
    """[MS-FSA] 2.1.5.10.1 FSCTL_CREATE_OR_GET_OBJECT_ID, 2.1.5.10.33 FSCTL_SET_OBJECT_ID."""
    file = world.open("f")
    assert status_of(file.object_id, False) is S.OBJECTID_NOT_FOUND
    made = file.object_id(True)
    assert len(made) == 64 and file.object_id(False) == made
    assert status_of(file.set_object_id, made) is S.ACCESS_DENIED
    other = world.open("g", token=RESTORER)
    assert status_of(other.set_object_id, made) is S.DUPLICATE_OBJECTID
    assert status_of(other.set_object_id, b"short") is S.INVALID_PARAMETER
    file.delete_object_id()
    other.set_object_id(made)
    assert status_of(other.set_object_id, made) is S.OBJECTID_EXISTS


# bytes


def test_reads_end_where_the_file_does(world):
    """[MS-FSA] 2.1.5.3 Server Requests a Read."""
    file = world.open("f")
    into = memoryview(bytearray(20))
    assert file.read_now(4, into) == 3 and bytes(into[:3]) == b"ent"
    assert status_of(file.read_now, 7, into) is S.END_OF_FILE
    assert file.read_now(7, into[:0]) == 0
    assert status_of(file.read_now, 1 << 63, into) is S.INVALID_PARAMETER
    assert status_of(world.open("", ROOT).read_now, 0, into) is S.INVALID_DEVICE_REQUEST
    assert status_of(world.open("f", WRITE).read_now, 0, into) is S.ACCESS_DENIED
    assert world.open("f", dtyp.FILE_EXECUTE).read_now(0, into) == 7


def test_writes_go_where_the_access_lets_them(world):
    """[MS-FSA] 2.1.5.4 Server Requests a Write: FILE_APPEND_DATA alone writes at the end."""
    appender = world.open("f", dtyp.FILE_APPEND_DATA)
    assert appender.write_now(0, memoryview(b"!"))
    assert world.read_file("f") == b"content!"
    file = world.open("f")
    assert status_of(file.write_now, 0xFFF_FFFF_0000, memoryview(b"x")) is S.INVALID_PARAMETER
    assert file.write_now(0xFFF_FFFF_0000, memoryview(b"")) and file.stream.size_bytes == 8
    assert status_of(world.open("f", READ).write_now, 0, memoryview(b"x")) is S.ACCESS_DENIED


def test_waiting_and_write_through(world):
    """`*_now` says when it would wait; the twin does it. Write-through is never done in passing."""
    file = world.open("f", options=fscc.FILE_WRITE_THROUGH)
    assert not file.write_now(0, memoryview(b"C"))
    world.run(file.write(0, memoryview(b"C")))
    world.fs.waits = True
    other = world.open("f")
    into = memoryview(bytearray(7))
    assert other.read_now(0, into) == -1 and world.run(other.read(0, into)) == 7
    assert not other.write_now(1, memoryview(b"O"))
    world.run(other.write(1, memoryview(b"O")))
    world.run(other.read(0, into))
    assert bytes(into) == b"COntent"


def test_sizes_and_holes(world):
    """[MS-FSA] 2.1.5.15.4, 2.1.5.10.22, 2.1.5.10.37."""
    file = world.open("f")
    world.run(file.set_end_of_file(100_000))
    assert file.allocated_ranges(10, 1000) == [(10, 1000)], "not sparse: all of it"
    assert file.allocated_ranges(100_000, 5) == []
    file.set_sparse(True)
    assert file.allocated_ranges(0, 1 << 30) == [(0, 4096)]
    assert world.refuses(file.zero_data(10, 5)) is S.INVALID_PARAMETER
    world.run(file.zero_data(0, 3))
    assert world.read_file("f")[:7] == b"\0\0\0tent"
    assert world.refuses(file.set_end_of_file(-1)) is S.INVALID_PARAMETER
    assert world.refuses(file.set_valid_data(5)) is S.PRIVILEGE_NOT_HELD
    other = world.open("f")
    world.run(other.lock([RangeLock(0, 10, True)], True))
    assert world.refuses(file.zero_data(5, 6)) is S.FILE_LOCK_CONFLICT
    assert world.refuses(file.trim([(5, 1)])) is S.FILE_LOCK_CONFLICT
    assert world.refuses(world.open("", ROOT).set_end_of_file(1)) is S.INVALID_PARAMETER


def test_server_side_copies(world):
    """[MS-SMB2] 3.3.5.15.6 Handling a Server-Side Data Copy Request."""
    pattern = bytes(i % 251 for i in range(3_000_000))
    world.write_file("src", pattern)
    source, target = world.open("src", READ), world.open("dst")
    assert world.run(target.copy_from(source, 5, 7, 2_500_000)) == 2_500_000
    assert world.read_file("dst") == bytes(7) + pattern[5:2_500_005]
    assert world.run(target.copy_from(source, 2_999_999, 0, 10)) == 1
    itself = world.open("src")
    assert world.run(itself.copy_from(itself, 0, 1000, 2_000_000)) == 2_000_000
    assert world.read_file("src")[1000:2_001_000] == pattern[:2_000_000]
    locker = world.open("src")
    world.run(locker.lock([RangeLock(0, 10, True)], True))
    assert world.refuses(target.copy_from(source, 5, 0, 10)) is S.FILE_LOCK_CONFLICT


def test_extents_are_duplicated_on_cluster_boundaries(world):
    """[MS-FSA] 2.1.5.10.4 FSCTL_DUPLICATE_EXTENTS_TO_FILE."""
    pattern = bytes(i % 251 for i in range(10_000))
    world.write_file("src", pattern)
    source, target = world.open("src"), world.open("dst")
    world.run(target.duplicate_extents(source, 4096, 0, 8192))
    assert world.read_file("dst") == b"", "nothing is put past the end of the target"
    world.run(target.set_end_of_file(5900))
    world.run(target.duplicate_extents(source, 4096, 0, 8192))
    assert world.read_file("dst") == pattern[4096:9996]
    world.run(target.set_end_of_file(20_000))
    world.run(target.duplicate_extents(source, 0, 8192, 12_288))
    assert world.read_file("dst")[8192:] == pattern + bytes(1808)
    for args, status in (((1, 0, 4096), S.INVALID_PARAMETER), ((0, 1, 4096), S.INVALID_PARAMETER),
                         ((0, 0, 100), S.INVALID_PARAMETER), ((8192, 0, 8192), S.NOT_SUPPORTED)):
        assert world.refuses(target.duplicate_extents(source, *args)) is status
    assert world.refuses(source.duplicate_extents(source, 0, 0, 4096)) is S.NOT_SUPPORTED


# errors


def test_every_storage_error_has_its_status():
    """One table, held complete."""
    kinds = {kind for kind in vars(errors).values()
             if isinstance(kind, type) and issubclass(kind, errors.StorageError)}
    assert kinds == STATUS_OF.keys()
    for kind in kinds:
        assert status_error(kind("why")).status is STATUS_OF[kind]

    class Newer(errors.VolumeFull):
        pass
    assert status_error(Newer("why")).status is S.DISK_FULL


def test_a_full_volume_refuses_writes_and_keeps_the_rest():
    """DISK_FULL on the wire; nothing is lost, and it recovers when space is freed."""
    world = World(total_bytes=64 * 1024)
    world.write_file("keep", b"x" * 40_000)
    file = world.open("big")
    assert status_of(file.write_now, 0, memoryview(bytes(40_000))) is S.DISK_FULL
    assert world.refuses(file.set_end_of_file(40_000)) is S.DISK_FULL
    assert world.read_file("keep") == b"x" * 40_000
    world.close(world.open("keep", options=fscc.FILE_DELETE_ON_CLOSE))
    assert file.write_now(0, memoryview(bytes(40_000)))
