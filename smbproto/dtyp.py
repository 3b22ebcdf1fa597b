"""Windows data types: times, GUIDs, SIDs, access masks, security descriptors.

Source: [MS-DTYP] 2.3.3 FILETIME; 2.3.4 GUID and UUID; 2.4.2 SID; 2.4.3 ACCESS_MASK; 2.4.4 ACE; 2.4.5 ACL;
2.4.6 SECURITY_DESCRIPTOR; 2.5.1 Security Descriptor Description Language. [MS-SMB2] 2.2.13.1 SMB2 Access Mask
Encoding.
"""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from smbproto.errors import WireError as WireError

# [MS-SMB2] 2.2.13.1.1 File_Pipe_Printer_Access_Mask, 2.2.13.1.2 Directory_Access_Mask
FILE_READ_DATA: Final = 0x00000001
FILE_LIST_DIRECTORY: Final = 0x00000001
FILE_WRITE_DATA: Final = 0x00000002
FILE_ADD_FILE: Final = 0x00000002
FILE_APPEND_DATA: Final = 0x00000004
FILE_ADD_SUBDIRECTORY: Final = 0x00000004
FILE_READ_EA: Final = 0x00000008
FILE_WRITE_EA: Final = 0x00000010
FILE_EXECUTE: Final = 0x00000020
FILE_TRAVERSE: Final = 0x00000020
FILE_DELETE_CHILD: Final = 0x00000040
FILE_READ_ATTRIBUTES: Final = 0x00000080
FILE_WRITE_ATTRIBUTES: Final = 0x00000100
DELETE: Final = 0x00010000
READ_CONTROL: Final = 0x00020000
WRITE_DAC: Final = 0x00040000
WRITE_OWNER: Final = 0x00080000
SYNCHRONIZE: Final = 0x00100000
ACCESS_SYSTEM_SECURITY: Final = 0x01000000
MAXIMUM_ALLOWED: Final = 0x02000000
GENERIC_ALL: Final = 0x10000000
GENERIC_EXECUTE: Final = 0x20000000
GENERIC_WRITE: Final = 0x40000000
GENERIC_READ: Final = 0x80000000

STANDARD_RIGHTS_ALL: Final = DELETE | READ_CONTROL | WRITE_DAC | WRITE_OWNER | SYNCHRONIZE
FILE_ALL_ACCESS: Final = STANDARD_RIGHTS_ALL | 0x1FF
FILE_GENERIC_READ: Final = READ_CONTROL | SYNCHRONIZE | FILE_READ_DATA | FILE_READ_ATTRIBUTES | FILE_READ_EA
FILE_GENERIC_WRITE: Final = (
    READ_CONTROL | SYNCHRONIZE | FILE_WRITE_DATA | FILE_APPEND_DATA | FILE_WRITE_ATTRIBUTES | FILE_WRITE_EA
)
FILE_GENERIC_EXECUTE: Final = READ_CONTROL | SYNCHRONIZE | FILE_READ_ATTRIBUTES | FILE_EXECUTE
ACCESS_MASK_VALID: Final = (
    FILE_ALL_ACCESS | ACCESS_SYSTEM_SECURITY | MAXIMUM_ALLOWED
    | GENERIC_ALL | GENERIC_EXECUTE | GENERIC_WRITE | GENERIC_READ
)  # fmt: skip


def map_generic(mask: int) -> int:
    """The mask with its generic rights replaced by the file rights they stand for."""
    if mask & 0xF0000000:
        mask |= FILE_GENERIC_READ if mask & GENERIC_READ else 0
        mask |= FILE_GENERIC_WRITE if mask & GENERIC_WRITE else 0
        mask |= FILE_GENERIC_EXECUTE if mask & GENERIC_EXECUTE else 0
        mask |= FILE_ALL_ACCESS if mask & GENERIC_ALL else 0
        mask &= 0x0FFFFFFF
    return mask


# [MS-DTYP] 2.3.3 FILETIME: 100 ns since 1601-01-01 UTC

FILETIME_UNIX_EPOCH: Final = 116444736000000000
FILETIME_TICKS_PER_S: Final = 10_000_000
_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
_FILETIME_MAX = 0x7FFFFFFFFFFFFFFF


