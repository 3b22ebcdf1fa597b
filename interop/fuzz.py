"""A fuzzer of a running server: spoiled, cut, reordered and repeated requests in bounded time, by a seed.

    python -m interop.fuzz [--server serve|pool|samba] [--seconds 60] [--seed N]

Each round logs on honestly (with impacket, whose code is not under test), then sends requests of every
kind, most of them spoiled *before* they are signed, so that they reach the handlers; now and then bytes
that are no request. The server must stay up, log no traceback, keep its memory bounded, and serve the
next honest client.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import socket
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from impacket.smbconnection import SMBConnection

from interop import fuzz_requests, peers, server
from interop.target import Target

STARTERS: dict[str, Callable[[Path], Target]] = {
    "serve": server.start_serve, "pool": server.start_pool, "samba": peers.start_samba}
GROWTH_BYTES_MAX = 200 << 20
ROUND_REQUESTS = 80
HONEST_TIMEOUT_S = 10.0
INTERESTING = (
    0,
    1,
    2,
    7,
    8,
    0x7F,
    0x80,
    0xFF,
    0x100,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x10000,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    0x100000000,
    0x7FFFFFFFFFFFFFFF,
    0x8000000000000000,
    0xFFFFFFFFFFFFFFFF,
)
SIGNED = 8
HEADER_FIELDS = (
    "CreditCharge",
    "Command",
    "CreditRequestResponse",
    "Flags",
    "NextCommand",
    "TreeID",
    "Status",
)


class Broken(Exception):
    """The server did what it must not; the message says what, after which round of which seed."""


def spoil(data: bytes, chance: random.Random) -> bytes:
    """`data` with one to four faults: values at the edges, flipped bits, cuts, insertions, repeated parts."""
    spoiled = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(spoiled) + 1)
        match chance.randrange(6):
            case 0 | 1:
                width = chance.choice((1, 2, 4, 8))
                value = chance.choice(INTERESTING) & ((1 << 8 * width) - 1)
                spoiled[at:at + width] = value.to_bytes(width, "little")
            case 2 if spoiled:
                spoiled[at % len(spoiled)] ^= 1 << chance.randrange(8)
            case 3:
                del spoiled[at:]
            case 4:
                spoiled[at:at] = chance.randbytes(chance.choice((1, 2, 8, 100)))
            case _:
                spoiled += spoiled[at:at + 64]
    return bytes(spoiled)


@dataclass
class Session:
    """An honest session with a file, a folder and a raw way to send."""

    connection: Any
    stream: socket.socket
    folder: str
    tree: int
    file_id: bytes
    folder_id: bytes

    def send(self, command: int, body: bytes, fields: dict[str, int]) -> None:
        """One signed request, whatever stands in it."""
        low = self.connection.getSMBServer()
        packet = low.SMB_PACKET()
        state, session = low._Connection, low._Session
        packet["Command"] = command
        packet["MessageID"] = state["SequenceWindow"]
        packet["SessionID"] = session["SessionID"]
        packet["TreeID"] = self.tree
        packet["CreditCharge"] = 1
        packet["CreditRequestResponse"] = 127
        packet["Flags"] = SIGNED
        for name, value in fields.items():
            packet[name] = value
        packet["Data"] = body
        if command != fuzz_requests.CANCEL:
            state["SequenceWindow"] += 1
        low.signSMB(packet)
        self.stream.sendall(struct.pack(">I", len(packet)) + packet.getData())

    def drain(self) -> bool:
        """Throw away what has arrived; False once the server has hung up."""
        self.stream.setblocking(False)
        try:
            while self.stream.recv(1 << 16):
                pass
            return False
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            with contextlib.suppress(OSError):
                self.stream.settimeout(HONEST_TIMEOUT_S)


def log_on(target: Target, folder: str) -> Session:
    """A session with a folder of its own: what an earlier round did to names and rights is no bar."""
    connection = SMBConnection(target.host, target.host, sess_port=target.port, timeout=HONEST_TIMEOUT_S)
    connection.login(target.user, target.password)
    tree = connection.connectTree(target.share)
    connection.createDirectory(target.share, folder)
    file_id = connection.createFile(tree, f"{folder}\\victim")
    folder_id = connection.openFile(tree, folder, desiredAccess=0x81, creationOption=1)
    stream = connection.getSMBServer().get_socket()
    return Session(connection, stream, folder, tree, file_id, folder_id)


def frame_faults(stream: socket.socket, chance: random.Random) -> None:
    """Bytes that are no request: bad lengths, unknown protocols, pieces of transforms, and cuts."""
    header = b"\xfeSMB" + chance.randbytes(60)
    choices = (
        struct.pack(">I", chance.choice((0, 3, 0x00FFFFFF, 0x01000000, 0xFFFFFFFF))) + chance.randbytes(40),
        struct.pack(">I", 200)
        + chance.choice((b"\xfdSMB", b"\xfcSMB", b"\xffSMB", b"\0\0\0\0"))
        + chance.randbytes(196),
        struct.pack(">I", 64) + header,
        struct.pack(">I", 63) + header[:63],
        struct.pack(">I", 1000) + header,  # and no more: a frame that never ends
    )
    stream.sendall(chance.choice(choices))


def play(session: Session, chance: random.Random) -> None:
    """Send a round's requests: in another order, some twice, most of them spoiled."""
    requests = list(fuzz_requests.bodies(session.file_id, session.folder_id, session.folder))
    chance.shuffle(requests)
    for command, body in requests[:ROUND_REQUESTS]:
        if command in (fuzz_requests.LOGOFF, fuzz_requests.TREE_DISCONNECT) and chance.random() < 0.9:
            continue
        fields: dict[str, int] = {}
        if chance.random() < 0.15:
            fields[chance.choice(HEADER_FIELDS)] = chance.choice(INTERESTING) & 0xFFFF
        sent = spoil(body, chance) if chance.random() < 0.8 else body
        for _ in range(chance.choice((1, 1, 1, 2))):
            session.send(command, sent, fields)
        if chance.random() < 0.01:
            frame_faults(session.stream, chance)
        if not session.drain():
            return


