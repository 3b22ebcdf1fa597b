"""What FSCTLs take and give.

Source: [MS-FSCC] 2.3 FSCTL Structures; [MS-SMB2] 2.2.31 SMB2 IOCTL Request and 2.2.32 SMB2 IOCTL Response,
for those of the server (copy chunk, resume key, snapshots, resiliency, interfaces, negotiate validation);
[MS-DFSC] 2.2.2. Names of classes follow the FSCTL: `XxxInput` where the output differs. Offsets and lengths
are bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from struct import Struct
from typing import Annotated, Any, ClassVar, Final, NamedTuple

from smbproto import limits
from smbproto.codec import (
    U16S,
    UTF16,
    Buffer,
    Codec,
    Counted,
    FileId,
    Fixed,
    Message,
    Trailing,
    bytes16,
    decode_utf16,
    encode_utf16,
    i64,
    reserved1,
    reserved2,
    reserved4,
    rest,
    rest_text,
    structure,
    u8,
    u16,
    u32,
    u64,
)
from smbproto.errors import WireError
from smbproto.fscc.chain import entries_untrusted, join_entries

COMPRESSION_FORMAT_NONE: Final = 0x0000
COMPRESSION_FORMAT_DEFAULT: Final = 0x0001
COMPRESSION_FORMAT_LZNT1: Final = 0x0002

CHECKSUM_TYPE_NONE: Final = 0x0000
CHECKSUM_TYPE_CRC32: Final = 0x0001
CHECKSUM_TYPE_CRC64: Final = 0x0002
CHECKSUM_TYPE_UNCHANGED: Final = 0xFFFF
FSCTL_INTEGRITY_FLAG_CHECKSUM_ENFORCEMENT_OFF: Final = 0x00000001

DUPLICATE_EXTENTS_DATA_EX_SOURCE_ATOMIC: Final = 0x00000001

FILE_REGION_USAGE_VALID_CACHED_DATA: Final = 0x00000001

RSS_CAPABLE: Final = 0x00000001
RDMA_CAPABLE: Final = 0x00000002
_AF_INET: Final = 0x0002
_AF_INET6: Final = 0x0017

RESUME_KEY_BYTES: Final = 24


def _rows(row: Struct, make: type[Any], rows_max: int) -> Codec:
    """A codec of an array: one `make(*columns)` a row."""

    def decode(data: Buffer) -> tuple[Any, ...]:
        if len(data) % row.size or len(data) > rows_max * row.size:
            raise WireError(f"{len(data)} bytes are no array of at most {rows_max} times {row.size}")
        return tuple(make(*columns) for columns in row.iter_unpack(data))

    def encode(values: Iterable[Any]) -> bytes:
        return b"".join(row.pack(*value) for value in values)

    return Codec(decode, encode)


class Range(NamedTuple):
    """[MS-FSCC] 2.3.52 FSCTL_QUERY_ALLOCATED_RANGES Reply: FILE_ALLOCATED_RANGE_BUFFER; also a range to
    trim."""

    offset: int
    length: int


class CopyChunk(NamedTuple):
    """[MS-SMB2] 2.2.31.1.1 SRV_COPYCHUNK."""

    source_offset: int
    target_offset: int
    length: int


class Region(NamedTuple):
    """[MS-FSCC] 2.3.56.1 FILE_REGION_INFO."""

    offset: int
    length: int
    usage: int


class RetrievalExtent(NamedTuple):
    """[MS-FSCC] 2.3.34 FSCTL_GET_RETRIEVAL_POINTERS Reply: EXTENTS. Units: clusters."""

    next_vcn: int
    lcn: int


_RANGE = Struct("<qq")
_TRIM_RANGE = Struct("<QQ")
_CHUNK = Struct("<QQI4x")
_REGION = Struct("<qqI4x")
_EXTENT = Struct("<qq")

Ranges = Annotated[tuple[Range, ...], Trailing(_rows(_RANGE, Range, limits.ALLOCATED_RANGES_MAX))]


def decode_set_sparse_untrusted(data: Buffer) -> bool:
    """[MS-FSCC] 2.3.73 FSCTL_SET_SPARSE Request: an empty one sets."""
    return not len(data) or data[0] != 0


@structure()
class FileZeroData(Message):
    """[MS-FSCC] 2.3.79 FSCTL_SET_ZERO_DATA Request: FILE_ZERO_DATA_INFORMATION."""

    file_offset: i64
    beyond_final_zero: i64


@structure()
class AllocatedRangesInput(Message):
    """[MS-FSCC] 2.3.51 FSCTL_QUERY_ALLOCATED_RANGES Request."""

    file_offset: i64
    length: i64


@structure()
class AllocatedRanges(Message):
    """[MS-FSCC] 2.3.52 FSCTL_QUERY_ALLOCATED_RANGES Reply."""

    ranges: Ranges = ()


@structure()
class FileLevelTrimInput(Message):
    """[MS-FSCC] 2.3.13 FSCTL_FILE_LEVEL_TRIM Request: FILE_LEVEL_TRIM."""

    key: u32 = 0
    ranges: Annotated[
        tuple[Range, ...],
        Counted("I", _rows(_TRIM_RANGE, Range, limits.TRIM_EXTENTS_MAX), unit=_TRIM_RANGE.size),
    ]


@structure()
class FileLevelTrim(Message):
    """[MS-FSCC] 2.3.14 FSCTL_FILE_LEVEL_TRIM Reply: FILE_LEVEL_TRIM_OUTPUT."""

    num_ranges_processed: u32


@structure()
class DuplicateExtents(Message):
    """[MS-FSCC] 2.3.7.2 SMB2_DUPLICATE_EXTENTS_DATA: FSCTL_DUPLICATE_EXTENTS_TO_FILE Request."""

    source_file_id: FileId
    source_file_offset: i64
    target_file_offset: i64
    byte_count: i64


@structure()
class DuplicateExtentsEx(Message):
    """[MS-FSCC] 2.3.9.2 SMB2_DUPLICATE_EXTENTS_DATA_EX: FSCTL_DUPLICATE_EXTENTS_TO_FILE_EX Request."""

    structure_size: u64 = 0x30
    source_file_id: FileId
    source_file_offset: i64
    target_file_offset: i64
    byte_count: i64
    flags: u32 = 0
    reserved: ClassVar[reserved4]


@structure()
class CopyChunkInput(Message):
    """[MS-SMB2] 2.2.31.1 SRV_COPYCHUNK_COPY: FSCTL_SRV_COPYCHUNK, FSCTL_SRV_COPYCHUNK_WRITE Request."""

    source_key: Annotated[bytes, Fixed("24s", "bytes")]
    chunks: Annotated[
        tuple[CopyChunk, ...],
        Counted("I", _rows(_CHUNK, CopyChunk, limits.COPYCHUNKS_READ_MAX), unit=_CHUNK.size),
    ]
    reserved: ClassVar[reserved4]


@structure()
class CopyChunkResponse(Message):
    """[MS-SMB2] 2.2.32.1 SRV_COPYCHUNK_RESPONSE. With STATUS_INVALID_PARAMETER: the server's limits."""

    chunks_written: u32
    chunk_bytes_written: u32
    total_bytes_written: u32


