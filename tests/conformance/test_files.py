"""CREATE, compounds, credits, locks, CHANGE_NOTIFY. WPTS CreateClose, Compound, MultiCredit, SMB2Basic; FSA
CreateFile, AlternateDataStream, FileAccess, and the model cases for locks, reads and closes."""

from __future__ import annotations

import struct

import pytest

from smbproto import dtyp, fscc
from smbproto.errors import ProtocolViolation
from smbproto.fscc import FILE_DELETE_ON_CLOSE, FILE_DIRECTORY_FILE, FILE_NON_DIRECTORY_FILE
from smbproto.fscc.notify import decode_notify_untrusted
from smbproto.smb2.change_notify import ChangeNotifyResponse
from smbproto.smb2.close import CloseRequest
from smbproto.smb2.create import CreateResponse
from smbproto.smb2.flush import FlushRequest
from smbproto.smb2.header import SMB2_FLAGS_RELATED_OPERATIONS, Command
from smbproto.smb2.read import ReadRequest
from smbproto.smb2.write import WriteRequest
from smbproto.status import Status
from tests.conformance.harness import NO_FILE, SHARE_NONE, Client, basic, rename

FOUR = b"\4\0\0\0"
SHARED, EXCLUSIVE, UNLOCK, AT_ONCE = 1, 2, 4, 0x10
R, W = dtyp.GENERIC_READ, dtyp.GENERIC_WRITE

# create and close


@pytest.mark.parametrize("kind", [FILE_NON_DIRECTORY_FILE, FILE_DIRECTORY_FILE])
def test_created_by_one_deleted_by_another(client, other, kind):
    """WPTS BVT_CreateClose_CreateAndCloseFile, BVT_CreateClose_CreateAndCloseDirectory."""
    client.shut(client.open("n", options=kind, disposition=fscc.FILE_CREATE))
    other.shut(other.open("n", options=kind | FILE_DELETE_ON_CLOSE, disposition=fscc.FILE_OPEN))
    assert client.try_open("n", disposition=fscc.FILE_OPEN).status == Status.OBJECT_NAME_NOT_FOUND


def test_deletion_without_the_right(client):
    """WPTS CreateClose_DeleteFile_DesiredAccessNotIncludeDeleteOrGenericAll."""
    response = client.try_open("f", access=R | W, options=FILE_NON_DIRECTORY_FILE | FILE_DELETE_ON_CLOSE)
    assert response.status == Status.ACCESS_DENIED


@pytest.mark.parametrize("kind", [FILE_NON_DIRECTORY_FILE, FILE_DIRECTORY_FILE])
def test_a_dot_in_the_path(client, kind):
    """WPTS CreateClose_CreateAndCloseFileWithDotDir, CreateClose_CreateAndCloseDirWithDotDir."""
    client.shut(client.directory("d"))
    client.shut(client.open(r"d\.\n", options=kind, disposition=fscc.FILE_CREATE))
    assert client.try_open(r"d\n", disposition=fscc.FILE_OPEN).status == Status.SUCCESS


@pytest.mark.parametrize("kind", [FILE_NON_DIRECTORY_FILE, FILE_DIRECTORY_FILE])
def test_two_dots_in_the_path(client, kind):
    """WPTS CreateClose_CreateAndCloseFileWithDoubleDotDir, CreateClose_CreateAndCloseDirWithDoubleDotDir."""
    client.shut(client.directory("d"))
    response = client.try_open(r"d\..\n", options=kind, disposition=fscc.FILE_CREATE)
    assert response.status == Status.INVALID_PARAMETER


def symlink(client: Client, name: str, target: str) -> None:
    text = target.encode("utf-16-le")
    data = struct.pack("<HHHHI", 0, len(text), 0, len(text), 1) + text
    buffer = struct.pack("<IHH", 0xA000000C, len(data), 0) + data
    link = client.open(name, options=fscc.FILE_OPEN_REPARSE_POINT)
    assert client.ioctl(fscc.FSCTL_SET_REPARSE_POINT, buffer, link)[0] == Status.SUCCESS
    client.shut(link)


