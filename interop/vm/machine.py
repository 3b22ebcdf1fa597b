"""One guest: qemu with TCG, a serial console on our pipe, and the status of its script in the console's last
line."""

from __future__ import annotations

import re
import secrets
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from interop.process import end_with_parent
from interop.vm.initramfs import base_archive, run_archive
from interop.vm.kernel import kernel

KERNEL_OPTIONS = (
    "console=ttyS0 quiet loglevel=2 panic=-1 oops=panic mitigations=off tsc=reliable no_timer_check "
    "random.trust_cpu=on nokaslr rcupdate.rcu_expedited=1"
)
CRASH = re.compile(r"Kernel panic|\] Oops|BUG: |general protection fault|kernel BUG at")
MEMORY_MIB = 512


class GuestFailed(Exception):
    """The guest ended without a status: it crashed (which an answer of the server can cause), or ran out of
    time."""


@dataclass(frozen=True)
class Finished:
    """What a script left: its status and all it printed."""

    status: int
    output: str


def _argv(image: Path, initrd: Path, capture: Path | None) -> list[str]:
    qemu = shutil.which("qemu-system-x86_64")
    if qemu is None:
        raise FileNotFoundError("qemu-system-x86_64 is not installed (tools/setup.sh test)")
    argv = [qemu, "-accel", "tcg,thread=multi,tb-size=256", "-M", "q35,usb=off,vmport=off,smm=off,hpet=off",
            "-cpu", "max", "-smp", "1", "-m", str(MEMORY_MIB), "-nodefaults", "-no-user-config", "-no-reboot",
            "-display", "none", "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
            "-kernel", str(image), "-initrd", str(initrd), "-append", KERNEL_OPTIONS,
            "-netdev", "user,id=net0,net=10.0.2.0/24,host=10.0.2.2,dhcpstart=10.0.2.15,ipv6=off",
            "-device", "virtio-net-pci,netdev=net0"]
    if capture is not None:
        argv += ["-object", f"filter-dump,id=dump0,netdev=net0,file={capture}"]
    return argv


def run(
    script: str, environment: Mapping[str, str], limit_s: float = 300, capture: Path | None = None
) -> Finished:
    """Boot, run `script` with busybox's shell, and end the guest. `capture` gets its network traffic.

    Raises: GuestFailed if the guest's kernel crashed, or no status came within `limit_s`.
    """
    booted = kernel()
    token = secrets.token_hex(5)
    with tempfile.TemporaryDirectory(prefix="sofs-vm.") as folder:
        initrd = Path(folder) / "initrd"
        initrd.write_bytes(
            base_archive(booted).read_bytes() + run_archive(script, {**environment, "NONCE": token})
        )
        guest = subprocess.Popen(
            _argv(booted.image, initrd, capture),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
        try:
            return _console(guest, token, limit_s)
        finally:
            guest.kill()
            guest.communicate()


def _console(guest: subprocess.Popen[bytes], token: str, limit_s: float) -> Finished:
    assert guest.stdout is not None
    ending = re.compile(rf"^@@exit-{token} (\d+)", re.M)
    deadline = time.monotonic() + limit_s
    text = b""
    while time.monotonic() < deadline:
        if not select.select([guest.stdout], [], [], 1.0)[0]:
            continue
        data = guest.stdout.read1(65536)  # type: ignore[attr-defined]
        text += data
        if data and b"\n" not in data:
            continue
        output = text.decode("utf-8", "replace").replace("\r", "")
        if CRASH.search(output):
            raise GuestFailed(f"the guest's kernel crashed:\n{output[-6000:]}")
        found = ending.search(output)
        if found:
            return Finished(int(found[1]), output[:found.start()].rstrip("\n") + "\n")
        if not data:
            raise GuestFailed(f"the guest ended without a status:\n{output[-4000:]}")
    raise GuestFailed(f"no end after {limit_s:.0f} s:\n{text.decode('utf-8', 'replace')[-4000:]}")