@structure()
class ResumeKey(Message):
    """[MS-SMB2] 2.2.32.3 SRV_REQUEST_RESUME_KEY Response."""

    resume_key: Annotated[bytes, Fixed("24s", "bytes")]
    context_length: ClassVar[reserved4]
    context: rest = bytes(4)  # unused; Windows sends four bytes


@structure()
class Snapshots(Message):
    """[MS-SMB2] 2.2.32.2 SRV_SNAPSHOT_ARRAY. `array` is the tokens ("@GMT-..."), each with a NUL, and one
    more NUL."""

    number_of_snapshots: u32
    number_of_snapshots_returned: u32
    array: Annotated[str, Counted("I", UTF16)] = ""


def encode_snapshots(tokens: Iterable[str], room_bytes: int) -> bytes:
    """All tokens, or, with room for less, their number and the room that the array needs. No tokens: as
    Windows, an array of one NUL pair is announced."""
    names = list(tokens)
    array = "".join(name + "\0" for name in names) + "\0"
    size = len(encode_utf16(array))
    head = Snapshots(number_of_snapshots=len(names), number_of_snapshots_returned=len(names), array=array)
    if names and 12 + size <= room_bytes:
        return head.encode()
    return Struct("<III4x").pack(len(names), 0, size)


@structure()
class NetworkResiliencyInput(Message):
    """[MS-SMB2] 2.2.31.3 NETWORK_RESILIENCY_REQUEST Request."""

    timeout_ms: u32
    reserved: ClassVar[reserved4]