@pytest.mark.parametrize("path", [r"link\deeper", "link", r"link\a\b"])
def test_a_symbolic_link_stops_the_walk(client, path):
    """WPTS CreateClose_SymbolicLinkInMiddle, CreateClose_SymbolicLinkAtLast,
    CreateClose_InvalidSymbolicLink."""
    symlink(client, "link", "elsewhere")
    response = client.try_open(path)
    assert response.status == Status.STOPPED_ON_SYMLINK
    assert b"SYML" in bytes(response.message)  # SymLinkErrorTag 0x4C4D5953, little-endian


def test_a_symbolic_link_itself(client):
    """WPTS CreateClose_SymbolicLinkAtLast with FILE_OPEN_REPARSE_POINT: the link is opened."""
    symlink(client, "link", "elsewhere")
    assert client.open("link", options=fscc.FILE_OPEN_REPARSE_POINT).answer.flags & 1


@pytest.mark.parametrize(
    ("name", "options", "status"),
    [
        ("n:", FILE_DIRECTORY_FILE, Status.OBJECT_NAME_INVALID),
        ("n:", FILE_NON_DIRECTORY_FILE, Status.OBJECT_NAME_INVALID),
        ("n\\", FILE_DIRECTORY_FILE, Status.SUCCESS),
        ("n\\", FILE_NON_DIRECTORY_FILE, Status.OBJECT_NAME_INVALID),
        (r"n\m", FILE_NON_DIRECTORY_FILE, Status.OBJECT_PATH_NOT_FOUND),
        (r"n\\m", FILE_NON_DIRECTORY_FILE, Status.OBJECT_PATH_NOT_FOUND),
        ("n*", 0, Status.OBJECT_NAME_INVALID),
        ("n?m", 0, Status.OBJECT_NAME_INVALID),
        ("n/m", 0, Status.OBJECT_NAME_INVALID),
        ("n<", 0, Status.OBJECT_NAME_INVALID),
        ("n::$BITMAP", 0, Status.OBJECT_NAME_INVALID),
        ("n:s:$NONSENSE", 0, Status.OBJECT_NAME_INVALID),
        ("n" * 256, 0, Status.OBJECT_NAME_INVALID),
        ("\\n", 0, Status.INVALID_PARAMETER),
    ],
)
def test_names_good_and_bad(client, name, options, status):
    """WPTS CreateDirectory_InvalidColon, CreateFile_InvalidColon, CreateDirectory_EndWithBackSlash,
    CreateFile_EndWithInvalidBackSlash, CreateFile_WithDoubleBackSlashInMiddle; [MS-FSCC] 2.1.5 Pathname."""
    assert client.try_open(name, options=options, disposition=fscc.FILE_CREATE).status == status


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"options": FILE_DIRECTORY_FILE | FILE_NON_DIRECTORY_FILE}, Status.INVALID_PARAMETER),
        ({"options": FILE_DIRECTORY_FILE, "disposition": fscc.FILE_SUPERSEDE}, Status.INVALID_PARAMETER),
        ({"options": FILE_DIRECTORY_FILE, "disposition": fscc.FILE_OVERWRITE}, Status.INVALID_PARAMETER),
        ({"options": FILE_DIRECTORY_FILE, "disposition": fscc.FILE_OVERWRITE_IF}, Status.INVALID_PARAMETER),
        ({"disposition": 6}, Status.INVALID_PARAMETER),
        ({"share": 8}, Status.INVALID_PARAMETER),
        ({"access": 0}, Status.ACCESS_DENIED),
        ({"attributes": fscc.FILE_ATTRIBUTE_TEMPORARY, "options": 1}, Status.INVALID_PARAMETER),
        ({"options": 0x00100000}, Status.NOT_SUPPORTED),
    ],
)
def test_wishes_that_cannot_be(client, more, status):
    """WPTS FSA CreateFileTestCase (model); [MS-FSA] 2.1.5.1, parameter validation."""
    assert client.try_open("n", **more).status == status


