"""Whatever bytes come, the endpoint answers, ignores, or ends that connection with ProtocolViolation; nothing
else.

[MS-SMB2] 3.3.5.2 Receiving Any Message. Good conversations are cut, mutated, reordered and spliced.
"""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smbproto.errors import ProtocolViolation
from smbproto.smb2.header import Command
from smbsrv.connection import Connection
from smbsrv.limits import Limits
from tests.smbsrv.test_compounds_and_credits import CLOSE, create, notify, read, write
from tests.smbsrv.wire import Peer, Site


def feed(connection: Connection, data: bytes) -> bool:
    """False: it was violated, and the connection is over."""
    memory = memoryview(bytearray(data + bytes(16)))
    at = 0
    try:
        while True:
            reached = connection.receive(memory, at, len(data))
            connection.arena.end = 0
            if reached == at:
                return True
            at = reached
    except ProtocolViolation:
        connection.lost()
        return False


def conversation(peer: Peer) -> list[bytes]:
    """Good frames after the logon."""
    file_id = peer.create("f")
    bodies = [
        (Command.ECHO, b"\4\0\0\0"), create("g"), (Command.TREE_CONNECT, b"\x09\0\0\0\x48\0\0\0\0"),
        (Command.READ, read()[1]), (Command.WRITE, write(b"data")[1]), notify(file_id), CLOSE,
        (Command.OPLOCK_BREAK, b"\x18\0" + bytes(22)), (Command.IOCTL, b"\x39\0" + bytes(55)),
        (Command.QUERY_DIRECTORY, b"\x21\0\x25\0" + bytes(29)),
        (Command.QUERY_INFO, b"\x29\0\1\x12" + bytes(37)),
        (Command.SET_INFO, b"\x21\0\1\x04" + bytes(28)), (Command.LOCK, b"\x30\0\1\0" + bytes(44)),
    ]  # fmt: skip
    return [peer.frame(peer.message(command, body)) for command, body in bodies]


def mutated(rng: random.Random, frame: bytes, peer: Peer) -> bytes:
    """The frame with a few bytes changed or its tail cut, its length and signature made right again,
    mostly."""
    message = bytearray(frame[4:])
    for _ in range(rng.choice((1, 1, 2, 8))):
        message[rng.randrange(len(message))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    if rng.random() < 0.3:
        del message[rng.randrange(65) if rng.random() < 0.2 else rng.randrange(64, len(message) + 1) :]
    if rng.random() < 0.8 and len(message) >= 64:
        message[:6], message[40:48] = b"\xfeSMB@\0", frame[44:52]
        message[48:64] = bytes(16)
        message[16] |= 8
        peer.sign(message)
    return len(message).to_bytes(4, "big") + bytes(message)


@pytest.mark.parametrize("seed", range(12))
def test_mutated_requests_never_surprise(seed):
    """Each handler behind the endpoint meets them, too; a hundred connections leave nothing behind."""
    rng = random.Random(seed)
    site = Site(limits=Limits(credits_max=512))
    for _ in range(8):
        peer = site.logged_on(credits=200)
        alive = True
        for frame in conversation(peer):
            if alive and rng.random() < 0.9:
                alive = feed(peer.connection, mutated(rng, frame, peer))
        if alive:
            peer.connection.lost()
    assert site.server.connections == {} and site.server.sessions == {}
    honest = site.logged_on()
    assert honest.write(honest.create("h"), b"x").status == 0


@settings(max_examples=150)
@given(st.lists(st.binary(max_size=120), max_size=4))
def test_rubbish_before_the_logon(chunks):
    """A stranger's first bytes, framed."""
    connection = Site().connect().connection
    for chunk in chunks:
        if not feed(connection, len(chunk).to_bytes(4, "big") + chunk):
            return


@settings(max_examples=100)
@given(st.binary(max_size=200), st.sampled_from([0xFD, 0xFE, 0xFC, 0xFF]), st.booleans())
def test_rubbish_after_the_logon(tail, first, with_session):
    """With a right protocol id and, perhaps, the right session in a TRANSFORM_HEADER."""
    peer = Site().logged_on()
    message = bytes([first]) + b"SMB" + tail
    if with_session:
        message = message[:44].ljust(44, b"\0") + peer.keys.session_id.to_bytes(8, "little") + message[52:]
    feed(peer.connection, len(message).to_bytes(4, "big") + message)


@settings(max_examples=60)
@given(st.data())
def test_frames_may_arrive_in_any_pieces(data):
    """A stream has no borders: cut anywhere, the same answers come."""
    peer = Site().logged_on(credits=64)
    peer.send(Command.ECHO, b"\4\0\0\0")
    stream = b"".join(conversation(peer))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    answers = 0
    have = b""
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        have += stream[begin:end]
        memory = memoryview(bytearray(have + bytes(16)))
        reached = peer.connection.receive(memory, 0, len(have))
        have = have[reached:]
        answers += peer.connection.arena.end
        peer.connection.arena.end = 0
    assert have == b"" and answers > 13 * 73


def test_a_session_keys_frame_cannot_be_replayed_on_another_connection():
    """Sealed for a session that is not here: the connection ends (3.3.5.2.1.1)."""
    site = Site()
    peer, other = site.logged_on(), site.logged_on(client_guid=b"O" * 16)
    peer.is_sealing = True
    frame = peer.frame(peer.message(Command.ECHO, b"\4\0\0\0"))
    assert not feed(other.connection, frame)
