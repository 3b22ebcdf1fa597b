"""[MS-FSCC] 2.4 File Information Classes: those of one file, to query and to set.

Directory listings: `directory.py`; EAs: `ea.py`; quotas: `quota.py`. Times are FILETIME, sizes bytes.
"""

from __future__ import annotations

from struct import Struct
from typing import Annotated, ClassVar, Final, NamedTuple

from smbproto import limits
from smbproto.codec import (
    Buffer,
    Message,
    Names,
    bytes16,
    decode_utf16,
    encode_utf16,
    i64,
    reserved1,
    reserved2,
    reserved4,
    structure,
    text32,
    u8,
    u16,
    u32,
    u64,
)
from smbproto.fscc.chain import entries_untrusted, join_entries, name_untrusted
from smbproto.fscc.fsctl_codes import FILE_ATTRIBUTE_NAMES

ATTRIBUTES = Names(FILE_ATTRIBUTE_NAMES)

# For the hot path.
# CreationTime, LastAccessTime, LastWriteTime, ChangeTime, FileAttributes
BASIC: Final = Struct("<qqqqI4x")
# AllocationSize, EndOfFile, NumberOfLinks, DeletePending, Directory
STANDARD: Final = Struct("<QQIBB2x")
# basic; standard; IndexNumber; EaSize; AccessFlags; CurrentByteOffset; Mode; AlignmentRequirement;
# FileNameLength
ALL: Final = Struct("<qqqqI4xQQIBB2xQIIQIII")
# four times, AllocationSize, EndOfFile, FileAttributes
NETWORK_OPEN: Final = Struct("<qqqqQQI4x")


@structure()
class FileAccessInformation(Message):
    """[MS-FSCC] 2.4.1 FileAccessInformation."""

    access_flags: u32


@structure()
class FileAlignmentInformation(Message):
    """[MS-FSCC] 2.4.3 FileAlignmentInformation."""

    alignment_requirement: u32 = 0


@structure()
class FileAllInformation(Message):
    """[MS-FSCC] 2.4.2 FileAllInformation."""

    creation_time: i64
    last_access_time: i64
    last_write_time: i64
    change_time: i64
    file_attributes: Annotated[u32, ATTRIBUTES]
    reserved: ClassVar[reserved4]
    allocation_size: u64
    end_of_file: u64
    number_of_links: u32
    delete_pending: u8
    directory: u8
    reserved_2: ClassVar[reserved2]
    index_number: u64
    ea_size: u32
    access_flags: u32
    current_byte_offset: u64
    mode: u32
    alignment_requirement: u32
    file_name: text32


@structure()
class FileAllocationInformation(Message):
    """[MS-FSCC] 2.4.4 FileAllocationInformation."""

    allocation_size: i64


@structure()
class FileAlternateNameInformation(Message):
    """[MS-FSCC] 2.4.5 FileAlternateNameInformation."""

    file_name: text32


@structure()
class FileAttributeTagInformation(Message):
    """[MS-FSCC] 2.4.6 FileAttributeTagInformation."""

    file_attributes: Annotated[u32, ATTRIBUTES]
    reparse_tag: u32 = 0


@structure()
class FileBasicInformation(Message):
    """[MS-FSCC] 2.4.7 FileBasicInformation. To set: a time of 0 stays, -1 stops and -2 resumes automatic
    changes."""

    creation_time: i64 = 0
    last_access_time: i64 = 0
    last_write_time: i64 = 0
    change_time: i64 = 0
    file_attributes: Annotated[u32, ATTRIBUTES] = 0
    reserved: ClassVar[reserved4]


@structure()
class FileCompressionInformation(Message):
    """[MS-FSCC] 2.4.9 FileCompressionInformation."""

    compressed_file_size: u64
    compression_format: u16 = 0
    compression_unit_shift: u8 = 0
    chunk_shift: u8 = 0
    cluster_shift: u8 = 0
    reserved: ClassVar[reserved1]
    reserved_2: ClassVar[reserved2]


@structure()
class FileDispositionInformation(Message):
    """[MS-FSCC] 2.4.11 FileDispositionInformation."""

    delete_pending: u8


@structure()
class FileDispositionInformationEx(Message):
    """[MS-FSCC] 2.4.12 FileDispositionInformationEx."""

    flags: u32


@structure()
class FileEaInformation(Message):
    """[MS-FSCC] 2.4.13 FileEaInformation."""

    ea_size: u32


@structure()
class FileEndOfFileInformation(Message):
    """[MS-FSCC] 2.4.14 FileEndOfFileInformation."""

    end_of_file: i64


@structure()
class FileIdInformation(Message):
    """[MS-FSCC] 2.4.26 FileIdInformation."""

    volume_serial_number: u64
    file_id: bytes16


@structure()
class FileInternalInformation(Message):
    """[MS-FSCC] 2.4.27 FileInternalInformation."""

    index_number: u64


@structure()
class FileLinkInformation(Message):
    """[MS-FSCC] 2.4.28.2 FileLinkInformation for the SMB2 Protocol."""

    replace_if_exists: u8 = 0
    reserved: ClassVar[reserved1]
    reserved_2: ClassVar[reserved2]
    reserved_3: ClassVar[reserved4]
    root_directory: u64 = 0
    file_name: text32


@structure()
class FileModeInformation(Message):
    """[MS-FSCC] 2.4.31 FileModeInformation."""

    mode: u32


@structure()
class FileNameInformation(Message):
    """[MS-FSCC] 2.4.32 FileNameInformation; 2.4.35 FileNormalizedNameInformation."""

    file_name: text32