@pytest.mark.parametrize(
    ("disposition", "there", "absent"),
    [
        (fscc.FILE_SUPERSEDE, fscc.FILE_SUPERSEDED, fscc.FILE_CREATED),
        (fscc.FILE_OPEN, fscc.FILE_OPENED, Status.OBJECT_NAME_NOT_FOUND),
        (fscc.FILE_CREATE, Status.OBJECT_NAME_COLLISION, fscc.FILE_CREATED),
        (fscc.FILE_OPEN_IF, fscc.FILE_OPENED, fscc.FILE_CREATED),
        (fscc.FILE_OVERWRITE, fscc.FILE_OVERWRITTEN, Status.OBJECT_NAME_NOT_FOUND),
        (fscc.FILE_OVERWRITE_IF, fscc.FILE_OVERWRITTEN, fscc.FILE_CREATED),
    ],
)
def test_dispositions(client, disposition, there, absent):
    """WPTS FSA OpenFileTestCase (model): what each disposition does, and the CreateAction."""
    client.put("there", b"content")
    for name, expected in (("there", there), ("absent", absent)):
        response = client.try_open(name, disposition=disposition)
        if isinstance(expected, Status):
            assert response.status == expected
        else:
            assert response.status == Status.SUCCESS
            assert CreateResponse.decode_untrusted(response.message).create_action == expected


@pytest.mark.parametrize(
    ("options", "disposition", "status"),
    [
        (FILE_NON_DIRECTORY_FILE, fscc.FILE_OPEN, Status.FILE_IS_A_DIRECTORY),
        (FILE_DIRECTORY_FILE, fscc.FILE_CREATE, Status.OBJECT_NAME_COLLISION),
        (0, fscc.FILE_OPEN, Status.SUCCESS),
    ],
)
def test_an_existing_directory(client, options, disposition, status):
    """WPTS FSA OpenFileTestCase (model)."""
    client.shut(client.directory("d"))
    assert client.try_open("d", options=options, disposition=disposition).status == status


def test_a_file_is_no_directory(client):
    """WPTS FSA OpenFileTestCase (model): NOT_A_DIRECTORY."""
    client.put("f")
    response = client.try_open("f", options=FILE_DIRECTORY_FILE, disposition=fscc.FILE_OPEN)
    assert response.status == Status.NOT_A_DIRECTORY
    assert client.try_open(r"f\g").status == Status.OBJECT_PATH_NOT_FOUND


def test_a_readonly_file(client):
    """WPTS FSA OpenFileTestCase (model): no writing, no deletion on close, no overwriting."""
    readonly = fscc.FILE_ATTRIBUTE_READONLY
    client.shut(client.open("f", access=R, attributes=readonly))
    assert client.try_open("f", access=W).status == Status.ACCESS_DENIED
    deleting = client.try_open("f", access=dtyp.DELETE, options=FILE_DELETE_ON_CLOSE)
    assert deleting.status == Status.CANNOT_DELETE
    overwriting = client.try_open("f", access=R, disposition=fscc.FILE_OVERWRITE, attributes=readonly)
    assert overwriting.status == Status.ACCESS_DENIED


def test_sharing(client, other):
    """WPTS FSA OpenFileTestCase (model): SHARING_VIOLATION."""
    client.open("f", access=R, share=SHARE_NONE)
    assert other.try_open("f", access=R).status == Status.SHARING_VIOLATION


def test_a_file_on_its_way_out(client, other):
    """WPTS FSA OpenFileTestCase (model): DELETE_PENDING."""
    file = client.open("f")
    assert client.set(file, fscc.FILE_DISPOSITION_INFORMATION, b"\1") == Status.SUCCESS
    assert other.try_open("f").status == Status.DELETE_PENDING
    client.shut(file)
    assert other.try_open("f", disposition=fscc.FILE_OPEN).status == Status.OBJECT_NAME_NOT_FOUND


