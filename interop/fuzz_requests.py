"""Well-formed SMB2 request bodies, one of each kind a server takes, for a fuzzer to spoil.

A body starts at its StructureSize ([MS-SMB2] 2.2); offsets in it count from the SMB2 header, 64 bytes before.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

HEADER = 64
NEGOTIATE, SESSION_SETUP, LOGOFF, TREE_CONNECT, TREE_DISCONNECT, CREATE, CLOSE, FLUSH, READ, WRITE = range(10)
LOCK, IOCTL, CANCEL, ECHO, QUERY_DIRECTORY, CHANGE_NOTIFY, QUERY_INFO, SET_INFO, OPLOCK_BREAK = range(10, 19)

FSCTLS = (
    0x00060194,
    0x0011400C,
    0x00110018,
    0x0011C017,
    0x00144064,
    0x00140078,
    0x001440F2,
    0x001480F2,
    0x001401D4,
    0x001401FC,
    0x00140204,
    0x000900A4,
    0x000900A8,
    0x000900AC,
    0x000900C4,
    0x000940CF,
    0x000980C8,
    0x00098208,
    0x00098344,
    0x0009C040,
    0x0009003C,
    0x0009009C,
    0x000900C0,
    0x0009027C,
    0x0009C280,
    0x000903E8,
    0x00090300,
)
FILE_CLASSES = tuple(range(4, 77))
DIRECTORY_CLASSES = (1, 2, 3, 12, 37, 38, 60, 78)
CONTEXTS = (b"ExtA", b"SecD", b"DHnQ", b"DHnC", b"AlSi", b"MxAc", b"TWrp", b"QFid", b"RqLs", b"DH2Q", b"DH2C")


def _context_chain(sizes: dict[bytes, int]) -> bytes:
    """Create contexts of zeros with the given data sizes, each padded to eight bytes ([MS-SMB2] 2.2.13.2)."""
    chain = b""
    for index, (name, size) in enumerate(sizes.items()):
        body = name + bytes(4) + bytes(size)
        body += bytes(-len(body) % 8)
        following = 0 if index == len(sizes) - 1 else 16 + len(body)
        chain += struct.pack("<IHHHHI", following, 16, 4, 0, 24 if size else 0, size) + body
    return chain


def create(name: str, access: int = 0x001F01FF, disposition: int = 3, options: int = 0,
           contexts: dict[bytes, int] | None = None, oplock: int = 0) -> bytes:
    encoded = name.encode("utf-16-le")
    padded = encoded + bytes(-len(encoded) % 8)
    chain = _context_chain(contexts) if contexts else b""
    start = HEADER + 56
    return struct.pack("<HBBIQQIIIIIHHII", 57, 0, oplock, 2, 0, 0, access, 0, 7, disposition, options, start,
                       len(encoded), start + len(padded) if chain else 0, len(chain)) + padded + chain + b"\0"


def read(file_id: bytes, length: int = 4096, offset: int = 0) -> bytes:
    return (
        struct.pack("<HBBIQ", 49, 80, 0, length, offset)
        + file_id
        + struct.pack("<IIIHH", 0, 0, 0, 0, 0)
        + b"\0"
    )


def write(file_id: bytes, data: bytes, offset: int = 0) -> bytes:
    fixed = struct.pack("<HHIQ", 49, HEADER + 48, len(data), offset)
    return fixed + file_id + struct.pack("<IIHHI", 0, 0, 0, 0, 0) + data


def lock(file_id: bytes, ranges: list[tuple[int, int, int]]) -> bytes:
    elements = b"".join(struct.pack("<QQII", *element, 0) for element in ranges)
    return struct.pack("<HHI", 48, len(ranges), 0) + file_id + elements


def ioctl(file_id: bytes, code: int, data: bytes, response_bytes_max: int = 4096) -> bytes:
    return (struct.pack("<HHI", 57, 0, code) + file_id
            + struct.pack("<IIIIIIII", HEADER + 56, len(data), 0, 0, 0, response_bytes_max, 1, 0) + data)


def query_directory(file_id: bytes, information_class: int, pattern: str) -> bytes:
    encoded = pattern.encode("utf-16-le")
    return (struct.pack("<HBBI", 33, information_class, 1, 0) + file_id
            + struct.pack("<HHI", HEADER + 32, len(encoded), 65536) + encoded)


def query_info(file_id: bytes, kind: int, information_class: int, data: bytes = b"") -> bytes:
    return (
        struct.pack("<HBBIHHIII", 41, kind, information_class, 65536, HEADER + 40, 0, len(data), 7, 0)
        + file_id
        + (data or b"\0")
    )


def set_info(file_id: bytes, kind: int, information_class: int, data: bytes) -> bytes:
    return struct.pack("<HBBIHHI", 33, kind, information_class, len(data), HEADER + 32, 0, 7) + file_id + data


def bodies(file_id: bytes, folder_id: bytes, folder: str) -> Iterator[tuple[int, bytes]]:
    """One or more requests of every command, on an open file and an open folder."""
    name = f"{folder}\\victim".encode("utf-16-le")
    rename = struct.pack("<B7xQI", 1, 0, len(name)) + name
    for sizes in ({context: 32} for context in CONTEXTS):
        yield CREATE, create(f"{folder}\\c", contexts=sizes, oplock=0xFF)
    yield CREATE, create(f"{folder}\\d", disposition=2, options=1)
    yield CREATE, create(f"{folder}\\f:stream:$DATA", contexts=dict.fromkeys(CONTEXTS, 52))
    yield READ, read(file_id)
    yield WRITE, write(file_id, bytes(range(256)) * 8)
    yield LOCK, lock(file_id, [(0, 10, 2), (20, 5, 1)])
    for code in FSCTLS:
        yield IOCTL, ioctl(file_id, code, bytes(96))
        yield IOCTL, ioctl(b"\xff" * 16, code, bytes(24))
    for information_class in DIRECTORY_CLASSES:
        yield QUERY_DIRECTORY, query_directory(folder_id, information_class, "*")
    yield CHANGE_NOTIFY, struct.pack("<HHI", 32, 1, 4096) + folder_id + struct.pack("<II", 0xFFF, 0)
    for information_class in FILE_CLASSES:
        yield QUERY_INFO, query_info(file_id, 1, information_class)
        yield SET_INFO, set_info(file_id, 1, information_class, rename)
    for information_class in range(1, 13):
        yield QUERY_INFO, query_info(file_id, 2, information_class)
    yield QUERY_INFO, query_info(file_id, 3, 0)
    yield QUERY_INFO, query_info(file_id, 4, 0, bytes(24))
    yield SET_INFO, set_info(file_id, 3, 0, struct.pack("<BBHIIII", 1, 0, 0x8004, 0, 0, 0, 20) + bytes(40))
    yield FLUSH, struct.pack("<HHI", 24, 0, 0) + file_id
    yield ECHO, struct.pack("<HH", 4, 0)
    yield CANCEL, struct.pack("<HH", 4, 0)
    yield OPLOCK_BREAK, struct.pack("<HBBI", 24, 0, 0, 0) + file_id
    yield OPLOCK_BREAK, struct.pack("<HHI", 36, 0, 0) + bytes(28)
    yield CLOSE, struct.pack("<HHI", 24, 1, 0) + bytes(16)
    yield TREE_CONNECT, struct.pack("<HHHH", 9, 0, HEADER + 8, 20) + "\\\\host\\ab".encode("utf-16-le")
    yield (
        SESSION_SETUP,
        struct.pack("<HBBIIHHQ", 25, 0, 1, 0, 0, HEADER + 24, 16, 0) + b"NTLMSSP\0" + bytes(8),
    )
    yield NEGOTIATE, struct.pack("<HHHHI16xIHHH", 36, 1, 1, 0, 0, 0, 0, 0, 0x0311)
    yield TREE_DISCONNECT, struct.pack("<HH", 4, 0)
    yield LOGOFF, struct.pack("<HH", 4, 0)
