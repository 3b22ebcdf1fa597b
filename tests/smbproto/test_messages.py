"""Every declared message and structure: its golden bytes, and what becomes of it when cut or damaged."""

import importlib
import pkgutil
import random

import pytest

import smbproto.fscc
import smbproto.smb2
from smbproto.codec import Message
from smbproto.errors import WireError
from tests.smbproto import samples, samples_fscc

BODIES = [(one, bytes(64), bytes.fromhex(golden)) for one, golden in samples.MESSAGES]
PLAIN = [(one, b"", bytes.fromhex(golden)) for one, golden in samples.STRUCTURES + samples_fscc.STRUCTURES]
ALL = BODIES + PLAIN
NAMES = [f"{type(one).__name__}-{index}" for index, (one, _, _) in enumerate(ALL)]


def declared() -> set[type[Message]]:
    found = set()
    for package in (smbproto.smb2, smbproto.fscc):
        for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            for value in vars(importlib.import_module(module.name)).values():
                if isinstance(value, type) and issubclass(value, Message) and value is not Message:
                    found.add(value)
    return found


def test_every_declared_class_has_a_sample():
    """EXAMPLES: each class has one golden-bytes line and one line in the fuzz table."""
    missing = declared() - {type(one) for one, _, _ in ALL}
    assert not missing, sorted(cls.__name__ for cls in missing)


@pytest.mark.parametrize(("one", "before", "golden"), ALL, ids=NAMES)
def test_encoding_gives_the_golden_bytes(one, before, golden):
    """[MS-SMB2] 2.2 Message Syntax; [MS-FSCC] 2 Messages: the layout tables."""
    assert one.encode().hex() == golden.hex()


@pytest.mark.parametrize(("one", "before", "golden"), ALL, ids=NAMES)
def test_decoding_the_golden_bytes_gives_the_message(one, before, golden):
    """And so from a view, and from the middle of a buffer."""
    cls = type(one)
    assert cls.decode_untrusted(before + golden) == one
    assert cls.decode_untrusted(memoryview(before + golden)) == one
    assert cls.decode_untrusted(b"xyz" + before + golden, 3) == one


@pytest.mark.parametrize(("one", "before", "golden"), ALL, ids=NAMES)
def test_a_cut_message_gives_a_message_or_a_wire_error(one, before, golden):
    """A good message cut anywhere, plus any tail, gives a message or WireError."""
    whole = before + golden
    for cut in range(len(whole)):
        for tail in (b"", b"\0", b"\xff" * 40):
            _decode(type(one), whole[:cut] + tail)
    fixed = len(before) + type(one).fixed_bytes
    if fixed:
        with pytest.raises(WireError):
            type(one).decode_untrusted(whole[: fixed - 1])


@pytest.mark.parametrize(("one", "before", "golden"), ALL, ids=NAMES)
def test_a_damaged_message_gives_a_message_or_a_wire_error(one, before, golden):
    """Bytes changed at random places to extreme values."""
    chance = random.Random(len(golden))
    for _ in range(200):
        damaged = bytearray(before + golden)
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(before), len(damaged)) if golden else 0
            damaged[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        _decode(type(one), bytes(damaged))


def _decode(cls: type[Message], data: bytes) -> None:
    try:
        message = cls.decode_untrusted(data)
    except WireError:
        return
    assert type(message) is cls
    assert cls.__name__ in repr(message)


@pytest.mark.parametrize(("one", "before", "golden"), BODIES, ids=NAMES[: len(BODIES)])
def test_a_wrong_structure_size_is_a_wire_error(one, before, golden):
    """[MS-SMB2] 2.2: StructureSize "MUST be set to" the one value of each message."""
    with pytest.raises(WireError):
        type(one).decode_untrusted(before + b"\x77\x77" + golden[2:])


def test_reserved_fields_are_ignored_on_receipt():
    """[MS-SMB2] 2.2.17 SMB2 FLUSH Request: Reserved1 ... "the server MUST ignore it on receipt"."""
    from smbproto.smb2.flush import FlushRequest

    golden = bytes(64) + FlushRequest(file_id=samples.ID).encode()
    dirty = golden[:66] + b"\xff" * 6 + golden[72:]
    assert FlushRequest.decode_untrusted(dirty) == FlushRequest.decode_untrusted(golden)


def test_a_read_response_after_rdma_has_no_byte_too_many():
    """[MS-SMB2] 2.2.20: with DataLength 0 nothing follows; clients panicked on one byte more."""
    from smbproto.smb2.read import ReadResponse

    assert len(ReadResponse(data_remaining=4096).encode()) == 16


def test_write_data_are_not_copied():
    """Large data is not copied where a memoryview will do."""
    from smbproto.smb2.write import WriteRequest

    buffer = bytearray(bytes(64) + WriteRequest(data=b"old", offset=0, file_id=samples.ID).encode())
    message = WriteRequest.decode_untrusted(memoryview(buffer))
    buffer[-3:] = b"new"
    assert bytes(message.data) == b"new"


def test_printing_shows_names_of_flags_and_lengths_of_payloads():
    """EXAMPLES: `repr` prints field names, flags by name and payload lengths, not payloads."""
    from smbproto.smb2.write import WriteRequest

    shown = repr(WriteRequest(data=bytes(5000), offset=7, file_id=samples.ID, flags=1))
    assert "flags=WRITE_THROUGH" in shown
    assert "<5000 bytes>" in shown
    assert "offset=7" in shown
