"""CREATE: validation, access, replies. [MS-SMB2] 3.3.5.9 Receiving an SMB2 CREATE Request."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smbproto import dtyp, fscc
from smbproto.errors import WireError
from smbproto.smb2.create import CreateRequest
from smbproto.smb2.header import Command
from smbproto.status import Status, StatusError
from smbsrv.share import Share
from tests.smbsrv.commands.client import Client, World, refused, token

LEASE_WHOLE = struct.Struct("<16sIIQ")


@pytest.fixture
def client() -> Client:
    return World().client()


def test_a_new_file_is_created_and_then_opened(client):
    """[MS-SMB2] 2.2.14 SMB2 CREATE Response: CreateAction is FILE_CREATED, for a file that was there
    FILE_OPENED."""
    assert client.create("a.txt").create_action == fscc.FILE_CREATED
    assert client.create("a.txt").create_action == fscc.FILE_OPENED


def test_every_open_has_a_file_id_of_its_own(client):
    """[MS-SMB2] 3.3.5.9: "Open.FileId MUST be generated such that it uniquely identifies the open"."""
    ids = {client.create("a.txt").file_id for _ in range(10)}
    assert len(ids) == 10 and len({one.volatile for one in ids}) == 10


def test_a_name_with_a_leading_backslash_is_invalid_parameter(client):
    """[MS-SMB2] 3.3.5.9: "If the request path begins with a backslash ... STATUS_INVALID_PARAMETER"."""
    with refused(Status.INVALID_PARAMETER):
        client.create("\\a.txt")


def _with_name_length(length: int, offset: int | None = None) -> bytes:
    body = bytearray(CreateRequest(desired_access=1, create_disposition=1, name="abcd").encode())
    at = struct.unpack_from("<H", body, 44)[0] if offset is None else offset
    struct.pack_into("<HH", body, 44, at, length)
    return bytes(body)


@pytest.mark.parametrize("body", [_with_name_length(3), _with_name_length(5000), _with_name_length(8, 64)])
def test_a_name_that_is_odd_or_outside_is_invalid_parameter(client, body):
    """[MS-SMB2] 3.3.5.9: fail with INVALID_PARAMETER "if NameLength number of bytes in the Buffer field
    extends beyond the CREATE request", "is not a multiple of 2", "NameOffset is less than the Buffer field
    offset"."""
    with refused(Status.INVALID_PARAMETER):
        client.run(Command.CREATE, body)


def test_an_unknown_impersonation_level_is_refused(client):
    """[MS-SMB2] 3.3.5.9: "STATUS_BAD_IMPERSONATION_LEVEL"."""
    with refused(Status.BAD_IMPERSONATION_LEVEL):
        client.create("a.txt", impersonation=4)


@pytest.mark.parametrize(
    ("options", "status"),
    [
        (fscc.FILE_OPEN_BY_FILE_ID, Status.NOT_SUPPORTED),
        (fscc.FILE_CREATE_TREE_CONNECTION, Status.NOT_SUPPORTED),
        (fscc.FILE_RESERVE_OPFILTER, Status.NOT_SUPPORTED),
        (0x01000000, Status.INVALID_PARAMETER),
        (fscc.FILE_DIRECTORY_FILE | fscc.FILE_NON_DIRECTORY_FILE, Status.INVALID_PARAMETER),
    ],
)
def test_options_that_cannot_be(client, options, status):
    """[MS-SMB2] 2.2.13 SMB2 CREATE Request: FILE_OPEN_BY_FILE_ID, FILE_RESERVE_OPFILTER and their kin are
    NOT_SUPPORTED; Windows refuses bits over 0x00FFFFFF."""
    with refused(status):
        client.create("a.txt", options=options)


def test_more_than_the_share_gives_is_access_denied():
    """[MS-SMB2] 3.3.5.9: DesiredAccess beyond TreeConnect.MaximalAccess fails with ACCESS_DENIED."""
    world = World()
    client = world.client()
    client.create("a.txt")
    client.connect(world.share, dtyp.FILE_GENERIC_READ)
    client.create("a.txt", access=dtyp.FILE_READ_DATA, disposition=fscc.FILE_OPEN)
    with refused(Status.ACCESS_DENIED):
        client.create("a.txt", access=dtyp.FILE_WRITE_DATA, disposition=fscc.FILE_OPEN)
    with refused(Status.ACCESS_DENIED):
        client.create(
            "a.txt",
            access=dtyp.FILE_READ_DATA,
            disposition=fscc.FILE_OPEN,
            options=fscc.FILE_DELETE_ON_CLOSE,
        )


def test_maximum_allowed_gives_no_more_than_the_share():
    """[MS-SMB2] 3.3.5.9: MAXIMUM_ALLOWED is bounded by TreeConnect.MaximalAccess."""
    world = World()
    client = world.client()
    client.create("a.txt")
    client.connect(world.share, dtyp.FILE_GENERIC_READ)
    found = client.create("a.txt", access=dtyp.MAXIMUM_ALLOWED, disposition=fscc.FILE_OPEN)
    file = client.open_of(found.file_id).file
    assert file is not None and file.granted_access == dtyp.FILE_GENERIC_READ


@pytest.mark.parametrize("options", [0, fscc.FILE_DIRECTORY_FILE])
def test_a_trailing_backslash_names_a_directory(client, options):
    """[MS-FSA] 2.1.5.1: a path that ends in a backslash is a directory's."""
    client.directory("d")
    assert (
        client.create("d\\", options=options, disposition=fscc.FILE_OPEN).file_attributes
        & fscc.FILE_ATTRIBUTE_DIRECTORY
    )
    with refused(Status.OBJECT_NAME_INVALID):
        client.create("d\\", options=fscc.FILE_NON_DIRECTORY_FILE)


