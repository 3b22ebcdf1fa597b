"""The guest's kernel: Debian's image, unpacked once, and its modules with what they depend on.

The ELF file inside the compressed image is started through PVH, which saves the guest ten seconds of
unpacking itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import lzma
import os
import re
import shutil
import struct
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from interop.debian import PackageError, Packages, unpack

CACHE = Path(os.environ.get("SOFS_VM_CACHE") or Path.home() / ".cache" / "sofs-vm")
MODULE_FOLDERS = ("crypto/", "arch/", "fs/", "net/", "lib/", "drivers/virtio/", "drivers/net/virtio_net",
                  "drivers/net/net_failover", "drivers/crypto/", "kernel/")


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """One process at a time fills a part of the cache; the others wait and find it full."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def module_name(path: str) -> str:
    return Path(path).name.split(".ko")[0].replace("-", "_")


def module_info(elf: bytes) -> list[tuple[str, str]]:
    """The key=value strings of a module's .modinfo section."""
    (table,) = struct.unpack_from("<Q", elf, 0x28)
    size, count, names_index = struct.unpack_from("<HHH", elf, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", elf, table + index * size) for index in range(count)]
    names = sections[names_index][4]
    for section in sections:
        start = names + section[0]
        if elf[start:elf.index(b"\0", start)] == b".modinfo":
            strings = elf[section[4]:section[4] + section[5]].split(b"\0")
            pairs = (string.decode("latin-1").partition("=") for string in strings if b"=" in string)
            return [(key, value) for key, _, value in pairs]
    return []


@dataclass(frozen=True)
class Module:
    """A module's file and what it says of itself."""

    name: str
    data: bytes
    info: list[tuple[str, str]]

    def needs(self) -> list[str]:
        return [name.replace("-", "_") for key, value in self.info if key == "depends"
                for name in value.split(",") if name]


class Kernel:
    """An unpacked kernel in the cache."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.version = (folder / "version").read_text().strip()
        self.image = next(path for path in (folder / "vmlinux", folder / "vmlinuz") if path.exists())
        index = json.loads((folder / "modules.json").read_text())
        self._paths: dict[str, str] = index["paths"]
        self._builtin = set(index["builtin"])

    def module(self, name: str) -> Module | None:
        """A module by name; None where the kernel has it built in, or does not have it."""
        if name in self._builtin or name not in self._paths:
            return None
        path = self.folder / self._paths[name]
        data = lzma.decompress(path.read_bytes()) if path.name.endswith(".xz") else path.read_bytes()
        return Module(name, data, module_info(data))

    def with_dependencies(self, names: Sequence[str]) -> list[Module]:
        """The modules and everything they need, in the order of loading."""
        ordered: dict[str, Module] = {}
        seen: set[str] = set()

        def add(name: str) -> None:
            if name in seen:
                return
            seen.add(name)
            module = self.module(name)
            if module is not None:
                for needed in module.needs():
                    add(needed)
                ordered[name] = module
        for name in names:
            add(name.replace("-", "_"))
        return list(ordered.values())


def _elf_inside(image: bytes) -> bytes | None:
    """The ELF file that a bzImage unpacks at boot, where it is compressed with xz (Debian's is)."""
    for found in re.finditer(re.escape(b"\xfd7zXZ\0"), image):
        with contextlib.suppress(lzma.LZMAError):
            unpacked = lzma.LZMADecompressor().decompress(image[found.start():])
            if unpacked[:4] == b"\x7fELF":
                return unpacked
    return None


def _unpack_kernel(package: Path, version: str, folder: Path) -> None:
    modules = re.compile(r"^\./(usr/)?lib/modules/[^/]+/(kernel/|modules\.builtin$)")

    def wanted(name: str) -> bool:
        found = modules.match(name)
        if found is None:
            return name.startswith("./boot/vmlinuz-")
        return name.endswith("modules.builtin") or name[found.end():].startswith(MODULE_FOLDERS)
    unpack(package, wanted, folder)
    image = next((folder / "boot").glob("vmlinuz-*")).read_bytes()
    elf = _elf_inside(image)
    (folder / ("vmlinux" if elf else "vmlinuz")).write_bytes(elf or image)
    paths = {module_name(str(path)): str(path.relative_to(folder)) for path in folder.rglob("*.ko*")}
    builtin = [
        module_name(line) for path in folder.rglob("modules.builtin") for line in path.read_text().split()
    ]
    (folder / "version").write_text(version + "\n")
    (folder / "modules.json").write_text(json.dumps({"paths": paths, "builtin": builtin}))


def kernel() -> Kernel:
    """Debian's current kernel, fetched at first use."""
    link = CACHE / "kernel"
    with locked("kernel"):
        if not link.exists():
            packages = Packages(CACHE)
            name = next(
                (name for name in packages.depends("linux-image-amd64") if re.match(r"linux-image-\d", name)),
                "",
            )
            if not name:
                raise PackageError(
                    "linux-image-amd64 names no kernel; is this machine amd64, its lists up to date?"
                )
            (package,) = packages.download([name])
            new = Path(tempfile.mkdtemp(prefix="kernel.", dir=CACHE))
            _unpack_kernel(package, name.removeprefix("linux-image-"), new)
            link.symlink_to(new.name)
            package.unlink()
        return Kernel(link)


def tools() -> dict[str, Path]:
    """busybox and mount.cifs with its libraries: path in the guest -> file here."""
    folder = CACHE / "tools"
    wanted = re.compile(
        r"^\./((usr/)?bin/busybox|(usr/)?s?bin/mount\.cifs|(usr/)?lib(64)?/(x86_64-linux-gnu/)?"
        r"(ld-linux-x86-64\.so\.2|ld-[\d.]+so|libc\.so\.6|libc-[\d.]+so|libcap-ng\.so\.0\S*))$")
    with locked("tools"):
        if not folder.exists():
            packages = Packages(CACHE)
            new = Path(tempfile.mkdtemp(prefix="tools.", dir=CACHE))
            for package in packages.download(["busybox-static", "cifs-utils", "libcap-ng0", "libc6"]):
                unpack(package, lambda name: bool(wanted.match(name)), new)
            shutil.rmtree(folder, ignore_errors=True)
            new.rename(folder)
    files: dict[str, Path] = {}
    for path in folder.rglob("*"):
        if path.is_file():
            place = {"busybox": "bin/", "mount.cifs": "sbin/"}.get(
                path.name, "lib64/" if path.name.startswith("ld-") else "lib/x86_64-linux-gnu/")
            files[place + path.name] = path
            if path.name.startswith("libcap-ng.so.0."):
                files["lib/x86_64-linux-gnu/libcap-ng.so.0"] = path
    return files
