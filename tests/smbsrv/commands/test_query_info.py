"""QUERY_INFO. [MS-SMB2] 3.3.5.20 Receiving an SMB2 QUERY_INFO Request; [MS-FSA] 2.1.5.12, 2.1.5.13,
2.1.5.14."""

from __future__ import annotations

import struct

import pytest

from smbproto import dtyp, fscc
from smbproto.fscc import file_info, volume
from smbproto.fscc.ea import FullEa, decode_full_eas_untrusted, encode_full_eas, encode_get_eas
from smbproto.smb2.query_info import QueryQuotaInfo
from smbproto.status import BufferTooSmall, Status, StatusError
from smbsrv.commands.query_info import file as file_classes
from smbsrv.commands.query_info import filesystem as volume_classes
from tests.smbsrv.commands.client import Client, World, refused

FILE, FILESYSTEM, SECURITY, QUOTA = 1, 2, 3, 4
SINGLE, RESTART = 2, 1


@pytest.fixture
def client() -> Client:
    return World().client()


@pytest.fixture
def opened(client):
    client.directory("dir")
    found = client.create("dir\\a.txt")
    client.write(found.file_id, b"hello")
    return found


def ask(client, opened, info_class, layout, kind=FILE):
    status, data = client.query(opened.file_id, kind, info_class)
    assert status == Status.SUCCESS
    return layout.decode_untrusted(data)


def test_basic_information(client, opened):
    """[MS-FSCC] 2.4.7 FileBasicInformation."""
    found = ask(client, opened, fscc.FILE_BASIC_INFORMATION, file_info.FileBasicInformation)
    assert (found.creation_time, found.file_attributes) == (opened.creation_time, fscc.FILE_ATTRIBUTE_ARCHIVE)


def test_standard_information(client, opened):
    """[MS-FSCC] 2.4.47 FileStandardInformation: sizes, links, DeletePending, Directory."""
    found = ask(client, opened, fscc.FILE_STANDARD_INFORMATION, file_info.FileStandardInformation)
    assert (found.end_of_file, found.allocation_size, found.number_of_links) == (5, 4096, 1)
    assert (found.delete_pending, found.directory) == (0, 0)
    client.set(opened.file_id, FILE, fscc.FILE_DISPOSITION_INFORMATION, b"\1")
    found = ask(client, opened, fscc.FILE_STANDARD_INFORMATION, file_info.FileStandardInformation)
    assert (found.delete_pending, found.number_of_links) == (1, 0)


def test_all_information_is_the_sum_of_its_parts(client, opened):
    """[MS-FSCC] 2.4.2 FileAllInformation: Basic, Standard, Internal, Ea, Access, Position, Mode, Alignment,
    Name."""
    whole = client.query(opened.file_id, FILE, fscc.FILE_ALL_INFORMATION)[1]
    parts = b"".join(
        client.query(opened.file_id, FILE, number)[1]
        for number in (
            fscc.FILE_BASIC_INFORMATION,
            fscc.FILE_STANDARD_INFORMATION,
            fscc.FILE_INTERNAL_INFORMATION,
            fscc.FILE_EA_INFORMATION,
            fscc.FILE_ACCESS_INFORMATION,
            fscc.FILE_POSITION_INFORMATION,
            fscc.FILE_MODE_INFORMATION,
            fscc.FILE_ALIGNMENT_INFORMATION,
            fscc.FILE_NAME_INFORMATION,
        )
    )
    assert whole == parts
    assert file_info.FileAllInformation.decode_untrusted(whole).file_name == "\\dir\\a.txt"


def test_network_open_and_attribute_tag(client, opened):
    """[MS-FSCC] 2.4.34 FileNetworkOpenInformation, 2.4.6 FileAttributeTagInformation."""
    found = ask(client, opened, fscc.FILE_NETWORK_OPEN_INFORMATION, file_info.FileNetworkOpenInformation)
    assert (found.end_of_file, found.file_attributes) == (5, fscc.FILE_ATTRIBUTE_ARCHIVE)
    tag = ask(client, opened, fscc.FILE_ATTRIBUTE_TAG_INFORMATION, file_info.FileAttributeTagInformation)
    assert (tag.file_attributes, tag.reparse_tag) == (fscc.FILE_ATTRIBUTE_ARCHIVE, 0)


