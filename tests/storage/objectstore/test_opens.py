"""Whether an open may succeed."""

import struct

import pytest

from smbproto import dtyp, fscc
from smbproto.dtyp import Ace, Acl, SecurityDescriptor, Sid
from smbproto.status import Status, StatusError, StoppedOnSymlink
from tests.storage.objectstore.world import ALL, ANA_SID, BOB, BOB_SID, READ, World, ea

S = Status
OPEN, CREATE, OPEN_IF = fscc.FILE_OPEN, fscc.FILE_CREATE, fscc.FILE_OPEN_IF
SUPERSEDE, OVERWRITE, OVERWRITE_IF = fscc.FILE_SUPERSEDE, fscc.FILE_OVERWRITE, fscc.FILE_OVERWRITE_IF
DIR, NON_DIR = fscc.FILE_DIRECTORY_FILE, fscc.FILE_NON_DIRECTORY_FILE
OPENED, CREATED, OVERWRITTEN, SUPERSEDED = 1, 2, 3, 0


@pytest.fixture
def world():
    made = World()
    made.mkdir("dir")
    made.write_file("file", b"content")
    return made


@pytest.mark.parametrize(("disposition", "there", "missing"), [
    (SUPERSEDE, SUPERSEDED, CREATED), (OPEN, OPENED, S.OBJECT_NAME_NOT_FOUND),
    (CREATE, S.OBJECT_NAME_COLLISION, CREATED), (OPEN_IF, OPENED, CREATED),
    (OVERWRITE, OVERWRITTEN, S.OBJECT_NAME_NOT_FOUND), (OVERWRITE_IF, OVERWRITTEN, CREATED),
])
def test_dispositions(world, disposition, there, missing):
    """[MS-SMB2] 2.2.13 SMB2 CREATE Request: CreateDisposition."""
    for path, expected in (("file", there), ("new", missing)):
        if isinstance(expected, Status):
            assert world.open_status(path, disposition=disposition) is expected
            continue
        result = world.open_result(path, disposition=disposition)
        assert result.action == expected
        assert result.file.stream.size_bytes == (7 if expected == OPENED else 0)
        world.close(result.file)


@pytest.mark.parametrize(("path", "options", "status"), [
    ("file", DIR, S.NOT_A_DIRECTORY), ("dir", NON_DIR, S.FILE_IS_A_DIRECTORY),
    ("file", DIR | NON_DIR, S.INVALID_PARAMETER), ("none\\file", 0, S.OBJECT_PATH_NOT_FOUND),
    ("file\\x", 0, S.OBJECT_PATH_NOT_FOUND), ("none", 0, S.OBJECT_NAME_NOT_FOUND),
    ("dir::$DATA", 0, S.FILE_IS_A_DIRECTORY), ("file::$INDEX_ALLOCATION", 0, S.NOT_A_DIRECTORY),
    ("file:none", 0, S.OBJECT_NAME_NOT_FOUND), ("file:", 0, S.OBJECT_NAME_INVALID),
    ("file:s:$BAD", 0, S.OBJECT_NAME_INVALID), ("file:a:b:c", 0, S.OBJECT_NAME_INVALID),
    ("a*b", 0, S.OBJECT_NAME_INVALID), ("a?", 0, S.OBJECT_NAME_INVALID),
    ("dir\\..", 0, S.OBJECT_PATH_SYNTAX_BAD),
    (".", 0, S.OBJECT_NAME_INVALID), ("dir\\\\x", 0, S.OBJECT_PATH_NOT_FOUND),
    ("a\x01", 0, S.OBJECT_NAME_INVALID),
    ("x" * 256, 0, S.OBJECT_NAME_INVALID), ("\U0001f600" * 128, 0, S.OBJECT_NAME_INVALID),
    ("dir:s", DIR, S.NOT_A_DIRECTORY), ("file\\", 0, S.OBJECT_NAME_INVALID),
    ("a/b", 0, S.OBJECT_NAME_INVALID), ('a"b', 0, S.OBJECT_NAME_INVALID), ("a<", 0, S.OBJECT_NAME_INVALID),
])
def test_paths_that_cannot_be_opened(world, path, options, status):
    """[MS-FSA] 2.1.5.1 Server Requests an Open of a File; [MS-FSCC] 2.1.5 Pathname."""
    assert world.open_status(path, disposition=OPEN, options=options) is status


