"""The guest's first file system, a cpio archive made in memory: busybox, modules, the test programs of
guest/."""

from __future__ import annotations

import hashlib
import os
import shlex
import stat
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from interop.vm.kernel import CACHE, Kernel, locked, tools

GUEST = Path(__file__).with_name("guest")
BASE = ("virtio_pci", "virtio_net")
CIFS = ("aesni_intel", "ghash_clmulni_intel", "sha512_generic", "cmac", "ctr", "ccm", "gcm", "cifs")
ON_DEMAND = ("nls_utf8", "hmac", "md5", "md4", "ecb", "arc4", "libarc4", "aes_generic", "ghash_generic",
             "sha256_generic", "des_generic", "seqiv", "aead", "failover", "crc32c_generic", "crc32c_intel")


class Cpio:
    """A "newc" archive; needs neither root nor the cpio program."""

    def __init__(self) -> None:
        self._parts = bytearray()
        self._seen: set[str] = set()
        self._inode = 1

    def _entry(self, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        self._inode += 1
        label = name.encode() + b"\0"
        fields = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(label), 0)
        self._parts += b"070701" + b"".join(b"%08x" % field for field in fields) + label
        self._pad(4)
        self._parts += data
        self._pad(4)

    def _pad(self, unit: int) -> None:
        self._parts += bytes(-len(self._parts) % unit)

    def folder(self, name: str) -> None:
        for parent in [*reversed(Path(name).parents), Path(name)]:
            if str(parent) != "." and str(parent) not in self._seen:
                self._seen.add(str(parent))
                self._entry(str(parent), stat.S_IFDIR | 0o755)

    def file(self, name: str, data: bytes, mode: int = 0o644) -> None:
        self._named(name, stat.S_IFREG | mode, data)

    def link(self, name: str, target: str) -> None:
        self._named(name, stat.S_IFLNK | 0o777, target.encode())

    def _named(self, name: str, mode: int, data: bytes) -> None:
        if name not in self._seen:
            self.folder(str(Path(name).parent))
            self._seen.add(name)
            self._entry(name, mode, data)

    def device(self, name: str, mode: int, number: tuple[int, int]) -> None:
        self.folder(str(Path(name).parent))
        self._entry(name, mode, b"", number)

    def archive(self) -> bytes:
        self._entry("TRAILER!!!", 0)
        self._pad(512)
        return bytes(self._parts)


def programs() -> dict[str, Path]:
    """The guest's C programs, compiled static; name -> file."""
    compiled = {}
    for source in sorted(GUEST.glob("*.c")):
        digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
        program = CACHE / "bin" / f"{source.stem}-{digest}"
        if not program.exists():
            program.parent.mkdir(parents=True, exist_ok=True)
            new = program.with_name(f"{program.name}.{os.getpid()}")
            subprocess.run(
                ["gcc", "-O2", "-s", "-static", "-pthread", "-o", new, source], check=True, timeout=120
            )
            new.rename(program)
        compiled[source.stem] = program
    return compiled


def _add_modules(cpio: Cpio, kernel: Kernel) -> None:
    """The modules, the index that modprobe reads, and two lists that the guest loads at its start."""
    folder = f"lib/modules/{kernel.version}"
    modules = {module.name: module for module in kernel.with_dependencies((*BASE, *CIFS, *ON_DEMAND))}
    depends, aliases = [], []
    for name, module in modules.items():
        cpio.file(f"{folder}/{name}.ko", module.data)
        needed = [needed.name for needed in kernel.with_dependencies([name]) if needed.name != name]
        depends.append(f"{name}.ko: " + " ".join(f"{needed}.ko" for needed in reversed(needed)))
        aliases += [f"alias {value} {name}" for key, value in module.info if key == "alias"]
    cpio.file(f"{folder}/modules.dep", ("\n".join(depends) + "\n").encode())
    cpio.file(f"{folder}/modules.alias", ("\n".join(aliases) + "\n").encode())
    base = [module.name for module in kernel.with_dependencies(BASE)]
    cifs = [module.name for module in kernel.with_dependencies(CIFS) if module.name not in base]
    for label, names in (("base", base), ("cifs", cifs)):
        cpio.file(f"etc/modules.{label}", "".join(f"/{folder}/{name}.ko\n" for name in names).encode())


def base_archive(kernel: Kernel) -> Path:
    """All that is the same for every run, kept in the cache under the hash of what it is made from."""
    binaries, files = programs(), tools()
    digest = hashlib.sha256(Path(__file__).read_bytes())
    digest.update(repr((kernel.folder.resolve().name, sorted(binaries.values()), sorted(files))).encode())
    made = CACHE / "initramfs" / f"{digest.hexdigest()[:20]}.cpio"
    with locked("initramfs"):
        if made.exists():
            return made
        cpio = Cpio()
        for name in ("proc", "sys", "dev", "tmp", "mnt", "run", "root", "etc"):
            cpio.folder(name)
        cpio.device("dev/console", stat.S_IFCHR | 0o600, (5, 1))
        for place, path in files.items():
            cpio.file(place, path.read_bytes(), 0o755)
        applets = subprocess.run([files["bin/busybox"], "--list"], capture_output=True, text=True, check=True,
                                 timeout=10).stdout.split()
        for applet in applets:
            cpio.link(f"bin/{applet}", "busybox")
        cpio.link("sbin/modprobe", "../bin/busybox")
        for name, path in binaries.items():
            cpio.file(f"bin/{name}", path.read_bytes(), 0o755)
        _add_modules(cpio, kernel)
        cpio.file("etc/passwd", b"root:x:0:0:root:/:/bin/sh\nuser:x:1000:1000:user:/:/bin/sh\n")
        cpio.file("etc/group", b"root:x:0:\nuser:x:1000:\n")
        cpio.file("etc/hosts", b"127.0.0.1 localhost\n")
        made.parent.mkdir(parents=True, exist_ok=True)
        new = made.with_suffix(f".{os.getpid()}")
        new.write_bytes(cpio.archive())
        new.rename(made)
        return made


def run_archive(script: str, environment: Mapping[str, str]) -> bytes:
    """What one run adds: the first process, the shell files of guest/, the script and its variables."""
    cpio = Cpio()
    cpio.file("init", (GUEST / "init").read_bytes(), 0o755)
    for path in sorted(GUEST.glob("*.sh")):
        cpio.file(f"guest/{path.name}", path.read_bytes(), 0o755)
    variables = {**environment, "HOSTTIME": str(int(time.time()))}
    lines = (f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    cpio.file("etc/run.env", "".join(lines).encode())
    cpio.file("run.sh", script.encode(), 0o755)
    return cpio.archive()
