"""The codec: what a declaration means, and that any value it can hold comes back."""

import struct
from typing import Annotated, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smbproto.codec import (
    BYTES,
    U16S,
    UTF16,
    Buffer,
    Counted,
    FileId,
    Fixed,
    Message,
    Names,
    Pair,
    Trailing,
    message,
    reserved4,
    rest,
    structure,
    text16,
    u8,
    u16,
    u32,
    u64,
)
from smbproto.errors import WireError
from tests.smbproto import samples, samples_fscc

COLOURS = Names(((1, "RED"), (2, "GREEN")))


@message(structure_size=25)
class Sample(Message):
    """Two offset/length pairs, a flag field, a file id."""

    colour: Annotated[u16, COLOURS] = 1
    first: Annotated[bytes, Pair("HH", BYTES, align=8)] = b""
    second: Annotated[str, Pair("IH", UTF16, length_first=True, points_when_empty=True)] = ""
    count: u64 = 0
    tail: ClassVar[Annotated[int, Fixed("H", "reserved")]]


@structure()
class Packed(Message):
    """Counted fields in order, then the rest."""

    numbers: Annotated[tuple[int, ...], Counted("H", U16S, unit=2)]
    gap: ClassVar[reserved4]
    name: text16
    more: rest = b""


def test_pairs_point_from_the_header_and_are_aligned():
    """[MS-SMB2] 2.2: offsets are "from the beginning of the SMB2 header"."""
    body = Sample(first=b"abc", second="x").encode()
    first_at, first_bytes, second_bytes, second_at = struct.unpack_from("<HHIH", body, 4)
    assert (first_at, first_bytes) == (88, 3)
    assert (second_at, second_bytes) == (91, 2)
    assert body[first_at - 64 :][:3] == b"abc"


def test_an_empty_pair_is_zero_or_points_at_its_place():
    body = Sample().encode()
    assert struct.unpack_from("<HHIH", body, 4) == (0, 0, 0, 88)
    assert len(body) == 25, "an odd StructureSize counts one byte"


def test_counts_are_in_units_and_lists_follow_in_order():
    packed = Packed(numbers=(1, 2), name="ab", more=b"!!")
    assert packed.encode().hex() == "020000000000040001000200610062002121"
    assert Packed.decode_untrusted(packed.encode()) == packed


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 1), (64, 2), (87, 1), (88, 4), (91, 1), (0xFFFF, 0xFFFF), (89, 0xFFFF)]
)
def test_a_pair_outside_the_variable_part_is_a_wire_error(offset, length):
    """A length that runs over the message, or an offset into header or fixed part."""
    body = bytearray(Sample(first=b"abc").encode())
    struct.pack_into("<HH", body, 4, offset, length)
    with pytest.raises(WireError):
        Sample.decode_untrusted(bytes(64) + bytes(body))


def test_a_pair_of_length_zero_may_point_anywhere():
    body = bytearray(Sample().encode())
    struct.pack_into("<HH", body, 4, 0xFFFF, 0)
    assert Sample.decode_untrusted(bytes(64) + bytes(body)).first == b""


def test_odd_utf16_is_a_wire_error_and_a_lone_surrogate_passes():
    """Windows keeps names that are no valid UTF-16; half a code unit is no name."""
    with pytest.raises(WireError):
        Packed.decode_untrusted(bytes.fromhex("0000 00000000 0300 610062"))
    assert Packed.decode_untrusted(bytes.fromhex("0000 00000000 0200 00d8")).name == "\ud800"


def test_a_declaration_that_does_not_fill_its_structure_size_is_refused():
    with pytest.raises(TypeError, match="StructureSize"):

        @message(structure_size=8)
        class Wrong(Message):
            value: u32


def test_a_field_without_a_layout_is_refused():
    with pytest.raises(TypeError, match="have no layout"):

        @structure()
        class Wrong(Message):
            value: int


def test_fields_without_a_default_must_be_given_by_name():
    with pytest.raises(TypeError):
        Packed()
    with pytest.raises(TypeError):
        Sample(1)


def test_an_unknown_flag_is_shown_as_a_number():
    assert COLOURS.show(0) == "0x0"
    assert COLOURS.show(3) == "RED|GREEN"
    assert COLOURS.show(0x12) == "GREEN|0x10"


def test_messages_are_equal_by_value_and_cannot_be_keys():
    assert Sample(colour=2) == Sample(colour=2) != Sample(colour=1)
    with pytest.raises(TypeError):
        hash(Sample())


WIDTHS = {"B": (0, 2**8 - 1), "H": (0, 2**16 - 1), "I": (0, 2**32 - 1), "Q": (0, 2**64 - 1),
          "i": (-(2**31), 2**31 - 1), "q": (-(2**63), 2**63 - 1)}  # fmt: skip
TEXT = st.text(st.characters(max_codepoint=0x1FFFF, exclude_categories=("Cs",)), max_size=40)


def _value(hint: object, current: object) -> st.SearchStrategy:
    """Values for a field, by its declaration; what has no general form keeps the sample's value."""
    for spec in getattr(hint, "__metadata__", ()):
        if isinstance(spec, Fixed) and spec.kind == "int":
            return st.integers(*WIDTHS[spec.wire])
        if isinstance(spec, Fixed) and spec.kind == "bytes":
            size = int(spec.wire[:-1])
            return st.binary(min_size=size, max_size=size)
        if isinstance(spec, Pair | Counted | Trailing):
            if isinstance(current, str):
                return TEXT
            if isinstance(current, bytes):
                return st.binary(max_size=200)
    if hint is FileId:
        return st.builds(FileId, st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
    return st.just(current)


GENERAL = {
    type(one): one
    for one, _ in samples.MESSAGES + samples.STRUCTURES + samples_fscc.STRUCTURES
    if type(one).fixed_bytes and type(one).fields
}


@given(st.data())
@settings(max_examples=400)
def test_any_values_survive_a_round_trip(data):
    """For each declared class, fields of any value that their width allows."""
    cls = data.draw(st.sampled_from(sorted(GENERAL, key=lambda cls: (cls.__module__, cls.__name__))))
    hints = cls.hints()
    drawn = cls(**{name: data.draw(_value(hints[name], getattr(GENERAL[cls], name))) for name in cls.fields})
    before = bytes(64) if cls in {type(one) for one, _ in samples.MESSAGES} else b""
    wire = before + drawn.encode()
    again = cls.decode_untrusted(wire)
    assert again == drawn
    assert before + again.encode() == wire


@given(st.binary(max_size=300))
@settings(max_examples=300)
def test_any_bytes_give_a_message_or_a_wire_error(raw):
    """Random bytes, to every class at once."""
    for cls in GENERAL:
        for buf in (raw, bytes(64) + raw):
            try:
                assert type(cls.decode_untrusted(buf)) is cls
            except WireError:
                pass


def test_u8_is_one_byte():
    @structure()
    class One(Message):
        value: u8

    assert One(value=255).encode() == b"\xff"
    with pytest.raises(struct.error):
        One(value=256).encode()


def test_buffers_of_all_kinds_are_read():
    kinds: list[Buffer] = [bytes(8), bytearray(8), memoryview(bytes(8))]
    for kind in kinds:
        assert Packed.decode_untrusted(kind).numbers == ()