@pytest.mark.parametrize("path", ["FILE", "file::$DATA", "file::$data", "DIR", "dir::$INDEX_ALLOCATION",
                                  "dir:$I30:$INDEX_ALLOCATION", "", "dir\\"])
def test_paths_that_can_be_opened(world, path):
    """[MS-FSCC] 2.1.5.3 Streamname: the default names of what a file or directory is."""
    world.close(world.open(path, READ, disposition=OPEN))


@pytest.mark.parametrize(("change", "status"), [
    ({"access": 0}, S.ACCESS_DENIED), ({"access": 0x0C000000}, S.ACCESS_DENIED),
    ({"share": 8}, S.INVALID_PARAMETER), ({"disposition": 6}, S.INVALID_PARAMETER),
    ({"options": 0x01000000}, S.INVALID_PARAMETER), ({"attributes": 0x8}, S.INVALID_PARAMETER),
    ({"options": fscc.FILE_DELETE_ON_CLOSE, "access": READ}, S.ACCESS_DENIED),
    ({"options": DIR, "disposition": OVERWRITE_IF}, S.INVALID_PARAMETER),
])
def test_requests_that_make_no_sense(world, change, status):
    """[MS-FSA] 2.1.5.1, Phase 1."""
    assert world.open_status("new", **change) is status
    assert not world.exists("new")


def test_a_directory_cannot_be_overwritten(world):
    """[MS-FSA] 2.1.5.1.2: directories are opened, not replaced."""
    assert world.open_status("dir", disposition=OVERWRITE_IF) is S.OBJECT_NAME_COLLISION


SHARING = [(access, share) for access in (dtyp.FILE_READ_DATA, dtyp.FILE_WRITE_DATA, dtyp.DELETE)
           for share in range(8)]
WANTS = {dtyp.FILE_READ_DATA: 1, dtyp.FILE_WRITE_DATA: 2, dtyp.DELETE: 4}


def test_every_pair_of_access_and_sharing(world):
    """[MS-FSA] 2.1.5.1.2.2 Algorithm to Check Sharing Access to an Existing Stream or Directory."""
    for access, share in SHARING:
        first = world.open("file", access, share, OPEN)
        for access_2, share_2 in SHARING:
            if WANTS[access_2] & share and WANTS[access] & share_2:
                world.close(world.open("file", access_2, share_2, OPEN))
            else:
                assert world.open_status("file", access_2, share_2, OPEN) is S.SHARING_VIOLATION
        world.close(first)
    world.close(world.open("file", ALL, 0, OPEN))


def test_looking_at_attributes_conflicts_with_nothing(world):
    """[MS-FSA] 2.1.5.1.2.2: only opens that read, write, execute or delete take part in sharing."""
    first = world.open("file", ALL, 0, OPEN)
    stat = dtyp.FILE_READ_ATTRIBUTES | dtyp.SYNCHRONIZE
    world.close(world.open("file", stat, 0, OPEN), world.open("file", stat | dtyp.READ_CONTROL, 0, OPEN))
    world.close(first)


def test_streams_share_each_for_itself(world):
    """[MS-FSA] 2.1.5.1.2.2: opens of other streams do not count, but for deletion."""
    first = world.open("file:s", ALL, 0, CREATE)
    world.close(world.open("file", READ, 0, OPEN), world.open("file:t", ALL, 0, CREATE))
    assert world.open_status("file:S", READ, 7, OPEN) is S.SHARING_VIOLATION
    assert world.open_status("file", dtyp.DELETE, 7, OPEN) is S.SHARING_VIOLATION
    world.close(first)
    world.close(world.open("file", dtyp.DELETE, 7, OPEN))


