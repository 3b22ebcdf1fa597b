"""Our client's command line, `python -m smbclient`, against other people's servers and against ours."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from interop import peers, server
from interop.target import Target

ROOT = Path(__file__).resolve().parent.parent
STARTERS: dict[str, Callable[[Path], Target]] = {
    "samba": peers.start_samba, "impacket": peers.start_impacket, "serve": server.start_serve,
            "pool": server.start_pool}
DIALECTS = ("2.0.2", "2.1", "3.0", "3.0.2", "3.1.1")


@pytest.fixture(scope="module", params=STARTERS)
def other(request: pytest.FixtureRequest) -> Iterator[Target]:
    """The server that our client talks to."""
    folder = peers.tmpfs_folder("sofs-client.")
    try:
        running = STARTERS[request.param](folder)
    except peers.Unavailable as reason:
        pytest.skip(str(reason))
    yield running
    running.stop()
    shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Client:
    """`python -m smbclient` with its login in a file."""

    target: Target
    work: Path

    def url(self, path: str = "") -> str:
        return f"//{self.target.host}/{self.target.share}/{path}"

    def run(self, command: str, *words: str, status: int = 0, password: str | None = None) -> str:
        login = self.work / "login"
        login.touch(mode=0o600)
        login.write_text(f"username={self.target.user}\npassword={password or self.target.password}\n")
        argv = [
            sys.executable,
            "-m",
            "smbclient",
            command,
            "-A",
            str(login),
            "-P",
            str(self.target.port),
            "-q",
            *words,
        ]
        done = subprocess.run(
            argv,
            cwd=self.work,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=90,
            check=False,
        )
        assert done.returncode == status, f"status {done.returncode}: {done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout if status == 0 else done.stderr


@pytest.fixture
def client(other: Target, tmp_path: Path) -> Client:
    return Client(other, tmp_path)


def test_a_file_goes_out_is_listed_read_renamed_and_removed(client: Client) -> None:
    data = random.Random(1).randbytes(5_000_001)
    (client.work / "up").write_bytes(data)
    client.run("put", "up", client.url("file"))
    assert "5000001" in client.run("stat", client.url("file")).replace(",", "").replace(" ", "")
    client.run("get", client.url("file"), "down")
    assert (client.work / "down").read_bytes() == data
    client.run("mv", client.url("file"), client.url("other"))
    listed = client.run("ls", client.url())
    assert "other" in listed and "file" not in listed.split()
    client.run("rm", client.url("other"))
    assert "other" not in client.run("ls", client.url())


def test_a_tree_goes_out_and_comes_back(client: Client) -> None:
    source = random.Random(2)
    for path in ("t", "t/a", "t/a/b", "t/empty"):
        (client.work / path).mkdir()
    files = {f"t/{place}f{number}": source.randbytes(source.choice((0, 1, 3000, 90_000)))
             for number in range(8) for place in ("", "a/", "a/b/")}
    for path, data in files.items():
        (client.work / path).write_bytes(data)
    client.run("put", "-r", "t", client.url("t"))
    drawn = client.run("tree", client.url("t"))
    assert "f7" in drawn and "empty" in drawn
    client.run("get", "-r", client.url("t"), "back")
    found = client.work / "back"
    found = found / "t" if (found / "t").is_dir() else found
    for path, data in files.items():
        assert (found / Path(path).relative_to("t")).read_bytes() == data
    client.run("rm", "-r", client.url("t"))
    assert "t" not in client.run("ls", client.url()).split()


def test_cat_prints_what_is_in_a_file_and_mkdir_makes_a_folder(client: Client) -> None:
    (client.work / "up").write_text("line one\nline two\n")
    client.run("mkdir", client.url("folder"))
    client.run("put", "up", client.url("folder/text"))
    assert client.run("cat", client.url("folder/text")) == "line one\nline two\n"
    client.run("rm", "-r", client.url("folder"))


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("protection", ["sign", "encrypt"])
def test_each_dialect_carries_data(client: Client, dialect: str, protection: str) -> None:
    if client.target.kind == "impacket" and dialect != "2.0.2":
        pytest.skip("impacket's server speaks 2.0.2 only")
    if protection == "encrypt" and dialect.startswith("2"):
        pytest.skip("encryption begins with 3.0")
    data = random.Random(3).randbytes(300_000)
    (client.work / "up").write_bytes(data)
    options = ("--dialect", dialect, *(("-e",) if protection == "encrypt" else ()))
    client.run("put", *options, "up", client.url("d"))
    client.run("get", *options, client.url("d"), "down")
    assert (client.work / "down").read_bytes() == data
    client.run("rm", client.url("d"))


def test_mistakes_are_one_line_each(client: Client) -> None:
    for command, words in (("get", (client.url("nothing here"), "x")), ("rm", (client.url("nothing here"),))):
        said = client.run(command, *words, status=1)
        assert len(said.strip().splitlines()) == 1 and "nothing here" in said
    said = client.run("ls", client.url(), status=1, password="wrong")
    assert len(said.strip().splitlines()) == 1 and "LOGON_FAILURE" in said.replace(" ", "_").upper()