@structure()
class ValidateNegotiateInput(Message):
    """[MS-SMB2] 2.2.31.4 VALIDATE_NEGOTIATE_INFO Request."""

    capabilities: u32
    guid: bytes16
    security_mode: u16
    dialects: Annotated[tuple[int, ...], Counted("H", U16S, unit=2)]


@structure()
class ValidateNegotiate(Message):
    """[MS-SMB2] 2.2.32.6 VALIDATE_NEGOTIATE_INFO Response."""

    capabilities: u32
    guid: bytes16
    security_mode: u16
    dialect: u16


class NetworkInterface(NamedTuple):
    """[MS-SMB2] 2.2.32.5 NETWORK_INTERFACE_INFO Response, one address of one interface."""

    if_index: int
    address: IPv4Address | IPv6Address
    capability: int = 0  # RSS_CAPABLE, RDMA_CAPABLE
    link_speed_bits_per_s: int = 0
    port: int = 0


_INTERFACE = Struct("<IIII Q128s")  # Next, IfIndex, Capability, Reserved, LinkSpeed, SockAddr_Storage


def _encode_address(interface: NetworkInterface) -> bytes:
    """[MS-SMB2] 2.2.32.5.1.1 SOCKADDR_IN, 2.2.32.5.1.2 SOCKADDR_IN6: the family little-endian, the rest as in
    memory."""
    address = interface.address
    port = interface.port.to_bytes(2, "big")
    if isinstance(address, IPv4Address):
        return _AF_INET.to_bytes(2, "little") + port + address.packed
    return _AF_INET6.to_bytes(2, "little") + port + bytes(4) + address.packed


def encode_interfaces(interfaces: Iterable[NetworkInterface]) -> bytes:
    entries = [
        _INTERFACE.pack(0, one.if_index, one.capability, 0, one.link_speed_bits_per_s, _encode_address(one))
        for one in interfaces
    ]
    return join_entries(entries, 8)


def decode_interfaces_untrusted(data: Buffer) -> list[NetworkInterface]:
    """Those with an address of a family that we know. Raises: WireError."""
    found = []
    for entry in entries_untrusted(data, _INTERFACE.size, 1, limits.INTERFACES_MAX):
        _, index, capability, _, speed, storage = _INTERFACE.unpack_from(entry)
        family = int.from_bytes(storage[:2], "little")
        port = int.from_bytes(storage[2:4], "big")
        address: IPv4Address | IPv6Address
        if family == _AF_INET:
            address = IPv4Address(storage[4:8])
        elif family == _AF_INET6:
            address = IPv6Address(storage[8:24])
        else:
            continue
        found.append(NetworkInterface(index, address, capability, speed, port))
    return found


@structure()
class ObjectIdBuffer(Message):
    """[MS-FSCC] 2.1.3.1 FILE_OBJECTID_BUFFER Type 1."""

    object_id: bytes16
    birth_volume_id: bytes16 = bytes(16)
    birth_object_id: bytes16 = bytes(16)
    domain_id: bytes16 = bytes(16)


@structure()
class CompressionState(Message):
    """[MS-FSCC] 2.3.18 FSCTL_GET_COMPRESSION Reply; 2.3.65 FSCTL_SET_COMPRESSION Request."""

    compression_state: u16


@structure()
class IntegrityInformation(Message):
    """[MS-FSCC] 2.3.20 FSCTL_GET_INTEGRITY_INFORMATION Reply."""

    checksum_algorithm: u16
    reserved: ClassVar[reserved2]
    flags: u32 = 0
    checksum_chunk_size_in_bytes: u32
    cluster_size_in_bytes: u32


@structure()
class SetIntegrityInput(Message):
    """[MS-FSCC] 2.3.71 FSCTL_SET_INTEGRITY_INFORMATION Request."""

    checksum_algorithm: u16
    reserved: ClassVar[reserved2]
    flags: u32


@structure()
class SetIntegrityExInput(Message):
    """[MS-FSCC] 2.3.72 FSCTL_SET_INTEGRITY_INFORMATION_EX Request."""

    enable_integrity: u8
    keep_integrity_state_unchanged: u8
    reserved: ClassVar[reserved2]
    flags: u32
    version: u8 = 1
    reserved_1: ClassVar[reserved1]
    reserved_2: ClassVar[reserved2]
    reserved_3: ClassVar[reserved4]


@structure()
class PipeWaitInput(Message):
    """[MS-FSCC] 2.3.49 FSCTL_PIPE_WAIT Request. The timeout counts 100 ns; it may be given as a negative
    number."""

    timeout: i64 = 0
    name: Annotated[str, Counted("I", UTF16)]
    timeout_specified: u8 = 0
    padding: ClassVar[reserved1]