def test_a_create_too_short(client):
    """WPTS InvalidCreateRequestStructureSize."""
    body = bytearray(client.create_body("f"))
    body[0] = 58
    assert client.ask(Command.CREATE, bytes(body)).status == Status.INVALID_PARAMETER


def test_a_closed_file(client):
    """WPTS FSA CloseFileTestCase; [MS-SMB2] 3.3.5.10: FILE_CLOSED."""
    file = client.open("f")
    assert client.shut(file).status == Status.SUCCESS
    assert client.shut(file).status == Status.FILE_CLOSED
    assert client.write(file.id, b"x").status == Status.FILE_CLOSED
    assert client.read(file.id, 1).status == Status.FILE_CLOSED


# streams


def test_a_stream_of_a_file_and_of_a_directory(client):
    """WPTS BVT_AlternateDataStream_WriteAndRead_File, _Dir."""
    client.put("f", b"main")
    client.shut(client.directory("d"))
    for name in ("f:s1", "f:s2:$DATA", "d:s"):
        client.put(name, name.encode())
        stream = client.open(name, disposition=fscc.FILE_OPEN)
        assert client.read_bytes(stream.id, 20) == name.encode()


@pytest.mark.parametrize("name", ["f:s", "d:s"])
def test_a_stream_is_deleted(client, name):
    """WPTS AlternateDataStream_DeleteStream_File, _Dir: the file stays."""
    client.put("f", b"main")
    client.shut(client.directory("d"))
    client.put(name, b"x")
    client.shut(client.open(name, options=FILE_DELETE_ON_CLOSE))
    assert client.try_open(name, disposition=fscc.FILE_OPEN).status == Status.OBJECT_NAME_NOT_FOUND
    assert client.try_open(name[0], disposition=fscc.FILE_OPEN).status == Status.SUCCESS


def streams(client: Client, name: str) -> dict[str, int]:
    """[MS-FSCC] 2.4.47 FileStreamInformation."""
    status, data = client.query(client.open(name), fscc.FILE_STREAM_INFORMATION, 150)
    assert status == Status.SUCCESS
    found, at = {}, 0
    while data:
        following, length, size, _ = struct.unpack_from("<IIqq", data, at)
        found[data[at + 24 : at + 24 + length].decode("utf-16-le")] = size
        if not following:
            break
        at += following
    return found


@pytest.mark.parametrize("kind", [FILE_NON_DIRECTORY_FILE, FILE_DIRECTORY_FILE])
def test_streams_are_listed_renamed_deleted(client, kind):
    """WPTS BVT_AlternateDataStream_ListStreams_File, _Dir, BVT_AlternateDataStream_RenameStream_File, _Dir,
    BVT_AlternateDataStream_DeleteStream_File, _Dir."""
    client.shut(client.open("n", options=kind))
    own = {"::$DATA": 0} if kind == FILE_NON_DIRECTORY_FILE else {}
    client.put("n:one:$DATA", bytes(2048))
    client.put("n:two:$DATA", bytes(4096))
    assert streams(client, "n") == own | {":one:$DATA": 2048, ":two:$DATA": 4096}
    stream = client.open("n:two:$DATA")
    renaming = rename(":three:$DATA", replace=True)
    assert client.set(stream, fscc.FILE_RENAME_INFORMATION, renaming) == Status.SUCCESS
    client.shut(stream)
    assert streams(client, "n") == own | {":one:$DATA": 2048, ":three:$DATA": 4096}
    stream = client.open("n:three")
    assert client.set(stream, fscc.FILE_DISPOSITION_INFORMATION, b"\1") == Status.SUCCESS
    client.shut(stream)
    assert streams(client, "n") == own | {":one:$DATA": 2048}


