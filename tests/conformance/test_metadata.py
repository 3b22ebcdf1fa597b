"""QUERY_INFO, SET_INFO. WPTS SMB2Basic (QueryAndSetFileInfo, QueryInfo); FSA FileInformation,
FileSystemInformation, CommonAlgorithm, and their model cases."""

from __future__ import annotations

import struct

import pytest

from smbproto import dtyp, fscc
from smbproto.fscc.ea import FullEa, encode_full_eas
from smbproto.smb2.query_info import SMB2_0_INFO_FILESYSTEM as FILESYSTEM
from smbproto.status import Status
from tests.conformance.harness import Client, Opened, basic, rename

KINDS = [0, fscc.FILE_DIRECTORY_FILE]
FIELDS = ["created", "accessed", "written", "changed"]
MAY_2008 = 128_541_138_520_000_000


def times(client: Client, file: Opened) -> dict[str, int]:
    status, data = client.query(file, fscc.FILE_BASIC_INFORMATION)
    assert status == Status.SUCCESS
    return dict(zip([*FIELDS, "attributes"], struct.unpack("<qqqqI4x", data), strict=True))


def set_times(client: Client, file: Opened, **more: int) -> Status:
    return client.set(file, fscc.FILE_BASIC_INFORMATION, basic(**more))


# times and attributes


def test_basic_information_is_as_the_create_told(client):
    """WPTS BVT_SMB2Basic_QueryAndSet_FileInfo: the same times as in the CREATE response, and what is set."""
    file = client.open("f", access=dtyp.GENERIC_READ | dtyp.GENERIC_WRITE)
    told, found = file.answer, times(client, file)
    assert [found[name] for name in FIELDS] == [
        told.creation_time,
        told.last_access_time,
        told.last_write_time,
        told.change_time,
    ]
    assert set_times(client, file, accessed=MAY_2008) == Status.SUCCESS
    assert times(client, file)["accessed"] == MAY_2008


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FIELDS)
def test_each_time_is_set(client, kind, name):
    """WPTS FileInfo_Set_FileBasicInformation_File_Positive, _Dir_Positive."""
    file = client.open("n", options=kind)
    assert set_times(client, file, **{name: MAY_2008}) == Status.SUCCESS
    assert times(client, file)[name] == MAY_2008


@pytest.mark.parametrize("kind", KINDS)
def test_basic_information_that_cannot_be(client, kind):
    """WPTS FileInfo_Set_FileBasicInformation_File_Negative, _Dir_Negative."""
    file = client.open("n", options=kind)
    assert client.set(file, fscc.FILE_BASIC_INFORMATION, b"\0") == Status.INFO_LENGTH_MISMATCH
    wrong = fscc.FILE_ATTRIBUTE_TEMPORARY if kind else fscc.FILE_ATTRIBUTE_DIRECTORY
    assert set_times(client, file, attributes=wrong | 0x80) == Status.INVALID_PARAMETER


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FIELDS)
def test_times_before_there_was_time(client, kind, name):
    """WPTS FileInfo_Set_FileBasicInformation_Timestamp_Negative_File_*, _Dir_*: below -2."""
    file = client.open("n", options=kind)
    assert set_times(client, file, **{name: -3}) == Status.INVALID_PARAMETER


@pytest.mark.parametrize("name", ["written", "changed", "accessed"])
def test_a_time_is_held_and_let_go(client, name):
    """WPTS FileInfo_Set_FileBasicInformation_Timestamp_Zero, _MinusOne, _MinusTwo (File): 0 changes nothing,
    -1 holds it whatever this open does, -2 lets it go."""
    file = client.open("f")
    first = times(client, file)[name]
    client.world.advance(10)
    assert set_times(client, file, **{name: 0}) == Status.SUCCESS
    if name != "changed":
        assert times(client, file)[name] == first
    held = times(client, file)[name]
    assert set_times(client, file, **{name: -1}) == Status.SUCCESS
    client.write(file.id, b"x")
    client.read(file.id, 1)
    client.world.advance(10)
    assert times(client, file)[name] == held
    assert set_times(client, file, **{name: -2}) == Status.SUCCESS
    client.write(file.id, b"y")
    client.read(file.id, 1)
    client.world.advance(10)
    client.shut(file)
    assert times(client, client.open("f"))[name] > held


