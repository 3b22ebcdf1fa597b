"""What can go wrong below the object store.

Each error says what was tried, on what, with numbers. `storage/objectstore/errors.py` holds the one table
that maps these to NTSTATUS. A caller never gets wrong bytes in place of one of these.
"""

from __future__ import annotations


class StorageError(Exception):
    """Base of every storage error."""


class DiskFailed(StorageError):
    """A disk refused or failed an operation; it is not used again until it is looked at."""


class BlockCorrupt(StorageError):
    """No copy of a block passed its checksum."""


class SlabLost(StorageError):
    """More copies of a slab are gone than the resiliency tolerates."""


class PoolFull(StorageError):
    """No free slab that satisfies the fault-domain rules is left."""


class VolumeFull(StorageError):
    """The file system has no free cluster left in its space."""


class QuotaExceeded(VolumeFull):
    """The owner of a file may not have so many bytes."""


class PoolUnavailable(StorageError):
    """Too few of the pool's disks are there (below quorum), or they belong to someone else."""


class LabelCorrupt(StorageError):
    """A disk's label or the pool metadata on it could not be believed."""


class PoolInUse(StorageError):
    """Another process has the pool open."""


class HostRefused(StorageError):
    """The host's own rights do not allow the server what was tried."""


class HostExhausted(StorageError):
    """The host has no file descriptor left for this process."""


class CatalogCorrupt(StorageError):
    """The catalog contradicts itself."""