def test_the_reply_tells_times_and_sizes(client):
    """[MS-SMB2] 2.2.14: AllocationSize, EndofFile, FileAttributes of the opened file."""
    first = client.create("a.txt")
    client.write(first.file_id, bytes(5000))
    found = client.create("a.txt")
    assert (found.end_of_file, found.allocation_size) == (5000, 8192)
    assert found.file_attributes == fscc.FILE_ATTRIBUTE_ARCHIVE and found.creation_time


def test_an_open_that_fails_leaves_nothing_behind(client):
    """[MS-SMB2] 3.3.5.9, "Failed Open Handling": the Open is removed from the tables."""
    with refused(Status.OBJECT_NAME_NOT_FOUND):
        client.create("gone", disposition=fscc.FILE_OPEN)
    assert not client.server.opens and not client.session.opens and not client.tree.opens


def test_a_session_that_ended_while_the_open_waited_gets_no_open():
    """[MS-SMB2] 3.3.5.6 Receiving an SMB2 LOGOFF Request: no open outlives its session unseen."""
    world = World()
    holder, other = world.client(1), world.client(2)
    first = holder.create("a.txt", oplock=9)
    assert first.oplock_level == 9

    async def story() -> None:
        body = CreateRequest(
            desired_access=dtyp.FILE_ALL_ACCESS, share_access=7, create_disposition=1, name="a.txt"
        ).encode()
        outcome: list[StatusError] = []

        async def ask() -> None:
            try:
                await other.send(Command.CREATE, body)
            except StatusError as error:
                outcome.append(error)

        world.runtime.spawn(ask, "waiting open")
        await world.runtime.sleep(1)
        assert other.session.opens, "the open waits for the break"
        await world.server.end_session(other.session)
        await world.server.close_open(holder.open_of(first.file_id))
        await world.runtime.sleep(1)
        assert [error.status for error in outcome] == [Status.NETWORK_NAME_DELETED]

    world.runtime.run(story())
    assert not world.server.opens


def test_a_pipe_that_is_not_there_is_object_name_not_found(client):
    """[MS-SMB2] 3.3.5.9: a named pipe that does not exist is OBJECT_NAME_NOT_FOUND."""
    client.connect(client.server.shares["ipc$"])
    with refused(Status.OBJECT_NAME_NOT_FOUND):
        client.create("nothing")


def test_a_pipe_gets_no_oplock_and_no_context(client):
    """[MS-SMB2] 3.3.5.9: "If the open is for a named pipe, the server MUST set OplockLevel to NONE"."""
    client.connect(client.server.shares["ipc$"])
    found = client.create("srvsvc", oplock=9, contexts=[(b"MxAc", b""), (b"DHnQ", bytes(16))])
    assert (found.oplock_level, found.contexts, found.create_action) == (0, (), fscc.FILE_OPENED)


def test_a_share_of_a_subdirectory_does_not_let_out():
    """[MS-SMB2] 3.3.1.6 Per Share: Share.LocalPath is the root of all names."""
    world = World()
    client = world.client()
    client.directory("inner")
    client.create("outside.txt")
    client.connect(Share("sub", world.volume, path="inner"))
    client.create("inside.txt")
    for name in ("..\\outside.txt", "..", "x\\..\\..\\outside.txt"):
        with pytest.raises(StatusError):
            client.create(name, disposition=fscc.FILE_OPEN)


def test_a_user_without_rights_is_denied():
    """[MS-FSA] 2.1.5.1.2.1 Algorithm to Check Access to an Existing File."""
    world = World()
    admin, plain = world.client(1), world.client(2, who=token("S-1-5-21-1-2-3-1002", admin=False))
    descriptor = dtyp.SecurityDescriptor(
        owner=dtyp.SID_BUILTIN_ADMINISTRATORS,
        dacl=dtyp.Acl((dtyp.Ace(0, 0, dtyp.FILE_ALL_ACCESS, dtyp.SID_BUILTIN_ADMINISTRATORS),)),
    ).encode()
    admin.create("secret", contexts=[(b"SecD", descriptor)])
    with refused(Status.ACCESS_DENIED):
        plain.create("secret", access=dtyp.FILE_READ_DATA, disposition=fscc.FILE_OPEN)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_bytes_bring_the_handler_down(data):
    """A good message cut anywhere, with anything changed, gives an answer, WireError or StatusError."""
    client = World().client()
    lease = LEASE_WHOLE.pack(bytes(16), 7, 0, 0)
    good = bytearray(
        CreateRequest(
            desired_access=dtyp.FILE_ALL_ACCESS,
            share_access=7,
            create_disposition=3,
            requested_oplock_level=0xFF,
            name="dir\\file",
            contexts=((b"RqLs", lease), (b"MxAc", b""), (b"DH2Q", bytes(32)), (b"ExtA", bytes(12))),
        ).encode()
    )
    for _ in range(data.draw(st.integers(0, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    body = bytes(good[: data.draw(st.integers(0, len(good)))]) + data.draw(st.binary(max_size=8))
    try:
        client.run(Command.CREATE, body)
    except (WireError, StatusError):
        pass
    assert client.create("after").create_action == fscc.FILE_CREATED
