"""FSCTLs. [MS-SMB2] 3.3.5.15 Receiving an SMB2 IOCTL Request; [MS-FSCC] 2.3 FSCTL Structures."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest

from smbproto import dtyp, fscc, limits
from smbproto.errors import ProtocolViolation
from smbproto.fscc import fsctl
from smbproto.fscc.fsctl import CopyChunk, Range
from smbproto.fscc.reparse import Link, encode_reparse, encode_symlink
from smbproto.status import Status
from smbsrv.fsctl.table import FSCTLS, Target
from smbsrv.server import NetworkInterface
from tests.smbsrv.commands.client import NO_FILE, Client, World, refused, token
from tests.smbsrv.commands.test_create_contexts import dhnc

MIB = 1 << 20


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def client(world) -> Client:
    return world.client()


@pytest.fixture
def opened(client):
    found = client.create("a")
    client.write(found.file_id, b"0123456789" * 1000)
    return found


def content(client, found) -> bytes:
    file = client.open_of(found.file_id).file
    into = bytearray(file.stream.size_bytes)
    assert client.world.runtime.run(file.read(0, memoryview(into))) == len(into)
    return bytes(into)


# the envelope


def test_only_fsctls_are_served(client, opened):
    """[MS-SMB2] 3.3.5.15: "If the Flags field ... is not SMB2_0_IOCTL_IS_FSCTL, ... STATUS_NOT_SUPPORTED"."""
    with refused(Status.NOT_SUPPORTED):
        client.ioctl(fscc.FSCTL_SET_SPARSE, b"", opened.file_id, flags=0)


def test_too_large_an_answer_is_invalid_parameter(client, opened):
    """[MS-SMB2] 3.3.5.15: MaxInputResponse or MaxOutputResponse over MaxTransactSize."""
    with refused(Status.INVALID_PARAMETER):
        client.ioctl(fscc.FSCTL_GET_COMPRESSION, b"", opened.file_id, room=(8 << 20) + 1)


@pytest.mark.parametrize(
    "code",
    [
        0x12345678,
        fscc.FSCTL_FILESYSTEM_GET_STATISTICS,
        fscc.FSCTL_GET_NTFS_VOLUME_DATA,
        fscc.FSCTL_IS_PATHNAME_VALID,
        fscc.FSCTL_QUERY_ON_DISK_VOLUME_INFO,
        fscc.FSCTL_MARK_HANDLE,
        fscc.FSCTL_GET_INTEGRITY_INFORMATION,
        fscc.FSCTL_OFFLOAD_READ,
        fscc.FSCTL_STORAGE_QOS_CONTROL,
    ],
)
def test_what_is_not_served_is_invalid_device_request(client, opened, code):
    """[MS-FSA] 2.1.5.10: an FSCTL that the object store does not implement: INVALID_DEVICE_REQUEST."""
    with refused(Status.INVALID_DEVICE_REQUEST):
        client.ioctl(code, b"", opened.file_id)


@pytest.mark.parametrize("code", [code for code, known in FSCTLS.items() if known.target is Target.NONE])
def test_those_without_a_file_have_no_file(client, opened, code):
    """[MS-SMB2] 2.2.31: FileId is 0xFFFFFFFFFFFFFFFF twice for DFS referrals, pipe wait, interfaces,
    validation."""
    with refused(Status.INVALID_PARAMETER):
        client.ioctl(code, b"", opened.file_id)


@pytest.mark.parametrize("code", [code for code, known in FSCTLS.items() if known.target is Target.FILE])
def test_files_and_pipes_are_told_apart(client, code):
    """[MS-SMB2] 3.3.5.15: what is for files is not for pipes."""
    client.connect(client.server.shares["ipc$"])
    pipe = client.create("srvsvc")
    with refused(Status.INVALID_DEVICE_REQUEST):
        client.ioctl(code, bytes(64), pipe.file_id)
    with refused(Status.FILE_CLOSED):
        client.ioctl(code, bytes(64), NO_FILE)


# server-side copy


def key_of(client, found) -> bytes:
    _, data = client.ioctl(fscc.FSCTL_SRV_REQUEST_RESUME_KEY, b"", found.file_id)
    assert len(data) == 32
    return fsctl.ResumeKey.decode_untrusted(data).resume_key


def copy(client, key, target, *chunks, code=fscc.FSCTL_SRV_COPYCHUNK_WRITE):
    asked = fsctl.CopyChunkInput(source_key=key, chunks=tuple(CopyChunk(*one) for one in chunks)).encode()
    status, data = client.ioctl(code, asked, target.file_id, room=12)
    done = fsctl.CopyChunkResponse.decode_untrusted(data)
    return status, (done.chunks_written, done.chunk_bytes_written, done.total_bytes_written)


def test_chunks_are_copied(client, opened):
    """[MS-SMB2] 3.3.5.15.6 Handling a Server-Side Data Copy Request; 2.2.32.1 SRV_COPYCHUNK_RESPONSE."""
    target = client.create("b")
    got = copy(client, key_of(client, opened), target, (0, 0, 10), (5, 10, 5))
    assert got == (Status.SUCCESS, (2, 0, 15)) and content(client, target) == b"012345678956789"


@pytest.mark.parametrize(
    "chunks",
    [
        [(0, 0, 0)],
        [(0, 0, limits.COPYCHUNK_BYTES_MAX + 1)],
        [(0, 0, 1)] * (limits.COPYCHUNKS_MAX + 1),
        [(0, 0, limits.COPYCHUNK_BYTES_MAX)] * 17,
    ],
)
def test_over_the_limits_the_answer_is_the_limits(client, opened, chunks):
    """[MS-SMB2] 3.3.5.15.6.1 Sending an Invalid Parameter Server-Side Copy Response."""
    target = client.create("b")
    got = copy(client, key_of(client, opened), target, *chunks)
    bounds = (limits.COPYCHUNKS_MAX, limits.COPYCHUNK_BYTES_MAX, limits.COPYCHUNK_TOTAL_BYTES_MAX)
    assert got == (Status.INVALID_PARAMETER, bounds)


def test_past_the_end_of_the_source_is_invalid_view_size(client, opened):
    """[MS-SMB2] 3.3.5.15.6: "STATUS_INVALID_VIEW_SIZE"; what was copied before is told."""
    target = client.create("b")
    got = copy(client, key_of(client, opened), target, (0, 0, 10), (9999, 10, 5))
    assert got == (Status.INVALID_VIEW_SIZE, (1, 0, 10))


def test_a_key_is_good_in_its_session_only(world, client, opened):
    """[MS-SMB2] 3.3.5.15.6: no open with this SourceKey: OBJECT_NAME_NOT_FOUND."""
    key = key_of(client, opened)
    other = world.client(2)
    for asked in (key, bytes(24), b"x" * 24):
        with refused(Status.OBJECT_NAME_NOT_FOUND):
            copy(other, asked, other.create("b"), (0, 0, 1))
    client.close(opened.file_id)
    with refused(Status.OBJECT_NAME_NOT_FOUND):
        copy(client, key, client.create("b"), (0, 0, 1))


@pytest.mark.parametrize(
    ("source_access", "target_access", "code", "allowed"),
    [
        (dtyp.FILE_READ_DATA, dtyp.FILE_WRITE_DATA, fscc.FSCTL_SRV_COPYCHUNK_WRITE, True),
        (dtyp.FILE_EXECUTE, dtyp.FILE_WRITE_DATA, fscc.FSCTL_SRV_COPYCHUNK_WRITE, True),
        (dtyp.FILE_READ_ATTRIBUTES, dtyp.FILE_WRITE_DATA, fscc.FSCTL_SRV_COPYCHUNK_WRITE, False),
        (dtyp.FILE_READ_DATA, dtyp.FILE_READ_DATA, fscc.FSCTL_SRV_COPYCHUNK_WRITE, False),
        (dtyp.FILE_READ_DATA, dtyp.FILE_WRITE_DATA, fscc.FSCTL_SRV_COPYCHUNK, False),
        (dtyp.FILE_READ_DATA, dtyp.FILE_WRITE_DATA | dtyp.FILE_READ_DATA, fscc.FSCTL_SRV_COPYCHUNK, True),
    ],
)
def test_copies_need_their_access(client, opened, source_access, target_access, code, allowed):
    """[MS-SMB2] 3.3.5.15.6: source readable; target writable, for FSCTL_SRV_COPYCHUNK readable as well."""
    client.create("b")
    source = client.create("a", access=source_access)
    target = client.create("b", access=target_access)
    if allowed:
        assert copy(client, key_of(client, source), target, (0, 0, 1), code=code)[0] == Status.SUCCESS
    else:
        with refused(Status.ACCESS_DENIED):
            copy(client, key_of(client, source), target, (0, 0, 1), code=code)


def test_no_room_for_the_answer_is_invalid_parameter(client, opened):
    """[MS-SMB2] 3.3.5.15.5, 3.3.5.15.6: MaxOutputResponse below the answer."""
    with refused(Status.INVALID_PARAMETER):
        client.ioctl(fscc.FSCTL_SRV_REQUEST_RESUME_KEY, b"", opened.file_id, room=31)
    with refused(Status.INVALID_PARAMETER):
        client.ioctl(fscc.FSCTL_SRV_COPYCHUNK, bytes(32), opened.file_id, room=11)


# holes


def ranges(client, found, offset, length, room=65536):
    asked = fsctl.AllocatedRangesInput(file_offset=offset, length=length).encode()
    status, data = client.ioctl(fscc.FSCTL_QUERY_ALLOCATED_RANGES, asked, found.file_id, room=room)
    return status, [tuple(one) for one in fsctl.AllocatedRanges.decode_untrusted(data).ranges]


def test_holes_are_made_and_found(client):
    """[MS-FSCC] 2.3.83 FSCTL_SET_SPARSE, 2.3.85 FSCTL_SET_ZERO_DATA, 2.3.51 FSCTL_QUERY_ALLOCATED_RANGES."""
    found = client.create("a")
    client.write(found.file_id, b"x" * MIB)
    client.ioctl(fscc.FSCTL_SET_SPARSE, b"", found.file_id)
    zeros = fsctl.FileZeroData(file_offset=65536, beyond_final_zero=MIB - 65536).encode()
    client.ioctl(fscc.FSCTL_SET_ZERO_DATA, zeros, found.file_id)
    whole = [(0, 65536), (MIB - 65536, 65536)]
    assert ranges(client, found, 0, MIB) == (Status.SUCCESS, whole)
    assert ranges(client, found, 0, MIB, room=16) == (Status.BUFFER_OVERFLOW, whole[:1])
    assert content(client, found)[65536:-65536].strip(b"\0") == b""
    with refused(Status.BUFFER_TOO_SMALL):
        ranges(client, found, 0, MIB, room=15)
    client.ioctl(fscc.FSCTL_SET_SPARSE, b"\0", found.file_id)
    assert not client.open_of(found.file_id).file.node.attributes & fscc.FILE_ATTRIBUTE_SPARSE_FILE


@pytest.mark.parametrize(
    ("code", "data"),
    [
        (fscc.FSCTL_QUERY_ALLOCATED_RANGES, struct.pack("<qq", -1, 5)),
        (fscc.FSCTL_QUERY_ALLOCATED_RANGES, struct.pack("<qq", 1, 0x7FFFFFFFFFFFFFFF)),
        (fscc.FSCTL_QUERY_ALLOCATED_RANGES, bytes(15)),
        (fscc.FSCTL_SET_ZERO_DATA, struct.pack("<qq", 5, 4)),
        (fscc.FSCTL_SET_ZERO_DATA, bytes(3)),
        (fscc.FSCTL_FILE_LEVEL_TRIM, struct.pack("<II", 0, 0)),
        (fscc.FSCTL_FILE_LEVEL_TRIM, struct.pack("<IIQQ", 1, 1, 0, 5)),
        (fscc.FSCTL_FILE_LEVEL_TRIM, struct.pack("<II", 0, 5)),
        (fscc.FSCTL_QUERY_FILE_REGIONS, bytes(5)),
        (fscc.FSCTL_SET_COMPRESSION, b""),
    ],
)
def test_malformed_inputs_are_invalid_parameter(client, opened, code, data):
    """[MS-FSA] 2.1.5.10: an input buffer that is too small or makes no sense: INVALID_PARAMETER."""
    with refused(Status.INVALID_PARAMETER):
        client.ioctl(code, data, opened.file_id)


def test_directories_have_no_holes(client):
    """[MS-FSA] 2.1.5.10.38 FSCTL_SET_SPARSE: "STATUS_INVALID_PARAMETER" for a directory."""
    d = client.directory("d")
    for code in (
        fscc.FSCTL_SET_SPARSE,
        fscc.FSCTL_SET_ZERO_DATA,
        fscc.FSCTL_QUERY_ALLOCATED_RANGES,
        fscc.FSCTL_FILE_LEVEL_TRIM,
        fscc.FSCTL_QUERY_FILE_REGIONS,
    ):
        with refused(Status.INVALID_PARAMETER):
            client.ioctl(code, bytes(16), d.file_id)


@pytest.mark.parametrize(
    ("code", "data", "access"),
    [
        (fscc.FSCTL_SET_SPARSE, b"", dtyp.FILE_READ_DATA),
        (fscc.FSCTL_SET_ZERO_DATA, bytes(16), dtyp.FILE_READ_DATA),
        (fscc.FSCTL_QUERY_ALLOCATED_RANGES, struct.pack("<qq", 0, 5), dtyp.FILE_WRITE_DATA),
        (fscc.FSCTL_FILE_LEVEL_TRIM, struct.pack("<IIQQ", 0, 1, 0, 5), dtyp.FILE_READ_DATA),
        (fscc.FSCTL_SET_REPARSE_POINT, bytes(20), dtyp.FILE_READ_DATA),
        (fscc.FSCTL_SET_COMPRESSION, bytes(2), dtyp.FILE_READ_DATA),
        (fscc.FSCTL_DELETE_OBJECT_ID, b"", dtyp.FILE_READ_DATA),
    ],
)
def test_fsctls_need_their_access(client, opened, code, data, access):
    """[MS-FSA] 2.1.5.10: GrantedAccess without what the FSCTL needs: ACCESS_DENIED."""
    poor = client.create("a", access=access)
    with refused(Status.ACCESS_DENIED):
        client.ioctl(code, data, poor.file_id)


def test_trimmed_ranges_are_counted(client, opened):
    """[MS-FSCC] 2.3.14 FSCTL_FILE_LEVEL_TRIM Reply."""
    asked = fsctl.FileLevelTrimInput(ranges=(Range(0, 4096), Range(4096, 4096))).encode()
    _, data = client.ioctl(fscc.FSCTL_FILE_LEVEL_TRIM, asked, opened.file_id)
    assert fsctl.FileLevelTrim.decode_untrusted(data).num_ranges_processed == 2


def test_regions_end_at_the_valid_data(client, opened):
    """[MS-FSCC] 2.3.56 FSCTL_QUERY_FILE_REGIONS Reply."""
    _, data = client.ioctl(fscc.FSCTL_QUERY_FILE_REGIONS, b"", opened.file_id)
    assert [tuple(one) for one in fsctl.FileRegions.decode_untrusted(data).regions] == [(0, 10000, 1)]
    status, data = client.ioctl(fscc.FSCTL_QUERY_FILE_REGIONS, b"", opened.file_id, room=16)
    assert status == Status.BUFFER_OVERFLOW and len(data) == 16


# sharing clusters


def duplicate(client, source, target, source_offset=0, offset=0, length=8192, flags=None):
    common = {
        "source_file_id": source.file_id,
        "source_file_offset": source_offset,
        "target_file_offset": offset,
        "byte_count": length,
    }
    if flags is None:
        code, data = fscc.FSCTL_DUPLICATE_EXTENTS_TO_FILE, fsctl.DuplicateExtents(**common).encode()
    else:
        code = fscc.FSCTL_DUPLICATE_EXTENTS_TO_FILE_EX
        data = fsctl.DuplicateExtentsEx(**common, flags=flags).encode()
    return client.ioctl(code, data, target.file_id)


@pytest.mark.parametrize("flags", [None, 0, 1])
def test_extents_are_shared(client, opened, flags):
    """[MS-FSA] 2.1.5.10.4 FSCTL_DUPLICATE_EXTENTS_TO_FILE."""
    target = client.create("b")
    client.set(target.file_id, 1, fscc.FILE_END_OF_FILE_INFORMATION, struct.pack("<q", 8192))
    assert duplicate(client, opened, target, flags=flags) == (Status.SUCCESS, b"")
    assert content(client, target) == (b"0123456789" * 1000)[:8192]


def test_extents_that_cannot_be_shared(client, opened):
    """[MS-FSA] 2.1.5.10.4: a source that is not open: INVALID_HANDLE; a sparse source, a dense target:
    NOT_SUPPORTED; negative numbers, directories: INVALID_PARAMETER."""
    target, d = client.create("b"), client.directory("d")
    with refused(Status.INVALID_PARAMETER):
        duplicate(client, opened, target, length=-1)
    with refused(Status.INVALID_PARAMETER):
        duplicate(client, d, target)
    with refused(Status.INVALID_PARAMETER):
        duplicate(client, opened, target, flags=2)
    client.ioctl(fscc.FSCTL_SET_SPARSE, b"", opened.file_id)
    with refused(Status.NOT_SUPPORTED):
        duplicate(client, opened, target)
    client.close(opened.file_id)
    with refused(Status.INVALID_HANDLE):
        duplicate(client, opened, target)


# reparse points, object ids, compression, snapshots


def test_a_symbolic_link_is_set_read_and_removed(client, opened):
    """[MS-FSCC] 2.3.81 FSCTL_SET_REPARSE_POINT, 2.3.29 FSCTL_GET_REPARSE_POINT, 2.3.5
    FSCTL_DELETE_REPARSE_POINT."""
    found = client.create("link")
    with refused(Status.NOT_A_REPARSE_POINT):
        client.ioctl(fscc.FSCTL_GET_REPARSE_POINT, b"", found.file_id)
    buffer = encode_reparse(encode_symlink(Link("a", "a", fscc.SYMLINK_FLAG_RELATIVE)))
    client.ioctl(fscc.FSCTL_SET_REPARSE_POINT, buffer, found.file_id)
    assert client.ioctl(fscc.FSCTL_GET_REPARSE_POINT, b"", found.file_id) == (Status.SUCCESS, buffer)
    assert client.ioctl(fscc.FSCTL_GET_REPARSE_POINT, b"", found.file_id, room=10) == (
        Status.BUFFER_OVERFLOW,
        buffer[:10],
    )
    again = client.create("link", options=fscc.FILE_OPEN_REPARSE_POINT, disposition=fscc.FILE_OPEN)
    assert again.flags == 1 and again.file_attributes & fscc.FILE_ATTRIBUTE_REPARSE_POINT
    with refused(Status.STOPPED_ON_SYMLINK):
        client.create("link", disposition=fscc.FILE_OPEN)
    client.ioctl(fscc.FSCTL_DELETE_REPARSE_POINT, buffer[:4] + bytes(4), found.file_id)
    with refused(Status.NOT_A_REPARSE_POINT):
        client.ioctl(fscc.FSCTL_GET_REPARSE_POINT, b"", found.file_id)


def test_object_ids(client, opened):
    """[MS-FSCC] 2.3.1 FSCTL_CREATE_OR_GET_OBJECT_ID, 2.3.27 FSCTL_GET_OBJECT_ID, 2.3.3
    FSCTL_DELETE_OBJECT_ID."""
    with refused(Status.OBJECTID_NOT_FOUND):
        client.ioctl(fscc.FSCTL_GET_OBJECT_ID, b"", opened.file_id)
    _, made = client.ioctl(fscc.FSCTL_CREATE_OR_GET_OBJECT_ID, b"", opened.file_id)
    assert len(made) == 64 and any(made[:16])
    assert client.ioctl(fscc.FSCTL_GET_OBJECT_ID, b"", opened.file_id) == (Status.SUCCESS, made)
    with refused(Status.INVALID_PARAMETER):
        client.ioctl(fscc.FSCTL_GET_OBJECT_ID, b"", opened.file_id, room=63)
    client.ioctl(fscc.FSCTL_DELETE_OBJECT_ID, b"", opened.file_id)
    client.ioctl(fscc.FSCTL_SET_OBJECT_ID, bytes(range(64)), opened.file_id)
    assert client.ioctl(fscc.FSCTL_GET_OBJECT_ID, b"", opened.file_id)[1] == bytes(range(64))


def test_only_who_may_restore_sets_object_ids(world, client):
    """[MS-FSA] 2.1.5.10.34 FSCTL_SET_OBJECT_ID: without HasRestoreAccess ACCESS_DENIED."""
    plain = world.client(2, who=token("S-1-5-21-1-2-3-1002", admin=False))
    plain.tree = client.tree
    found = client.create("b")
    client.session.token = plain.session.token
    with refused(Status.ACCESS_DENIED):
        client.ioctl(fscc.FSCTL_SET_OBJECT_ID, bytes(64), found.file_id)


def test_nothing_is_compressed(client, opened):
    """[MS-FSCC] 2.3.18 FSCTL_GET_COMPRESSION Reply: COMPRESSION_FORMAT_NONE; any other cannot be set."""
    assert client.ioctl(fscc.FSCTL_GET_COMPRESSION, b"", opened.file_id) == (Status.SUCCESS, b"\0\0")
    client.ioctl(fscc.FSCTL_SET_COMPRESSION, b"\0\0", opened.file_id)
    with refused(Status.NOT_SUPPORTED):
        client.ioctl(fscc.FSCTL_SET_COMPRESSION, b"\1\0", opened.file_id)


def test_there_are_no_snapshots(client, opened):
    """[MS-SMB2] 2.2.32.2 SRV_SNAPSHOT_ARRAY: none, in Windows' form."""
    status, data = client.ioctl(fscc.FSCTL_SRV_ENUMERATE_SNAPSHOTS, b"", opened.file_id)
    assert status == Status.SUCCESS and fsctl.decode_snapshot_names_untrusted(data) == []
    with refused(Status.INVALID_PARAMETER):
        client.ioctl(fscc.FSCTL_SRV_ENUMERATE_SNAPSHOTS, b"", opened.file_id, room=15)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (fscc.FSCTL_DFS_GET_REFERRALS, Status.FS_DRIVER_REQUIRED),
        (fscc.FSCTL_DFS_GET_REFERRALS_EX, Status.FS_DRIVER_REQUIRED),
        (fscc.FSCTL_PIPE_WAIT, Status.INVALID_DEVICE_REQUEST),
    ],
)
def test_clean_refusals(client, code, status):
    """[MS-SMB2] 3.3.5.15.2 Handling a DFS Referral Information Request: no DFS: FS_DRIVER_REQUIRED."""
    with refused(status):
        client.ioctl(code, bytes(16))


