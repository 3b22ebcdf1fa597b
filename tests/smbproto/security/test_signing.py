"""Signing on the vectors of the RFC and of NIST, and what any change of a message does to its signature."""

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from smbproto.security.signing import CmacSigner, GmacSigner, SigningAlgorithm, make_signer

RFC4493_KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
RFC4493_MESSAGE = bytes.fromhex(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)


@pytest.mark.parametrize(
    ("length", "mac"),
    [
        (0, "bb1d6929e95937287fa37d129b756746"),
        (16, "070a16b46b4d4144f79bdd9dd04a287c"),
        (40, "dfa66747de9ae63030ca32611497c827"),
        (64, "51f0bebf7e3b9d92fc49741779363cfe"),
    ],
)
def test_cmac_of_rfc_4493(length, mac):
    """RFC 4493 4 Test Vectors, Examples 1 to 4."""
    message = memoryview(bytearray(RFC4493_MESSAGE[:length]))
    assert CmacSigner(RFC4493_KEY).sign(message, 0, False).hex() == mac


def test_gmac_is_gcm_of_nothing():
    """The GCM Specification, Appendix B, Test Case 1: no plaintext, no AAD, zero key and IV."""
    assert GmacSigner(bytes(16)).sign(memoryview(b""), 0, False).hex() == "58e2fccefa7e3061367f1d57a4e7455a"


@pytest.mark.parametrize(
    ("is_server", "is_cancel", "last"),
    [(False, False, 0), (True, False, 1), (False, True, 2), (True, True, 3)],
)
def test_gmac_nonce_holds_message_id_role_and_cancel(is_server, is_cancel, last):
    """[MS-SMB2] 3.1.4.1: 8 bytes MessageId, a role bit (1: server), a CANCEL bit, the rest zero."""
    key, message, message_id = bytes(range(16)), bytes(100), 0x1122334455667788
    nonce = message_id.to_bytes(8, "little") + bytes((last, 0, 0, 0))
    expected = AESGCM(key).encrypt(nonce, b"", message)
    assert GmacSigner(key).sign(memoryview(message), message_id, is_server, is_cancel) == expected


def test_hmac_sha256_is_cut_to_16_bytes():
    """[MS-SMB2] 3.1.4.1: the first 16 bytes (the high-order portion) of the hash."""
    message = bytes(range(200))
    signer = make_signer(SigningAlgorithm.HMAC_SHA256, b"k" * 16)
    assert signer.sign(memoryview(message), 5, True) == hmac.digest(b"k" * 16, message, hashlib.sha256)[:16]


@settings(max_examples=60)
@given(
    algorithm=st.sampled_from(SigningAlgorithm),
    body=st.binary(max_size=300),
    message_id=st.integers(0, 2**64 - 1),
    flip=st.integers(0, 10**6),
)
def test_a_signed_message_verifies_and_any_flipped_bit_does_not(algorithm, body, message_id, flip):
    """[MS-SMB2] 3.1.5.1 Verifying an Incoming Message."""
    signer = make_signer(algorithm, b"0123456789abcdef")
    message = bytearray(64) + body
    message[48:64] = signer.sign(memoryview(message), message_id, True)
    sent = bytes(message)
    assert signer.verify(memoryview(message), message_id, True)
    assert message[48:64] == bytes(16)
    bit = flip % (8 * len(sent))
    message[:] = sent
    message[bit // 8] ^= 1 << bit % 8
    changed = bytes(message)
    assert not signer.verify(memoryview(message), message_id, True)
    assert bytes(message) == changed


def test_a_message_shorter_than_its_header_never_verifies():
    signer = make_signer(SigningAlgorithm.AES_CMAC, bytes(16))
    assert not signer.verify(memoryview(bytearray(63)), 0, False)
