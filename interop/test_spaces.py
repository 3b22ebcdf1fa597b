"""Storage spaces as an operator meets them: a node as a process, its disks as files, clients at work.

One node with a volume of each resiliency; a disk's file is deleted under load, the disk is replaced and
rebuilt, another is damaged and scrubbed; every byte that clients wrote is compared."""

from __future__ import annotations

import hashlib
import json
import random
import secrets
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from interop import peers
from interop.process import Process, answers_smb, free_port
from interop.server import sofs
from interop.smbclient_tool import SmbClient
from interop.target import Target
from interop.vm.suite import MountOptions, Report, mount_and_test
from smbclient import connect_blocking

MIB = 1 << 20
DISKS = 7
RESILIENCIES = ("simple", "mirror", "three-way-mirror", "parity", "dual-parity")
REDUNDANT = RESILIENCIES[1:]
USER = "operator"
FILES_MAX = 40
"""What each client writes, over and over."""
PAUSE_S = 0.05


@dataclass
class Node:
    """A node, `sofs run`, with its state directory and disks."""

    folder: Path
    port: int
    password: str
    process: Process | None = None

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def disk(self, number: int) -> Path:
        return self.folder / f"disk{number}.img"

    def start(self) -> None:
        self.process = Process([sofs(), "--state", self.state, "run", "-v"], self.folder / "run.log")
        self.process.wait_until(lambda: answers_smb(self.port), timeout_s=60)

    def stop(self) -> int:
        assert self.process is not None
        return self.process.stop(30)

    def log(self) -> str:
        """The end of what the server logged."""
        return self.process.tail(8000) if self.process is not None else ""

    def tell(self, *arguments: str | Path, timeout_s: float = 120) -> tuple[int, str, str]:
        """The command's status, and what it said on standard output and standard error."""
        argv = [str(sofs()), "--json", "--state", str(self.state), *(str(word) for word in arguments)]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=timeout_s, check=False)
        return done.returncode, done.stdout, done.stderr

    def do(self, *arguments: str | Path, timeout_s: float = 120) -> Any:
        """The command's result; it must succeed."""
        status, output, said = self.tell(*arguments, timeout_s=timeout_s)
        assert status == 0, f"sofs {' '.join(map(str, arguments))}: {said}{self.log()}"
        return json.loads(output)

    def watch(self) -> None:
        """Until no job runs; all must have ended well."""
        status, _, said = self.tell("job", "watch", timeout_s=180)
        assert status == 0, said

    def faults(self) -> set[str]:
        return {fault["FaultType"].rpartition("FaultType.")[2] for fault in self.do("health")["faults"]}

    def target(self, share: str) -> Target:
        assert self.process is not None
        return Target(kind="pool", process=self.process, port=self.port, user=USER, password=self.password,
                      share=share)


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    folder = peers.tmpfs_folder("sofs-spaces.")
    made = Node(folder, free_port(), "Pw-" + secrets.token_urlsafe(9))
    secret = folder / "password"
    secret.touch(mode=0o600)
    secret.write_text(made.password + "\n")
    subprocess.run([sofs(), "--state", made.state, "init", "--port", str(made.port), "--bind", "127.0.0.1"],
                   check=True, timeout=60, capture_output=True)
    made.start()
    try:
        made.do("user", "add", USER, "--admin", "--password-file", secret)
        disks = [made.disk(number) for number in range(DISKS)]
        made.do("pool", "create", *disks, "--disk-size", "256M", "--slab", "4M")
        for resiliency in RESILIENCIES:
            made.do("volume", "create", resiliency, "--size", "1G", "--resiliency", resiliency)
            made.do("share", "add", resiliency, "--volume", resiliency)
        yield made
        assert made.stop() == 0, made.log()
        assert "Traceback (most recent call last)" not in made.log(), made.log()
    finally:
        if made.process is not None:
            made.process.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("resiliency", RESILIENCIES)
