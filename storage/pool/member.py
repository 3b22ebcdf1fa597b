"""A disk of the pool: its label, where its metadata goes next, its intent log, and whether it is there."""

from __future__ import annotations

from collections.abc import Callable

from storage.disk import Disk
from storage.errors import PoolFull
from storage.pool import frame
from storage.pool.intents import DiskIntents
from storage.pool.label import Label
from storage.pool.latency import Meter, TimedDisk
from storage.units import DiskOffset


class Member:
    """Owner: Pool. `disk` is None while the disk is absent or failed; `gone` keeps what has to be closed."""

    __slots__ = (
        "away_since_s",
        "disk",
        "failure",
        "gone",
        "intents",
        "label",
        "meter",
        "number",
        "read_errors",
        "read_errors_at",
        "repaired_blocks",
        "slot",
        "used_bytes",
    )

    def __init__(self, number: int, disk: Disk | None, label: Label | None) -> None:
        self.number = number
        self.disk: Disk | None = disk
        self.gone: Disk | None = None
        self.label = label
        self.failure: str | None = None
        self.intents = DiskIntents()
        self.meter = Meter()
        self.slot = 0
        self.used_bytes = 0
        self.repaired_blocks = 0
        self.read_errors = 0
        self.read_errors_at: dict[str, float] = {}
        """What was said of each place that could not be read -> when last."""
        """When reads failed lately (seconds)."""
        self.away_since_s: float | None = None

    def attach(self, disk: Disk, now: Callable[[], float]) -> None:
        """The disk is there, and its calls are timed from now on."""
        self.meter = Meter()
        self.disk = TimedDisk(disk, self.meter, now)
        self.gone = self.failure = self.away_since_s = None
        self.read_errors_at = {}

    @property
    def known_label(self) -> Label:
        assert self.label is not None
        return self.label

    def fits_record(self, length: int) -> bool:
        return self.used_bytes + frame.padded(length) <= self.known_label.slot_bytes

    def place_record(self, length: int) -> DiskOffset:
        """Where the next record goes; it is taken."""
        at = self.known_label.slot_at(self.slot) + self.used_bytes
        self.used_bytes += frame.padded(length)
        return DiskOffset(at)

    def place_snapshot(self, length: int) -> DiskOffset:
        """Where the next snapshot goes: the other slot, which is used from now on. Raises: PoolFull."""
        label = self.known_label
        if frame.padded(length) > label.slot_bytes:
            raise PoolFull(
                f"the pool's metadata ({length} bytes) no longer fits the {label.slot_bytes} bytes "
                f"kept for it on disk {self.number}"
            )
        self.slot = 1 - self.slot
        self.used_bytes = frame.padded(length)
        return label.slot_at(self.slot)
