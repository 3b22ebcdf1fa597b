"""Disks of a pool die under Linux's own client, which must not notice: a file is gone, bytes have rotted.

Each test is one story on a running node: a kernel client works on a volume and compares all it reads; a
disk's file is deleted; another disk takes its place and is filled; random bytes of a third one are spoiled,
and a scrub finds them. In the end every byte that was put there is read again.
"""

from __future__ import annotations

import json
import random
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from interop import server
from interop.smbclient_tool import SmbClient
from interop.target import Target
from interop.vm.suite import MountOptions, Report, mount_and_test

TREE_FILES = 40
SPOILED = 200


class Admin:
    """`sofs --json` on the node's state directory."""

    def __init__(self, state: Path) -> None:
        self.state = state

    def __call__(self, *words: str) -> Any:
        done = subprocess.run(
            [server.sofs(), "--state", self.state, "--json", *words],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, f"sofs {' '.join(words)}: {done.stderr}{done.stdout}"
        return json.loads(done.stdout) if done.stdout.strip() else None

    def disk(self, path: Path) -> dict[str, Any]:
        found: list[dict[str, Any]] = [one for one in self("disk", "list") if one["name"] == str(path)]
        assert len(found) == 1, f"{path} is in the pool {len(found)} times"
        return found[0]

    def wait(self, what: str, is_so: Any, limit_s: float = 120) -> None:
        end = time.monotonic() + limit_s
        while not is_so():
            if time.monotonic() > end:
                told = (self(*words) for words in (("health",), ("disk", "list"), ("job", "list")))
                pytest.fail("\n".join([f"never: {what}", *(json.dumps(one, indent=1) for one in told)]))
            time.sleep(0.5)

    def jobs_done(self) -> bool:
        return not any(job["state"] in ("New", "Running") for job in self("job", "list"))

    def is_healthy(self) -> bool:
        return not self("health")["faults"]


class KernelClient:
    """Random operations on a mounted share, in a guest, beside what the test does."""

    def __init__(self, target: Target, share: str) -> None:
        self._mount = MountOptions(share, target.port, target.user, target.password, "vers=3.1.1")
        self.report: Report | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self.report = mount_and_test(self._mount, ("fsx", "copytree"), operations=3000)

    def finish(self) -> Report:
        self._thread.join(400)
        assert self.report is not None, "the guest did not end"
        return self.report


def fill(client: SmbClient, folder: Path) -> None:
    """A tree of files that nobody touches until the end."""
    for number in range(TREE_FILES):
        size = (number * 37_813) % 900_000 + number % 3
        (folder / f"f{number}").write_bytes(random.Random(number).randbytes(size))
    client.run("mkdir kept", "cd kept", "prompt off", "mput f*").ok()


def compare(client: SmbClient, folder: Path, back: Path) -> None:
    back.mkdir()
    client.run("cd kept", f"lcd {back}", "prompt off", "mget f*").ok()
    for number in range(TREE_FILES):
        assert (back / f"f{number}").read_bytes() == (folder / f"f{number}").read_bytes(), number


def spoil(path: Path, taken_bytes: int, chance: random.Random) -> None:
    """Single bytes anywhere in the slabs that are taken, which are the first ones, and their checksums
    (docs/formats/label.md: they lie behind two metadata slots of a 256th of the disk)."""
    with path.open("r+b") as disk:
        first = 2 * (path.stat().st_size // 256) + (68 << 10)
        for _ in range(SPOILED):
            at = first + chance.randrange(taken_bytes)
            disk.seek(at)
            old = disk.read(1)
            disk.seek(at)
            disk.write(bytes([old[0] ^ (1 << chance.randrange(8))]))


@pytest.mark.vm
@pytest.mark.timeout(600)
@pytest.mark.parametrize("resiliency", ["mirror", "dual-parity"])
def test_a_kernel_client_does_not_notice_dead_and_rotten_disks(tmp_path: Path, resiliency: str) -> None:
    """Missing within the retire delay, replaced, rebuilt, scrubbed; all data compared."""
    state, files = tmp_path / "pool", tmp_path / "files"
    files.mkdir()
    target = server.start_up(state, tmp_path / "log")
    try:
        admin = Admin(state)
        admin("volume", "create", "v", "--size", "2G", "--resiliency", resiliency)
        admin("share", "add", "v", "--volume", "v")
        client = SmbClient(replace(target, share="v"), files)
        fill(client, files)
        disks = sorted((state / "disks").iterdir())
        kernel = KernelClient(target, "v")
        time.sleep(8)  # the guest boots and begins
        disks[1].unlink()
        admin.wait("the loss is noticed", lambda: admin.disk(disks[1])["health"] != "Healthy")
        assert admin("health")["faults"], "a missing disk is a fault"
        admin("disk", "replace", str(disks[1]), str(state / "disks" / "new"))
        admin.wait("the new disk is filled", lambda: admin.jobs_done() and admin.is_healthy())
        assert admin.disk(state / "disks" / "new")["allocated bytes"] > 0
        report = kernel.finish()
        assert report.results and report.failed() == [], report.output
        spoil(disks[3], admin.disk(disks[3])["allocated bytes"], random.Random(7))
        admin("volume", "scrub", "v")
        admin.wait("the scrub ends", admin.jobs_done)
        assert admin.disk(disks[3])["repaired blocks"] > 0
        compare(client, files, tmp_path / "back")
        assert not [job for job in admin("job", "list") if job["state"] == "Exception"]
    finally:
        target.process.stop()