@structure()
class PipePeek(Message):
    """[MS-FSCC] 2.3.46 FSCTL_PIPE_PEEK Reply."""

    named_pipe_state: u32
    read_data_available: u32
    number_of_messages: u32
    message_length: u32
    data: rest = b""


@structure()
class FileRegionInput(Message):
    """[MS-FSCC] 2.3.55 FSCTL_QUERY_FILE_REGIONS Request. The request may also be empty: the whole file."""

    file_offset: i64
    length: i64
    desired_usage: u32
    reserved: ClassVar[reserved4]


@structure()
class FileRegions(Message):
    """[MS-FSCC] 2.3.56 FSCTL_QUERY_FILE_REGIONS Reply."""

    flags: u32 = 0
    total_region_entry_count: u32
    regions: Annotated[
        tuple[Region, ...],
        Counted("I", _rows(_REGION, Region, limits.ALLOCATED_RANGES_MAX), unit=_REGION.size),
    ]
    reserved: ClassVar[reserved4]


@structure()
class RetrievalPointersInput(Message):
    """[MS-FSCC] 2.3.33 FSCTL_GET_RETRIEVAL_POINTERS Request."""

    starting_vcn: i64


@structure()
class RetrievalPointers(Message):
    """[MS-FSCC] 2.3.34 FSCTL_GET_RETRIEVAL_POINTERS Reply."""

    extents: Annotated[
        tuple[RetrievalExtent, ...],
        Counted("I", _rows(_EXTENT, RetrievalExtent, limits.ALLOCATED_RANGES_MAX), unit=_EXTENT.size),
    ]
    padding: ClassVar[reserved4]
    starting_vcn: i64


@structure()
class NtfsVolumeData(Message):
    """[MS-FSCC] 2.3.26 FSCTL_GET_NTFS_VOLUME_DATA Reply."""

    volume_serial_number: u64
    number_sectors: i64
    total_clusters: i64
    free_clusters: i64
    total_reserved: i64 = 0
    bytes_per_sector: u32
    bytes_per_cluster: u32
    bytes_per_file_record_segment: u32
    clusters_per_file_record_segment: u32
    mft_valid_data_length: i64 = 0
    mft_start_lcn: i64 = 0
    mft2_start_lcn: i64 = 0
    mft_zone_start: i64 = 0
    mft_zone_end: i64 = 0


@structure()
class OffloadReadInput(Message):
    """[MS-FSCC] 2.3.41 FSCTL_OFFLOAD_READ Request."""

    size: u32 = 32
    flags: u32 = 0
    token_time_to_live_ms: u32 = 0
    reserved: ClassVar[reserved4]
    file_offset: u64
    copy_length: u64


@structure()
class OffloadRead(Message):
    """[MS-FSCC] 2.3.42 FSCTL_OFFLOAD_READ Reply."""

    size: u32 = 528
    flags: u32 = 0
    transfer_length: u64
    token: Annotated[bytes, Fixed("512s", "bytes")]


@structure()
class OffloadWriteInput(Message):
    """[MS-FSCC] 2.3.44 FSCTL_OFFLOAD_WRITE Request."""

    size: u32 = 544
    flags: u32 = 0
    file_offset: u64
    copy_length: u64
    transfer_offset: u64
    token: Annotated[bytes, Fixed("512s", "bytes")]


@structure()
class OffloadWrite(Message):
    """[MS-FSCC] 2.3.45 FSCTL_OFFLOAD_WRITE Reply."""

    size: u32 = 16
    flags: u32 = 0
    length_written: u64


@structure()
class DfsReferralInput(Message):
    """[MS-DFSC] 2.2.2 REQ_GET_DFS_REFERRAL. The name ends with a NUL."""

    max_referral_level: u16
    request_file_name: rest_text


def decode_snapshot_names_untrusted(data: Buffer) -> list[str]:
    """The tokens of a SRV_SNAPSHOT_ARRAY that has room for them. Raises: WireError."""
    if len(data) < 12:
        raise WireError(f"a snapshot array of {len(data)} bytes")
    _, returned, size = Struct("<III").unpack_from(data)
    if not returned:
        return []
    if 12 + size > len(data):
        raise WireError(f"snapshot names of {size} bytes in {len(data)}")
    return [name for name in decode_utf16(data[12 : 12 + size]).split("\0") if name]
