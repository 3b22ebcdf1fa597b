"""Our server as a process, as a user starts it: `sofs serve` on a folder, `sofs up` on a pool of disks."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path

from interop.process import Process, answers_smb, free_port
from interop.target import Target

USER, SECOND_USER = "tester", "tester2"


def sofs() -> Path:
    """The console script that belongs to the Python running now."""
    return Path(sys.executable).with_name("sofs")


def _password_file(folder: Path, name: str) -> tuple[Path, str]:
    password = "Pw-" + secrets.token_urlsafe(9)
    path = folder / f"{name}.password"
    path.touch(mode=0o600)
    path.write_text(password + "\n")
    return path, password


def start_serve(folder: Path) -> Target:
    """`sofs serve` on new folders `data` and `second` in `folder`. The caller stops it."""
    data, second = folder / "data", folder / "second"
    data.mkdir()
    second.mkdir()
    password_file, password = _password_file(folder, USER)
    port = free_port()
    process = Process(
        [sofs(), "serve", data, "--name", "data", "--port", str(port), "--bind", "127.0.0.1",
         "--user", USER, "--password-file", password_file, "--share", f"second={second}",
         "--state", folder / "state"],
        folder / "serve.log")
    process.wait_until(lambda: answers_smb(port))
    return Target(kind="serve", process=process, port=port, user=USER, password=password, share="data",
                  folder=data, shares={"data": "data", "second": "second"})


def start_pool(folder: Path) -> Target:
    """`sofs up` with its state in `folder`: the demo pool, volume and share. The caller stops it."""
    port = free_port()
    state = folder / "pool"
    process = Process([sofs(), "up", "--dir", state, "--port", str(port)], folder / "up.log")
    process.wait_until(lambda: f"ready {port}" in process.text() and answers_smb(port), timeout_s=60)
    password = (state / "password").read_text().strip()
    return Target(kind="pool", process=process, port=port, user="demo", password=password, share="demo",
                  shares={"data": "demo"})
