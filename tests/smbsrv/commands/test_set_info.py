"""SET_INFO. [MS-SMB2] 3.3.5.21 Receiving an SMB2 SET_INFO Request; [MS-FSA] 2.1.5.15, 2.1.5.17."""

from __future__ import annotations

import struct

import pytest

from smbproto import dtyp, fscc
from smbproto.errors import WireError
from smbproto.fscc import file_info
from smbproto.fscc.ea import FullEa, encode_full_eas
from smbproto.fscc.quota import Quota, encode_quotas
from smbproto.status import Status
from tests.smbsrv.commands.client import Client, World, refused

FILE, FILESYSTEM, SECURITY, QUOTA = 1, 2, 3, 4
WHOLE = 0x001F01FF


@pytest.fixture
def client() -> Client:
    return World().client()


@pytest.fixture
def opened(client):
    found = client.create("a.txt")
    client.write(found.file_id, b"hello")
    return found


def node_of(client, found):
    file = client.open_of(found.file_id).file
    assert file is not None
    return file.node


def rename_to(name: str, replace: int = 0, root: int = 0) -> bytes:
    return file_info.FileRenameInformation(
        replace_if_exists=replace, root_directory=root, file_name=name
    ).encode()


def test_times_and_attributes(client, opened):
    """[MS-FSCC] 2.4.7 FileBasicInformation: 0 leaves a time as it is."""
    before = node_of(client, opened).accessed
    data = file_info.FileBasicInformation(
        creation_time=123, last_write_time=456, file_attributes=fscc.FILE_ATTRIBUTE_HIDDEN
    )
    client.set(opened.file_id, FILE, fscc.FILE_BASIC_INFORMATION, data.encode())
    node = node_of(client, opened)
    assert (node.created, node.written, node.accessed) == (123, 456, before)
    assert node.attributes == fscc.FILE_ATTRIBUTE_HIDDEN


@pytest.mark.parametrize("number", [-3, -(1 << 63)])
def test_times_below_minus_two_are_invalid(client, opened, number):
    """[MS-FSA] 2.1.5.15.2: "InputBuffer.CreationTime is less than -2 ... STATUS_INVALID_PARAMETER"."""
    data = file_info.FileBasicInformation(creation_time=number).encode()
    with refused(Status.INVALID_PARAMETER):
        client.set(opened.file_id, FILE, fscc.FILE_BASIC_INFORMATION, data)


def test_end_of_file_and_allocation(client, opened):
    """[MS-FSCC] 2.4.14 FileEndOfFileInformation, 2.4.4 FileAllocationInformation."""
    client.set(opened.file_id, FILE, fscc.FILE_END_OF_FILE_INFORMATION, struct.pack("<q", 3))
    assert node_of(client, opened).data.size_bytes == 3
    client.set(opened.file_id, FILE, fscc.FILE_ALLOCATION_INFORMATION, struct.pack("<q", 1 << 20))
    assert (node_of(client, opened).data.size_bytes, node_of(client, opened).data.allocated_bytes) == (
        3,
        1 << 20,
    )
    for info_class in (
        fscc.FILE_END_OF_FILE_INFORMATION,
        fscc.FILE_ALLOCATION_INFORMATION,
        fscc.FILE_VALID_DATA_LENGTH_INFORMATION,
        fscc.FILE_POSITION_INFORMATION,
    ):
        with refused(Status.INVALID_PARAMETER):
            client.set(opened.file_id, FILE, info_class, struct.pack("<q", -1))


def test_a_file_is_deleted_at_its_close(client, opened):
    """[MS-FSCC] 2.4.11 FileDispositionInformation; and taken back by DeletePending 0."""
    client.set(opened.file_id, FILE, fscc.FILE_DISPOSITION_INFORMATION, b"\1")
    with refused(Status.DELETE_PENDING):
        client.create("a.txt", disposition=fscc.FILE_OPEN)
    client.set(opened.file_id, FILE, fscc.FILE_DISPOSITION_INFORMATION, b"\0")
    client.create("a.txt", disposition=fscc.FILE_OPEN)
    client.set(opened.file_id, FILE, fscc.FILE_DISPOSITION_INFORMATION_EX, struct.pack("<I", 1))
    for file_id in [open.volatile_id for open in client.session.opens.values()]:
        client.close(type(opened.file_id)(file_id, file_id))
    with refused(Status.OBJECT_NAME_NOT_FOUND):
        client.create("a.txt", disposition=fscc.FILE_OPEN)


def test_a_read_only_file_cannot_be_deleted(client, opened):
    """[MS-FSA] 2.1.5.15.3: FILE_ATTRIBUTE_READONLY: STATUS_CANNOT_DELETE (Linux clients wait for just
    that)."""
    data = file_info.FileBasicInformation(file_attributes=fscc.FILE_ATTRIBUTE_READONLY).encode()
    client.set(opened.file_id, FILE, fscc.FILE_BASIC_INFORMATION, data)
    with refused(Status.CANNOT_DELETE):
        client.set(opened.file_id, FILE, fscc.FILE_DISPOSITION_INFORMATION, b"\1")


