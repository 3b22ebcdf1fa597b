"""Times, GUIDs, SIDs, security descriptors."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from impacket.ldap import ldaptypes

from smbproto import dtyp
from smbproto.dtyp import Ace, Acl, SecurityDescriptor, Sid
from smbproto.errors import WireError

SIDS = st.builds(Sid, st.integers(0, 2**48 - 1), st.lists(st.integers(0, 2**32 - 1), max_size=15).map(tuple))
PLAIN = st.builds(
    Ace,
    type=st.sampled_from((0, 1, 2, 3, 9, 10, 13, 14, 17, 18, 19)),
    flags=st.integers(0, 255),
    mask=st.integers(0, 2**32 - 1),
    sid=SIDS,
    tail=st.binary(max_size=16).map(lambda raw: raw + bytes(-len(raw) % 4)),
)
GUIDS = st.none() | st.binary(min_size=16, max_size=16)
OBJECT = st.builds(
    Ace,
    type=st.sampled_from((5, 6, 7, 8, 11, 12, 15, 16)),
    flags=st.integers(0, 255),
    mask=st.integers(0, 2**32 - 1),
    sid=SIDS,
    object_type=GUIDS,
    inherited_object_type=GUIDS,
)
UNKNOWN = st.builds(
    Ace, type=st.integers(20, 255), flags=st.integers(0, 255),
    tail=st.binary(max_size=20).map(lambda raw: raw + bytes(-len(raw) % 4)),
)  # fmt: skip
ACLS = st.none() | st.builds(Acl, st.lists(PLAIN | OBJECT | UNKNOWN, max_size=5).map(tuple), st.just(4))
DESCRIPTORS = st.builds(
    SecurityDescriptor,
    owner=st.none() | SIDS,
    group=st.none() | SIDS,
    dacl=ACLS,
    sacl=ACLS,
    control=st.just(dtyp.SE_SELF_RELATIVE | dtyp.SE_DACL_PROTECTED),
    resource_manager_control=st.integers(0, 255),
)


@pytest.mark.parametrize(
    ("text", "wire"),
    [
        ("S-1-1-0", "0101000000000001 00000000"),
        ("S-1-5-32-544", "0102000000000005 20000000 20020000"),
        ("S-1-5-21-1-2-3-500", "0105000000000005 15000000 01000000 02000000 03000000 f4010000"),
        ("S-1-0x123456789ABC-7", "0101123456789abc 07000000"),
    ],
)
def test_a_sid_has_one_text_and_one_wire_form(text, wire):
    """[MS-DTYP] 2.4.2.1 SID String Format Syntax; 2.4.2.2 SID--Packet Representation."""
    sid = Sid.parse(text)
    assert str(sid) == text
    assert sid.encode() == bytes.fromhex(wire)
    assert Sid.decode_untrusted(bytes.fromhex(wire)) == sid
    assert sid.size_bytes == len(bytes.fromhex(wire))


@pytest.mark.parametrize(
    "text", ["", "S-1", "S-2-5-1", "X-1-5-1", "S-1-5--1", "S-1-5-4294967296", "S-1-5-1x", "S-1-5-²"]
)
def test_what_is_no_sid_is_refused(text):
    with pytest.raises(ValueError):
        Sid.parse(text)


@pytest.mark.parametrize(
    "wire",
    ["", "01", "0201000000000005 00000000", "0110000000000005" + "00" * 64, "0102000000000005 00000000"],
)
def test_a_broken_sid_is_a_wire_error(wire):
    with pytest.raises(WireError):
        Sid.decode_untrusted(bytes.fromhex(wire))


def test_a_guid_is_little_endian_in_its_first_fields():
    """[MS-DTYP] 2.3.4.2 GUID--Packet Representation."""
    text = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
    wire = bytes.fromhex("10b8a76bad9dd11180b400c04fd430c8")
    assert dtyp.uuid_to_guid(text) == wire
    assert dtyp.guid_to_uuid(wire) == uuid.UUID(text)
    with pytest.raises(WireError):
        dtyp.guid_to_uuid(wire[:15])


def test_filetime_counts_from_1601():
    """[MS-DTYP] 2.3.3 FILETIME: "the number of 100-nanosecond intervals that have elapsed since January 1,
    1601"."""
    assert dtyp.filetime_from_unix_ns(0) == 116444736000000000
    assert dtyp.filetime_from_unix_ns(-(11644473600 * 10**9)) == 0
    assert dtyp.filetime_from_unix_ns(-(10**20)) == 0
    assert dtyp.datetime_from_filetime(116444736000000000) == datetime(1970, 1, 1, tzinfo=UTC)
    assert dtyp.filetime_from_datetime(datetime(1601, 1, 1, 0, 0, 1, tzinfo=UTC)) == 10_000_000
    assert dtyp.datetime_from_filetime(2**63 - 1).year == 9999


@given(st.integers(0, 2**62))
@settings(max_examples=100)
def test_filetime_and_unix_nanoseconds_agree(ticks):
    assert dtyp.filetime_from_unix_ns(dtyp.unix_ns_from_filetime(ticks)) == ticks


@given(st.datetimes(datetime(1601, 1, 1), datetime(9999, 1, 1)))
@settings(max_examples=100)
def test_datetime_survives_filetime(when):
    when = when.replace(tzinfo=UTC)
    assert dtyp.datetime_from_filetime(dtyp.filetime_from_datetime(when)) - when == timedelta()


