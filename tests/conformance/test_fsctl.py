"""FSCTLs. WPTS IOCTL, FSA FsControlRequest and IoCtlRequestTestCase."""

from __future__ import annotations

import struct

import pytest

from smbproto import dtyp, fscc
from smbproto.status import Status
from smbsrv.server import NetworkInterface
from tests.conformance.harness import Client, Opened, World

KINDS = [0, fscc.FILE_DIRECTORY_FILE]
CLUSTER = 65536


def ranges(
    client: Client, file: Opened, length: int, room: int = 4096
) -> tuple[Status, list[tuple[int, int]]]:
    body = struct.pack("<QQ", 0, length)
    status, data = client.ioctl(fscc.FSCTL_QUERY_ALLOCATED_RANGES, body, file, room)
    return status, list(struct.iter_unpack("<QQ", data))  # type: ignore[arg-type]


def test_allocated_ranges_of_a_file(client):
    """WPTS FsCtl_Query_AllocatedRanges_File_IsAllocatedRangesSupported."""
    file = client.open("f")
    client.write(file.id, bytes(1024))
    assert ranges(client, file, 1024, 16) == (Status.SUCCESS, [(0, 1024)])


def test_allocated_ranges_of_a_directory(client):
    """WPTS FsCtl_Query_AllocatedRanges_Dir_IsAllocatedRangesSupported."""
    assert ranges(client, client.directory("d"), 0)[0] == Status.INVALID_PARAMETER


def test_zeroing(client):
    """WPTS FsCtl_Set_ZeroData_File_IsZeroDataSupported, _Dir_; AlternateDataStream_FsCtl_Set_ZeroData_*."""
    zero = fscc.FSCTL_SET_ZERO_DATA
    file = client.open("f")
    assert client.ioctl(zero, struct.pack("<QQ", 0, 0), file)[0] == Status.SUCCESS
    client.write(file.id, b"x" * 100)
    assert client.ioctl(zero, struct.pack("<QQ", 10, 20), file)[0] == Status.SUCCESS
    assert client.read_bytes(file.id, 30) == b"x" * 10 + bytes(10) + b"x" * 10
    assert client.ioctl(zero, struct.pack("<QQ", 20, 10), file)[0] == Status.INVALID_PARAMETER
    assert client.ioctl(zero, bytes(15), file)[0] == Status.INVALID_PARAMETER
    folder = client.directory("d")
    assert client.ioctl(zero, struct.pack("<QQ", 0, 0), folder)[0] == Status.INVALID_PARAMETER
    client.put("f:s", b"x" * 100)
    stream = client.open("f:s")
    assert client.ioctl(zero, struct.pack("<QQ", 0, 10), stream)[0] == Status.SUCCESS


@pytest.mark.parametrize("asked", [b"", struct.pack("<QQII", 0, 1024, 1, 0)])
def test_regions(client, asked):
    """WPTS BVT_FsCtl_Query_File_Regions, BVT_FsCtl_Query_File_Regions_WithInputData."""
    file = client.open("f")
    client.write(file.id, bytes(1024))
    status, data = client.ioctl(fscc.FSCTL_QUERY_FILE_REGIONS, asked, file)
    assert status == Status.SUCCESS
    flags, total, count, _, offset, length, usage = struct.unpack_from("<IIIIQQI", data)
    assert (flags, total, count, offset, length, usage) == (0, 1, 1, 0, 1024, 1)


@pytest.mark.parametrize("flags", [0, 1])
def test_extents_are_duplicated(client, flags):
    """WPTS BVT_FsCtl_DuplicateExtentsToFileEx_IsBasicSupported, _IsSourceAtomicSupported."""
    file = client.open("f")
    client.write(file.id, b"1" * CLUSTER + b"2" * CLUSTER)
    ids = struct.pack("<QQ", *file.id)
    body = struct.pack("<Q", 0x30) + ids + struct.pack("<QQQII", 0, CLUSTER, CLUSTER, flags, 0)
    status, _ = client.ioctl(fscc.FSCTL_DUPLICATE_EXTENTS_TO_FILE_EX, body, file)
    assert status == Status.SUCCESS
    assert client.read_bytes(file.id, 2 * CLUSTER) == b"1" * 2 * CLUSTER