# the connection


def test_the_interfaces_are_told():
    """[MS-SMB2] 2.2.32.5 NETWORK_INTERFACE_INFO Response."""
    interfaces = (
        NetworkInterface(1, "10.0.0.1", 10**9),
        NetworkInterface(2, "fd00::1", is_rss=False, is_rdma=True),
    )
    client = World(interfaces=interfaces).client()
    _, data = client.ioctl(fscc.FSCTL_QUERY_NETWORK_INTERFACE_INFO)
    found = fsctl.decode_interfaces_untrusted(data)
    assert [(one.if_index, one.address, one.capability) for one in found] == [
        (1, ip_address("10.0.0.1"), fsctl.RSS_CAPABLE),
        (2, ip_address("fd00::1"), fsctl.RDMA_CAPABLE),
    ]
    with refused(Status.BUFFER_TOO_SMALL):
        client.ioctl(fscc.FSCTL_QUERY_NETWORK_INTERFACE_INFO, room=100)


def test_no_interfaces_to_tell(world, client):
    """[MS-SMB2] 3.3.5.15.11: below SMB 3.0 INVALID_DEVICE_REQUEST; without any, NOT_SUPPORTED."""
    with refused(Status.NOT_SUPPORTED):
        client.ioctl(fscc.FSCTL_QUERY_NETWORK_INTERFACE_INFO)
    with refused(Status.INVALID_DEVICE_REQUEST):
        world.client(2, dialect=0x0210).ioctl(fscc.FSCTL_QUERY_NETWORK_INTERFACE_INFO)


