"""Bounds of the catalog file system: what it keeps in memory, how long it keeps changes to itself.

Each bound exists so that memory, a commit, and the loop's longest stretch stay bounded whatever clients do.
"""

from __future__ import annotations

from typing import Final

PAGE_BYTES: Final = 4096
"""SQLite page, and the block of a space."""
CLUSTER_SHIFT: Final = 16
CLUSTER_BYTES: Final = 1 << CLUSTER_SHIFT
CLUSTER_MASK: Final = CLUSTER_BYTES - 1
GROUP_CLUSTERS: Final = 8192
"""Clusters of one allocation group (512 MiB): one bitmap row."""

COMMIT_DELAY_S: Final = 0.1
"""From the first change to the COMMIT that holds it."""
DRAIN_DELAY_S: Final = 1.0
"""From the first change until it is made durable though nobody asked."""
QUEUE_BYTES_MAX: Final = 64 << 20
"""Committed bytes that wait for the metadata space; above it writers wait for a drain."""
QUEUE_BYTES_SOON: Final = 8 << 20
"""Above it the drain does not wait for its delay."""
COMMIT_ROWS_MAX: Final = 1024
"""Buffered rows after which the change that adds one more commits first: a commit takes 5 ms of the loop."""

CHECKPOINT_PAGES: Final = 1000
WAL_BYTES_MAX: Final = 64 << 20
WAL_BYTES_MIN: Final = 1 << 20
METADATA_BYTES_MIN: Final = 4 << 20
SQLITE_CACHE_KIB: Final = 32 << 10
METADATA_RESERVE_PAGES: Final = 64
"""Database pages kept free, so that what was accepted can always be committed, and files can always be
deleted."""

NODES_MAX: Final = 50_000
"""Nodes in memory that nobody holds."""
NAMES_MAX: Final = 200_000
"""Directory entries in memory."""
DIRECTORY_NAMES_MAX: Final = 50_000
"""A directory with more entries is never held whole in memory."""
DIRECTORY_LOAD_MAX: Final = 16_384
"""How many entries are read at once to hold a directory whole."""
MISSES_BEFORE_LOAD: Final = 4
"""Single look-ups in a directory before it is read whole."""
DESCRIPTORS_MAX: Final = 4096
PINS_MAX: Final = 65_536
"""Files pinned to a tier."""
HEAT_SAVED_MAX: Final = 16_384
"""Ranges whose heat is kept over a restart: 384 KiB of the catalog."""
QUOTAS_MAX: Final = 65_536
"""Owners with a quota entry beyond which no further one is given limits."""

WRITE_NOW_MAX: Final = 16 << 20
AHEAD_CLUSTERS_MAX: Final = 256
"""Clusters kept back behind the end of a growing stream, so that it stays in one piece (16 MiB)."""
AHEAD_FROM_CLUSTERS: Final = 4
WIDEN_CLUSTERS_MAX: Final = 32_768
"""How far to each side free clusters are trimmed along with ones just freed: 2 GiB, a row of 8 slabs of 256
MiB."""
TRIM_BYTES_MIN: Final = 1 << 20
"""Free runs shorter than this, and than a row of the space, are not told to it as they are freed."""
ID_STEP: Final = 65_536
"""How far ahead of use node ids are put aside, so that none is used twice even after a crash."""

EA_BYTES_MAX: Final = 65_535
SECURITY_BYTES_MAX: Final = 65_536
REPARSE_BYTES_MAX: Final = 16_384
COMPONENT_MAX: Final = 255

assert GROUP_CLUSTERS % 8 == 0
assert QUEUE_BYTES_SOON < QUEUE_BYTES_MAX
assert DIRECTORY_LOAD_MAX <= DIRECTORY_NAMES_MAX <= NAMES_MAX
