"""Lists whose entries begin with NextEntryOffset: 32 bits, from this entry's start to the next one's, 0 in
the last.

Source: [MS-FSCC] 2.4 File Information Classes, for lists of entries; 2.4.16 FileFullEaInformation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import Struct

from smbproto.codec import Buffer
from smbproto.errors import WireError

_NEXT = Struct("<I")


def entries_untrusted(data: Buffer, fixed_bytes: int, align: int, entries_max: int) -> Iterator[Buffer]:
    """The entries, NextEntryOffset included, each cut to its own bytes; none in an empty buffer. Raises:
    WireError."""
    size, at, count = len(data), 0, 0
    while size:
        if at + fixed_bytes > size or count == entries_max:
            raise WireError(f"entry {count} at {at} of {size} bytes: too many, or outside")
        (following,) = _NEXT.unpack_from(data, at)
        end = at + following if following else size
        if following and (following < fixed_bytes or following % align or end > size):
            raise WireError(f"the entry after {at} would be {following} bytes further, of {size}")
        yield data[at:end]
        count += 1
        if not following:
            return
        at = end


def join_entries(entries: Sequence[bytes], align: int) -> bytes:
    """The list of entries whose first four bytes are still open."""
    out = bytearray()
    last = len(entries) - 1
    for index, entry in enumerate(entries):
        padding = -len(entry) % align if index < last else 0
        out += _NEXT.pack(len(entry) + padding if index < last else 0)
        out += memoryview(entry)[4:]
        out += bytes(padding)
    return bytes(out)


def name_untrusted(entry: Buffer, start: int, length: int) -> Buffer:
    """A name of `length` bytes at `start`. Raises: WireError."""
    if start + length > len(entry):
        raise WireError(f"a name of {length} bytes at {start} runs over its entry of {len(entry)}")
    return entry[start : start + length]