# compounds


def parts(client: Client, name: str) -> list[tuple[int, bytes]]:
    return [
        (Command.CREATE, client.create_body(name)),
        (Command.WRITE, WriteRequest(file_id=NO_FILE, offset=0, data=b"x").encode()),
        (Command.CLOSE, CloseRequest(file_id=NO_FILE).encode()),
    ]


@pytest.mark.parametrize("is_sealing", [False, True])
def test_related_requests(client, is_sealing):
    """WPTS BVT_Compound_RelatedRequests, Compound_Encrypt_RelatedRequests."""
    client.is_sealing = is_sealing
    answers = client.chain(*parts(client, "f"))
    assert [one.status for one in answers] == [Status.SUCCESS] * 3
    assert all(one.header.flags & SMB2_FLAGS_RELATED_OPERATIONS for one in answers[1:])
    assert all(one.was_sealed == is_sealing for one in answers)


@pytest.mark.parametrize("is_sealing", [False, True])
def test_unrelated_requests(client, is_sealing):
    """WPTS BVT_Compound_UnRelatedRequests, Compound_Encrypt_UnrelatedRequests."""
    client.is_sealing = is_sealing
    bodies = [(Command.CREATE, client.create_body(name)) for name in ("f", "g")]
    assert [one.status for one in client.chain(*bodies, related=False)] == [Status.SUCCESS] * 2


def test_what_follows_a_failure(client):
    """[MS-SMB2] 3.3.5.2.7.2: what is related to a failed CREATE fails with its status."""
    body = client.create_body("none", disposition=fscc.FILE_OPEN)
    answers = client.chain((Command.CREATE, body), *parts(client, "x")[1:])
    assert [one.status for one in answers] == [Status.OBJECT_NAME_NOT_FOUND] * 3


def test_related_to_nothing(client):
    """[MS-SMB2] 3.3.5.2.7.2: SMB2_FLAGS_RELATED_OPERATIONS on the first: INVALID_PARAMETER."""
    body = client.create_body("f")
    response = client.ask(Command.CREATE, body, flags=SMB2_FLAGS_RELATED_OPERATIONS)
    assert response.status == Status.INVALID_PARAMETER


# credits


def test_one_request_of_many_credits(client):
    """WPTS BVT_MultiCredit_OneRequestWithMultiCredit: 256 KiB for four credits."""
    file = client.open("f")
    data = bytes(range(256)) * 1024
    body = WriteRequest(file_id=file.id, offset=0, data=data).encode()
    assert client.ask(Command.WRITE, body, charge=4).status == Status.SUCCESS
    read = ReadRequest(file_id=file.id, length=len(data), offset=0).encode()
    response = client.ask(Command.READ, read, charge=4)
    assert response.status == Status.SUCCESS and response.header.credit_charge == 4


@pytest.mark.parametrize("charge", [0, 1, 3])
def test_too_few_credits_for_the_size(client, charge):
    """WPTS MultiCredit; [MS-SMB2] 3.3.5.2.5: CreditCharge below what the payload needs: INVALID_PARAMETER."""
    file = client.open("f")
    body = WriteRequest(file_id=file.id, offset=0, data=bytes(4 * 65536)).encode()
    assert client.ask(Command.WRITE, body, charge=charge).status == Status.INVALID_PARAMETER
    read = ReadRequest(file_id=file.id, length=4 * 65536, offset=0).encode()
    assert client.ask(Command.READ, read, charge=charge).status == Status.INVALID_PARAMETER


def test_message_ids_are_used_once(client):
    """WPTS Credit: [MS-SMB2] 3.3.5.2.3: an id that was used, or never granted, ends the connection."""
    client.ask(Command.ECHO, FOUR)
    with pytest.raises(ProtocolViolation):
        client.ask(Command.ECHO, FOUR, message_id=client.message_id - 1)
    with pytest.raises(ProtocolViolation):
        client.ask(Command.ECHO, FOUR, message_id=client.message_id + 100_000)


