"""What a write-back cache tells about itself. Bytes, unless the name says otherwise; counts since opening."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    written_bytes: int = 0
    """Accepted into the cache."""
    passed_bytes: int = 0
    """Written around it."""
    destaged_bytes: int = 0
    batches: int = 0
    reads: int = 0
    hits: int = 0
    """Reads of which a part at least came from the cache."""
    slowed: int = 0
    """Writes that were held back because the journal was nearly full, or waited because it was."""


@dataclass(frozen=True, slots=True)
class CacheStatus:
    state: str
    """Write-back, Write-through (the journal is lost), Failed (writes are refused), Closed."""
    size_bytes: int
    dirty_bytes: int
    memory_bytes: int
    fill_percent: float
    journal_written_bytes: int
    written_bytes: int
    passed_bytes: int
    destaged_bytes: int
    absorbed_bytes: int
    """Of overwrites that never reached the journal."""
    batches: int
    reads: int
    hits: int
    slowed: int
    destage_rate: float
    """Bytes per second that destaging frees."""
    trouble: str
    """Why destaging or the journal fails; empty if they don't."""
