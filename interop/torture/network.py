"""A network namespace of this process's own: loopback, and an iptables that touches no one else's packets."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess

CLONE_NEWNET = 0x40000000


def own_network() -> bool:
    """Move this thread, and all that it starts from now on, to a new namespace. False if that cannot be."""
    if os.geteuid() != 0 or shutil.which("iptables") is None or shutil.which("ip") is None:
        return False
    if ctypes.CDLL(None).unshare(CLONE_NEWNET) != 0:
        return False
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True, timeout=10)
    return (
        subprocess.run(
            ["iptables", "-w", "-L", "-n"], stdout=subprocess.DEVNULL, timeout=10, check=False
        ).returncode
        == 0
    )
