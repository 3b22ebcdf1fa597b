"""Encryption on Microsoft's published messages, in place and through a second buffer, and what tampering
does.

Vectors: Microsoft Open Specifications blog, "Encryption in SMB 3.0: A protocol perspective" and "SMB 3.1.1
Encryption in Windows 10".
"""

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from smbproto.errors import ProtocolViolation
from smbproto.security import encryption
from smbproto.security.encryption import (
    TRANSFORM_HEADER_BYTES,
    CipherId,
    Opener,
    Sealer,
    key_bytes,
    session_id_of,
)
from smbproto.security.keys import derive_session_keys

PREAUTH = bytes.fromhex(
    "B23F3CBFD69487D9832B79B1594A367CDD950909B774C3A4C412B4FCEA9EDDDBA7DB256BA2EA30E9"
    "77F11F9B113247578E0E915C6D2A513B8F2FCA5707DC8770"
)
KEYS_300 = derive_session_keys(0x0300, bytes.fromhex("B4546771B515F766A86735532DD6C4F0"), None, b"")
KEYS_311 = derive_session_keys(
    0x0311, bytes.fromhex("419FDDF34C1E001909D362AE7FB6AF79"), CipherId.AES_128_GCM, PREAUTH
)
WRITE_300 = (
    "FE534D4240000100000000000900400008000000000000000400000000000000"
    "FFFE0000010000001100001400E4080000000000000000000000000000000000"
    "3100700017000000000000000000000015010000390000020100000039020000"
    "00000000000000007000000000000000536D623320656E6372797074696F6E20"
    "74657374696E67"
)
WRITE_300_SEALED = (
    "FD534D4281A286535415445DAE393921E44FA42E66E69A111892584FB5ED524A"
    "744DA3EE87000000000001001100001400E4080025C8FEE16605A437832D1CD5"
    "2DA9F4645333482A175FE5384563F45FCDAFAEF38BC62BA4D5C62897996625A4"
    "4C29BE5658DE2E6117585779E7B59FFD971278D08580D7FA899E410E910EABF5"
    "AA1DB43050B33B49182637759AC15D84BFCDF5B6B238993C0F4CF4D6012023F6"
    "C627297075D84B7803912D0A9639634453595EF3E33FFE4E7AC2AB"
)
WRITE_RESPONSE_300 = (
    "FE534D4240000100000000000900210009000000000000000400000000000000"
    "FFFE0000010000001100001400E4080000000000000000000000000000000000"
    "11000000170000000000000000000000"
)
WRITE_RESPONSE_300_SEALED = (
    "FD534D42A6015530A18F6D9AFFE22AFAE8E66484860000000000000011000014"
    "00E4080050000000000001001100001400E40800DBF46435C5F14169293CE079"
    "E344479BF670227E49873F458672C3098DAC467DD5809F369D67409166515787"
    "1483E01F7BECD02064EAC3E235F913668BBC2F097980D4B378F1993EFF6E60D1"
    "77309E5B"
)
WRITE_311 = (
    "FE534D4240000100000000000900010008000000000000000500000000000000FFFE000001000000"
    "25000000001000000000000000000000000000000000000031007000170000000000000000000000"
    "0600000004000000010000000400000000000000000000007000000000000000536D623320656E63"
    "72797074696F6E2074657374696E67"
)
WRITE_311_SEALED = (
    "FD534D42BD73D97D2BC9001BCAFAC0FDFF5FEEBCC7D6822D269CAF48904C664C0000000087000000"
    "0000010025000000001000006ECDD2A7AFC7B47763057A041B8FD4DAFFE990B70C9E09D36C084E02"
    "D14EF247F8BDE38ACF6256F8B1D3B56F77FBDEB312FEA5E92CBCC1ED8FB2EBBFAA75E49A4A394BB4"
    "4576545567C24D4C014D47C9FBDFDAFD2C4F9B72F8D256452620A299F48E29E53D6B61D1C13A19E9"
    "1AF013F00D17E3ABC2FC3D36C8C1B6B93973253852DBD442E46EE8"
)
WRITE_RESPONSE_311 = (
    "FE534D4240000100000000000900010001000000000000000500000000000000FFFE000001000000"
    "25000000001000000000000000000000000000000000000011000000170000000000000000000000"
)
WRITE_RESPONSE_311_SEALED = (
    "FD534D42ACBE1CB7ED343ADF1725EF144D90D4B0E06831DD2E8EB7B4000000000000000050000000"
    "00000100250000000010000026BBBF949983A6C1C796559D0F2C510CB651D1F7B6AC8DED32A2A0B8"
    "F2D793A815C6F6B848D69767A215841A42D400AE6DDB5F0B44173A014973321FDD7950DA6179159B"
    "82E03C9E18A050FF0EA1C967"
)
BOTH_WAYS = pytest.mark.parametrize("in_place", [True, False])


