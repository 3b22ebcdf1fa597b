"""Debian packages fetched and unpacked into a folder of ours, with no root and nothing installed.

The sources are those of this machine; another suite (such as a backport) is looked up at the same mirror,
so no host's name stands here. apt gets a private state folder where the machine's own lists do not do.
"""

from __future__ import annotations

import re
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
LISTS_VALID_S = 7 * 86400


class PackageError(Exception):
    """A package could not be found, fetched or unpacked; the message holds apt's own words."""


def mirror() -> str:
    """The address of the first Debian source that this machine is set up with."""
    folder = Path("/etc/apt/sources.list.d")
    for path in sorted(folder.glob("*.sources")):
        found = re.search(r"^URIs:\s*(\S+)", path.read_text(), re.M)
        if found and "debian" in path.read_text():
            return found[1]
    for path in (Path("/etc/apt/sources.list"), *sorted(folder.glob("*.list"))):
        found = (
            re.search(r"^deb\s+(?:\[[^]]*\]\s+)?(\S*debian\S*)\s", path.read_text(), re.M)
            if path.exists()
            else None
        )
        if found:
            return found[1]
    raise PackageError("this machine has no Debian source configured")


def _run(*argv: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, capture_output=True, text=True, cwd=cwd, stdin=subprocess.DEVNULL, timeout=600, check=False
    )


class Packages:
    """What apt knows of the machine's own suites, or of one `suite` alone. Files are kept in `folder`."""

    def __init__(self, folder: Path, suite: str | None = None) -> None:
        self.folder = folder
        self.suite = suite
        self._options: list[str] | None = None

    def options(self) -> list[str]:
        """apt's options, after its lists were fetched if they are missing or old."""
        if self._options is None:
            self._options = self._prepare()
        return self._options

    def _prepare(self) -> list[str]:
        if (
            self.suite is None
            and "Package:" in _run("apt-cache", "show", "--no-all-versions", "libc6").stdout
        ):
            return []
        state = self.folder / "apt" / (self.suite or "system")
        for name in ("state/lists/partial", "cache/archives/partial"):
            (state / name).mkdir(parents=True, exist_ok=True)
        options = [
            "-o",
            f"Dir::State={state}/state",
            "-o",
            f"Dir::Cache={state}/cache",
            "-o",
            "APT::Sandbox::User=",
            "-o",
            "Acquire::Languages=none",
        ]
        if self.suite is not None:  # alone: what is installed does not count, so only its own packages show
            sources, status = state / "sources.list", state / "status"
            sources.write_text(f"deb [signed-by={KEYRING}] {mirror()} {self.suite} main\n")
            status.touch()
            options += ["-o", f"Dir::Etc::SourceList={sources}", "-o", "Dir::Etc::SourceParts=/dev/null",
                        "-o", f"Dir::State::status={status}"]
        fetched = state / "fetched"
        if not fetched.exists() or time.time() - fetched.stat().st_mtime > LISTS_VALID_S:
            done = _run("apt-get", *options, "-qq", "update")
            if done.returncode:
                raise PackageError(f"apt-get update of {self.suite or 'the machine'}: {done.stderr[-2000:]}")
            fetched.touch()
        return options

    def show(self, package: str) -> str:
        return _run("apt-cache", *self.options(), "show", "--no-all-versions", package).stdout

    def depends(self, package: str) -> list[str]:
        """Names that `package` depends on, alternatives included."""
        found = re.search(r"^Depends: (.*)$", self.show(package), re.M)
        return re.findall(r"(?:^|[,|] )([a-z0-9][a-z0-9.+-]+)", found[1] if found else "")

    def closure(self, package: str) -> list[str]:
        """`package` and everything it needs that these suites have."""
        wanted, found = [package], []
        while wanted:
            name = wanted.pop()
            if name not in found and "Package:" in self.show(name):
                found.append(name)
                wanted += self.depends(name)
        return found

    def download(self, names: Iterable[str]) -> list[Path]:
        """The packages' files, fetched where they are not there yet."""
        files = self.folder / "debs"
        files.mkdir(parents=True, exist_ok=True)
        return [self._download(name, files) for name in names]

    def _download(self, name: str, files: Path) -> Path:
        version = re.search(r"^Version: (?:\d+:)?(\S+)$", self.show(name), re.M)
        if version is None:
            raise PackageError(f"{self.suite or 'this machine'} has no package {name}")

        def here() -> list[Path]:
            return [
                path for path in files.glob(f"{name}_*.deb") if version[1] in path.name.replace("%3a", ":")
            ]

        if not here():
            done = _run(
                "apt-get", *self.options(), "-qq", "-o", "APT::Sandbox::User=", "download", name, cwd=files
            )
            if done.returncode or not here():
                raise PackageError(f"apt-get download {name}: {done.stderr[-2000:]}")
        return here()[0]


def unpack(package: Path, wanted: Callable[[str], bool], folder: Path) -> None:
    """Put the members of a .deb for which `wanted(name)` holds under `folder`, readable by us."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as source:
        with tarfile.open(fileobj=source.stdout, mode="r|") as archive:
            for member in archive:
                if wanted(member.name):
                    archive.extract(member, folder, set_attrs=False)
                    if member.isfile():
                        (folder / member.name).chmod((member.mode & 0o755) | 0o600)
        assert source.stdout is not None
        source.stdout.read()
    if source.returncode:
        raise PackageError(f"dpkg-deb cannot read {package}")
