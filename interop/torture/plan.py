"""Which tests there are, which are left out and why, how long each may take, and what it needs."""

from __future__ import annotations

import fcntl
import fnmatch
import os
import shutil
import subprocess
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from interop.debian import Packages, unpack

T = TypeVar("T")
BUILD = Path(__file__).resolve().parents[2] / "build"
BACKPORTS = "bookworm-backports"
CACHE = Path(os.environ.get("SOFS_SMBTORTURE_CACHE") or Path.home() / ".cache" / "sofs-smbtorture")
"""Where 4.22 is kept, for all clones."""

# (pattern, reason): these have no verdict to give, or need what no server but Samba has.
EXCLUDED = (
    ("smb2.bench.*", "timed loops of minutes with no assertion on the protocol"),
    ("smb2.hold-oplock", "interactive: holds oplocks until it is killed"),
    ("smb2.hold-sharemode", "interactive: holds an open until it is killed"),
    ("smb2.check-sharemode", "the second half of hold-sharemode"),
    ("smb2.samba3misc.*", "needs the server's folder as a local path, written by Samba's rules"),
    ("smb2.kernel-oplocks.*", "needs Linux kernel oplocks on the server's local files"),
    ("smb2.notify-inotify.*", "needs inotify on the server's local files"),
    ("smb2.aio_delay.*", "needs a delaying module of Samba's in the server"),
    ("smb2.durable-v2-delay.*", "needs a delaying module of Samba's in the server"),
    ("smb2.durable-v2-regressions.*", "needs Samba's own database files"),
    ("smb2.durable-v2-reconnect.*", "needs a delaying module of Samba's in the server"),
    ("smb2.twrp.*", "needs prepared snapshots, and their paths as options"),
    ("smb2.ea.acl_xattr", "asks for Samba's own ACL attribute by name"),
    ("smb2.set-sparse-ioctl", "a tool, no test: sets a file named by an option sparse"),
    ("smb2.zero-data-ioctl", "a tool, no test: zeroes a range named by options"),
    ("smb2.change_notify_disabled.*", "needs a server with change notification switched off"),
    ("smb2.session-require-signing.*", "needs a guest account and a server of its own configuration"),
    ("smb2.multichannel.bugs.bug_15346", "connects to port 445, whichever port is given"),
    ("smb2.fileid_unique*", "creates a million files"),
    ("smb2.async_dosmode.*", "needs a Samba parameter in the server"),
    ("smb2.tcp_*", "counts Samba's own processes"),
)

# (pattern, seconds): the least limit of tests that are known to take longer than the default.
SLOW = (
    ("smb2.dir.many", 240),
    ("smb2.dir.large-files", 240),
    ("smb2.lock.contend", 90),
    ("smb2.maxfid", 180), ("smb2.notify.mask", 200),
    ("smb2.replay.*", 120),
    ("smb2.durable-v2-open.*", 90),
    ("smb2.durable-open.*", 90),
    ("smb2.timestamps.*", 90),
    ("smb2.lease.*", 90),
    ("smb2.multichannel.*", 180),
    ("smb2.session.*", 90),
    ("smb2.create.bench-*", 180),
)

# (pattern, share): tests that mean something only on a share configured so; left out where there is none.
SHARE_FOR = (
    ("smb2.create_no_streams*", "nostreams"),
    ("smb2.acls_non_canonical*", "noncanon"),
    ("smb2.dosmode", "dosmode"),
)

# Tests that cut a connection with iptables, which takes a network namespace of its own, hence root.
BLOCKING = (
    "smb2.replay.dhv2-pending3*",
    "smb2.multichannel.leases.test[24]",
    "smb2.multichannel.oplocks.test[23]*",
    "smb2.oplock.batch22b",
)

# (pattern, options): maxfid opens up to 65,520 files; a thousand a session show the same.
OPTIONS_FOR = (("smb2.maxfid", ("--option=torture:maxopenfiles=1000",)),)


@dataclass(frozen=True)
class Smbtorture:
    """One version of the program, with the environment it needs."""

    version: str
    program: Path
    environment: dict[str, str]

    def leaves(self, suite: str = "smb2") -> list[str]:
        """The names of all leaf tests under `suite`, in the program's order."""
        said = subprocess.run(
            [self.program, "--list"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            env=self.environment,
        ).stdout
        found: dict[str, None] = {}
        for line in said.splitlines():
            if line == suite or line.startswith(suite + "."):
                parts = line.split(".")
                # A test with no suite of its own is listed as smb2.NAME.NAME and called smb2.NAME.
                doubled = len(parts) > 2 and parts[-1] == parts[-2]
                found[".".join(parts[:-1]) if doubled else line] = None
        return list(found)


def find(version: str) -> Smbtorture:
    """smbtorture 4.17 as installed, or 4.22 from Debian's backports, unpacked in a cache (140 MB, once).
    Raises: PackageError if it cannot be fetched."""
    if version == "4.17":
        program = shutil.which("smbtorture")
        if program is None:
            raise FileNotFoundError("smbtorture is not installed (tools/setup.sh test)")
        return Smbtorture(version, Path(program), dict(os.environ))
    root = CACHE / version
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)      # one process fetches, the others find it
        if not (root / "complete").exists():
            _fetch(root)
    libraries = root / "usr/lib/x86_64-linux-gnu"
    path = ":".join(str(folder) for folder in (libraries, libraries / "samba"))
    return Smbtorture(version, root / "usr/bin/smbtorture", {**os.environ, "LD_LIBRARY_PATH": path})


def _fetch(root: Path) -> None:
    shutil.rmtree(root, ignore_errors=True)
    packages = Packages(CACHE / "apt", BACKPORTS)
    root.mkdir()
    for package in packages.download(packages.closure("samba-testsuite")):
        unpack(package, lambda name: "/bin/" in name or "/lib/" in name or name.endswith("/lib64"), root)
    (root / "complete").touch()


def matching(test: str, table: Sequence[tuple[str, T]]) -> list[T]:
    """The values of all rows of a table whose pattern fits."""
    return [value for pattern, value in table if fnmatch.fnmatchcase(test, pattern)]


def excluded(test: str) -> str | None:
    """Why a test is left out whatever the server, or None."""
    reasons = matching(test, EXCLUDED)
    return reasons[0] if reasons else None


def chosen(leaves: Sequence[str], shares: Container[str], can_block: bool) -> list[str]:
    """The tests to run on a server with these shares."""
    return [
        test for test in leaves
        if excluded(test) is None
        and all(share in shares for share in matching(test, SHARE_FOR))
        and (can_block or not any(fnmatch.fnmatchcase(test, pattern) for pattern in BLOCKING))
    ]


def limit_s(test: str, default_s: float) -> float:
    return max([default_s, *matching(test, SLOW)])


def suite_of(test: str) -> str:
    """Tests of one suite share file names, so they run one after another."""
    return ".".join(test.split(".")[:2])

