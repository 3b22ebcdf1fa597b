"""rclone's SMB backend (a Go client of its own): trees out and back, checked by rclone and by us."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from interop.smbclient_tool import SmbClient
from interop.target import Target


class Rclone:
    """rclone with a remote `srv:` for the target, configured by environment: no password on a command
    line."""

    def __init__(self, target: Target, work: Path) -> None:
        self.work = work
        (work / "rclone.conf").touch()
        self.environment = dict(os.environ)
        self.environment |= {
            "RCLONE_CONFIG": str(work / "rclone.conf"), "RCLONE_CONFIG_SRV_TYPE": "smb",
            "RCLONE_CONFIG_SRV_HOST": target.host, "RCLONE_CONFIG_SRV_PORT": str(target.port),
            "RCLONE_CONFIG_SRV_USER": target.user, "RCLONE_CONFIG_SRV_PASS": self._obscured(target.password)}

    @staticmethod
    def _obscured(password: str) -> str:
        return subprocess.run(
            ["rclone", "obscure", "-"], input=password, capture_output=True, text=True, check=True, timeout=20
        ).stdout.strip()

    def run(self, *words: str, timeout_s: float = 120) -> str:
        done = subprocess.run(
            ["rclone", *words],
            env=self.environment,
            cwd=self.work,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture
def rclone(target: Target, smbclient: SmbClient, tmp_path: Path) -> tuple[Rclone, str]:
    """The tool, and the remote folder of this test."""
    return Rclone(target, tmp_path), f"srv:{target.share}/{smbclient.folder}"


def make_tree(folder: Path) -> None:
    source = random.Random(7)
    for path in ("a", "a/b", "a/b/c", "d"):
        (folder / path).mkdir(parents=True)
    for number in range(60):
        place = source.choice(["", "a", "a/b", "a/b/c", "d"])
        (folder / place / f"file {number} é.bin").write_bytes(
            source.randbytes(source.choice([0, 1, 4096, 70_000]))
        )
    (folder / "large.bin").write_bytes(source.randbytes(20_000_003))


def test_a_tree_is_copied_checked_and_synced_back(rclone: tuple[Rclone, str], tmp_path: Path) -> None:
    tool, remote = rclone
    tree, back = tmp_path / "tree", tmp_path / "back"
    make_tree(tree)
    tool.run("copy", "--transfers", "8", str(tree), remote)
    tool.run("check", "--download", str(tree), remote)
    tool.run("sync", "--transfers", "8", remote, str(back))
    for path in tree.rglob("*"):
        if path.is_file():
            assert (back / path.relative_to(tree)).read_bytes() == path.read_bytes()


def test_sync_deletes_and_renames_what_the_source_did(rclone: tuple[Rclone, str], tmp_path: Path) -> None:
    tool, remote = rclone
    tree = tmp_path / "tree"
    make_tree(tree)
    tool.run("sync", str(tree), remote)
    (tree / "large.bin").rename(tree / "d" / "moved.bin")
    (tree / "a" / "new").write_text("new")
    for path in (tree / "a" / "b").rglob("*.bin"):
        path.unlink()
    tool.run("sync", str(tree), remote)
    tool.run("check", "--download", str(tree), remote)


def test_modification_times_are_kept(rclone: tuple[Rclone, str], tmp_path: Path) -> None:
    tool, remote = rclone
    path = tmp_path / "dated"
    path.write_text("x")
    os.utime(path, ns=(1_500_000_000_123_456_700, 1_500_000_000_123_456_700))
    tool.run("copy", str(path), remote)
    assert "2017-07-14 02:40:00.123456700" in tool.run("lsl", "--use-json-log=false", remote)


def test_mkdir_move_purge_and_sizes(rclone: tuple[Rclone, str], tmp_path: Path) -> None:
    tool, remote = rclone
    (tmp_path / "one").write_bytes(bytes(1000))
    tool.run("mkdir", f"{remote}/x/y")
    tool.run("copy", "one", f"{remote}/x/y")
    tool.run("moveto", f"{remote}/x/y/one", f"{remote}/x/two")
    assert tool.run("lsf", "-R", f"{remote}/x").split() == ["two", "y/"]
    assert '"bytes":1000' in tool.run("size", "--json", f"{remote}/x")
    tool.run("purge", f"{remote}/x")
    assert tool.run("lsf", remote).split() == []