@pytest.mark.parametrize("name", ["b.txt", "\\b.txt"])
def test_rename(client, opened, name):
    """[MS-FSCC] 2.4.43 FileRenameInformation; [MS-FSA] 2.1.5.15.11: the target's name is below the share's
    root."""
    client.set(opened.file_id, FILE, fscc.FILE_RENAME_INFORMATION, rename_to(name))
    file = client.open_of(opened.file_id).file
    assert file is not None and file.name() == "\\b.txt"


def test_rename_onto_a_file_needs_the_flag(client, opened):
    """[MS-FSA] 2.1.5.15.11: ReplaceIfExists FALSE: OBJECT_NAME_COLLISION."""
    client.close(client.create("b.txt").file_id)
    with refused(Status.OBJECT_NAME_COLLISION):
        client.set(opened.file_id, FILE, fscc.FILE_RENAME_INFORMATION, rename_to("b.txt"))
    client.set(opened.file_id, FILE, fscc.FILE_RENAME_INFORMATION, rename_to("b.txt", 1))
    assert client.create("b.txt", disposition=fscc.FILE_OPEN).end_of_file == 5


def test_rename_ex_has_flags(client, opened):
    """[MS-FSCC] 2.4.44 FileRenameInformationEx: FILE_RENAME_REPLACE_IF_EXISTS."""
    client.close(client.create("b.txt").file_id)
    data = file_info.FileRenameInformationEx(
        flags=fscc.FILE_RENAME_REPLACE_IF_EXISTS, file_name="b.txt"
    ).encode()
    client.set(opened.file_id, FILE, fscc.FILE_RENAME_INFORMATION_EX, data)
    assert client.create("b.txt", disposition=fscc.FILE_OPEN).end_of_file == 5


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"short", Status.INFO_LENGTH_MISMATCH),
        (rename_to(""), Status.INVALID_PARAMETER),
        (rename_to("b", root=1), Status.INVALID_PARAMETER),
        (rename_to("\\"), Status.OBJECT_NAME_INVALID),
        (rename_to("gone\\b"), Status.OBJECT_PATH_NOT_FOUND),
    ],
)
def test_renames_that_cannot_be(client, opened, data, status):
    """[MS-SMB2] 3.3.5.21.1, [MS-FSCC] 2.4.43.2: RootDirectory is zero, FileName is not empty."""
    with refused(status):
        client.set(opened.file_id, FILE, fscc.FILE_RENAME_INFORMATION, data)


def test_hard_links(client, opened):
    """[MS-FSCC] 2.4.29 FileLinkInformation."""
    data = file_info.FileLinkInformation(file_name="b.txt").encode()
    client.set(opened.file_id, FILE, fscc.FILE_LINK_INFORMATION, data)
    other = client.create("b.txt", disposition=fscc.FILE_OPEN)
    assert node_of(client, other) is node_of(client, opened) and node_of(client, opened).links == 2


def test_attributes_merge_and_an_empty_value_removes(client, opened):
    """[MS-FSA] 2.1.5.15.5 FileFullEaInformation."""
    for eas in ([FullEa(b"A", b"1"), FullEa(b"B", b"2")], [FullEa(b"a", b""), FullEa(b"C", b"3")], []):
        client.set(opened.file_id, FILE, fscc.FILE_FULL_EA_INFORMATION, encode_full_eas(eas))
    file = client.open_of(opened.file_id).file
    assert file is not None and {ea.name: ea.value for ea in file.eas()} == {b"B": b"2", b"C": b"3"}


@pytest.mark.parametrize(
    ("eas", "status"),
    [
        (encode_full_eas([FullEa(b"A*", b"1")]), Status.INVALID_EA_NAME),
        (encode_full_eas([FullEa(b"A", b"1", 1)]), Status.INVALID_EA_FLAG),
        (b"\1\0\0", Status.EA_LIST_INCONSISTENT),
    ],
)
def test_attributes_that_cannot_be(client, opened, eas, status):
    """[MS-FSA] 2.1.5.15.5: INVALID_EA_NAME, INVALID_EA_FLAG, EA_LIST_INCONSISTENT."""
    with refused(status):
        client.set(opened.file_id, FILE, fscc.FILE_FULL_EA_INFORMATION, eas)


def test_position_and_mode_are_kept(client, opened):
    """[MS-FSCC] 2.4.40 FilePositionInformation, 2.4.31 FileModeInformation."""
    client.set(opened.file_id, FILE, fscc.FILE_POSITION_INFORMATION, struct.pack("<q", 77))
    client.set(opened.file_id, FILE, fscc.FILE_MODE_INFORMATION, struct.pack("<I", fscc.FILE_WRITE_THROUGH))
    assert client.query(opened.file_id, FILE, fscc.FILE_POSITION_INFORMATION)[1] == struct.pack("<q", 77)
    assert client.query(opened.file_id, FILE, fscc.FILE_MODE_INFORMATION)[1] == struct.pack("<I", 2)
    for bad in (0x30, 0x80000000):
        with refused(Status.INVALID_PARAMETER):
            client.set(opened.file_id, FILE, fscc.FILE_MODE_INFORMATION, struct.pack("<I", bad))