@BOTH_WAYS
@pytest.mark.parametrize(("cipher", "key", "sealed", "plain"), [
    (CipherId.AES_128_CCM, KEYS_300.client_to_server, WRITE_300_SEALED, WRITE_300),
    (CipherId.AES_128_CCM, KEYS_300.server_to_client, WRITE_RESPONSE_300_SEALED, WRITE_RESPONSE_300),
    (CipherId.AES_128_GCM, KEYS_311.client_to_server, WRITE_311_SEALED, WRITE_311),
    (CipherId.AES_128_GCM, KEYS_311.server_to_client, WRITE_RESPONSE_311_SEALED, WRITE_RESPONSE_311),
])  # fmt: skip
def test_published_messages_open(cipher, key, sealed, plain, in_place):
    """Whether the frame is followed by other bytes or ends its buffer, and without touching those bytes."""
    opener = Opener(cipher, key, in_place=in_place)
    frame = bytes.fromhex(sealed)
    for after in (b"", b"the next frame, 24 bytes"):
        buffer = memoryview(bytearray(b"before" + frame + after))
        opened = opener.open_in_place(buffer, 6, 6 + len(frame))
        assert opened.hex().upper() == plain
        assert bytes(buffer[6 + len(frame) :]) == after
        assert bytes(buffer[:6]) == b"before"


def test_published_message_is_what_sealing_makes_with_that_nonce():
    """[MS-SMB2] 3.1.4.3 Encrypting the Message: what is authenticated, and where the tag goes."""
    frame = bytes.fromhex(WRITE_311_SEALED)
    sealed = AESGCM(KEYS_311.client_to_server).encrypt(frame[20:32], bytes.fromhex(WRITE_311), frame[20:52])
    assert sealed == frame[52:] + frame[4:20]
    frame = bytes.fromhex(WRITE_300_SEALED)
    sealed = AESCCM(KEYS_300.client_to_server).encrypt(frame[20:31], bytes.fromhex(WRITE_300), frame[20:52])
    assert sealed == frame[52:] + frame[4:20]


@settings(max_examples=60)
@given(
    cipher=st.sampled_from(CipherId),
    message=st.binary(max_size=500),
    seal=st.booleans(),
    opened=st.booleans(),
)
def test_what_is_sealed_opens(cipher, message, seal, opened):
    key = bytes(range(key_bytes(cipher)))
    buffer = memoryview(bytearray(7 + TRANSFORM_HEADER_BYTES + len(message) + 16))
    buffer[59 : 59 + len(message)] = message
    end = Sealer(cipher, key, 0x1122, in_place=seal).seal_in_place(buffer, 7, len(message))
    assert end == 59 + len(message)
    assert session_id_of(buffer[7:]) == 0x1122
    assert message == b"" or len(message) < 4 or bytes(buffer[59:end]) != message
    assert bytes(Opener(cipher, key, in_place=opened).open_in_place(buffer, 7, end)) == message


@BOTH_WAYS
@pytest.mark.parametrize("cipher", CipherId)
def test_no_changed_bit_opens(cipher, in_place):
    """[MS-SMB2] 3.3.5.2.1.1 Decrypting the Message: if the signature fails, the connection ends."""
    key = bytes(key_bytes(cipher))
    buffer = memoryview(bytearray(TRANSFORM_HEADER_BYTES + 40 + 16))
    end = Sealer(cipher, key, 9).seal_in_place(buffer, 0, 40)
    sealed = bytes(buffer[:end])
    opener = Opener(cipher, key, in_place=in_place)
    for at in range(end):
        changed = bytearray(sealed + b"0123456789abcdef")
        changed[at] ^= 0x40
        with pytest.raises(ProtocolViolation):
            opener.open_in_place(memoryview(changed), 0, end)
        assert changed[end:] == b"0123456789abcdef"


@pytest.mark.parametrize("length", [0, 3, 51])
def test_a_frame_shorter_than_its_header_is_refused(length):
    opener = Opener(CipherId.AES_128_GCM, bytes(16))
    with pytest.raises(ProtocolViolation):
        opener.open_in_place(memoryview(bytearray(length)), 0, length)
    with pytest.raises(ProtocolViolation):
        session_id_of(memoryview(bytearray(length)))


def test_nonces_never_repeat_and_fill_only_what_the_cipher_uses():
    """[MS-SMB2] 2.2.41: Nonce MUST NOT be reused for all encrypted messages within a session."""
    for cipher in CipherId:
        sealer = Sealer(cipher, bytes(key_bytes(cipher)), 1)
        buffer, seen = memoryview(bytearray(52 + 16)), set()
        for _ in range(300):
            sealer.seal_in_place(buffer, 0, 0)
            nonce = bytes(buffer[20:36])
            assert nonce[encryption.nonce_bytes(cipher) :].strip(b"\0") == b""
            seen.add(nonce)
        assert len(seen) == 300


def test_the_nonce_limit_is_asserted(monkeypatch):
    monkeypatch.setattr(encryption, "NONCES_MAX", 3)
    sealer = Sealer(CipherId.AES_128_GCM, bytes(16), 1)
    buffer = memoryview(bytearray(68))
    sealer.seal_in_place(buffer, 0, 0)
    sealer.seal_in_place(buffer, 0, 0)
    with pytest.raises(AssertionError):
        sealer.seal_in_place(buffer, 0, 0)
