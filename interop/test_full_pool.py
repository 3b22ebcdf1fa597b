"""A small pool that a client fills to the brim: STATUS_DISK_FULL, nothing lost, and all well once there is
room.

(smbclient gives up on its other writes when one fails, and calls their answers INVALID_NETWORK_RESPONSE.)
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from interop import server
from interop.process import Process, answers_smb, free_port
from interop.smbclient_tool import SmbClient
from interop.target import Target
from interop.test_lifecycle import sofs

PIECE_BYTES = 12 << 20
PIECES_MAX = 40


class Small:
    """A node on three disks of 160 MB, with a thin volume that claims to be far larger."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state, self.port = folder, folder / "state", free_port()
        password = folder / "password"
        password.write_text("Full-1-pool\n")
        disks = [str(folder / f"disk{number}") for number in range(3)]
        self.perform("init", "--port", str(self.port), "--bind", "127.0.0.1")
        self.perform("pool", "create", *disks, "--disk-size", "160M", "--slab", "4M")
        self.perform("volume", "create", "v", "--size", "10G")
        self.perform("share", "add", "v", "--volume", "v")
        self.perform("user", "add", "ana", "--admin", "--password-file", str(password))

    def perform(self, *words: str) -> str:
        done = sofs("--state", self.state, *words)
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    def start(self) -> Target:
        process = Process([server.sofs(), "--state", self.state, "run"], self.folder / "log")
        process.wait_until(lambda: answers_smb(self.port), timeout_s=30)
        return Target("pool", process, self.port, "ana", "Full-1-pool", "v")


def get(tool: SmbClient, name: str) -> bytes:
    back = tool.work / "back"
    back.unlink(missing_ok=True)
    tool.run(f"get {name} back").ok()
    return back.read_bytes()


@pytest.mark.slow
def test_a_full_pool_says_so_loses_nothing_and_recovers(tmp_path: Path) -> None:
    small = Small(tmp_path)
    target = small.start()
    work = tmp_path / "work"
    work.mkdir()
    tool = SmbClient(target, work)
    pieces: list[bytes] = []
    said = ""
    while "DISK_FULL" not in said and len(pieces) < PIECES_MAX:
        pieces.append(os.urandom(PIECE_BYTES))
        tool.file("piece", pieces[-1])
        result = tool.run(f"put piece f{len(pieces)}")
        said = result.output
    assert "NT_STATUS_DISK_FULL" in said, f"{len(pieces)} pieces went in"
    kept = pieces[:-1]
    assert len(kept) > 10
    tool.run("put piece more").fails("DISK_FULL")
    for number in (1, len(kept) // 2, len(kept)):
        assert get(tool, f"f{number}") == kept[number - 1]

    tool.run("del f1", "put piece after").ok()
    assert get(tool, "after") == pieces[-1], "what was freed can be used at once"
    tool.run("put piece more").fails("DISK_FULL")
    assert target.stop() == 0, target.process.tail()
    assert "Traceback" not in target.process.text()
    assert re.search(r"consistent\s+yes", small.perform("volume", "check", "v"))

    again = small.start()
    for number in range(2, len(kept) + 1):
        assert get(tool, f"f{number}") == kept[number - 1]
    tool.run("del f*", "del more", "put piece last").ok()
    assert get(tool, "last") == pieces[-1]
    assert again.stop() == 0