@given(DESCRIPTORS)
@settings(max_examples=150)
def test_any_descriptor_survives_a_round_trip(descriptor):
    """[MS-DTYP] 2.4.6 SECURITY_DESCRIPTOR; every ACE type byte by byte."""
    wire = descriptor.encode()
    again = SecurityDescriptor.decode_untrusted(wire)
    assert again.encode() == wire
    assert (again.owner, again.group) == (descriptor.owner, descriptor.group)
    assert (again.dacl and again.dacl.aces) == (descriptor.dacl and descriptor.dacl.aces)
    assert (again.sacl and again.sacl.aces) == (descriptor.sacl and descriptor.sacl.aces)
    assert str(again) == str(SecurityDescriptor.decode_untrusted(memoryview(wire)))


@given(DESCRIPTORS, st.data())
@settings(max_examples=150)
def test_a_damaged_descriptor_gives_a_descriptor_or_a_wire_error(descriptor, data):
    wire = bytearray(descriptor.encode())
    for _ in range(data.draw(st.integers(0, 3))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(wire)))
    try:
        again = SecurityDescriptor.decode_untrusted(bytes(wire[:cut]))
    except WireError:
        return
    assert isinstance(str(again), str)


def test_the_null_dacl_and_the_empty_dacl_differ():
    """[MS-DTYP] 2.4.6: DACL_PRESENT with no DACL grants all; an empty DACL grants nothing."""
    null = SecurityDescriptor(control=dtyp.SE_SELF_RELATIVE | dtyp.SE_DACL_PRESENT)
    empty = SecurityDescriptor(dacl=Acl())
    assert SecurityDescriptor.decode_untrusted(null.encode()).dacl is None
    assert SecurityDescriptor.decode_untrusted(null.encode()).control & dtyp.SE_DACL_PRESENT
    assert SecurityDescriptor.decode_untrusted(empty.encode()).dacl == Acl()
    assert str(null) == "D:NO_ACCESS_CONTROL"
    assert str(empty) == "D:"


def test_sddl_names_what_people_know():
    """[MS-DTYP] 2.5.1.1 Syntax."""
    descriptor = SecurityDescriptor(
        owner=dtyp.SID_BUILTIN_ADMINISTRATORS,
        group=dtyp.SID_LOCAL_SYSTEM,
        dacl=Acl((
            Ace(0, 3, dtyp.FILE_ALL_ACCESS, dtyp.SID_EVERYONE),
            Ace(1, 0x10, 0x2, Sid.parse("S-1-5-21-1-2-3-1000")),
        )),
        control=dtyp.SE_SELF_RELATIVE | dtyp.SE_DACL_PROTECTED | dtyp.SE_DACL_AUTO_INHERITED,
    )  # fmt: skip
    assert str(descriptor) == "O:BAG:SYD:PAI(A;OICI;FA;;;WD)(D;ID;0x2;;;S-1-5-21-1-2-3-1000)"


def test_another_implementation_reads_our_descriptor_and_we_read_its():
    """impacket's ldaptypes as the peer."""
    ours = SecurityDescriptor(
        owner=Sid.parse("S-1-5-21-1-2-3-500"),
        group=Sid.parse("S-1-5-21-1-2-3-513"),
        dacl=Acl((
            Ace(0, 0x13, 0x1F01FF, dtyp.SID_BUILTIN_USERS),
            Ace(5, 0, 0x10, dtyp.SID_AUTHENTICATED_USERS, bytes(range(16)), None),
        )),
    )  # fmt: skip
    theirs = ldaptypes.SR_SECURITY_DESCRIPTOR(data=ours.encode())
    assert theirs["OwnerSid"].formatCanonical() == "S-1-5-21-1-2-3-500"
    first, second = theirs["Dacl"].aces
    assert first["Ace"]["Mask"]["Mask"] == 0x1F01FF
    assert first["Ace"]["Sid"].formatCanonical() == "S-1-5-32-545"
    assert second["Ace"]["ObjectType"] == bytes(range(16))
    again = SecurityDescriptor.decode_untrusted(theirs.getData())
    assert (again.owner, again.group, again.dacl) == (ours.owner, ours.group, Acl(ours.dacl.aces, 4))


def test_an_acl_that_is_too_large_is_refused():
    """[MS-DTYP] 2.4.5 ACL: AclSize has 16 bits."""
    with pytest.raises(ValueError):
        Acl((Ace(0, 0, 0, dtyp.SID_EVERYONE),) * 4000).encode()


def test_generic_rights_become_file_rights():
    """[MS-DTYP] 2.4.3 ACCESS_MASK; [MS-SMB2] 2.2.13.1.1 File_Pipe_Printer_Access_Mask."""
    assert dtyp.map_generic(dtyp.GENERIC_ALL) == 0x1F01FF
    assert dtyp.map_generic(dtyp.GENERIC_READ) == 0x120089
    assert dtyp.map_generic(dtyp.GENERIC_WRITE) == 0x120116
    assert dtyp.map_generic(dtyp.GENERIC_EXECUTE | dtyp.MAXIMUM_ALLOWED) == 0x021200A0
    assert dtyp.map_generic(0x12019F) == 0x12019F
