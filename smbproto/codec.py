"""Wire layouts, declared once: a class's annotations, in wire order, become its codec.

    @message(structure_size=49)          # the body of an SMB2 message; offsets count from the 64-byte header
    class ReadRequest(Message):
        length: u32
        ...

`message` and `structure` (the same without a header and a StructureSize) make one `struct.Struct` of the
fixed part and compile flat `__init__`, `decode_untrusted` and `encode` at import. A decoder raises
`WireError` only. Reserved fields (`ClassVar[reserved4]`) are written as zero and ignored on receipt. Integers
above their width are our own bug and raise `struct.error` from `encode`.

The fixed part is followed by the variable fields, in the order of their declaration:
  * `blob16 utf16 blob32 view32 ...`: an offset/length pair stands in the fixed part, data anywhere behind it;
  * `counted32 text32 ...`: a length stands in the fixed part, data follows in order;
  * `rest` and `Trailing(...)`: all bytes up to the end.

Source: [MS-SMB2] 2.2 Message Syntax: little-endian, offsets from the beginning of the SMB2 header.
"""

from __future__ import annotations

import struct
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple, Self, TypeAlias, TypeVar, dataclass_transform

from smbproto.errors import WireError

Buffer: TypeAlias = bytes | bytearray | memoryview

HEADER_BYTES = 64


class FileId(NamedTuple):
    """[MS-SMB2] 2.2.14.1 SMB2_FILEID."""

    persistent: int
    volatile: int


RELATED_FILE_ID = FileId(0xFFFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)


@dataclass(frozen=True)
class Fixed:
    """A value of fixed width: `wire` is its struct code."""

    wire: str
    kind: str = "int"  # int | bytes | file_id | reserved


@dataclass(frozen=True)
class Codec:
    """How variable bytes become a value and back: `decode` gets an exact slice of the message."""

    decode: Callable[[Buffer], Any]
    encode: Callable[[Any], Buffer]


@dataclass(frozen=True)
class Pair:
    """Offset and length in the fixed part (`wire` holds both codes, offset first), data behind the fixed
    part."""

    wire: str
    codec: Codec
    align: int = 1
    points_when_empty: bool = False  # the offset written for empty data: its place, or 0
    length_first: bool = False


@dataclass(frozen=True)
class Counted:
    """A length in the fixed part, in units of `unit` bytes; data behind it, in order of declaration."""

    wire: str
    codec: Codec
    align: int = 1
    unit: int = 1


@dataclass(frozen=True)
class Trailing:
    """Everything that is left. Last field only."""

    codec: Codec


@dataclass(frozen=True)
class Names:
    """Names of values or of flag bits, for printing: pairs (value, name)."""

    names: tuple[tuple[int, str], ...]
    flags: bool = True

    def show(self, value: int) -> str:
        if not self.flags:
            return dict(self.names).get(value, hex(value))
        return name_flags(value, self.names)


def name_flags(value: int, names: tuple[tuple[int, str], ...]) -> str:
    """`A|B|0x800`: the flags of `value` by name, what has no name as one number."""
    parts = [name for bit, name in names if bit and value & bit == bit]
    rest = value
    for bit, _ in names:
        rest &= ~bit
    if rest or not parts:
        parts.append(hex(rest))
    return "|".join(parts)


def decode_utf16(data: Buffer) -> str:
    """UTF-16LE text. Lone surrogates pass, as they do in Windows. Raises: WireError for an odd length."""
    try:
        return str(data, "utf-16-le", "surrogatepass")
    except UnicodeDecodeError as error:
        raise WireError(f"{len(data)} bytes are not UTF-16 text: {error.reason}") from None


def encode_utf16(text: str) -> bytes:
    return text.encode("utf-16-le", "surrogatepass")


def _same(data: Buffer) -> Buffer:
    return data


BYTES = Codec(bytes, bytes)
VIEW = Codec(_same, _same)
UTF16 = Codec(decode_utf16, encode_utf16)