@pytest.mark.parametrize(
    ("info_class", "needed", "data"),
    [
        (fscc.FILE_BASIC_INFORMATION, dtyp.FILE_WRITE_ATTRIBUTES, bytes(40)),
        (fscc.FILE_END_OF_FILE_INFORMATION, dtyp.FILE_WRITE_DATA, bytes(8)),
        (fscc.FILE_ALLOCATION_INFORMATION, dtyp.FILE_WRITE_DATA, bytes(8)),
        (fscc.FILE_DISPOSITION_INFORMATION, dtyp.DELETE, b"\0"),
        (fscc.FILE_RENAME_INFORMATION, dtyp.DELETE, rename_to("b")),
        (fscc.FILE_FULL_EA_INFORMATION, dtyp.FILE_WRITE_EA, b""),
    ],
)
def test_each_class_needs_its_access(client, opened, info_class, needed, data):
    """[MS-SMB2] 3.3.5.21.1: without the access that a class needs ACCESS_DENIED."""
    poor = client.create("a.txt", access=WHOLE & ~needed)
    with refused(Status.ACCESS_DENIED):
        client.set(poor.file_id, FILE, info_class, data)
    client.set(client.create("a.txt").file_id, FILE, info_class, data)


@pytest.mark.parametrize("info_class", [0, 1, fscc.FILE_STANDARD_INFORMATION, fscc.FILE_ALL_INFORMATION, 200])
def test_classes_that_are_not_to_be_set(client, opened, info_class):
    """[MS-SMB2] 3.3.5.21.1: INVALID_INFO_CLASS."""
    with refused(Status.INVALID_INFO_CLASS):
        client.set(opened.file_id, FILE, info_class, bytes(200))


@pytest.mark.parametrize(
    "info_class",
    [
        fscc.FILE_BASIC_INFORMATION,
        fscc.FILE_END_OF_FILE_INFORMATION,
        fscc.FILE_DISPOSITION_INFORMATION,
        fscc.FILE_LINK_INFORMATION,
        fscc.FILE_MODE_INFORMATION,
    ],
)
def test_short_buffers_are_info_length_mismatch(client, opened, info_class):
    """[MS-FSA] 2.1.5.15: "InputBufferSize is less than ... STATUS_INFO_LENGTH_MISMATCH"."""
    with refused(Status.INFO_LENGTH_MISMATCH):
        client.set(opened.file_id, FILE, info_class, b"")


def test_short_names_volumes_and_quotas_are_refused(client, opened):
    """[MS-SMB2] 3.3.5.21.2, 3.3.5.21.4; [MS-FSCC] 2.4.46 FileShortNameInformation."""
    with refused(Status.NOT_SUPPORTED):
        client.set(opened.file_id, FILE, fscc.FILE_SHORT_NAME_INFORMATION, bytes(6))
    for info_class, status in (
        (fscc.FILE_FS_CONTROL_INFORMATION, Status.INVALID_DEVICE_REQUEST),
        (fscc.FILE_FS_SIZE_INFORMATION, Status.INVALID_INFO_CLASS),
    ):
        with refused(status):
            client.set(opened.file_id, FILESYSTEM, info_class, bytes(48))
    with refused(Status.NOT_SUPPORTED):
        client.set(opened.file_id, QUOTA, 0, encode_quotas([Quota(dtyp.SID_EVERYONE)]))
    with pytest.raises(WireError):
        client.set(opened.file_id, QUOTA, 0, bytes(10))
    with refused(Status.INVALID_PARAMETER):
        client.set(opened.file_id, 9, 0, b"")


def test_a_descriptor_is_set_and_needs_its_access(client, opened):
    """[MS-FSA] 2.1.5.17: WRITE_DAC for the DACL, WRITE_OWNER for owner and group."""
    allow = dtyp.Ace(0, 0, dtyp.FILE_GENERIC_READ, dtyp.SID_EVERYONE)
    descriptor = dtyp.SecurityDescriptor(dacl=dtyp.Acl((allow,))).encode()
    client.set(opened.file_id, SECURITY, 0, descriptor, 4)
    _, stored = client.query(opened.file_id, SECURITY, 0, additional_information=4)
    parsed = dtyp.SecurityDescriptor.decode_untrusted(stored)
    assert parsed.dacl is not None and [ace.mask for ace in parsed.dacl.aces] == [dtyp.FILE_GENERIC_READ]
    other = client.create("b.txt", access=WHOLE & ~dtyp.WRITE_DAC)
    with refused(Status.ACCESS_DENIED):
        client.set(other.file_id, SECURITY, 0, descriptor, 4)
