"""Processes that tests start: free ports, a log each, readiness by an SMB2 NEGOTIATE, an end by process id.

Whatever is started here ends with the process that started it, even if that one is killed (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import ctypes
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class DidNotStart(Exception):
    """A server ended, or did not answer in time; the message holds the end of its log."""


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def end_with_parent() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def negotiate_request() -> bytes:
    """A framed NEGOTIATE Request for 2.0.2 ([MS-SMB2] 2.2.3), written out by hand: no code under test."""
    header = b"\xfeSMB" + (64).to_bytes(2, "little") + bytes(8) + (1).to_bytes(2, "little") + bytes(48)
    body = b"".join((
        (36).to_bytes(2, "little"), (1).to_bytes(2, "little"), (1).to_bytes(2, "little"), bytes(6),
        b"interop-readines", bytes(8), (0x0202).to_bytes(2, "little")))
    return len(header + body).to_bytes(4, "big") + header + body


def answers_smb(port: int, host: str = "127.0.0.1", timeout_s: float = 5.0) -> bool:
    """Whether an SMB2 server answers a NEGOTIATE there: neither gone nor hung."""
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as stream:
            stream.settimeout(timeout_s)
            stream.sendall(negotiate_request())
            answer = b""
            while len(answer) < 8:
                data = stream.recv(64)
                if not data:
                    return False
                answer += data
            return answer[4:8] == b"\xfeSMB"
    except OSError:
        return False


class Process:
    """One process of a test, its output in `log`."""

    def __init__(self, argv: Sequence[str | Path], log: Path, *, env: Mapping[str, str] | None = None,
                 cwd: Path | None = None) -> None:
        self.argv = [str(word) for word in argv]
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=env,
                cwd=cwd, start_new_session=True, preexec_fn=end_with_parent)
        self.pid = self._process.pid

    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def status(self) -> int | None:
        return self._process.poll()

    def wait_until(self, ready: Callable[[], bool], timeout_s: float = 30.0) -> None:
        """Return once `ready()`; raises DidNotStart when the process ends before, or after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            if not self.running():
                raise DidNotStart(f"{self.argv[0]} ended with status {self.status}:\n{self.tail()}")
            if time.monotonic() > deadline:
                self.stop()
                raise DidNotStart(f"{self.argv[0]} was not ready after {timeout_s:.0f} s:\n{self.tail()}")
            time.sleep(0.05)

    def signal(self, number: signal.Signals) -> None:
        if self.running():
            self._process.send_signal(number)

    def wait(self, timeout_s: float) -> int:
        return self._process.wait(timeout_s)

    def stop(self, timeout_s: float = 10.0) -> int:
        """Ask it to end (SIGTERM), insist after `timeout_s` (SIGKILL), and give its exit status."""
        self.signal(signal.SIGTERM)
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def tail(self, characters: int = 4000) -> str:
        return self.text()[-characters:]

    def text(self, offset: int = 0) -> str:
        """Its output so far, from `offset` bytes on."""
        with self.log.open("rb") as output:
            output.seek(offset)
            return output.read().decode("utf-8", "replace")

    def resident_bytes(self) -> int:
        """Resident memory of the process now."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0
