"""kill -9 under a write load: after a restart what was flushed is there, and the catalog is sound."""

from __future__ import annotations

import random
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from impacket.smbconnection import SMBConnection

from interop import server
from interop.target import Target

KILLS = 2
RECORD_BYTES = 5000


def log_on(target: Target) -> Any:
    connection = SMBConnection(target.host, target.host, sess_port=target.port, timeout=20)
    connection.login(target.user, target.password)
    return connection


def content(number: int, size: int) -> bytes:
    return random.Random(number).randbytes(size)


@dataclass
class Load:
    """A client that writes until its connection breaks, and notes what a FLUSH was answered for."""

    number: int
    files: dict[str, int] = field(default_factory=dict)      # name -> seed and size of a flushed file
    records: int = 0                                         # flushed, of one growing file
    removed: set[str] = field(default_factory=set)
    failure: BaseException | None = None

    def run(self, target: Target) -> None:
        connection = log_on(target)
        try:
            self._write(connection, target.share)
        except Exception as error:      # the server was killed: any kind of failure of this client is right
            self.failure = error
        finally:
            connection.getSMBServer().get_socket().close()

    def _write(self, connection: Any, share: str) -> None:
        low = connection.getSMBServer()
        tree = connection.connectTree(share)
        journal = connection.createFile(tree, f"journal-{self.number}")
        for index in range(1_000_000):
            size = 1 + (index * 7919) % 200_000
            name = f"file-{self.number}-{index}"
            opened = connection.createFile(tree, name)
            connection.writeFile(tree, opened, content(size, size))
            low.flush(tree, opened)
            self.files[name] = size
            connection.closeFile(tree, opened)
            connection.writeFile(tree, journal, content(index, RECORD_BYTES), index * RECORD_BYTES)
            low.flush(tree, journal)
            self.records = index + 1
            if index % 5 == 4:          # gone, or there in full: the crash may fall between the two
                gone = f"file-{self.number}-{index - 2}"
                self.removed.add(gone)
                connection.deleteFile(share, gone)


def verify(target: Target, loads: list[Load]) -> int:
    """Read everything back; how many files were there."""
    connection = log_on(target)
    read = 0
    for load in loads:
        present = {
            entry.get_longname() for entry in connection.listPath(target.share, f"file-{load.number}-*")
        }
        for name, size in load.files.items():
            if name not in present:
                assert name in load.removed, f"{name} was flushed and is gone"
                continue
            assert fetch(connection, target.share, name) == content(size, size), name
            read += 1
        journal = fetch(connection, target.share, f"journal-{load.number}")
        assert len(journal) >= load.records * RECORD_BYTES
        for index in range(load.records):
            found = journal[index * RECORD_BYTES:(index + 1) * RECORD_BYTES]
            assert found == content(index, RECORD_BYTES), f"record {index} of {load.records}"
    connection.close()
    return read


def fetch(connection: Any, share: str, name: str) -> bytes:
    data = BytesIO()
    connection.getFile(share, name, data.write)
    return data.getvalue()


@pytest.mark.timeout(240)
def test_what_was_flushed_survives_kills_at_random_moments(tmp_path: Path) -> None:
    state, log = tmp_path / "pool", tmp_path / "log"
    chance = random.Random(11)
    loads: list[Load] = []
    read = 0
    target = server.start_up(state, log)
    try:
        for kill in range(KILLS):
            running = [Load(2 * kill), Load(2 * kill + 1)]
            threads = [threading.Thread(target=load.run, args=(target,)) for load in running]
            for thread in threads:
                thread.start()
            time.sleep(1.0 + 2.0 * chance.random())
            target.process.signal(signal.SIGKILL)
            target.process.wait(20)
            for thread in threads:
                thread.join(60)
                assert not thread.is_alive()
            assert all(load.records > 0 for load in running), [load.failure for load in running]
            loads += running
            target = server.start_up(state, log)
            read = verify(target, loads)
            assert target.stop() == 0
            done = subprocess.run(
                [server.sofs(), "--state", state, "volume", "check", "demo"],
                capture_output=True,
                text=True,
                timeout=60,
                stdin=subprocess.DEVNULL,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            target = server.start_up(state, log)
        assert read > KILLS
        assert target.stop() == 0
        assert "Traceback" not in target.process.text()
    finally:
        target.stop()