def test_a_volume_of_each_resiliency_serves_files(node: Node, tmp_path: Path, resiliency: str) -> None:
    tool = SmbClient(node.target(resiliency), tmp_path)
    data = random.Random(resiliency).randbytes(9 * MIB + 123)
    tool.file("big", data)
    tool.run("put big", "put big again", "del again", "get big back").ok()
    assert (tmp_path / "back").read_bytes() == data
    (volume,) = [one for one in node.do("volume", "list") if one["name"] == resiliency]
    assert (volume["resiliency"], volume["health"], volume["operational"]) == (resiliency, "Healthy", "OK")


@dataclass
class Load:
    """A client that writes and rereads files until it is told to stop; no call may fail."""

    node: Node
    share: str
    digests: dict[str, bytes] = field(default_factory=dict)
    failure: BaseException | None = None
    rounds: int = 0

    def __post_init__(self) -> None:
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self._run, name=f"load on {self.share}", daemon=True)
        self.thread.start()

    def _session(self) -> Any:
        return connect_blocking("127.0.0.1", self.node.port, user=USER, password=self.node.password)

    def _run(self) -> None:
        try:
            with self._session() as session:
                share = session.tree(self.share)
                chance = random.Random(self.share)
                while not self.is_over.is_set():
                    self._round(share, chance)
                    self.rounds += 1
        except BaseException as error:  # told to the test
            self.failure = error

    def _round(self, share: Any, chance: random.Random) -> None:
        name = f"file{chance.randrange(FILES_MAX)}"
        data = chance.randbytes(chance.randrange(1, 400_000))
        share.write_bytes(name, data)
        self.digests[name] = hashlib.sha256(data).digest()
        self._compare(share, chance.choice(sorted(self.digests)))
        self.is_over.wait(PAUSE_S)

    def _compare(self, share: Any, name: str) -> None:
        found = hashlib.sha256(share.read_bytes(name)).digest()
        assert found == self.digests[name], f"{self.share}: {name} differs"

    def alive(self) -> None:
        assert self.failure is None, f"{self.share}: {self.failure!r}"

    def more(self, rounds: int = 3) -> None:
        """Until so many more rounds have passed."""
        wanted = self.rounds + rounds
        for _ in range(600):
            self.alive()
            if self.rounds >= wanted:
                return
            self.is_over.wait(0.1)
        raise AssertionError(f"{self.share}: the load hangs after {self.rounds} rounds")

    def end(self) -> None:
        self.is_over.set()
        self.thread.join(60)
        self.alive()

    def compare_all(self) -> None:
        with self._session() as session:
            share = session.tree(self.share)
            for name in sorted(self.digests):
                self._compare(share, name)


def until(condition: Any, what: str, seconds: int = 60) -> None:
    waiter = threading.Event()
    for _ in range(2 * seconds):
        if condition():
            return
        waiter.wait(0.5)
    raise AssertionError(f"not in {seconds} s: {what}")


def test_a_deleted_disk_is_noticed_replaced_and_rebuilt_under_load(node: Node) -> None:
    """Clients of every volume with redundancy go on without an error, and read what they wrote."""
    loads = [Load(node, share) for share in REDUNDANT]
    try:
        for load in loads:
            load.more()
        node.do("share", "remove", "simple")  # what has no redundancy does not survive this
        node.do("volume", "remove", "simple", "--yes")
        node.disk(2).unlink()
        until(lambda: "PhysicalDisk.LostCommunication" in node.faults(), "the loss is noticed")
        for load in loads:
            load.more()
        assert node.do("health")["health"] in ("Warning", "Unhealthy")
        away = {disk["number"]: disk["operational"] for disk in node.do("disk", "list")}
        assert away[2] == "Lost communication", away
        done = node.do("disk", "replace", "2", node.disk(DISKS))
        assert done["number"] == DISKS
        assert any(job["name"] == "disk 2 - Remove" for job in node.do("job", "list"))
        node.watch()
        until(lambda: node.do("health")["health"] == "Healthy", "all is healthy again")
        assert sorted(disk["number"] for disk in node.do("disk", "list")) == [0, 1, 3, 4, 5, 6, DISKS]
        for load in loads:
            load.more()
    finally:
        for load in loads:
            load.is_over.set()
    for load in loads:
        load.end()
        load.compare_all()