def test_the_id_is_64_bits_in_128(client, opened):
    """[MS-FSCC] 2.4.28 FileIdInformation."""
    found = ask(client, opened, fscc.FILE_ID_INFORMATION, file_info.FileIdInformation)
    internal = ask(client, opened, fscc.FILE_INTERNAL_INFORMATION, file_info.FileInternalInformation)
    assert int.from_bytes(found.file_id, "little") == internal.index_number != 0


def test_streams_are_listed_the_unnamed_one_first(client, opened):
    """[MS-FSCC] 2.4.49 FileStreamInformation: "::$DATA", ":name:$DATA"."""
    other = client.create("dir\\a.txt:side")
    client.write(other.file_id, bytes(10))
    _, data = client.query(opened.file_id, FILE, fscc.FILE_STREAM_INFORMATION)
    found = file_info.decode_streams_untrusted(data)
    assert [(one.name, one.size) for one in found] == [("::$DATA", 5), (":side:$DATA", 10)]


def test_a_directory_without_streams_has_an_empty_list(client):
    """[MS-FSA] 2.1.5.12.28: nothing to list is no error."""
    assert client.query(client.directory("d").file_id, FILE, fscc.FILE_STREAM_INFORMATION) == (
        Status.SUCCESS,
        b"",
    )


def test_the_normalized_name_came_with_311(client, opened):
    """[MS-SMB2] 3.3.5.20.1: FileNormalizedNameInformation below SMB 3.1.1 is NOT_SUPPORTED."""
    found = ask(client, opened, fscc.FILE_NORMALIZED_NAME_INFORMATION, file_info.FileNameInformation)
    assert found.file_name == "dir\\a.txt"
    client.session.dialect = 0x0302
    with refused(Status.NOT_SUPPORTED):
        client.query(opened.file_id, FILE, fscc.FILE_NORMALIZED_NAME_INFORMATION)


def test_every_file_has_a_short_name_that_opens_it(client, opened):
    """[MS-FSCC] 2.4.5 FileAlternateNameInformation; [MS-FSA] 2.1.5.12.4: only the root has none."""
    found = ask(client, opened, fscc.FILE_ALTERNATE_NAME_INFORMATION, file_info.FileAlternateNameInformation)
    assert found.file_name.upper() == "A.TXT"
    other = client.create("dir\\a very long name.text")
    short = ask(client, other, fscc.FILE_ALTERNATE_NAME_INFORMATION, file_info.FileAlternateNameInformation)
    assert len(short.file_name) <= 12
    again = client.create(f"dir\\{short.file_name}", disposition=fscc.FILE_OPEN)
    assert client.open_of(again.file_id).file.node is client.open_of(other.file_id).file.node
    with refused(Status.OBJECT_NAME_NOT_FOUND):
        root = client.create("", disposition=fscc.FILE_OPEN)
        client.query(root.file_id, FILE, fscc.FILE_ALTERNATE_NAME_INFORMATION)


@pytest.mark.parametrize("info_class", sorted(file_classes.CLASSES))
def test_buffers_that_are_too_small(client, opened, info_class):
    """[MS-FSA] 2.1.5.12: below the fixed part INFO_LENGTH_MISMATCH; below the whole BUFFER_OVERFLOW, with
    what fits."""
    status, whole = client.query(opened.file_id, FILE, info_class)
    fixed = file_classes.CLASSES[info_class][0](client.open_of(opened.file_id).file).fixed
    with refused(Status.INFO_LENGTH_MISMATCH):
        client.query(opened.file_id, FILE, info_class, room=fixed - 1)
    for room in range(fixed, len(whole)):
        assert client.query(opened.file_id, FILE, info_class, room=room) == (
            Status.BUFFER_OVERFLOW,
            whole[:room],
        )
    assert client.query(opened.file_id, FILE, info_class, room=len(whole)) == (status, whole)


@pytest.mark.parametrize(
    "info_class",
    [
        fscc.FILE_BASIC_INFORMATION,
        fscc.FILE_ALL_INFORMATION,
        fscc.FILE_NETWORK_OPEN_INFORMATION,
        fscc.FILE_ATTRIBUTE_TAG_INFORMATION,
    ],
)
def test_attributes_need_read_attributes(client, opened, info_class):
    """[MS-SMB2] 3.3.5.20.1: "Open.GrantedAccess does not include FILE_READ_ATTRIBUTES": ACCESS_DENIED."""
    blind = client.create("dir\\a.txt", access=dtyp.FILE_READ_DATA)
    with refused(Status.ACCESS_DENIED):
        client.query(blind.file_id, FILE, info_class)