@pytest.mark.parametrize("asked", [0, 1, 33, 512])
def test_credits_are_granted(client, asked):
    """[MS-SMB2] 3.3.1.2 Algorithm for the Granting of Message Credits: never none while few are left."""
    client.credits = asked
    assert client.ask(Command.ECHO, FOUR).header.credits >= min(asked, 1)


# locks


def test_a_shared_lock_stops_every_writer(client, other):
    """WPTS BVT_SMB2Basic_LockAndUnLock: the locking open as well; others may read, and lock shared."""
    client.put("f", bytes(1024))
    mine, theirs = client.open("f"), other.open("f")
    assert client.lock(mine, (0, 1024, SHARED)) == Status.SUCCESS
    assert client.write(mine.id, b"x").status == Status.FILE_LOCK_CONFLICT
    assert other.read(theirs.id, 10, 5).status == Status.SUCCESS
    assert other.lock(theirs, (5, 10, SHARED)) == Status.SUCCESS
    assert other.lock(theirs, (5, 10, UNLOCK)) == Status.SUCCESS
    assert other.write(theirs.id, b"x", 5).status == Status.FILE_LOCK_CONFLICT
    assert client.lock(mine, (0, 1024, UNLOCK)) == Status.SUCCESS
    assert other.write(theirs.id, b"x", 5).status == Status.SUCCESS


def test_an_exclusive_lock(client, other):
    """WPTS FSA LockAndUnlockTestCase (model)."""
    mine, theirs = client.open("f"), other.open("f")
    client.write(mine.id, bytes(100))
    assert client.lock(mine, (0, 10, EXCLUSIVE)) == Status.SUCCESS
    assert client.write(mine.id, b"x").status == Status.SUCCESS
    assert other.read(theirs.id, 1).status == Status.FILE_LOCK_CONFLICT
    assert other.write(theirs.id, b"x").status == Status.FILE_LOCK_CONFLICT
    assert other.lock(theirs, (0, 10, UNLOCK)) == Status.RANGE_NOT_LOCKED
    assert client.lock(mine, (0xFFFFFFFFFFFFFFFF, 2, EXCLUSIVE)) == Status.INVALID_LOCK_RANGE


def test_a_lock_that_waits(client, other):
    """[MS-SMB2] 3.3.5.14.2: without FAIL_IMMEDIATELY the request waits; CLOSE lets it through."""
    mine, theirs = client.open("f"), other.open("f")
    client.lock(mine, (0, 10, EXCLUSIVE | AT_ONCE))
    waiting = other.start(Command.LOCK, other.lock_body(theirs, (0, 10, EXCLUSIVE)))
    assert other.result(waiting) is None
    client.shut(mine)
    response = other.result(waiting)
    assert response is not None and response.status == Status.SUCCESS


def test_a_lock_on_a_directory(client):
    """WPTS FSA LockAndUnlockTestCase (model): INVALID_PARAMETER."""
    folder = client.directory("d")
    assert client.lock(folder, (0, 1, EXCLUSIVE | AT_ONCE)) == Status.INVALID_PARAMETER


# reads and writes


def test_reads_at_the_end(client):
    """WPTS FSA ReadFileTestCase (model): END_OF_FILE, also for too little (MinimumCount)."""
    file = client.open("f")
    client.write(file.id, b"12345")
    assert client.read_bytes(file.id, 10) == b"12345"
    assert client.read(file.id, 1, 5).status == Status.END_OF_FILE
    assert client.read(file.id, 10, 0, minimum_count=6).status == Status.END_OF_FILE
    assert client.read(file.id, 0, 0).status == Status.SUCCESS