def damage(path: Path, seed: int) -> None:
    """Overwrite a twentieth of what a disk holds behind its labels and metadata, here and there."""
    chance = random.Random(seed)
    size = path.stat().st_size
    with path.open("r+b") as disk:
        for _ in range(200):
            disk.seek(chance.randrange(size // 4, size - 65536) & ~4095)
            disk.write(chance.randbytes(4096 * chance.randrange(1, 16)))


def test_rot_on_one_disk_is_found_by_a_scrub_and_repaired(node: Node) -> None:
    """Every volume reads as it was; a second disk may then go."""
    loads = [Load(node, share) for share in REDUNDANT]
    for load in loads:
        load.more(6)
        load.end()
    damage(node.disk(4), 4)
    for share in REDUNDANT:
        node.do("volume", "scrub", share)
    node.watch()
    repaired = {disk["number"]: disk["repaired blocks"] for disk in node.do("disk", "list")}
    assert repaired[4] > 0, repaired
    node.disk(0).rename(node.folder / "aside")
    until(lambda: "PhysicalDisk.LostCommunication" in node.faults(), "the loss is noticed")
    for load in loads:
        load.compare_all()
    (node.folder / "aside").rename(node.disk(0))
    until(lambda: "PhysicalDisk.LostCommunication" not in node.faults(), "the disk is back")
    node.watch()


@pytest.mark.vm
@pytest.mark.timeout(900)
@pytest.mark.parametrize("share", ["dual-parity"])
def test_a_kernel_client_does_not_notice_that_a_disk_is_gone(node: Node, share: str) -> None:
    """fsx compares each of its random reads with what the file must hold, before, while and after a disk is
    deleted, and while it is rebuilt at the same path."""
    mount = MountOptions(share, node.port, USER, node.password)
    reports: list[Report] = []
    guest = threading.Thread(
        target=lambda: reports.append(mount_and_test(mount, ("fsx", "fsxdirect", "fsxpar"), operations=2500)))
    guest.start()
    until(lambda: any(one["opens"] for one in node.do("session", "list")), "the guest works", 400)
    node.disk(5).unlink()
    until(lambda: "PhysicalDisk.LostCommunication" in node.faults(), "the loss is noticed")
    node.do("disk", "replace", "5", node.disk(5))
    node.watch()
    guest.join()
    (report,) = reports
    assert report.failed() == [] and len(report.results) == 3, report.output
    rotted = {"PhysicalDisk.HighErrorCount"}  # of the disk that was damaged, until the pool is opened again
    until(lambda: node.faults() <= rotted, "all is healthy again")


def test_after_all_this_the_node_starts_again_and_its_volumes_are_sound(node: Node) -> None:
    assert node.stop() == 0
    for share in ("mirror", "dual-parity"):
        report = node.do("volume", "check", share)
        assert report["consistent"], report["problems"]
    node.start()
    assert {one["name"] for one in node.do("volume", "list")} == set(REDUNDANT)


@pytest.mark.parametrize(("arguments", "told"), [
    (("disk", "retire", "99"), "the pool has no disk '99'"),
    (("disk", "replace", "0", "/etc/hostname/disk"), "cannot make the disk"),
    (("volume", "create", "v", "--size", "1G", "--resiliency", "raid5"), "resiliency is one of"),
    (("volume", "create", "v", "--size", "1G", "--columns", "99"), "columns"),
    (("volume", "resize", "mirror", "1M"), "does not become smaller"),
    (("volume", "repair", "nothing"), "there is no volume 'nothing'"),
    (("job", "stop", "4711"), "no job 4711"),
    (("file", "pin", "mirror", "x"), "has no tiers"),
    (("pool", "add-disk", "/dev/null"), "neither a file nor a block device"),
    (("disk", "set", "0", "--media", "tape"), "media type"),
])
def test_a_mistake_is_one_clear_line(node: Node, arguments: tuple[str, ...], told: str) -> None:
    status, output, said = node.tell(*arguments)
    assert status == 1 and output == "" and told in said and said.count("\n") == 1, said
