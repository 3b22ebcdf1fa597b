"""The program as its user meets it: starting, stopping, starting again; what it says when something fails."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop import server
from interop.peers import tmpfs_folder
from interop.process import Process, answers_smb, free_port
from interop.smbclient_tool import SmbClient
from interop.target import Target


def sofs(*words: str | Path, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run([server.sofs(), *words], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          timeout=timeout_s, check=False)


def complaint(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """The command failed with one clear line that holds `words`, and no traceback, but maybe warnings."""
    said = (done.stderr + done.stdout).strip()
    assert done.returncode == 1, said
    assert "Traceback" not in said
    lines = [line for line in said.splitlines() if " WARNING " not in line]
    assert len(lines) == 1 and lines[0].startswith("sofs: "), said
    for word in words:
        assert word in lines[0], said


def start_up(state: Path, port: int, log: Path) -> Process:
    process = Process([server.sofs(), "up", "--dir", state, "--port", str(port)], log)
    process.wait_until(lambda: answers_smb(port), timeout_s=60)
    return process


def client(state: Path, port: int, process: Process, work: Path) -> SmbClient:
    work.mkdir()
    password = (state / "demo-password").read_text().strip()
    return SmbClient(Target("pool", process, port, "demo", password, "demo"), work)


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Target]:
    """A pool of its own, for tests that break it."""
    running = server.start_pool(tmp_path)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def lasting() -> Iterator[tuple[Target, Path]]:
    """A pool for tests that only look, and its state folder."""
    folder = tmpfs_folder("sofs-lasting.")
    running = server.start_pool(folder)
    yield running, folder / "pool"
    running.stop()
    shutil.rmtree(folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_shows_what_to_type_stops_cleanly_and_finds_its_data_again(
        tmp_path: Path, number: signal.Signals) -> None:
    state, port, log = tmp_path / "demo", free_port(), tmp_path / "log"
    process = start_up(state, port, log)
    process.wait_until(lambda: "mount" in process.text(), timeout_s=20)
    said = process.text()
    password = (state / "demo-password").read_text().strip()
    assert f"smbclient //127.0.0.1/demo -p {port} -U demo" in said
    assert f"port={port}" in said and "mount -t cifs" in said and password in said
    assert (state / "demo-password").stat().st_mode & 0o077 == 0
    tool = client(state, port, process, tmp_path / "one")
    tool.file("x", b"still here")
    tool.run("mkdir d", r"put x d\kept").ok()
    process.signal(number)
    assert process.wait(20) == 0, process.tail()
    assert "Traceback" not in process.text()
    again = start_up(state, port, log)
    tool = client(state, port, again, tmp_path / "two")
    tool.run(r"get d\kept down").ok()
    assert (tool.work / "down").read_bytes() == b"still here"
    assert again.stop() == 0


def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        complaint(sofs("up", "--dir", tmp_path / "demo", "--port", str(port)), str(port))
        (tmp_path / "share").mkdir()
        complaint(sofs("serve", tmp_path / "share", "--port", str(port)), str(port))


def test_a_second_server_on_the_same_pool_is_refused(pool: Target, tmp_path: Path) -> None:
    complaint(sofs("up", "--dir", tmp_path / "pool", "--port", str(free_port())))
    assert answers_smb(pool.port)


def test_a_folder_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    complaint(sofs("serve", tmp_path / "nowhere", "--port", str(free_port())), "nowhere")


def test_a_missing_password_file_is_one_clear_line(tmp_path: Path) -> None:
    complaint(
        sofs(
            "serve", tmp_path, "--port", str(free_port()), "--user", "u", "--password-file", tmp_path / "none"
        ),
        "none",
    )


def disk_files(state: Path) -> list[Path]:
    return sorted((state / "disks").iterdir())


def test_one_missing_disk_is_survived_and_too_many_are_one_clear_line(tmp_path: Path) -> None:
    """A quorum of disks holds the pool's metadata; a two-way mirror survives the loss of one."""
    state, port, log = tmp_path / "demo", free_port(), tmp_path / "log"
    process = start_up(state, port, log)
    tool = client(state, port, process, tmp_path / "one")
    data = os.urandom(5_000_000)
    tool.file("x", data)
    tool.run("put x kept").ok()
    process.stop()
    disks = disk_files(state)
    disks[0].rename(tmp_path / "lost")
    process = start_up(state, port, log)
    tool = client(state, port, process, tmp_path / "two")
    tool.run("get kept down").ok()
    assert (tool.work / "down").read_bytes() == data
    process.stop()
    for disk in disks[1:4]:
        disk.rename(tmp_path / disk.name)
    complaint(sofs("up", "--dir", state, "--port", str(port)), "more than half")