def filetime_from_unix_ns(unix_ns: int) -> int:
    """FILETIME of nanoseconds since 1970; times before 1601 become 0."""
    return max(0, min(_FILETIME_MAX, unix_ns // 100 + FILETIME_UNIX_EPOCH))


def unix_ns_from_filetime(filetime: int) -> int:
    return (filetime - FILETIME_UNIX_EPOCH) * 100


def filetime_from_unix_s(unix_s: float) -> int:
    return max(0, min(_FILETIME_MAX, int(unix_s * FILETIME_TICKS_PER_S) + FILETIME_UNIX_EPOCH))


def unix_s_from_filetime(filetime: int) -> float:
    return (filetime - FILETIME_UNIX_EPOCH) / FILETIME_TICKS_PER_S


def filetime_from_datetime(when: datetime) -> int:
    """`when` must know its time zone. Exact to its microsecond."""
    return max(0, (when - _EPOCH) // timedelta(microseconds=1) * 10)


def datetime_from_filetime(filetime: int) -> datetime:
    """In UTC, cut to microseconds; times after the year 9999 become its end."""
    try:
        return _EPOCH + timedelta(microseconds=filetime // 10)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


# [MS-DTYP] 2.3.4 GUID and UUID: the first three fields are little-endian on the wire


def guid_to_uuid(wire: bytes) -> uuid.UUID:
    """Raises: WireError if it is not 16 bytes."""
    if len(wire) != 16:
        raise WireError(f"a GUID has 16 bytes, not {len(wire)}")
    return uuid.UUID(bytes_le=bytes(wire))


def uuid_to_guid(value: uuid.UUID | str) -> bytes:
    return (uuid.UUID(value) if isinstance(value, str) else value).bytes_le


# [MS-DTYP] 2.4.2 SID

SID_SUBAUTHORITIES_MAX: Final = 15


@dataclass(frozen=True, slots=True)
class Sid:
    """[MS-DTYP] 2.4.2.2 SID--Packet Representation. `str()` is the form of 2.4.2.1 SID String Format
    Syntax."""

    authority: int
    subauthorities: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        valid = 0 <= self.authority < 1 << 48 and len(self.subauthorities) <= SID_SUBAUTHORITIES_MAX
        if not valid or not all(0 <= sub <= 0xFFFFFFFF for sub in self.subauthorities):
            raise ValueError(f"no SID: authority {self.authority}, {self.subauthorities}")

    @classmethod
    def parse(cls, text: str) -> Sid:
        """Raises: ValueError."""
        parts = text.upper().split("-")
        if (
            len(parts) < 3
            or parts[:2] != ["S", "1"]
            or not all(p.isascii() and p.isalnum() for p in parts[2:])
        ):
            raise ValueError(f"{text!r} is no SID")
        authority = int(parts[2], 16) if parts[2].startswith("0X") else int(parts[2])
        return cls(authority, tuple(int(part) for part in parts[3:]))

    @classmethod
    def decode_untrusted(cls, buf: bytes | memoryview, offset: int = 0) -> Sid:
        """The SID at `offset`; bytes behind it are not looked at. Raises: WireError."""
        if offset < 0 or len(buf) < offset + 8:
            raise WireError("too short for a SID")
        revision, count = buf[offset], buf[offset + 1]
        if revision != 1 or count > SID_SUBAUTHORITIES_MAX or len(buf) < offset + 8 + 4 * count:
            raise WireError(f"no SID: revision {revision}, {count} subauthorities")
        authority = int.from_bytes(buf[offset + 2 : offset + 8], "big")
        return cls(authority, struct.unpack_from(f"<{count}I", buf, offset + 8))

    def encode(self) -> bytes:
        count = len(self.subauthorities)
        head = struct.pack("<BB6s", 1, count, self.authority.to_bytes(6, "big"))
        return head + struct.pack(f"<{count}I", *self.subauthorities)

    @property
    def size_bytes(self) -> int:
        return 8 + 4 * len(self.subauthorities)

    @property
    def rid(self) -> int:
        """The last subauthority."""
        return self.subauthorities[-1] if self.subauthorities else 0

    def child(self, rid: int) -> Sid:
        """The SID of an account of this domain."""
        return Sid(self.authority, (*self.subauthorities, rid))

    def __str__(self) -> str:
        authority = str(self.authority) if self.authority < 1 << 32 else f"0x{self.authority:012X}"
        return "-".join(["S-1", authority, *map(str, self.subauthorities)])


# [MS-DTYP] 2.4.2.4 Well-Known SID Structures
SID_NULL: Final = Sid(0, (0,))
SID_EVERYONE: Final = Sid(1, (0,))
SID_LOCAL: Final = Sid(2, (0,))
SID_CREATOR_OWNER: Final = Sid(3, (0,))
SID_CREATOR_GROUP: Final = Sid(3, (1,))
SID_OWNER_RIGHTS: Final = Sid(3, (4,))
SID_NETWORK: Final = Sid(5, (2,))
SID_INTERACTIVE: Final = Sid(5, (4,))
SID_ANONYMOUS: Final = Sid(5, (7,))
SID_PRINCIPAL_SELF: Final = Sid(5, (10,))
SID_AUTHENTICATED_USERS: Final = Sid(5, (11,))
SID_THIS_ORGANIZATION: Final = Sid(5, (15,))
SID_LOCAL_SYSTEM: Final = Sid(5, (18,))
SID_LOCAL_SERVICE: Final = Sid(5, (19,))
SID_NETWORK_SERVICE: Final = Sid(5, (20,))
SID_BUILTIN: Final = Sid(5, (32,))
SID_BUILTIN_ADMINISTRATORS: Final = Sid(5, (32, 544))
SID_BUILTIN_USERS: Final = Sid(5, (32, 545))
SID_BUILTIN_GUESTS: Final = Sid(5, (32, 546))
SID_BUILTIN_BACKUP_OPERATORS: Final = Sid(5, (32, 551))
SID_NTLM_AUTHENTICATION: Final = Sid(5, (64, 10))
SID_MANDATORY_MEDIUM: Final = Sid(16, (8192,))

DOMAIN_RID_ADMINISTRATOR: Final = 500
DOMAIN_RID_GUEST: Final = 501
DOMAIN_RID_ADMINS: Final = 512
DOMAIN_RID_USERS: Final = 513
DOMAIN_RID_GUESTS: Final = 514

# [MS-DTYP] 2.4.4.1 ACE_HEADER: AceType
ACCESS_ALLOWED_ACE_TYPE: Final = 0x00
ACCESS_DENIED_ACE_TYPE: Final = 0x01
SYSTEM_AUDIT_ACE_TYPE: Final = 0x02
SYSTEM_ALARM_ACE_TYPE: Final = 0x03
ACCESS_ALLOWED_COMPOUND_ACE_TYPE: Final = 0x04
ACCESS_ALLOWED_OBJECT_ACE_TYPE: Final = 0x05
ACCESS_DENIED_OBJECT_ACE_TYPE: Final = 0x06
SYSTEM_AUDIT_OBJECT_ACE_TYPE: Final = 0x07
SYSTEM_ALARM_OBJECT_ACE_TYPE: Final = 0x08
ACCESS_ALLOWED_CALLBACK_ACE_TYPE: Final = 0x09
ACCESS_DENIED_CALLBACK_ACE_TYPE: Final = 0x0A
ACCESS_ALLOWED_CALLBACK_OBJECT_ACE_TYPE: Final = 0x0B
ACCESS_DENIED_CALLBACK_OBJECT_ACE_TYPE: Final = 0x0C
SYSTEM_AUDIT_CALLBACK_ACE_TYPE: Final = 0x0D
SYSTEM_ALARM_CALLBACK_ACE_TYPE: Final = 0x0E
SYSTEM_AUDIT_CALLBACK_OBJECT_ACE_TYPE: Final = 0x0F
SYSTEM_ALARM_CALLBACK_OBJECT_ACE_TYPE: Final = 0x10
SYSTEM_MANDATORY_LABEL_ACE_TYPE: Final = 0x11
SYSTEM_RESOURCE_ATTRIBUTE_ACE_TYPE: Final = 0x12
SYSTEM_SCOPED_POLICY_ID_ACE_TYPE: Final = 0x13

# AceFlags
OBJECT_INHERIT_ACE: Final = 0x01
CONTAINER_INHERIT_ACE: Final = 0x02
NO_PROPAGATE_INHERIT_ACE: Final = 0x04
INHERIT_ONLY_ACE: Final = 0x08
INHERITED_ACE: Final = 0x10
SUCCESSFUL_ACCESS_ACE_FLAG: Final = 0x40
FAILED_ACCESS_ACE_FLAG: Final = 0x80

# [MS-DTYP] 2.4.4.3 ACCESS_ALLOWED_OBJECT_ACE: Flags
ACE_OBJECT_TYPE_PRESENT: Final = 0x00000001
ACE_INHERITED_OBJECT_TYPE_PRESENT: Final = 0x00000002

_PLAIN_TYPES = frozenset((0x00, 0x01, 0x02, 0x03, 0x09, 0x0A, 0x0D, 0x0E, 0x11, 0x12, 0x13))
_OBJECT_TYPES = frozenset((0x05, 0x06, 0x07, 0x08, 0x0B, 0x0C, 0x0F, 0x10))
ACE_MAX_BYTES: Final = 0xFFFF & ~3


@dataclass(frozen=True, slots=True)
class Ace:
    """[MS-DTYP] 2.4.4 ACE. What follows the SID (conditions, claims) is `tail`; an ACE of a type that we
    cannot read has `sid` None and all its bytes in `tail`. Any ACE survives a round trip byte by byte."""

    type: int
    flags: int
    mask: int = 0
    sid: Sid | None = None
    object_type: bytes | None = None  # GUIDs as on the wire
    inherited_object_type: bytes | None = None
    tail: bytes = b""

    @classmethod
    def decode_untrusted(cls, data: bytes | memoryview) -> Ace:
        """One ACE that takes all of `data`. Raises: WireError."""
        if len(data) < 4:
            raise WireError("too short for an ACE")
        kind, flags = data[0], data[1]
        if kind not in _PLAIN_TYPES and kind not in _OBJECT_TYPES:
            return cls(kind, flags, tail=bytes(data[4:]))
        if len(data) < 8:
            raise WireError(f"too short for an ACE of type {kind}")
        (mask,) = struct.unpack_from("<I", data, 4)
        at = 8
        guids: list[bytes | None] = [None, None]
        if kind in _OBJECT_TYPES:
            if len(data) < 12:
                raise WireError(f"too short for an object ACE of type {kind}")
            (present,) = struct.unpack_from("<I", data, 8)
            at = 12
            for index in range(2):
                if present >> index & 1:
                    guids[index] = bytes(data[at : at + 16])
                    at += 16
        sid = Sid.decode_untrusted(data, at)
        return cls(kind, flags, mask, sid, guids[0], guids[1], bytes(data[at + sid.size_bytes :]))

    def encode(self) -> bytes:
        body = self.tail
        if self.sid is not None:
            head = struct.pack("<I", self.mask)
            if self.type in _OBJECT_TYPES:
                present = (self.object_type is not None) | (self.inherited_object_type is not None) << 1
                head += (
                    struct.pack("<I", present)
                    + (self.object_type or b"")
                    + (self.inherited_object_type or b"")
                )
            body = head + self.sid.encode() + body
        body += bytes(-len(body) % 4)
        return struct.pack("<BBH", self.type, self.flags, 4 + len(body)) + body

    def with_flags(self, flags: int) -> Ace:
        return replace(self, flags=flags)


ACL_REVISION: Final = 2
ACL_REVISION_DS: Final = 4
ACL_MAX_BYTES: Final = 0xFFFF
_ACL = struct.Struct("<BBHHH")


@dataclass(frozen=True, slots=True)
class Acl:
    """[MS-DTYP] 2.4.5 ACL."""

    aces: tuple[Ace, ...] = ()
    revision: int = ACL_REVISION

    @classmethod
    def decode_untrusted(cls, buf: bytes | memoryview, offset: int = 0) -> Acl:
        """Raises: WireError."""
        if offset < 0 or len(buf) < offset + _ACL.size:
            raise WireError("too short for an ACL")
        revision, _, size, count, _ = _ACL.unpack_from(buf, offset)
        end = offset + size
        if revision not in (ACL_REVISION, 3, ACL_REVISION_DS) or size < _ACL.size or end > len(buf):
            raise WireError(f"no ACL: revision {revision}, {size} bytes")
        aces = []
        at = offset + _ACL.size
        for _ in range(count):
            length = buf[at + 2] | buf[at + 3] << 8 if at + 4 <= end else 0
            if length < 4 or length % 4 or at + length > end:
                raise WireError(f"an ACE of {length} bytes runs over its ACL")
            aces.append(Ace.decode_untrusted(buf[at : at + length]))
            at += length
        return cls(tuple(aces), revision)

    def encode(self) -> bytes:
        """Raises: ValueError if it is too large for its 16-bit length."""
        body = b"".join(ace.encode() for ace in self.aces)
        size = _ACL.size + len(body)
        if size > ACL_MAX_BYTES:
            raise ValueError(f"an ACL of {size} bytes; at most {ACL_MAX_BYTES}")
        revision = ACL_REVISION_DS if any(ace.type in _OBJECT_TYPES for ace in self.aces) else self.revision
        return _ACL.pack(revision, 0, size, len(self.aces), 0) + body


# [MS-DTYP] 2.4.6 SECURITY_DESCRIPTOR: Control
SE_OWNER_DEFAULTED: Final = 0x0001
SE_GROUP_DEFAULTED: Final = 0x0002
SE_DACL_PRESENT: Final = 0x0004
SE_DACL_DEFAULTED: Final = 0x0008
SE_SACL_PRESENT: Final = 0x0010
SE_SACL_DEFAULTED: Final = 0x0020
SE_DACL_TRUSTED: Final = 0x0040
SE_SERVER_SECURITY: Final = 0x0080
SE_DACL_AUTO_INHERIT_REQ: Final = 0x0100
SE_SACL_AUTO_INHERIT_REQ: Final = 0x0200
SE_DACL_AUTO_INHERITED: Final = 0x0400
SE_SACL_AUTO_INHERITED: Final = 0x0800
SE_DACL_PROTECTED: Final = 0x1000
SE_SACL_PROTECTED: Final = 0x2000
SE_RM_CONTROL_VALID: Final = 0x4000
SE_SELF_RELATIVE: Final = 0x8000

SECURITY_DESCRIPTOR_BYTES_MAX: Final = 20 + 2 * 68 + 2 * ACL_MAX_BYTES
_DESCRIPTOR = struct.Struct("<BBHIIII")


@dataclass(frozen=True, slots=True)
class SecurityDescriptor:
    """[MS-DTYP] 2.4.6 SECURITY_DESCRIPTOR, self-relative. DACL_PRESENT with `dacl` None is the NULL DACL: all
    access.

    `control` is kept as it came; `encode` sets SELF_RELATIVE and makes the two PRESENT bits cover what is
    there.
    """

    owner: Sid | None = None
    group: Sid | None = None
    dacl: Acl | None = None
    sacl: Acl | None = None
    control: int = field(default=SE_SELF_RELATIVE)
    resource_manager_control: int = 0

    @classmethod
    def decode_untrusted(cls, buf: bytes | memoryview) -> SecurityDescriptor:
        """Raises: WireError."""
        if len(buf) < _DESCRIPTOR.size:
            raise WireError("too short for a security descriptor")
        revision, rm_control, control, owner, group, sacl, dacl = _DESCRIPTOR.unpack_from(buf)
        if revision != 1 or not control & SE_SELF_RELATIVE:
            raise WireError(
                f"no self-relative security descriptor: revision {revision}, control {control:#x}"
            )
        if any(0 < at < _DESCRIPTOR.size for at in (owner, group, sacl, dacl)):
            raise WireError("a part of the security descriptor lies in its header")
        return cls(
            owner=Sid.decode_untrusted(buf, owner) if owner else None,
            group=Sid.decode_untrusted(buf, group) if group else None,
            dacl=Acl.decode_untrusted(buf, dacl) if dacl and control & SE_DACL_PRESENT else None,
            sacl=Acl.decode_untrusted(buf, sacl) if sacl and control & SE_SACL_PRESENT else None,
            control=control,
            resource_manager_control=rm_control,
        )

    def encode(self) -> bytes:
        """SACL, DACL, owner, group behind the header, in the order in which Windows writes them."""
        control = self.control | SE_SELF_RELATIVE
        control |= SE_DACL_PRESENT if self.dacl is not None else 0
        control |= SE_SACL_PRESENT if self.sacl is not None else 0
        at = _DESCRIPTOR.size
        parts: list[bytes] = []
        offsets: list[int] = []
        for part in (self.sacl, self.dacl, self.owner, self.group):
            data = part.encode() if part is not None else b""
            offsets.append(at if data else 0)
            parts.append(data)
            at += len(data)
        sacl, dacl, owner, group = offsets
        head = _DESCRIPTOR.pack(1, self.resource_manager_control, control, owner, group, sacl, dacl)
        return head + b"".join(parts)

    def __str__(self) -> str:
        return to_sddl(self)


_ACE_LETTERS = {
    0x00: "A", 0x01: "D", 0x02: "AU", 0x03: "AL", 0x05: "OA", 0x06: "OD", 0x07: "OU", 0x08: "OL", 0x09: "XA",
    0x0A: "XD", 0x0B: "ZA", 0x0D: "XU", 0x11: "ML", 0x12: "RA", 0x13: "SP",
}  # fmt: skip
_FLAG_LETTERS = (
    (0x01, "OI"),
    (0x02, "CI"),
    (0x04, "NP"),
    (0x08, "IO"),
    (0x10, "ID"),
    (0x40, "SA"),
    (0x80, "FA"),
)
_MASK_LETTERS = {
    FILE_ALL_ACCESS: "FA", FILE_GENERIC_READ: "FR", FILE_GENERIC_WRITE: "FW", FILE_GENERIC_EXECUTE: "FX",
    GENERIC_ALL: "GA", GENERIC_READ: "GR", GENERIC_WRITE: "GW", GENERIC_EXECUTE: "GX",
}  # fmt: skip
_SID_LETTERS = {
    SID_EVERYONE: "WD", SID_CREATOR_OWNER: "CO", SID_CREATOR_GROUP: "CG", SID_OWNER_RIGHTS: "OW",
    SID_NETWORK: "NU", SID_INTERACTIVE: "IU", SID_ANONYMOUS: "AN", SID_PRINCIPAL_SELF: "PS",
    SID_AUTHENTICATED_USERS: "AU", SID_LOCAL_SYSTEM: "SY", SID_LOCAL_SERVICE: "LS", SID_NETWORK_SERVICE: "NS",
    SID_BUILTIN_ADMINISTRATORS: "BA", SID_BUILTIN_USERS: "BU", SID_BUILTIN_GUESTS: "BG",
    SID_BUILTIN_BACKUP_OPERATORS: "BO", SID_MANDATORY_MEDIUM: "ME",
}  # fmt: skip


def _sddl_sid(sid: Sid | None) -> str:
    return "" if sid is None else _SID_LETTERS.get(sid) or str(sid)


def _sddl_ace(ace: Ace) -> str:
    kind = _ACE_LETTERS.get(ace.type, f"{ace.type:#x}")
    flags = "".join(letters for bit, letters in _FLAG_LETTERS if ace.flags & bit)
    mask = _MASK_LETTERS.get(ace.mask, f"{ace.mask:#x}")
    guids = [str(guid_to_uuid(guid)) if guid else "" for guid in (ace.object_type, ace.inherited_object_type)]
    tail = f";<{len(ace.tail)} bytes>" if ace.tail else ""
    return f"({kind};{flags};{mask};{guids[0]};{guids[1]};{_sddl_sid(ace.sid)}{tail})"


def _sddl_acl(letter: str, acl: Acl | None, control: int, shift: int) -> str:
    """`shift` is 0 for the DACL's control bits, 1 for the SACL's, which stand one higher; PRESENT two
    higher."""
    if acl is None and not control & SE_DACL_PRESENT << 2 * shift:
        return ""
    flags = "P" if control & SE_DACL_PROTECTED << shift else ""
    flags += "AR" if control & SE_DACL_AUTO_INHERIT_REQ << shift else ""
    flags += "AI" if control & SE_DACL_AUTO_INHERITED << shift else ""
    body = "NO_ACCESS_CONTROL" if acl is None else "".join(map(_sddl_ace, acl.aces))
    return f"{letter}:{flags}{body}"


def to_sddl(descriptor: SecurityDescriptor) -> str:
    """[MS-DTYP] 2.5.1 Security Descriptor Description Language, for people: conditions show their length
    only."""
    owner = f"O:{_sddl_sid(descriptor.owner)}" if descriptor.owner else ""
    group = f"G:{_sddl_sid(descriptor.group)}" if descriptor.group else ""
    dacl = _sddl_acl("D", descriptor.dacl, descriptor.control, 0)
    return owner + group + dacl + _sddl_acl("S", descriptor.sacl, descriptor.control, 1)