u8 = Annotated[int, Fixed("B")]
u16 = Annotated[int, Fixed("H")]
u32 = Annotated[int, Fixed("I")]
u64 = Annotated[int, Fixed("Q")]
i32 = Annotated[int, Fixed("i")]
i64 = Annotated[int, Fixed("q")]
reserved1 = Annotated[int, Fixed("B", "reserved")]
reserved2 = Annotated[int, Fixed("H", "reserved")]
reserved4 = Annotated[int, Fixed("I", "reserved")]
reserved8 = Annotated[int, Fixed("Q", "reserved")]
bytes8 = Annotated[bytes, Fixed("8s", "bytes")]
bytes16 = Annotated[bytes, Fixed("16s", "bytes")]  # a GUID as on the wire, a key, a signature
bytes32 = Annotated[bytes, Fixed("32s", "bytes")]
bytes64 = Annotated[bytes, Fixed("64s", "bytes")]
blob16 = Annotated[bytes, Pair("HH", BYTES)]
blob32 = Annotated[bytes, Pair("II", BYTES)]
view32 = Annotated[Buffer, Pair("II", VIEW)]  # not copied: lives as long as the message's buffer
utf16 = Annotated[str, Pair("HH", UTF16, points_when_empty=True)]
counted16 = Annotated[bytes, Counted("H", BYTES)]
counted32 = Annotated[bytes, Counted("I", BYTES)]
text16 = Annotated[str, Counted("H", UTF16)]
text32 = Annotated[str, Counted("I", UTF16)]
rest = Annotated[bytes, Trailing(BYTES)]
rest_view = Annotated[Buffer, Trailing(VIEW)]
rest_text = Annotated[str, Trailing(UTF16)]


def array_codec(code: str) -> Codec:
    """A tuple of integers of one struct code; the bytes' length must be a multiple of its size."""
    size = struct.calcsize("<" + code)

    def decode(data: Buffer) -> tuple[int, ...]:
        if len(data) % size:
            raise WireError(f"{len(data)} bytes are no array of {size}-byte integers")
        return struct.unpack(f"<{len(data) // size}{code}", data)

    def encode(values: tuple[int, ...]) -> bytes:
        return struct.pack(f"<{len(values)}{code}", *values)

    return Codec(decode, encode)


U16S = array_codec("H")


class Message:
    """What `message` and `structure` make; fields are the class's annotations."""

    __slots__ = ()
    fields: ClassVar[tuple[str, ...]] = ()
    fixed_bytes: ClassVar[int] = 0  # length of the fixed part; 0 where the class decodes by hand
    names: ClassVar[dict[str, Names]] = {}

    @classmethod
    def decode_untrusted(cls, buf: Buffer, base: int = 0) -> Self:
        """Decode what starts at `base` (an SMB2 message: its header) and ends with `buf`. Raises:
        WireError."""
        raise TypeError(f"{cls.__name__} declares no layout")

    def encode(self) -> bytes:
        """The bytes; of an SMB2 message those behind its header."""
        raise TypeError(f"{type(self).__name__} declares no layout")

    @classmethod
    def hints(cls) -> dict[str, Any]:
        """The declaration of each field, for tests and tools."""
        return typing.get_type_hints(cls, include_extras=True)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.fields)

    __hash__ = None  # type: ignore[assignment]  # fields may change

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{n}={self._show(n)}' for n in self.fields)})"

    def _show(self, name: str) -> str:
        value = getattr(self, name)
        if isinstance(value, int) and name in self.names:
            return self.names[name].show(value)
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(value).hex() if len(value) <= 32 else f"<{len(value)} bytes>"
        return repr(value)


T = TypeVar("T", bound=Message)


@dataclass(frozen=True)
class _Field:
    name: str
    spec: Fixed | Pair | Counted | Trailing


def _declared(cls: type[Message]) -> tuple[list[_Field], list[str], dict[str, Names]]:
    """The fields in wire order, of the class's own annotations; those without one of our specs, which the
    class must code by hand; names for printing."""
    plain: list[str] = []
    hints = typing.get_type_hints(cls, include_extras=True)
    fields: list[_Field] = []
    names: dict[str, Names] = {}
    for name in cls.__dict__.get("__annotations__", {}):
        hint = hints[name]
        if typing.get_origin(hint) is ClassVar:
            (hint,) = typing.get_args(hint)
        if hint is FileId:
            fields.append(_Field(name, Fixed("QQ", "file_id")))
            continue
        specs = [
            m for m in getattr(hint, "__metadata__", ()) if isinstance(m, Fixed | Pair | Counted | Trailing)
        ]
        if not specs:
            if typing.get_origin(hints[name]) is not ClassVar:
                plain.append(name)
            continue
        fields.append(_Field(name, specs[0]))
        for named in (m for m in hint.__metadata__ if isinstance(m, Names)):
            names[name] = named
    if plain and not {"decode_untrusted", "encode"} <= set(cls.__dict__):
        raise TypeError(f"{cls.__name__}: {plain} have no layout")
    return fields, plain, names