@pytest.mark.parametrize("name", ["written", "changed"])
def test_a_directory_s_time_is_held_and_let_go(client, name):
    """WPTS FileInfo_Set_FileBasicInformation_Timestamp_MinusOne_Dir_*, _MinusTwo_Dir_*: by an open of a
    stream of the directory."""
    client.shut(client.directory("d"))
    stream = client.open("d:s")
    client.world.advance(10)
    assert set_times(client, stream, **{name: -1}) == Status.SUCCESS
    held = times(client, stream)[name]
    client.write(stream.id, b"x")
    client.world.advance(10)
    assert times(client, stream)[name] == held
    assert set_times(client, stream, **{name: -2}) == Status.SUCCESS
    client.write(stream.id, b"y")
    client.world.advance(10)
    client.shut(stream)
    assert times(client, client.directory("d"))[name] > held


def test_a_write_is_noted(client):
    """WPTS CommonAlgorithm_NotingFileModified_File_LastModificationTime, _LastChangeTime, _LastAccessTime,
    _Archive."""
    file = client.open("f")
    assert set_times(client, file, attributes=fscc.FILE_ATTRIBUTE_NORMAL) == Status.SUCCESS
    before = times(client, file)
    client.world.advance(10)
    client.write(file.id, b"x")
    client.shut(file)
    after = times(client, client.open("f"))
    assert after["created"] == before["created"]
    assert all(after[name] > before[name] for name in ("accessed", "written", "changed"))
    assert after["attributes"] & fscc.FILE_ATTRIBUTE_ARCHIVE


def test_a_new_child_is_noted(client):
    """WPTS CommonAlgorithm_NotingFileModified_Dir_LastModificationTime, _LastChangeTime, _LastAccessTime."""
    folder = client.directory("d")
    before = times(client, folder)
    client.world.advance(10)
    client.put(r"d\f")
    after = times(client, folder)
    assert after["created"] == before["created"]
    assert all(after[name] > before[name] for name in ("accessed", "written", "changed"))


def test_a_read_is_noted(client):
    """WPTS Algorithm_NotingFileAccessed_File_LastAccessTime."""
    client.put("f", b"x")
    file = client.open("f")
    before = times(client, file)["accessed"]
    client.world.advance(7200)
    client.read(file.id, 1)
    client.shut(file)
    assert times(client, client.open("f"))["accessed"] > before


# queries