def test_delete_on_close_deletes_with_the_last_open(world):
    """[MS-FSA] 2.1.5.5: and from the first close on nobody opens it any more."""
    one = world.open("file", options=fscc.FILE_DELETE_ON_CLOSE)
    two = world.open("file", READ)
    world.close(one)
    assert two.is_delete_pending() and two.link_count() == 0
    assert world.open_status("file", READ) is S.DELETE_PENDING
    world.close(two)
    assert not world.exists("file")


def test_a_directory_that_is_not_empty_survives_delete_on_close(world):
    """[MS-FSA] 2.1.5.5: a directory goes only when it is empty."""
    world.write_file("dir\\x")
    world.close(world.open("dir", options=DIR | fscc.FILE_DELETE_ON_CLOSE))
    assert world.exists("dir\\x")


def test_read_only_files(world):
    """[MS-FSA] 2.1.5.1.2.1 Algorithm to Check Access to an Existing File: its READONLY rules."""
    world.close(world.open("ro", disposition=CREATE, attributes=fscc.FILE_ATTRIBUTE_READONLY))
    assert world.open_status("ro", dtyp.FILE_WRITE_DATA) is S.ACCESS_DENIED
    assert world.open_status("ro", ALL) is S.ACCESS_DENIED
    assert world.open_status("ro", READ, disposition=OVERWRITE) is S.ACCESS_DENIED
    assert world.open_status(
        "ro", dtyp.DELETE, options=fscc.FILE_DELETE_ON_CLOSE) is S.CANNOT_DELETE
    file = world.open("ro", dtyp.MAXIMUM_ALLOWED)
    assert not file.granted_access & dtyp.FILE_WRITE_DATA and file.granted_access & dtyp.FILE_READ_DATA
    assert world.refuses(file.set_disposition(1)) is S.CANNOT_DELETE
    world.run(file.set_disposition(1 | fscc.FILE_DISPOSITION_IGNORE_READONLY_ATTRIBUTE))
    world.close(file)
    assert not world.exists("ro")
    assert world.open_status("new", attributes=fscc.FILE_ATTRIBUTE_READONLY,
                             options=fscc.FILE_DELETE_ON_CLOSE) is S.CANNOT_DELETE


def test_overwriting_keeps_hidden_and_system(world):
    """[MS-FSA] 2.1.5.1.2: HIDDEN or SYSTEM of the file that the request lacks is STATUS_ACCESS_DENIED."""
    hidden = fscc.FILE_ATTRIBUTE_HIDDEN
    world.close(world.open("h", disposition=CREATE, attributes=hidden))
    assert world.open_status("h", disposition=OVERWRITE) is S.ACCESS_DENIED
    file = world.open("h", disposition=OVERWRITE, attributes=hidden)
    assert file.node.attributes == hidden | fscc.FILE_ATTRIBUTE_ARCHIVE


def test_overwriting_replaces_attributes_eas_and_streams(world):
    """[MS-FSA] 2.1.5.1.2: what is overwritten begins anew."""
    world.close(world.open("file:s", disposition=CREATE))
    file = world.open("file", disposition=OVERWRITE, attributes=fscc.FILE_ATTRIBUTE_TEMPORARY,
                      eas=[ea(b"NEW", b"1")])
    assert file.node.attributes == fscc.FILE_ATTRIBUTE_TEMPORARY | fscc.FILE_ATTRIBUTE_ARCHIVE
    assert [s.name for s in file.streams()] == [""]
    assert file.eas() == [ea(b"NEW", b"1")]