def test_reads_and_writes_without_the_right(client):
    """WPTS FSA ReadFileTestCase, WriteFileTestCase (model): ACCESS_DENIED."""
    client.put("f", b"x")
    assert client.read(client.open("f", access=dtyp.FILE_WRITE_DATA).id, 1).status == Status.ACCESS_DENIED
    assert client.write(client.open("f", access=dtyp.FILE_READ_DATA).id, b"x").status == Status.ACCESS_DENIED


def test_a_directory_is_not_read(client):
    """WPTS FSA ReadFileTestCase (model): INVALID_DEVICE_REQUEST."""
    folder = client.directory("d")
    assert client.read(folder.id, 1).status == Status.INVALID_DEVICE_REQUEST
    assert client.write(folder.id, b"x").status == Status.INVALID_DEVICE_REQUEST


def test_a_flush(client):
    """WPTS FSA FlushCachedDataTestCase (model)."""
    file = client.open("f")
    assert client.ask(Command.FLUSH, FlushRequest(file_id=file.id).encode()).status == Status.SUCCESS
    reader = client.open("f", access=R)
    response = client.ask(Command.FLUSH, FlushRequest(file_id=reader.id).encode())
    assert response.status == Status.ACCESS_DENIED


# change notification


def changed(client: Client, number: int) -> tuple[Status, list[tuple[int, str]]]:
    response = client.result(number)
    assert response is not None, "nothing was told"
    if response.status != Status.SUCCESS:
        return response.status, []
    output = ChangeNotifyResponse.decode_untrusted(response.message).output
    return response.status, [(one.action, one.file_name) for one in decode_notify_untrusted(output)]


def test_a_watch_is_cancelled(client):
    """WPTS BVT_SMB2Basic_CancelRegisteredChangeNotify."""
    folder = client.directory("d")
    number = client.watch(folder, fscc.FILE_NOTIFY_CHANGE_LAST_ACCESS)
    client.start(Command.CANCEL, FOUR, message_id=number)
    response = client.result(number)
    assert response is not None and response.status == Status.CANCELLED


def grown(client: Client) -> None:
    client.write(client.open(r"d\f").id, b"longer")


def timed(client: Client, **times: int) -> None:
    file = client.open(r"d\f")
    assert client.set(file, fscc.FILE_BASIC_INFORMATION, basic(**times)) == Status.SUCCESS


def streamed(client: Client, size: int | None = None) -> None:
    client.put(r"d\f:s", b"" if size is None else bytes(size))


def renamed(client: Client, name: str) -> None:
    file = client.open(name)
    assert client.set(file, fscc.FILE_RENAME_INFORMATION, rename(r"d\new")) == Status.SUCCESS


def protected(client: Client) -> None:
    file = client.open(r"d\f", access=dtyp.WRITE_DAC | dtyp.READ_CONTROL)
    status, descriptor = client.query(file, 0, kind=3, additional_information=4)
    assert status == Status.SUCCESS
    assert client.set(file, 0, descriptor, kind=3, more=4) == Status.SUCCESS


@pytest.mark.parametrize(
    ("wanted", "change"),
    [
        (fscc.FILE_NOTIFY_CHANGE_FILE_NAME, lambda c: renamed(c, r"d\f")),
        (fscc.FILE_NOTIFY_CHANGE_DIR_NAME, lambda c: renamed(c, r"d\sub")),
        (fscc.FILE_NOTIFY_CHANGE_ATTRIBUTES, lambda c: timed(c, attributes=2)),
        (fscc.FILE_NOTIFY_CHANGE_SIZE, grown),
        (fscc.FILE_NOTIFY_CHANGE_LAST_ACCESS, lambda c: timed(c, accessed=1 << 56)),
        (fscc.FILE_NOTIFY_CHANGE_LAST_WRITE, lambda c: timed(c, written=1 << 56)),
        (fscc.FILE_NOTIFY_CHANGE_CREATION, lambda c: timed(c, created=1 << 56)),
        (fscc.FILE_NOTIFY_CHANGE_SECURITY, protected),
        (fscc.FILE_NOTIFY_CHANGE_STREAM_NAME, streamed),
        (fscc.FILE_NOTIFY_CHANGE_STREAM_SIZE, lambda c: streamed(c, 5)),
        (fscc.FILE_NOTIFY_CHANGE_STREAM_WRITE, lambda c: streamed(c, 5)),
    ],
)
def test_changes_are_told(client, other, wanted, change):
    """WPTS BVT_SMB2Basic_ChangeNotify_ChangeFileName, _ChangeDirName, _ChangeAttributes, _ChangeSize,
    _ChangeLastAccess, _ChangeLastWrite, _ChangeCreation, _ChangeSecurity, _ChangeStreamName,
    _ChangeStreamSize, _ChangeStreamWrite."""
    client.shut(client.directory("d"))
    client.shut(client.directory(r"d\sub"))
    client.put(r"d\f", b"x")
    watching = client.watch(client.directory("d", access=R), wanted, tree=True)
    change(other)
    client.world.advance(5)
    status, told = changed(client, watching)
    assert status == Status.SUCCESS and told