@pytest.mark.parametrize(
    ("info_class", "size"),
    [
        (fscc.FILE_BASIC_INFORMATION, 40),
        (fscc.FILE_STANDARD_INFORMATION, 24),
        (fscc.FILE_INTERNAL_INFORMATION, 8),
        (fscc.FILE_EA_INFORMATION, 4),
        (fscc.FILE_ACCESS_INFORMATION, 4),
        (fscc.FILE_POSITION_INFORMATION, 8),
        (fscc.FILE_MODE_INFORMATION, 4),
        (fscc.FILE_ALIGNMENT_INFORMATION, 4),
        (fscc.FILE_COMPRESSION_INFORMATION, 16),
        (fscc.FILE_NETWORK_OPEN_INFORMATION, 56),
        (fscc.FILE_ATTRIBUTE_TAG_INFORMATION, 8),
        (fscc.FILE_ID_INFORMATION, 24),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_buffer_for_each_class(client, info_class, size, kind):
    """WPTS FSA QueryFileInformationTestCase (model), FileInfo_Query_*: INFO_LENGTH_MISMATCH for less than the
    structure, which otherwise comes whole."""
    file = client.open("n", options=kind)
    assert client.query(file, info_class, size - 1)[0] == Status.INFO_LENGTH_MISMATCH
    status, data = client.query(file, info_class, size + 16)
    assert status == Status.SUCCESS and len(data) == size


def test_names_longer_than_the_buffer(client):
    """WPTS BVT_SMB2Basic_Query_FileAllInformation; FSA model, FileAllInformation: BUFFER_OVERFLOW."""
    file = client.open("a rather long name")
    status, data = client.query(file, fscc.FILE_ALL_INFORMATION, 104)
    assert status == Status.BUFFER_OVERFLOW and len(data) <= 104
    status, data = client.query(file, fscc.FILE_ALL_INFORMATION)
    assert status == Status.SUCCESS and data[100:].decode("utf-16-le") == "\\a rather long name"


def test_a_class_that_is_not_there(client):
    """WPTS FSA model: INVALID_INFO_CLASS."""
    file = client.open("f")
    assert client.query(file, 0xFE)[0] == Status.INVALID_INFO_CLASS
    assert client.set(file, 0xFE, bytes(64)) == Status.INVALID_INFO_CLASS
    assert client.query(file, 0x50, kind=FILESYSTEM)[0] == Status.INVALID_INFO_CLASS
    assert client.set(file, fscc.FILE_EA_INFORMATION, bytes(4)) == Status.INVALID_INFO_CLASS


def test_the_file_s_id(client):
    """WPTS FileInfo_Query_FileIdInformation_File, FileInfo_Query_FileInternalInformation: one id."""
    file = client.open("f")
    internal = client.query(file, fscc.FILE_INTERNAL_INFORMATION)[1]
    id_128 = client.query(file, fscc.FILE_ID_INFORMATION)[1]
    assert id_128[8:16] == internal
    status, volume = client.query(file, fscc.FILE_FS_VOLUME_INFORMATION, kind=FILESYSTEM)
    assert status == Status.SUCCESS and volume[8:12] == id_128[:4]


def test_positions_and_modes(client):
    """WPTS FSA SetFilePositionInformationTestCase, SetFileModeInformationTestCase (model)."""
    file = client.open("f")
    position = fscc.FILE_POSITION_INFORMATION
    assert client.set(file, position, struct.pack("<q", 77)) == Status.SUCCESS
    assert client.query(file, position)[1] == struct.pack("<q", 77)
    assert client.set(file, position, struct.pack("<q", -1)) == Status.INVALID_PARAMETER
    assert client.set(file, position, bytes(7)) == Status.INFO_LENGTH_MISMATCH
    mode = fscc.FILE_MODE_INFORMATION
    assert client.set(file, mode, struct.pack("<I", fscc.FILE_SEQUENTIAL_ONLY)) == Status.SUCCESS
    assert client.set(file, mode, struct.pack("<I", 1)) == Status.INVALID_PARAMETER


# sizes


@pytest.mark.parametrize("info_class", [fscc.FILE_END_OF_FILE_INFORMATION, fscc.FILE_ALLOCATION_INFORMATION])
def test_sizes_that_cannot_be_set(client, info_class):
    """WPTS FSA SetFileEndOfFileInformationTestCase, SetFileAllocOrObjIdInformationTestCase (model)."""
    file = client.open("f")
    assert client.set(file, info_class, struct.pack("<q", 1000)) == Status.SUCCESS
    assert client.set(file, info_class, struct.pack("<q", -1)) == Status.INVALID_PARAMETER
    assert client.set(file, info_class, bytes(7)) == Status.INFO_LENGTH_MISMATCH
    reader = client.open("f", access=dtyp.GENERIC_READ)
    assert client.set(reader, info_class, bytes(8)) == Status.ACCESS_DENIED
    folder = client.directory("d")
    assert client.set(folder, info_class, bytes(8)) == Status.INVALID_PARAMETER


def test_valid_data_length(client):
    """WPTS FSA SetFileValidDataLengthInformationTestCase (model): within the file, and not backwards."""
    file = client.open("f")
    client.write(file.id, bytes(100))
    wanted = fscc.FILE_VALID_DATA_LENGTH_INFORMATION
    assert client.set(file, wanted, struct.pack("<q", -1)) in (
        Status.INVALID_PARAMETER,
        Status.PRIVILEGE_NOT_HELD,
    )
    assert client.set(file, wanted, bytes(7)) == Status.INFO_LENGTH_MISMATCH


# deletion, names, links


@pytest.mark.parametrize("kind", KINDS)
def test_a_disposition(client, kind):
    """WPTS FileInfo_Set_FileDispositionInformation_File, _Directory: gone with the last handle."""
    file = client.open("n", options=kind)
    assert client.set(file, fscc.FILE_DISPOSITION_INFORMATION, b"\1") == Status.SUCCESS
    client.shut(file)
    assert client.try_open("n", disposition=fscc.FILE_OPEN).status == Status.OBJECT_NAME_NOT_FOUND


def test_dispositions_that_are_refused(client):
    """WPTS FileInfo_Set_FileDispositionInformation_AccessDenied, _ReadonlyFile; FSA model: a directory that
    is not empty."""
    disposition = fscc.FILE_DISPOSITION_INFORMATION
    file = client.open("f", access=dtyp.GENERIC_READ | dtyp.GENERIC_WRITE)
    assert client.set(file, disposition, b"\1") == Status.ACCESS_DENIED
    fixed = client.open("r", attributes=fscc.FILE_ATTRIBUTE_READONLY, access=dtyp.GENERIC_ALL)
    assert client.set(fixed, disposition, b"\1") == Status.CANNOT_DELETE
    folder = client.directory("d")
    client.put(r"d\f")
    assert client.set(folder, disposition, b"\1") == Status.DIRECTORY_NOT_EMPTY
    assert client.set(folder, disposition, b"") == Status.INFO_LENGTH_MISMATCH


def test_renames_that_are_refused(client):
    """WPTS FileInfo_Set_FileRenameInformation_SMB2_RootDirectory_NonZero, _BufferSize; FSA
    SetFileRenameInformationTestCase (model)."""
    client.put("there")
    file = client.open("f")
    wanted = fscc.FILE_RENAME_INFORMATION
    rooted = bytearray(rename("g"))
    rooted[8] = 1
    assert client.set(file, wanted, bytes(rooted)) == Status.INVALID_PARAMETER
    assert client.set(file, wanted, rename("g")[:19]) == Status.INFO_LENGTH_MISMATCH
    assert client.set(file, wanted, rename("there")) == Status.OBJECT_NAME_COLLISION
    assert client.set(file, wanted, rename(r"none\g")) == Status.OBJECT_PATH_NOT_FOUND
    assert client.set(file, wanted, rename("g*")) == Status.OBJECT_NAME_INVALID
    reader = client.open("f", access=dtyp.GENERIC_READ)
    assert client.set(reader, wanted, rename("g")) == Status.ACCESS_DENIED
    client.shut(reader)
    assert client.set(file, wanted, rename("there", replace=True)) == Status.SUCCESS


def test_links(client):
    """WPTS FileInfo_Set_FileLinkInfo_File_IsFileLinkInfoSupported, _Dir_: not of a directory."""
    file, folder = client.open("f"), client.directory("d")
    assert client.set(file, fscc.FILE_LINK_INFORMATION, rename("g", replace=True)) == Status.SUCCESS
    assert client.try_open("g", disposition=fscc.FILE_OPEN).status == Status.SUCCESS
    link = rename("h", replace=True)
    assert client.set(folder, fscc.FILE_LINK_INFORMATION, link) == Status.FILE_IS_A_DIRECTORY
    links = struct.unpack_from("<I", client.query(file, fscc.FILE_STANDARD_INFORMATION)[1], 16)
    assert links == (2,)


@pytest.mark.parametrize("kind", KINDS)
def test_extended_attributes(client, kind):
    """WPTS FileInfo_Set_FileFullEaInformation_File_IsEASupported, _Dir_;
    FileInfo_Query_FileFullEaInformation, FileInfo_Query_FileEaInformation."""
    file = client.open("n", options=kind)
    eas = encode_full_eas([FullEa(b"NAME", b"value")])
    assert client.set(file, fscc.FILE_FULL_EA_INFORMATION, eas) == Status.SUCCESS
    status, found = client.query(file, fscc.FILE_FULL_EA_INFORMATION)
    assert status == Status.SUCCESS and b"NAME\0value" in found
    assert client.query(file, fscc.FILE_EA_INFORMATION)[1] != bytes(4)
    bare = client.open("m", options=kind)
    assert client.query(bare, fscc.FILE_FULL_EA_INFORMATION)[0] == Status.NO_EAS_ON_FILE


# the file system


@pytest.mark.parametrize(
    ("info_class", "size"),
    [
        (fscc.FILE_FS_VOLUME_INFORMATION, 18),
        (fscc.FILE_FS_SIZE_INFORMATION, 24),
        (fscc.FILE_FS_DEVICE_INFORMATION, 8),
        (fscc.FILE_FS_ATTRIBUTE_INFORMATION, 12),
        (fscc.FILE_FS_FULL_SIZE_INFORMATION, 32),
        (fscc.FILE_FS_OBJECT_ID_INFORMATION, 64),
        (fscc.FILE_FS_SECTOR_SIZE_INFORMATION, 28),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_what_the_volume_tells(client, info_class, size, kind):
    """WPTS FSA QueryFileSystemInformationTestCase (model); FsInfo_Query_FileFsVolumeInformation,
    FsInfo_Query_FileFsSectorSizeInformation, FsInfo_Query_FileFsObjectIdInformation."""
    file = client.open("n", options=kind)
    short = client.query(file, info_class, size - 1, kind=FILESYSTEM)[0]
    assert short == Status.INFO_LENGTH_MISMATCH
    status, data = client.query(file, info_class, kind=FILESYSTEM)
    assert status == Status.SUCCESS and len(data) >= min(size, 24)
