"""The little of DER that SPNEGO needs: definite lengths, tags of one byte, bounds on everything.

Source: ITU-T X.690 8.1.3 Length octets; 10.1 Length forms.
"""

from __future__ import annotations

from smbproto.errors import WireError

__all__ = ["Reader", "tlv"]


def tlv(tag: int, *parts: bytes) -> bytes:
    """One element: tag, length, value."""
    value = b"".join(parts)
    size = len(value)
    if size < 0x80:
        return bytes((tag, size)) + value
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(digits))) + digits + value


class Reader:
    """Reads elements one after another. Raises: WireError."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def next(self) -> tuple[int, bytes]:
        """Tag and value of the next element."""
        data, at = self._data, self._at
        if at + 2 > len(data):
            raise WireError("a DER element is cut short")
        tag, size = data[at], data[at + 1]
        at += 2
        if tag & 0x1F == 0x1F:
            raise WireError("a DER tag of several bytes")
        if size >= 0x80:
            digits = size & 0x7F
            if not 1 <= digits <= 4 or at + digits > len(data):
                raise WireError(f"a DER length of {digits} bytes")
            size = int.from_bytes(data[at : at + digits], "big")
            at += digits
        if at + size > len(data):
            raise WireError(f"a DER element of {size} bytes in {len(data) - at}")
        self._at = at + size
        return tag, data[at : at + size]

    def expect(self, tag: int) -> bytes:
        """The value of the next element, which must have this tag."""
        found, value = self.next()
        if found != tag:
            raise WireError(f"DER tag {found:#x} where {tag:#x} belongs")
        return value
