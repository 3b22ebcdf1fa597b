"""Who uses how much of a volume, and how much each may use. Pure: the catalog keeps what is in here.

A file's allocated bytes, all its streams' together, are charged to the owner in its security descriptor; an
owner who has no limits of his own has the volume's. Clusters that files share are charged to each of them.

Source: [MS-FSA] 2.1.1.1 Per Volume (QuotaInformation, DefaultQuotaThreshold, DefaultQuotaLimit,
VolumeQuotaState); [MS-FSCC] 2.5.2 FileFsControlInformation; 2.4.41 FileQuotaInformation.
Invariants: `used` of an entry is the sum over the files it owns; nobody has two entries; an entry that is
neither used nor given limits of its own may go. Units: bytes; SIDs are in their binary form; -1: no limit.
Owner: the catalog file system. Must not decide who may look or change: that is the object store's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from storage.errors import QuotaExceeded, VolumeFull
from storage.fs import limits
from storage.fs.port import QuotaControl, QuotaRecord

UNLIMITED: Final = -1
TRACK: Final = 0x01  # [MS-FSCC] 2.5.2 FILE_VC_QUOTA_TRACK
ENFORCE: Final = 0x02  # FILE_VC_QUOTA_ENFORCE
SETTABLE: Final = 0xF3
"""Track, enforce and the four wishes for log entries; "incomplete" and "rebuilding" are never the case."""
ADMINISTRATORS: Final = bytes((1, 2, 0, 0, 0, 0, 0, 5)) + (32).to_bytes(4, "little") + (544).to_bytes(
    4, "little"
)
_SID_FIXED_BYTES = 8
_DESCRIPTOR_BYTES = 20


def owner_of(descriptor: bytes) -> bytes | None:
    """The owner's SID in a self-relative security descriptor ([MS-DTYP] 2.4.6 SECURITY_DESCRIPTOR)."""
    at = int.from_bytes(descriptor[4:8], "little")
    if len(descriptor) < _DESCRIPTOR_BYTES or not at or at + _SID_FIXED_BYTES > len(descriptor):
        return None
    end = at + _SID_FIXED_BYTES + 4 * descriptor[at + 1]
    return descriptor[at:end] if end <= len(descriptor) else None


class Charged:
    """One owner. `promised`: bytes of writes under way. `has_own`: the limits are its own, not the
    volume's."""

    __slots__ = ("changed", "has_own", "limit", "promised", "sid", "threshold", "used")

    def __init__(
        self,
        sid: bytes,
        used: int = 0,
        threshold: int = UNLIMITED,
        limit: int = UNLIMITED,
        has_own: bool = False,
        changed: int = 0,
    ) -> None:
        self.sid = sid
        self.used = used
        self.threshold = threshold
        self.limit = limit
        self.has_own = has_own
        self.changed = changed
        self.promised = 0