@pytest.mark.parametrize("info_class", [0, 1, 2, 3, 10, 13, 20, 99, 255])
def test_classes_that_are_not_to_be_asked(client, opened, info_class):
    """[MS-SMB2] 3.3.5.20.1: any other FileInfoClass is INVALID_INFO_CLASS."""
    with refused(Status.INVALID_INFO_CLASS):
        client.query(opened.file_id, FILE, info_class)
    with refused(Status.INVALID_PARAMETER):
        client.query(opened.file_id, 5, info_class)


# extended attributes


@pytest.fixture
def with_eas(client, opened):
    eas = [FullEa(b"ONE", b"1"), FullEa(b"TWO", b"22"), FullEa(b"three", b"333")]
    client.set(opened.file_id, FILE, fscc.FILE_FULL_EA_INFORMATION, encode_full_eas(eas))
    return opened


def eas_of(client, opened, **more):
    status, data = client.query(opened.file_id, FILE, fscc.FILE_FULL_EA_INFORMATION, **more)
    return status, {ea.name: ea.value for ea in decode_full_eas_untrusted(data)}


def test_all_attributes(client, with_eas):
    """[MS-FSCC] 2.4.16 FileFullEaInformation; the case of names is kept."""
    assert eas_of(client, with_eas) == (Status.SUCCESS, {b"ONE": b"1", b"TWO": b"22", b"three": b"333"})


def test_attributes_by_name_ignore_case_and_tell_what_is_missing(client, with_eas):
    """[MS-FSA] 2.1.5.12.10: a name that is not there comes back with an empty value."""
    asked = encode_get_eas([b"two", b"NONE"])
    assert eas_of(client, with_eas, input=asked) == (Status.SUCCESS, {b"TWO": b"22", b"NONE": b""})


def test_attributes_one_by_one(client, with_eas):
    """[MS-SMB2] 2.2.37: SL_RETURN_SINGLE_ENTRY, SL_RESTART_SCAN; at the end NO_MORE_EAS."""
    got = [eas_of(client, with_eas, flags=SINGLE | (RESTART if not n else 0))[1] for n in range(3)]
    assert [list(one) for one in got] == [[b"ONE"], [b"TWO"], [b"three"]]
    with refused(Status.NO_MORE_EAS):
        eas_of(client, with_eas, flags=SINGLE)
    assert list(eas_of(client, with_eas, flags=SINGLE | RESTART)[1]) == [b"ONE"]


def test_attributes_come_whole_or_not_at_all(client, with_eas):
    """[MS-FSA] 2.1.5.12.10: BUFFER_OVERFLOW with whole entries; BUFFER_TOO_SMALL if not one fits."""
    assert eas_of(client, with_eas, room=30) == (Status.BUFFER_OVERFLOW, {b"ONE": b"1", b"TWO": b"22"})
    with refused(Status.BUFFER_TOO_SMALL):
        eas_of(client, with_eas, room=8)


def test_a_file_without_attributes_says_so(client, opened):
    """[MS-FSA] 2.1.5.12.10: "STATUS_NO_EAS_ON_FILE"."""
    with refused(Status.NO_EAS_ON_FILE):
        eas_of(client, opened)
    blind = client.create("dir\\a.txt", access=dtyp.FILE_READ_DATA)
    with refused(Status.ACCESS_DENIED):
        eas_of(client, blind)


# volumes


def test_volume_information(client, opened):
    """[MS-FSCC] 2.5.9 FileFsVolumeInformation, 2.5.1 FileFsAttributeInformation, 2.5.4
    FileFsFullSizeInformation."""
    identity = client.world.volume.identity
    label = ask(client, opened, fscc.FILE_FS_VOLUME_INFORMATION, volume.FileFsVolumeInformation, FILESYSTEM)
    assert (label.volume_label, label.volume_serial_number) == (identity.label, identity.serial & 0xFFFFFFFF)
    kind = ask(
        client, opened, fscc.FILE_FS_ATTRIBUTE_INFORMATION, volume.FileFsAttributeInformation, FILESYSTEM
    )
    assert (kind.file_system_name, kind.file_system_attributes) == ("NTFS", identity.features)
    size = ask(
        client, opened, fscc.FILE_FS_FULL_SIZE_INFORMATION, volume.FileFsFullSizeInformation, FILESYSTEM
    )
    unit = size.sectors_per_allocation_unit * size.bytes_per_sector
    usage = client.world.volume.usage()
    assert (size.total_allocation_units * unit, size.actual_available_allocation_units * unit) == (
        usage.total_bytes,
        usage.free_bytes,
    )