def test_a_stream_of_a_missing_file_makes_the_file(world):
    """[MS-FSA] 2.1.5.1.1: creating a stream creates its file."""
    result = world.open_result("new:s", disposition=CREATE)
    assert result.action == CREATED and result.file.name() == "\\new:s"
    assert [s.name for s in result.file.streams()] == ["", "s"]
    world.close(result.file)
    assert world.open_result("new:s2").action == CREATED
    assert world.open_status("new:S", disposition=CREATE) is S.OBJECT_NAME_COLLISION


def test_a_share_that_starts_in_a_directory(world):
    """The port: `path` is below `root`, and names given back are relative to it."""
    world.mkdir("dir\\sub")
    file = world.open("sub\\x", root="dir", disposition=CREATE)
    assert file.name() == "\\sub\\x"
    assert world.exists("dir\\sub\\x")
    top = world.open("", READ, root="dir\\sub", options=DIR)
    assert top.name() == "\\"
    assert [top.scan("*", True, True).next().name for _ in range(1)] == ["."]
    assert world.refuses(world.open("", root="dir\\sub", options=DIR).set_disposition(1)) is S.CANNOT_DELETE
    assert world.open_status("", READ, root="gone") is S.OBJECT_PATH_NOT_FOUND


def test_opening_by_file_id(world):
    """[MS-FSA] 2.1.5.1: FILE_OPEN_BY_FILE_ID."""
    file = world.open("file", READ)
    path = struct.pack("<Q", file.node.id).decode("utf-16-le")
    again = world.open(path, READ, disposition=OPEN, options=fscc.FILE_OPEN_BY_FILE_ID)
    assert again.node is file.node and again.name() == "\\file"
    assert world.open_status("\1\2\3\4", READ, options=fscc.FILE_OPEN_BY_FILE_ID) is S.INVALID_PARAMETER


def symlink(target: str, relative: bool = True) -> bytes:
    name = target.encode("utf-16-le")
    body = struct.pack("<HHHHI", 0, len(name), len(name), len(name), int(relative)) + name * 2
    return struct.pack("<IHH", fscc.IO_REPARSE_TAG_SYMLINK, len(body), 0) + body


def test_a_symbolic_link_on_the_way_is_told_to_the_client(world):
    """[MS-SMB2] 2.2.2.2.1 Symbolic Link Error Response: the unparsed part of the path, in bytes."""
    link = world.open("link", disposition=CREATE)
    world.run(link.set_reparse(symlink("dir")))
    world.close(link)
    for path, unparsed in (("link\\a\\bc", "\\a\\bc"), ("link", "")):
        with pytest.raises(StoppedOnSymlink) as caught:
            world.open(path, READ, disposition=OPEN)
        assert caught.value.substitute_name == caught.value.print_name == "dir"
        assert caught.value.relative and caught.value.unparsed_path_length_bytes == 2 * len(unparsed)
    itself = world.open("link", READ, disposition=OPEN, options=fscc.FILE_OPEN_REPARSE_POINT)
    assert itself.reparse() == symlink("dir") and itself.node.attributes & fscc.FILE_ATTRIBUTE_REPARSE_POINT
    assert world.open_status("link", disposition=CREATE) is S.OBJECT_NAME_COLLISION


def descriptor(*aces: tuple[int, int, str], owner: str = BOB_SID) -> bytes:
    rules = tuple(Ace(kind, 0, mask, Sid.parse(sid)) for kind, mask, sid in aces)
    return SecurityDescriptor(Sid.parse(owner), Sid.parse(owner), Acl(rules), None, 0x8004).encode()


def protect(world, path, *aces, owner=BOB_SID):
    node = world.fs.lookup(world.fs.root(), path).node
    world.fs.set_security(node, descriptor(*aces, owner=owner))
    world.volume.descriptor_changed(node, world.fs.security(node))