def validation(client, **changes) -> bytes:
    said = {
        "capabilities": client.connection.client_capabilities,
        "guid": client.connection.client_guid,
        "security_mode": client.connection.client_security_mode,
        "dialects": (0x0202, 0x0302),
    }
    return fsctl.ValidateNegotiateInput(**(said | changes)).encode()


def test_an_honest_negotiation_is_confirmed(world):
    """[MS-SMB2] 3.3.5.15.12 Handling a Validate Negotiate Info Request."""
    client = world.client(dialect=0x0302)
    _, data = client.ioctl(fscc.FSCTL_VALIDATE_NEGOTIATE_INFO, validation(client))
    found = fsctl.ValidateNegotiate.decode_untrusted(data)
    assert (found.dialect, found.capabilities) == (0x0302, client.connection.server_capabilities)


@pytest.mark.parametrize(
    "changes",
    [
        {"capabilities": 0x40},
        {"guid": bytes(16)},
        {"security_mode": 3},
        {"dialects": (0x0202,)},
        {"dialects": ()},
        {"dialects": (0x0302, 0x0311)},
    ],
)
def test_a_negotiation_that_was_tampered_with_ends_the_connection(world, changes):
    """[MS-SMB2] 3.3.5.15.12: "the server MUST terminate the transport connection"."""
    client = world.client(dialect=0x0302)
    with pytest.raises(ProtocolViolation):
        client.ioctl(fscc.FSCTL_VALIDATE_NEGOTIATE_INFO, validation(client, **changes))