@pytest.mark.parametrize("info_class", sorted(volume_classes.CLASSES))
def test_volume_buffers_that_are_too_small(client, opened, info_class):
    """[MS-FSA] 2.1.5.13: INFO_LENGTH_MISMATCH, BUFFER_OVERFLOW."""
    status, whole = client.query(opened.file_id, FILESYSTEM, info_class)
    target = client.open_of(opened.file_id).file
    fixed = volume_classes.CLASSES[info_class](target).fixed
    with refused(Status.INFO_LENGTH_MISMATCH):
        client.query(opened.file_id, FILESYSTEM, info_class, room=fixed - 1)
    for room in range(fixed, len(whole)):
        assert client.query(opened.file_id, FILESYSTEM, info_class, room=room)[0] == Status.BUFFER_OVERFLOW
    assert status == Status.SUCCESS


@pytest.mark.parametrize(
    "info_class", [0, fscc.FILE_FS_LABEL_INFORMATION, fscc.FILE_FS_DRIVER_PATH_INFORMATION, 77]
)
def test_volume_classes_that_are_not_to_be_asked(client, opened, info_class):
    """[MS-SMB2] 3.3.5.20.2: INVALID_INFO_CLASS."""
    with refused(Status.INVALID_INFO_CLASS):
        client.query(opened.file_id, FILESYSTEM, info_class)


# security, quota


def test_a_descriptor_that_does_not_fit_tells_its_length(client, opened):
    """[MS-SMB2] 3.3.5.20.3: "STATUS_BUFFER_TOO_SMALL" with the needed length in the error data."""
    _, whole = client.query(opened.file_id, SECURITY, 0, additional_information=7)
    parsed = dtyp.SecurityDescriptor.decode_untrusted(whole)
    assert parsed.owner is not None and parsed.dacl is not None
    with pytest.raises(BufferTooSmall) as caught:
        client.query(opened.file_id, SECURITY, 0, room=len(whole) - 1, additional_information=7)
    assert caught.value.need_bytes == len(whole)


@pytest.mark.parametrize(
    ("access", "information", "allowed"),
    [
        (dtyp.READ_CONTROL, 7, True),
        (dtyp.FILE_READ_DATA, 1, False),
        (dtyp.READ_CONTROL, 8, False),
        (dtyp.READ_CONTROL | dtyp.ACCESS_SYSTEM_SECURITY, 15, True),
    ],
)
def test_descriptors_need_the_right_access(client, opened, access, information, allowed):
    """[MS-FSA] 2.1.5.14: READ_CONTROL for owner, group and DACL, ACCESS_SYSTEM_SECURITY for the SACL."""
    again = client.create("dir\\a.txt", access=access)
    try:
        status, _ = client.query(again.file_id, SECURITY, 0, additional_information=information)
        assert allowed and status == Status.SUCCESS
    except StatusError as error:
        assert not allowed and error.status == Status.ACCESS_DENIED


def test_quotas_are_refused_cleanly(client, opened):
    """[MS-SMB2] 3.3.5.20.4: "If the underlying object store does not support user quotas, the server MUST
    fail the request with STATUS_NOT_SUPPORTED"."""
    with refused(Status.NOT_SUPPORTED):
        client.query(opened.file_id, QUOTA, 0, input=QueryQuotaInfo().encode())


def test_a_pipe_tells_that_it_is_one(client):
    """[MS-FSCC] 2.4.38 FilePipeLocalInformation; 2.5.10 FileFsDeviceInformation: FILE_DEVICE_NAMED_PIPE."""
    client.connect(client.server.shares["ipc$"])
    pipe = client.create("srvsvc")
    local = ask(client, pipe, fscc.FILE_PIPE_LOCAL_INFORMATION, file_info.FilePipeLocalInformation)
    assert local.named_pipe_state == fscc.FILE_PIPE_CONNECTED_STATE
    status, data = client.query(pipe.file_id, FILESYSTEM, fscc.FILE_FS_DEVICE_INFORMATION)
    assert struct.unpack("<II", data)[0] == fscc.FILE_DEVICE_NAMED_PIPE
    with refused(Status.NOT_SUPPORTED):
        client.query(pipe.file_id, FILE, fscc.FILE_BASIC_INFORMATION)