@pytest.mark.parametrize("kind", KINDS)
def test_object_ids(client, kind):
    """WPTS BVT_FsCtl_CreateOrGetObjectId_*, BVT_FsCtl_GetObjectId_*, BVT_FsCtl_SetObjectId_File_IsSupported,
    _Dir_, and their OutputBufferSize_TooSmall cases."""
    file = client.open("n", options=kind, access=dtyp.GENERIC_ALL)
    assert client.ioctl(fscc.FSCTL_GET_OBJECT_ID, b"", file)[0] == Status.OBJECTID_NOT_FOUND
    status, made = client.ioctl(fscc.FSCTL_CREATE_OR_GET_OBJECT_ID, b"", file)
    assert status == Status.SUCCESS and len(made) == 64
    assert client.ioctl(fscc.FSCTL_GET_OBJECT_ID, b"", file) == (Status.SUCCESS, made)
    for code in (fscc.FSCTL_GET_OBJECT_ID, fscc.FSCTL_CREATE_OR_GET_OBJECT_ID):
        assert client.ioctl(code, b"", file, room=63)[0] == Status.INVALID_PARAMETER
    assert client.ioctl(fscc.FSCTL_SET_OBJECT_ID, bytes(63), file)[0] == Status.INVALID_PARAMETER


@pytest.mark.parametrize("kind", KINDS)
def test_compression(client, kind):
    """WPTS FsCtl_Get_Compression_*, FsCtl_Set_Compression_File_UnsupportedOnFileSystem: none, and none can be
    asked for."""
    file = client.open("n", options=kind)
    assert client.ioctl(fscc.FSCTL_GET_COMPRESSION, b"", file) == (Status.SUCCESS, b"\0\0")
    assert client.ioctl(fscc.FSCTL_GET_COMPRESSION, b"", file, room=1)[0] == Status.INVALID_PARAMETER
    status, _ = client.ioctl(fscc.FSCTL_SET_COMPRESSION, struct.pack("<H", 1), file)
    assert status in (Status.INVALID_DEVICE_REQUEST, Status.NOT_SUPPORTED)


@pytest.mark.parametrize("code", [0x0009027C, 0x0009C280, 0x00090064, 0x000902D8, 0x000900EB, 0x000900FC])
def test_what_no_volume_of_ours_knows(client, code):
    """WPTS FsCtl_Get_IntegrityInformation_File_UnsupportedOnFileSystem, FsCtl_Set_..., and the NTFS and ReFS
    volume data: INVALID_DEVICE_REQUEST."""
    file = client.open("f")
    assert client.ioctl(code, bytes(32), file)[0] == Status.INVALID_DEVICE_REQUEST


def test_sparse(client):
    """WPTS FSA IoCtlRequestTestCase (model): FSCTL_SET_SPARSE; not of a directory."""
    file, folder = client.open("f"), client.directory("d")
    assert client.ioctl(fscc.FSCTL_SET_SPARSE, b"", file)[0] == Status.SUCCESS
    status, data = client.query(file, fscc.FILE_BASIC_INFORMATION)
    assert status == Status.SUCCESS and struct.unpack_from("<I", data, 32)[0] & 0x200
    assert client.ioctl(fscc.FSCTL_SET_SPARSE, b"\0", file)[0] == Status.SUCCESS
    assert client.ioctl(fscc.FSCTL_SET_SPARSE, b"", folder)[0] == Status.INVALID_PARAMETER