def test_access_is_what_the_descriptor_grants(world):
    """[MS-FSA] 2.1.5.1.2.1: STATUS_ACCESS_DENIED for what it does not; MAXIMUM_ALLOWED gives all it does."""
    protect(world, "dir", (0, dtyp.FILE_TRAVERSE, ANA_SID))
    protect(world, "file", (0, READ, ANA_SID))
    world.close(world.open("file", READ, disposition=OPEN))
    assert world.open_status("file", READ | dtyp.FILE_WRITE_DATA, disposition=OPEN) is S.ACCESS_DENIED
    assert world.open("file", dtyp.MAXIMUM_ALLOWED).granted_access == READ | dtyp.DELETE
    assert world.open_status("dir\\x", disposition=CREATE) is S.ACCESS_DENIED
    assert world.open_status("file", READ | dtyp.ACCESS_SYSTEM_SECURITY) is S.PRIVILEGE_NOT_HELD


def test_the_directory_lets_delete_and_look(world):
    """[MS-FSA] 2.1.5.1.2.1: FILE_DELETE_CHILD gives DELETE, FILE_LIST_DIRECTORY lets see attributes."""
    world.write_file("dir\\x")
    node = world.fs.lookup(world.fs.lookup(world.fs.root(), "dir").node, "x").node
    world.fs.set_security(node, descriptor())
    world.volume.descriptor_changed(node, descriptor())
    world.close(world.open("dir\\x", dtyp.DELETE | dtyp.FILE_READ_ATTRIBUTES, disposition=OPEN))
    protect(world, "dir")
    assert world.open_status("dir\\x", dtyp.DELETE, disposition=OPEN) is S.ACCESS_DENIED
    assert world.open_status("dir\\x", dtyp.FILE_READ_ATTRIBUTES, disposition=OPEN) is S.ACCESS_DENIED


def test_the_share_limits_access(world):
    """[MS-SMB2] 3.3.5.9: no more than TreeConnect.MaximalAccess; a read-only share changes nothing."""
    assert world.open_status("file", ALL, access_limit=READ) is S.ACCESS_DENIED
    assert world.open("file", dtyp.MAXIMUM_ALLOWED, access_limit=READ).granted_access == READ
    assert world.open_status("new", READ, is_read_only=True) is S.ACCESS_DENIED
    assert world.open_status("file", dtyp.FILE_WRITE_DATA, is_read_only=True) is S.ACCESS_DENIED
    assert world.open_status("new", READ, access_limit=READ) is S.ACCESS_DENIED


def test_a_creator_owns_what_he_creates(world):
    """[MS-DTYP] 2.5.3.4.1: owner from the token; CREATOR OWNER of the directory becomes him."""
    file = world.open("mine", token=BOB, disposition=CREATE)
    made = SecurityDescriptor.decode_untrusted(file.security(7))
    assert str(made.owner) == BOB_SID
    assert any(str(ace.sid) == BOB_SID and ace.mask == ALL for ace in made.dacl.aces)
    world.close(file)
    assert not world.open("mine", dtyp.MAXIMUM_ALLOWED).granted_access & dtyp.WRITE_DAC
    assert world.open("mine", dtyp.MAXIMUM_ALLOWED, token=BOB).granted_access == ALL


def test_a_full_volume_leaves_no_open_behind():
    """DISK_FULL at the allocation of a new file: the file is not there."""
    world = World(total_bytes=1 << 20)
    assert world.open_status("big", allocation_bytes=1 << 30, disposition=CREATE) is S.DISK_FULL
    assert not world.exists("big") and not world.volume.open_nodes


def test_closing_everything_leaves_nothing(world):
    """Opens, links and holds are counted exactly: afterwards no table has a trace."""
    files = [world.open("file"), world.open("file:s"), world.open("dir", READ), world.open("", READ)]
    assert len(world.volume.open_nodes) == 3
    world.close(*files, *files)
    assert not world.volume.open_nodes and not world.volume.leases
    node = world.fs.lookup(world.fs.root(), "file").node
    assert not node.state.links and not node.state.named and not node.state.main.opens
    assert node.private.holds == 0 and world.fs.root().private.holds == 2
    with pytest.raises(StatusError, match="FILE_CLOSED"):
        files[0].read_now(0, memoryview(bytearray(1)))