@structure()
class FileNetworkOpenInformation(Message):
    """[MS-FSCC] 2.4.34 FileNetworkOpenInformation."""

    creation_time: i64
    last_access_time: i64
    last_write_time: i64
    change_time: i64
    allocation_size: u64
    end_of_file: u64
    file_attributes: Annotated[u32, ATTRIBUTES]
    reserved: ClassVar[reserved4]


@structure()
class FileObjectIdInformation(Message):
    """[MS-FSCC] 2.4.36.1 FILE_OBJECTID_INFORMATION_TYPE_1."""

    file_reference_number: u64
    object_id: bytes16
    birth_volume_id: bytes16 = bytes(16)
    birth_object_id: bytes16 = bytes(16)
    domain_id: bytes16 = bytes(16)


@structure()
class FilePipeInformation(Message):
    """[MS-FSCC] 2.4.37 FilePipeInformation."""

    read_mode: u32
    completion_mode: u32


@structure()
class FilePipeLocalInformation(Message):
    """[MS-FSCC] 2.4.38 FilePipeLocalInformation."""

    named_pipe_type: u32
    named_pipe_configuration: u32
    maximum_instances: u32
    current_instances: u32
    inbound_quota: u32
    read_data_available: u32
    outbound_quota: u32
    write_quota_available: u32
    named_pipe_state: u32
    named_pipe_end: u32


@structure()
class FilePipeRemoteInformation(Message):
    """[MS-FSCC] 2.4.39 FilePipeRemoteInformation."""

    collect_data_time: u64
    maximum_collection_count: u32


@structure()
class FilePositionInformation(Message):
    """[MS-FSCC] 2.4.40 FilePositionInformation."""

    current_byte_offset: i64


@structure()
class FileRenameInformation(Message):
    """[MS-FSCC] 2.4.42.2 FileRenameInformation for the SMB2 Protocol."""

    replace_if_exists: u8 = 0
    reserved: ClassVar[reserved1]
    reserved_2: ClassVar[reserved2]
    reserved_3: ClassVar[reserved4]
    root_directory: u64 = 0
    file_name: text32


@structure()
class FileRenameInformationEx(Message):
    """[MS-FSCC] 2.4.43 FileRenameInformationEx."""

    flags: u32 = 0
    reserved: ClassVar[reserved4]
    root_directory: u64 = 0
    file_name: text32


@structure()
class FileReparsePointInformation(Message):
    """[MS-FSCC] 2.4.44 FileReparsePointInformation."""

    file_reference_number: u64
    tag: u32


@structure()
class FileSfioReserveInformation(Message):
    """[MS-FSCC] 2.4.45 FileSfioReserveInformation."""

    requests_per_period: u32
    period: u32
    retry_failures: u8
    discardable: u8
    reserved: ClassVar[reserved2]
    request_size: u32
    num_outstanding_requests: u32


@structure()
class FileShortNameInformation(Message):
    """[MS-FSCC] 2.4.46 FileShortNameInformation."""

    file_name: text32


@structure()
class FileStandardInformation(Message):
    """[MS-FSCC] 2.4.47 FileStandardInformation."""

    allocation_size: u64
    end_of_file: u64
    number_of_links: u32
    delete_pending: u8
    directory: u8
    reserved: ClassVar[reserved2]


@structure()
class FileStandardLinkInformation(Message):
    """[MS-FSCC] 2.4.48 FileStandardLinkInformation."""

    number_of_accessible_links: u32
    total_number_of_links: u32
    delete_pending: u8
    directory: u8
    reserved: ClassVar[reserved2]


@structure()
class FileValidDataLengthInformation(Message):
    """[MS-FSCC] 2.4.50 FileValidDataLengthInformation."""

    valid_data_length: i64


class Stream(NamedTuple):
    """An entry of [MS-FSCC] 2.4.49 FileStreamInformation; `name` as ":name:$DATA"."""

    name: str
    size: int
    allocation_size: int


_STREAM = Struct("<IIQQ")  # NextEntryOffset, StreamNameLength, StreamSize, StreamAllocationSize


def encode_stream(stream: Stream) -> bytes:
    """One entry, for `join_entries(..., align=8)`; NextEntryOffset is 0."""
    name = encode_utf16(stream.name)
    return _STREAM.pack(0, len(name), stream.size, stream.allocation_size) + name


def encode_streams(streams: list[Stream]) -> bytes:
    return join_entries([encode_stream(stream) for stream in streams], 8)


def decode_streams_untrusted(data: Buffer) -> list[Stream]:
    """Raises: WireError."""
    streams = []
    for entry in entries_untrusted(data, _STREAM.size, 8, limits.STREAM_ENTRIES_MAX):
        _, length, size, allocated = _STREAM.unpack_from(entry)
        streams.append(Stream(decode_utf16(name_untrusted(entry, _STREAM.size, length)), size, allocated))
    return streams


class HardLink(NamedTuple):
    """An entry of [MS-FSCC] 2.4.17 FileHardLinkInformation."""

    parent_file_id: int
    file_name: str


_LINKS = Struct("<II")  # BytesNeeded, EntriesReturned
_LINK = Struct("<IxxxxqI")  # NextEntryOffset, padding, ParentFileId, FileNameLength in characters


def encode_hard_links(links: list[HardLink]) -> bytes:
    """All links; whoever has less room answers STATUS_BUFFER_OVERFLOW with the head and what fits."""
    entries = []
    for link in links:
        name = encode_utf16(link.file_name)
        entries.append(_LINK.pack(0, link.parent_file_id, len(name) // 2) + name)
    body = join_entries(entries, 8)
    return _LINKS.pack(_LINKS.size + len(body), len(links)) + body