def test_a_rename_is_told_in_two(client, other):
    """[MS-FSCC] 2.7.1 FILE_NOTIFY_INFORMATION: RENAMED_OLD_NAME, then RENAMED_NEW_NAME."""
    client.shut(client.directory("d"))
    client.put(r"d\f")
    watching = client.watch(client.directory("d", access=R), fscc.FILE_NOTIFY_CHANGE_FILE_NAME)
    renamed(other, r"d\f")
    assert changed(client, watching)[1] == [(4, "f"), (5, "new")]


def test_a_watch_on_a_directory_that_is_closed(client):
    """WPTS BVT_SMB2Basic_ChangeNotify_ServerReceiveSmb2Close: NOTIFY_CLEANUP."""
    folder = client.directory("d")
    watching = client.watch(folder, fscc.FILE_NOTIFY_CHANGE_FILE_NAME)
    client.shut(folder)
    assert changed(client, watching)[0] == Status.NOTIFY_CLEANUP


def test_too_much_for_a_watch(client, other):
    """WPTS BVT_SMB2Basic_ChangeNotify_MaxTransactSizeCheck..., _NoFileListDirectoryInGrantedAccess: more
    than the maximum INVALID_PARAMETER; without FILE_LIST_DIRECTORY ACCESS_DENIED; too little room
    NOTIFY_ENUM_DIR."""
    folder = client.directory("d")
    too_much = client.watch(folder, 1, room=client.negotiated.max_transact_size + 1)
    assert changed(client, too_much)[0] == Status.INVALID_PARAMETER
    blind = client.directory("d", access=dtyp.FILE_READ_ATTRIBUTES)
    assert changed(client, client.watch(blind, 1))[0] == Status.ACCESS_DENIED
    narrow = client.watch(folder, fscc.FILE_NOTIFY_CHANGE_FILE_NAME, room=4)
    other.put(r"d\a rather long name")
    assert changed(client, narrow)[0] == Status.NOTIFY_ENUM_DIR


@pytest.mark.parametrize("dialect", [0x0202, 0x0210])
def test_the_most_that_a_watch_may_ask(world, dialect):
    """WPTS BVT_SMB2Basic_ChangeNotify_MaxTransactSizeCheck_Smb2002, _Smb21: over MaxTransactSize."""
    client = world.client(dialect=dialect)
    most = client.negotiated.max_transact_size
    watching = client.watch(client.directory("d"), fscc.FILE_NOTIFY_CHANGE_LAST_ACCESS, room=most + 1)
    assert changed(client, watching)[0] == Status.INVALID_PARAMETER


def test_a_watch_on_a_file(client):
    """WPTS BVT_SMB2Basic_ChangeNotify_NonDirectoryFile: INVALID_PARAMETER."""
    file = client.open("f")
    assert changed(client, client.watch(file, 1))[0] == Status.INVALID_PARAMETER