class Quotas:
    """Implements `storage.fs.port.QuotaBook`. `note` is called before a change that is not part of a
    file's."""

    def __init__(
        self, rows: Iterable[tuple[bytes, int, int, int, int, int]], control: QuotaControl,
        note: Callable[[], None],
    ) -> None:  # fmt: skip
        """`rows`: (SID, used, threshold, limit, has_own, changed)."""
        self._entries = {
            bytes(sid): Charged(bytes(sid), used, threshold, limit, bool(own), changed)
            for sid, used, threshold, limit, own, changed in rows
        }
        self._control = control
        self._note = note
        self._by_security: dict[int, Charged | None] = {}
        self._dirty: set[bytes] = set()
        self._is_control_dirty = False
        self.is_enforced = bool(control.flags & ENFORCE)

    # charging -------------------------------------------------------------------------------------
    def known(self, security: int) -> bool:
        return security in self._by_security

    def learn(self, security: int, descriptor: bytes) -> None:
        """From now on it is known whom files with this descriptor are charged to."""
        if len(self._by_security) >= limits.DESCRIPTORS_MAX:
            self._by_security.clear()
        sid = owner_of(descriptor)
        entry = None
        if sid is not None:
            entry = self._entries.get(sid)
            if entry is None:
                entry = self._entries[sid] = Charged(sid)
        self._by_security[security] = entry

    def charged(self, security: int) -> Charged | None:
        """Whom a file with this descriptor is charged to; None: nobody. It must be known."""
        return self._by_security[security]

    def charge(self, entry: Charged, delta_bytes: int) -> None:
        entry.used += delta_bytes
        self._dirty.add(entry.sid)

    def check(self, entry: Charged, more_bytes: int) -> None:
        """Raises: QuotaExceeded if limits are enforced and the entry may not have so much more."""
        if not self.is_enforced or entry.sid == ADMINISTRATORS:
            return
        limit = entry.limit if entry.has_own else self._control.limit_bytes
        if limit >= 0 and entry.used + entry.promised + more_bytes > limit:
            raise QuotaExceeded(
                f"{more_bytes} bytes beside {entry.used} in use are more than the owner's quota of {limit}"
            )

    # the book, as the layers above see it -----------------------------------------------------------
    @property
    def control(self) -> QuotaControl:
        return self._control

    def set_control(self, control: QuotaControl) -> None:
        self._note()
        self._control = control._replace(flags=control.flags & SETTABLE)
        self.is_enforced = bool(control.flags & ENFORCE)
        self._is_control_dirty = True

    def records(self) -> list[QuotaRecord]:
        return [self._record(self._entries[sid]) for sid in sorted(self._entries)]

    def record(self, sid: bytes) -> QuotaRecord | None:
        entry = self._entries.get(sid)
        return None if entry is None else self._record(entry)

    def _record(self, entry: Charged) -> QuotaRecord:
        if entry.sid == ADMINISTRATORS:
            threshold = limit = UNLIMITED
        elif entry.has_own:
            threshold, limit = entry.threshold, entry.limit
        else:
            threshold, limit = self._control.threshold_bytes, self._control.limit_bytes
        return QuotaRecord(entry.sid, entry.used, threshold, limit, entry.changed)

    def set_limits(self, sid: bytes, threshold_bytes: int, limit_bytes: int, now: int) -> None:
        """Raises: VolumeFull beyond the number of entries that are kept."""
        entry = self._entries.get(sid)
        if entry is None and len(self._entries) >= limits.QUOTAS_MAX:
            raise VolumeFull(f"the volume has {limits.QUOTAS_MAX} quotas, which is the most")
        self._note()
        if entry is None:
            entry = self._entries[sid] = Charged(sid)
            self._by_security.clear()
        entry.threshold, entry.limit, entry.has_own, entry.changed = threshold_bytes, limit_bytes, True, now
        self._dirty.add(sid)

    def forget(self, sid: bytes) -> bool:
        """Back to the volume's limits; an owner of nothing goes altogether. False: there was no entry."""
        entry = self._entries.get(sid)
        if entry is None:
            return False
        self._note()
        entry.threshold = entry.limit = UNLIMITED
        entry.has_own = False
        self._dirty.add(sid)
        if not entry.used and not entry.promised:
            del self._entries[sid]
            self._by_security.clear()
        return True

    # what the catalog writes --------------------------------------------------------------------------
    def is_dirty(self) -> bool:
        return bool(self._dirty) or self._is_control_dirty

    def take_dirty(
        self,
    ) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]], list[tuple[object, ...]]]:
        """Rows to put, SIDs to drop, rows of `meta`."""
        puts: list[tuple[object, ...]] = []
        drops: list[tuple[object, ...]] = []
        for sid in sorted(self._dirty):
            entry = self._entries.get(sid)
            if entry is None:
                drops.append((sid,))
            else:
                puts.append(
                    (sid, entry.used, entry.threshold, entry.limit, int(entry.has_own), entry.changed)
                )
        self._dirty.clear()
        meta: list[tuple[object, ...]] = []
        if self._is_control_dirty:
            flags, threshold, limit = self._control
            meta = [("quota_flags", flags), ("quota_threshold", threshold), ("quota_limit", limit)]
            self._is_control_dirty = False
        return puts, drops, meta