def _values_of(field: _Field) -> tuple[str, list[str], list[str]]:
    """Struct code, names the decoder unpacks to, expressions the encoder packs, of one field's fixed part."""
    name, spec = field.name, field.spec
    if isinstance(spec, Trailing):
        return "", [], []
    if isinstance(spec, Pair):
        both = [f"{name}_len", f"{name}_off"] if spec.length_first else [f"{name}_off", f"{name}_len"]
        return spec.wire, both, both
    if isinstance(spec, Counted):
        return spec.wire, [f"{name}_len"], [f"{name}_len // {spec.unit}" if spec.unit > 1 else f"{name}_len"]
    if spec.kind == "reserved":
        return spec.wire, ["_"], ["0"]
    if spec.kind == "file_id":
        return spec.wire, [f"{name}_p", f"{name}_v"], [f"self.{name}[0]", f"self.{name}[1]"]
    return spec.wire, [f"self.{name}"], [f"self.{name}"]


def _decode_lines(fields: list[_Field], start: int) -> list[str]:
    """Lines that set the attributes which the unpacking has not set yet; `start` is the fixed part's end."""
    lines: list[str] = []
    if any(isinstance(f.spec, Counted | Trailing) for f in fields):
        lines.append(f"at = base + {start}")
    for f in fields:
        n, spec = f.name, f.spec
        if isinstance(spec, Fixed) and spec.kind == "file_id":
            lines.append(f"self.{n} = new_tuple(FileId, ({n}_p, {n}_v))")
        elif isinstance(spec, Pair):
            lines += [
                f"if {n}_len:",
                f"    {n}_off += base",
                f"    if {n}_off < base + {start} or {n}_off + {n}_len > len(buf):",
                f"        outside({n!r}, {n}_off - base, {n}_len, len(buf) - base)",
                f"    self.{n} = {n}_dec(buf[{n}_off:{n}_off + {n}_len])",
                "else:",
                f"    self.{n} = {n}_dec(b'')",
            ]
        elif isinstance(spec, Counted):
            if spec.align > 1:
                lines.append(f"at += (base - at) % {spec.align} if {n}_len else 0")
            if spec.unit > 1:
                lines.append(f"{n}_len *= {spec.unit}")
            lines += [
                f"if at + {n}_len > len(buf): outside({n!r}, at - base, {n}_len, len(buf) - base)",
                f"self.{n} = {n}_dec(buf[at:at + {n}_len])",
                f"at += {n}_len",
            ]
        elif isinstance(spec, Trailing):
            lines.append(f"self.{n} = {n}_dec(buf[at:])")
    return lines


def _encode_lines(fields: list[_Field], start: int) -> tuple[list[str], list[str]]:
    """Lines that compute offsets and lengths, and the names of the parts behind the fixed one."""
    lines: list[str] = []
    parts: list[str] = []
    variable = [f for f in fields if not isinstance(f.spec, Fixed)]
    if variable:
        lines.append(f"at = {start}")
    for f in variable:
        n, spec = f.name, f.spec
        lines += [f"{n}_b = {n}_enc(self.{n})", f"{n}_len = len({n}_b)"]
        align = getattr(spec, "align", 1)
        if align > 1:
            lines += [f"{n}_pad = bytes(-at % {align}) if {n}_len else b''", f"at += len({n}_pad)"]
            parts.append(f"{n}_pad")
        if isinstance(spec, Pair):
            lines.append(f"{n}_off = at" if spec.points_when_empty else f"{n}_off = at if {n}_len else 0")
        lines.append(f"at += {n}_len")
        parts.append(f"{n}_b")
    return lines, parts