def test_a_corrupt_label_costs_that_disk_only(tmp_path: Path) -> None:
    state, port, log = tmp_path / "demo", free_port(), tmp_path / "log"
    process = start_up(state, port, log)
    tool = client(state, port, process, tmp_path / "one")
    tool.file("x", b"kept")
    tool.run("put x kept").ok()
    process.stop()
    with disk_files(state)[2].open("r+b") as disk:
        disk.write(os.urandom(65536))
    process = start_up(state, port, log)
    tool = client(state, port, process, tmp_path / "two")
    tool.run("get kept down").ok()
    assert process.stop() == 0
    assert "Traceback" not in process.text()


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("pool", "status"),
        ("disk", "list"),
        ("volume", "list"),
        ("share", "list"),
        ("user", "list"),
        ("session", "list"),
        ("open", "list"),
    ],
)
def test_the_command_line_shows_tables_and_json(lasting: tuple[Target, Path], words: tuple[str, ...]) -> None:
    """Human tables by default, `--json` always."""
    target, state = lasting
    table = sofs("--state", state, *words)
    assert table.returncode == 0 and table.stdout.strip(), table.stderr
    assert target.password not in table.stdout
    answer = sofs("--state", state, "--json", *words)
    assert answer.returncode == 0, answer.stderr
    json.loads(answer.stdout)


def test_a_share_and_a_user_are_made_used_and_removed(pool: Target, tmp_path: Path) -> None:
    """All without a password on a command line."""
    state = tmp_path / "pool"
    password_file = tmp_path / "new-password"
    password_file.touch(mode=0o600)
    password_file.write_text("A-new-pass-1\n")
    assert sofs("--state", state, "user", "add", "ana", "--password-file", password_file).returncode == 0
    work = tmp_path / "work"
    work.mkdir()
    tool = SmbClient(pool, work)
    tool.run("ls", user="ana", password="A-new-pass-1").ok()
    assert sofs("--state", state, "user", "remove", "ana").returncode == 0
    tool.run("ls", user="ana", password="A-new-pass-1").fails("LOGON_FAILURE")
    complaint(sofs("--state", state, "user", "remove", "ana"), "ana")


def test_volume_check_finds_nothing_on_a_used_volume(pool: Target, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    tool = SmbClient(pool, work)
    tool.file("x", os.urandom(300_000))
    tool.run("mkdir d", r"put x d\a", r"put x d\b", r"del d\a", r"rename d\b c").ok()
    complaint(sofs("--state", tmp_path / "pool", "volume", "check", "demo"), "being served")
    pool.stop()
    done = sofs("--state", tmp_path / "pool", "volume", "check", "demo")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("text", ["{", "[]", '{"pid": 1}'])
def test_a_damaged_note_of_where_the_node_runs_is_as_none(tmp_path: Path, text: str) -> None:
    state = tmp_path / "state"
    assert sofs("--state", state, "init", "--port", "4455").returncode == 0
    (state / "run.json").write_text(text)
    done = sofs("--state", state, "user", "list")
    assert done.returncode == 0, done.stderr


def test_a_killed_nodes_process_id_may_be_anothers(tmp_path: Path) -> None:
    """What does not answer where the node was is no node: the command is done here."""
    state = tmp_path / "state"
    assert sofs("--state", state, "init", "--port", "4455").returncode == 0
    where = {"pid": os.getpid(), "address": "127.0.0.1", "port": free_port()}
    (state / "run.json").write_text(json.dumps(where))
    (state / "admin.json").write_text('{"user": "a", "password": "b"}')
    done = sofs("--state", state, "user", "list")
    assert done.returncode == 0, done.stderr
    (state / "admin.json").write_text("rubbish")
    complaint(sofs("--state", state, "user", "list"), "admin.json")


@pytest.mark.parametrize("content", [b"\n", b"\xff\xfe\n"])
def test_an_empty_or_unreadable_password_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    """Never a server with a password that nobody chose or saw."""
    (tmp_path / "none").write_bytes(content)
    words = ("serve", tmp_path, "--port", str(free_port()), "--password-file", tmp_path / "none")
    complaint(sofs(*words), "none")


def test_a_port_that_is_none_is_one_clear_line(tmp_path: Path) -> None:
    complaint(sofs("serve", tmp_path, "--port", "99999"), "99999")
