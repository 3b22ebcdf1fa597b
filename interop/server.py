"""Our server as a process, as a user starts it: `sofs serve` on a folder, `sofs up` on a pool of disks."""

from __future__ import annotations

import secrets
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from interop.process import Process, answers_smb, free_port
from interop.target import Target

USER, SECOND_USER = "tester", "tester2"


def sofs() -> Path:
    """The console script that belongs to the Python running now."""
    return Path(sys.executable).with_name("sofs")


def _password_file(folder: Path) -> tuple[Path, str]:
    password = "Pw-" + secrets.token_urlsafe(9)
    path = folder / "password"
    path.touch(mode=0o600)
    path.write_text(password + "\n")
    return path, password


def start_serve(folder: Path, *options: str) -> Target:
    """`sofs serve` on new folders `data` and `second` in `folder`. The caller stops it."""
    data, second = folder / "data", folder / "second"
    data.mkdir()
    second.mkdir()
    password_file, password = _password_file(folder)
    port = free_port()
    process = Process(
        [
            sofs(),
            "serve",
            data,
            "--name",
            "data",
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--user",
            USER,
            "--user2",
            SECOND_USER,
            "--password-file",
            password_file,
            "--share",
            f"second={second}",
            "--no-banner",
            *options,
        ],
        folder / "serve.log",
    )
    process.wait_until(lambda: f"ready {port}" in process.text() and answers_smb(port))
    return Target(kind="serve", process=process, port=port, user=USER, password=password, share="data",
                  second_user=SECOND_USER, second_password=password, folder=data,
                  shares={"data": "data", "second": "second"})


def start_up(state: Path, log: Path) -> Target:
    """`sofs up` on `state`, new or used before: demo pool, volume, share and user. The caller stops it."""
    port = free_port()
    process = Process(
        [sofs(), "up", "--dir", state, "--port", str(port), "--bind", "127.0.0.1", "--no-banner"], log
    )
    process.wait_until(lambda: f"ready {port}" in process.text() and answers_smb(port), timeout_s=60)
    password = (state / "demo-password").read_text().strip()
    return Target(kind="pool", process=process, port=port, user="demo", password=password, share="demo",
                  shares={"data": "demo"})


def start_pool(folder: Path) -> Target:
    """A new demo in `folder`, with a second user. The caller stops it."""
    target = start_up(folder / "pool", folder / "up.log")
    password_file, password = _password_file(folder)
    subprocess.run(
        [sofs(), "--state", folder / "pool", "user", "add", SECOND_USER, "--password-file", password_file],
        check=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    return replace(target, second_user=SECOND_USER, second_password=password)


def add_share(folder: Path, name: str, *options: str) -> None:
    """A further share on the volume of the pool that `start_pool` made in `folder`."""
    subprocess.run(
        [sofs(), "--state", folder / "pool", "share", "add", name, "--volume", "demo", *options],
        check=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