def _compile(cls: type[T], header: int, size: int | None, counted_bytes: int, fill: bool) -> type[T]:
    """Write the three functions' source and build the class round them."""
    fields, plain, names = _declared(cls)
    attributes = [
        f.name for f in fields if not (isinstance(f.spec, Fixed) and f.spec.kind == "reserved")
    ] + plain
    columns = [_values_of(f) for f in fields]
    fixed = struct.Struct("<" + ("" if size is None else "H") + "".join(c[0] for c in columns))
    if size is not None and fixed.size != size - counted_bytes:
        raise TypeError(f"{cls.__name__}: fields take {fixed.size} bytes, StructureSize says {size}")
    start = header + fixed.size
    targets = ([] if size is None else ["size"]) + [t for c in columns for t in c[1]]
    sources = ([] if size is None else [str(size)]) + [s for c in columns for s in c[2]]
    namespace = _namespace(cls, fields, fixed)
    init = [
        "def __init__(self, *"
        + "".join(f", {n}={n}_default" if n in cls.__dict__ else f", {n}" for n in attributes)
    ]
    init[0] = (init[0] if attributes else "def __init__(self") + "):"
    init += [f"    self.{n} = {n}" for n in attributes] or ["    pass"]
    decode = [
        "def decode_untrusted(buf, base=0):",
        f"    if len(buf) < base + {start}: short(len(buf) - base)",
    ]
    decode.append("    self = new(cls)")
    if targets:
        decode.append(f"    {', '.join(targets)}, = unpack(buf, base + {header})")
    if size is not None:
        decode.append(f"    if size != {size}: wrong_size(size)")
    decode += ["    " + line for line in _decode_lines(fields, start)] + ["    return self"]
    lines, parts = _encode_lines(fields, start)
    out = " + ".join([f"pack({', '.join(sources)})", *parts]) if len(parts) < 2 else ""
    out = out or f"b''.join((pack({', '.join(sources)}), {', '.join(parts)}))"
    encode = ["def encode(self):", *("    " + line for line in lines)]
    encode.append(f"    out = {out}")
    if size is not None and counted_bytes == 1 and fill:
        encode.append(f"    if len(out) < {size}: out += b'\\0'")
    encode.append("    return out")
    exec(compile("\n".join(init + decode + encode), f"<codec of {cls.__name__}>", "exec"), namespace)
    return _rebuild(cls, attributes, names, namespace, fixed.size)


def _namespace(cls: type[Message], fields: list[_Field], fixed: struct.Struct) -> dict[str, Any]:
    """What the generated functions refer to."""
    title = cls.__name__

    def outside(name: str, offset: int, length: int, size: int) -> None:
        raise WireError(f"{title}: {name} ({length} bytes at {offset}) lies outside its {size} bytes")

    def short(size: int) -> None:
        raise WireError(f"{title}: {size} bytes are too short for its fixed part")

    def wrong_size(size: int) -> None:
        raise WireError(f"{title}: StructureSize {size}")

    namespace: dict[str, Any] = {
        "new": object.__new__, "new_tuple": tuple.__new__, "FileId": FileId, "unpack": fixed.unpack_from,
        "pack": fixed.pack, "outside": outside, "short": short, "wrong_size": wrong_size,
    }  # fmt: skip
    for f in fields:
        if isinstance(f.spec, Pair | Counted | Trailing):
            namespace[f"{f.name}_dec"] = f.spec.codec.decode
            namespace[f"{f.name}_enc"] = f.spec.codec.encode
    for name in cls.__annotations__:
        if name in cls.__dict__:
            namespace[f"{name}_default"] = cls.__dict__[name]
    return namespace


def _rebuild(
    cls: type[T], attributes: list[str], names: dict[str, Names], namespace: dict[str, Any], fixed_bytes: int
) -> type[T]:
    """The class again, with slots; a codec that the class wrote by hand stays."""
    members = {k: v for k, v in cls.__dict__.items() if k not in (*attributes, "__dict__", "__weakref__")}
    members |= {"__slots__": tuple(attributes), "fields": tuple(attributes), "names": names}
    members["fixed_bytes"] = 0 if "decode_untrusted" in cls.__dict__ else fixed_bytes
    members["__init__"] = namespace["__init__"]
    if "decode_untrusted" not in cls.__dict__:
        members["decode_untrusted"] = staticmethod(namespace["decode_untrusted"])
    members.setdefault("encode", namespace["encode"])
    made = typing.cast("type[T]", type(cls.__name__, cls.__bases__, members))
    namespace["cls"] = made
    return made


@dataclass_transform(kw_only_default=True, eq_default=True)
def message(
    *, structure_size: int, fill: bool = True, counted_bytes: int | None = None
) -> Callable[[type[T]], type[T]]:
    """The body of an SMB2 message. StructureSize counts `counted_bytes` of the variable part: one where it is
    odd, and that one is written as zero when the part is empty, unless `fill` is False."""
    counted = structure_size & 1 if counted_bytes is None else counted_bytes
    return lambda cls: _compile(cls, HEADER_BYTES, structure_size, counted, fill)


@dataclass_transform(kw_only_default=True, eq_default=True)
def structure(*, structure_size: int | None = None) -> Callable[[type[T]], type[T]]:
    """A structure of its own: offsets count from its beginning. A `structure_size` is a 16-bit field in
    front."""
    return lambda cls: _compile(cls, 0, structure_size, 0, False)