def honest(target: Target, number: int) -> None:
    """What any client may expect: log on, write, read back, list, remove; in time."""
    started = time.monotonic()
    connection = SMBConnection(target.host, target.host, sess_port=target.port, timeout=HONEST_TIMEOUT_S)
    connection.login(target.user, target.password)
    data = number.to_bytes(4, "little") * 1000
    name = f"honest-{number}"
    connection.putFile(target.share, name, BytesIO(data).read)
    back = BytesIO()
    connection.getFile(target.share, name, back.write)
    found = [entry.get_longname() for entry in connection.listPath(target.share, name)]
    connection.deleteFile(target.share, name)
    connection.close()
    if back.getvalue() != data or found != [name]:
        raise Broken(f"an honest client got {len(back.getvalue())} bytes back and saw {found}")
    if time.monotonic() - started > HONEST_TIMEOUT_S:
        raise Broken(f"an honest client waited {time.monotonic() - started:.1f} s")


def check(target: Target, number: int, resident_bytes: int) -> None:
    process = target.process
    if not process.running():
        raise Broken(f"the server ended with status {process.status}:\n{process.tail()}")
    try:
        honest(target, number)
    except Broken:
        raise
    except Exception as error:
        raise Broken(f"an honest client failed: {type(error).__name__}: {error}\n{process.tail()}") from error
    if target.is_ours and "Traceback (most recent call last)" in process.text():
        raise Broken(f"the server logged a traceback:\n{process.tail(8000)}")
    grown = process.resident_bytes() - resident_bytes
    if target.is_ours and grown > GROWTH_BYTES_MAX:
        raise Broken(f"the server grew by {grown >> 20} MiB")


def fuzz(target: Target, seconds: float, seed: int) -> int:
    """Rounds until the time is over; how many there were. Raises Broken, with the seed in its message."""
    honest(target, 0)
    resident_bytes = target.process.resident_bytes()
    deadline = time.monotonic() + seconds
    number = 0
    while time.monotonic() < deadline:
        number += 1
        chance = random.Random(seed * 1_000_003 + number)
        session = log_on(target, f"fuzz-{seed}-{number}")
        try:
            play(session, chance)
        except OSError:
            pass            # the server hung up on us, as it may
        finally:
            session.stream.close()
        if number % 10 == 0 or time.monotonic() > deadline:
            try:
                check(target, number, resident_bytes)
            except Broken as broken:
                raise Broken(f"seed {seed}, by round {number}: {broken}") from broken
    return number


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m interop.fuzz", description=__doc__)
    parser.add_argument("--server", choices=sorted(STARTERS), default="serve")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    folder = peers.tmpfs_folder("sofs-fuzz.")
    try:
        target = STARTERS[options.server](folder)
        try:
            rounds = fuzz(target, options.seconds, options.seed)
        finally:
            target.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{rounds} rounds of up to {ROUND_REQUESTS} requests; the server stood")
    return 0


if __name__ == "__main__":
    sys.exit(main())
