"""Opening and closing the disks of a pool: files and block devices of this host."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from cluster.errors import OperatorError
from storage.disk import Disk
from storage.errors import DiskFailed, PoolInUse
from storage.io.filedisk import FileDisk
from storage.runtime import Runtime

log = logging.getLogger("sofs.disks")


def create_disk(path: str, size_bytes: int, runtime: Runtime) -> Disk:
    """A new file-backed disk; takes no space until it is written. Raises: OperatorError, PoolInUse."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return FileDisk.create(path, size_bytes, runtime)
    except OSError as error:
        raise OperatorError(f"cannot make the disk {path}: {error.strerror}") from None
    except DiskFailed as error:
        raise OperatorError(str(error)) from None


def open_or_create_disk(path: str, size_bytes: int, runtime: Runtime) -> Disk:
    """The disk that is there, or a new file-backed one. Raises: OperatorError, PoolInUse, DiskFailed."""
    return FileDisk.open(path, runtime) if Path(path).exists() else create_disk(path, size_bytes, runtime)


async def open_disks(paths: Iterable[str], runtime: Runtime) -> list[Disk]:
    """The disks that can be opened; one that cannot is logged, and missed by the pool's quorum. Raises:
    PoolInUse."""
    found: list[Disk] = []
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
