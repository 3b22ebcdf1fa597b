"""Opening and closing the disks of a pool: files and block devices of this host; what the host knows of
them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from cluster.errors import OperatorError
from storage.disk import Disk
from storage.errors import DiskFailed, PoolInUse
from storage.io.filedisk import FileDisk
from storage.runtime import Runtime

log = logging.getLogger("sofs.disks")

SYS_BLOCK = Path("/sys/class/block")


def create_disk(path: str, size_bytes: int, runtime: Runtime) -> FileDisk:
    """A new file-backed disk; takes no space until it is written. Raises: OperatorError, PoolInUse."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return FileDisk.create(path, size_bytes, runtime)
    except OSError as error:
        raise OperatorError(f"cannot make the disk {path}: {error.strerror}") from None
    except DiskFailed as error:
        raise OperatorError(str(error)) from None


def open_or_create_disk(path: str, size_bytes: int, runtime: Runtime) -> FileDisk:
    """The disk that is there, or a new file-backed one. Raises: OperatorError, PoolInUse, DiskFailed."""
    return FileDisk.open(path, runtime) if Path(path).exists() else create_disk(path, size_bytes, runtime)


def delete_new_disk(path: str) -> None:
    """Take back a file that was made for a pool which did not come to be."""
    Path(path).unlink(missing_ok=True)


def exists(path: str) -> bool:
    return Path(path).exists()


def identity(path: str) -> tuple[int, int, int]:
    """Which file has this name, and when it last changed; zeros if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return found.st_dev, found.st_ino, found.st_ctime_ns


async def open_disks(paths: Iterable[str], runtime: Runtime) -> list[FileDisk]:
    """The disks that can be opened; one that cannot is logged, and missed by the pool's quorum. Raises:
    PoolInUse."""
    found: list[FileDisk] = []
    for path in paths:
        try:
            found.append(FileDisk.open(path, runtime))
        except PoolInUse:
            await close_disks(found)
            raise
        except DiskFailed as error:
            log.warning("disk %s is missing: %s", path, error)
    return found


async def close_disks(disks: Iterable[Disk]) -> None:
    for disk in disks:
        await disk.close()


def _device(path: str) -> Path | None:
    """Where the kernel tells about the block device; about a partition's whole disk."""
    found = SYS_BLOCK / Path(os.path.realpath(path)).name
    if not found.exists():
        return None
    whole = found.resolve()
    return whole.parent if (whole / "partition").exists() else whole


def detect_media(disk: FileDisk) -> str:
    """ "HDD", "SSD" or "SCM" for a block device the kernel knows; "" for a file."""
    found = _device(disk.name) if disk.is_device else None
    if found is None:
        return ""
    if found.name.startswith("pmem"):
        return "SCM"
    try:
        return "HDD" if (found / "queue" / "rotational").read_text().strip() == "1" else "SSD"
    except OSError:
        return ""


def set_locate_light(path: str, on: bool) -> bool:
    """The light of the enclosure's slot that the device sits in. False: it has none that we can reach."""
    found = _device(path)
    if found is None:
        return False
    done = False
    for light in found.glob("device/enclosure_device:*/locate"):
        try:
            light.write_text("1" if on else "0")
        except OSError:
            continue
        done = True
    return done