def test_reparse_points_that_are_refused(client):
    """WPTS FSA IoCtlRequestTestCase (model): none is there, another tag, too short."""
    file = client.open("f")
    assert client.ioctl(fscc.FSCTL_GET_REPARSE_POINT, b"", file)[0] == Status.NOT_A_REPARSE_POINT
    assert client.ioctl(fscc.FSCTL_SET_REPARSE_POINT, bytes(4), file)[0] in (
        Status.IO_REPARSE_DATA_INVALID,
        Status.INVALID_PARAMETER,
    )
    text = "t".encode("utf-16-le")
    data = struct.pack("<HHHHI", 0, 2, 0, 2, 1) + text
    link = struct.pack("<IHH", 0xA000000C, len(data), 0) + data
    assert client.ioctl(fscc.FSCTL_SET_REPARSE_POINT, link, file)[0] == Status.SUCCESS
    other = struct.pack("<IHH", 0xA0000003, 0, 0)
    deleted = client.ioctl(fscc.FSCTL_DELETE_REPARSE_POINT, other, file)[0]
    assert deleted == Status.IO_REPARSE_TAG_MISMATCH
    own = struct.pack("<IHH", 0xA000000C, 0, 0)
    assert client.ioctl(fscc.FSCTL_DELETE_REPARSE_POINT, own, file)[0] == Status.SUCCESS


def test_trim(client):
    """WPTS BVT_FileLevelTrim, FileLevelTrim_Negative_NonZeroKeyInRequest."""
    file = client.open("f")
    client.write(file.id, bytes(CLUSTER))
    body = struct.pack("<IIQQ", 0, 1, 0, CLUSTER)
    assert client.ioctl(fscc.FSCTL_FILE_LEVEL_TRIM, body, file)[0] == Status.SUCCESS
    keyed = struct.pack("<IIQQ", 5, 1, 0, CLUSTER)
    assert client.ioctl(fscc.FSCTL_FILE_LEVEL_TRIM, keyed, file)[0] == Status.INVALID_PARAMETER


def test_snapshots(client):
    """WPTS BVT_EnumerateSnapShots, EnumerateSnapShots_Negative_InvalidMaxOutputResponse: none are there."""
    file = client.open("f")
    status, data = client.ioctl(fscc.FSCTL_SRV_ENUMERATE_SNAPSHOTS, b"", file, room=64)
    assert status == Status.SUCCESS and struct.unpack_from("<II", data) == (0, 0)
    status, data = client.ioctl(fscc.FSCTL_SRV_ENUMERATE_SNAPSHOTS, b"", file)
    size = struct.unpack_from("<I", data, 8)[0]
    assert status == Status.SUCCESS and data[12 : 12 + size].decode("utf-16-le").split("\0") == ["", ""]
    short = client.ioctl(fscc.FSCTL_SRV_ENUMERATE_SNAPSHOTS, b"", file, room=15)[0]
    assert short == Status.INVALID_PARAMETER


def test_network_interfaces():
    """WPTS BVT_NetworkInterfaceInfo_BasicQuery: NETWORK_INTERFACE_INFO of 152 bytes, Next 0 in the last."""
    world = World(interfaces=(NetworkInterface(7, "192.0.2.1"), NetworkInterface(8, "2001:db8::1")))
    client = world.client(share="IPC$")
    status, data = client.ioctl(fscc.FSCTL_QUERY_NETWORK_INTERFACE_INFO, b"")
    assert status == Status.SUCCESS and len(data) == 2 * 152
    assert struct.unpack_from("<II", data) == (152, 7) and struct.unpack_from("<II", data, 152) == (0, 8)


@pytest.mark.parametrize(
    ("source", "target", "status"),
    [
        (dtyp.GENERIC_READ, dtyp.GENERIC_READ | dtyp.GENERIC_WRITE, Status.SUCCESS),
        (dtyp.GENERIC_READ, dtyp.GENERIC_WRITE, Status.ACCESS_DENIED),
        (dtyp.GENERIC_WRITE, dtyp.GENERIC_READ | dtyp.GENERIC_WRITE, Status.ACCESS_DENIED),
    ],
)
def test_copies(client, source, target, status):
    """WPTS HVRS, server-side copy: [MS-SMB2] 3.3.5.15.6; the target of COPYCHUNK must be readable too."""
    client.put("a", b"x" * 100)
    one, two = client.open("a", access=source), client.open("b", access=target)
    found, key = client.ioctl(fscc.FSCTL_SRV_REQUEST_RESUME_KEY, b"", one, room=32)
    assert found == Status.SUCCESS
    body = key[:24] + struct.pack("<II", 1, 0) + struct.pack("<QQII", 0, 0, 100, 0)
    assert client.ioctl(fscc.FSCTL_SRV_COPYCHUNK, body, two, room=12)[0] == status