def test_validation_has_no_place_in_311(client):
    """[MS-SMB2] 3.3.5.15.12: "If Connection.Dialect is "3.1.1", the server MUST terminate the transport
    connection"."""
    with pytest.raises(ProtocolViolation):
        client.ioctl(fscc.FSCTL_VALIDATE_NEGOTIATE_INFO, validation(client))


# pipes


def test_a_pipe_that_is_there_need_not_be_waited_for(client):
    """[MS-FSCC] 2.3.49 FSCTL_PIPE_WAIT."""
    client.connect(client.server.shares["ipc$"])
    client.ioctl(fscc.FSCTL_PIPE_WAIT, fsctl.PipeWaitInput(name="srvsvc").encode())
    with refused(Status.OBJECT_NAME_NOT_FOUND):
        client.ioctl(fscc.FSCTL_PIPE_WAIT, fsctl.PipeWaitInput(name="nothing").encode())


# resiliency


def make_resilient(client, found, timeout_ms: int = 60_000):
    data = fsctl.NetworkResiliencyInput(timeout_ms=timeout_ms).encode()
    return client.ioctl(fscc.FSCTL_LMR_REQUEST_RESILIENCY, data, found.file_id)


def test_a_resilient_open_is_kept_without_any_caching(world, client, opened):
    """[MS-SMB2] 3.3.5.15.9 Handling a Resiliency Request; taken up by DHnC, until then it stands in others'
    way."""
    held = client.create("b", share=0)
    make_resilient(client, held)
    client.lost()
    other = world.client(2)
    with refused(Status.SHARING_VIOLATION):
        other.create("b")
    again = world.client().create("b", contexts=[dhnc(held)])
    assert again.file_id.persistent == held.file_id.persistent


def test_a_resilient_open_ends_with_its_time(world, client):
    """[MS-SMB2] 3.3.2.4 Resilient Open Scavenger Timer."""
    held = client.create("b", share=0)
    make_resilient(client, held, 5000)
    client.lost()

    async def wait() -> None:
        await world.runtime.sleep(7)

    world.runtime.run(wait())
    assert not world.server.opens
    world.client(2).create("b")


def test_resiliency_that_cannot_be(world, client, opened):
    """[MS-SMB2] 3.3.5.15.9: over MaxResiliencyTimeout or malformed: INVALID_PARAMETER; SMB 2.0.2 has it
    not."""
    with refused(Status.INVALID_PARAMETER):
        make_resilient(client, opened, 300_001)
    with refused(Status.INVALID_PARAMETER):
        client.ioctl(fscc.FSCTL_LMR_REQUEST_RESILIENCY, bytes(7), opened.file_id)
    with refused(Status.INVALID_PARAMETER):
        make_resilient(client, client.directory("d"))
    old = world.client(2, dialect=0x0202)
    with refused(Status.INVALID_DEVICE_REQUEST):
        make_resilient(old, old.create("b"))
