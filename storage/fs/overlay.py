"""What SQLite has written and the metadata space does not hold yet, in the order in which it must get
there. Pure.

SQLite's writes and syncs arrive here and return at once; a drain (drain.py) carries them out. Between two
barriers (xSync) the order of writes is free; across a barrier it is not:

    segment | segment | segment ...        each is written, then flushed, before the next one is begun

A barrier between two segments that only append to the log is left out: frames are chained by checksums, so
that losing any sectors of them leaves a prefix of whole transactions. A barrier beside writes to the
database (a checkpoint) or beside the log's header (its restart) stays: an old log must not be replayed over
pages that are newer.

Reads: the log is kept in memory whole (checkpoints bound it); database pages not yet written are in `pages`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from storage.fs.layout import WAL_HEADER_BYTES, Layout
from storage.fs.limits import PAGE_BYTES


@dataclass(slots=True)
class Segment:
    """Writes without an order among them: database pages by offset, and one range of the log."""

    pages: dict[int, bytes] = field(default_factory=dict)
    wal_low: int = -1
    wal_high: int = -1
    wal: bytes = b""
    restarts_wal: bool = False

    def is_append(self) -> bool:
        """Only frames of the log, not its header."""
        return not self.pages and not self.restarts_wal


class Overlay:
    """The queue of one catalog."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.pages: dict[int, bytes] = {}
        self.wal = bytearray()
        self.wal_size = 0
        self.database_size = 0
        self.segments: deque[Segment] = deque()
        self._open = Segment()
        self._barrier = False
        self._bytes = 0

    def is_empty(self) -> bool:
        return not self.segments and self._open.wal_low < 0 and not self._open.pages

    def queued_bytes(self) -> int:
        return self._bytes

    def write_page(self, offset: int, page: bytes) -> None:
        """One whole page of the database."""
        assert len(page) == PAGE_BYTES and offset % PAGE_BYTES == 0
        if self._barrier:
            self._seal()
        self.pages[offset] = page
        self._open.pages[offset] = page
        self._bytes += PAGE_BYTES
        if offset + PAGE_BYTES > self.database_size:
            self.database_size = offset + PAGE_BYTES

    def write_wal(self, offset: int, data: bytes) -> None:
        end = offset + len(data)
        restarts = offset < WAL_HEADER_BYTES
        if self._barrier:
            if restarts or not self._open.is_append():
                self._seal()
            self._barrier = False
        wal = self.wal
        if end > len(wal):
            wal.extend(bytes(-(-end // PAGE_BYTES) * PAGE_BYTES - len(wal)))
        wal[offset:end] = data
        part = self._open
        if restarts:
            part.restarts_wal = True
        if part.wal_low < 0:
            part.wal_low, part.wal_high = offset, end
        else:
            if offset < part.wal_low:
                part.wal_low = offset
            if end > part.wal_high:
                part.wal_high = end
        if end > self.wal_size:
            self.wal_size = end
        self._bytes += len(data)

    def barrier(self) -> None:
        """What was written so far must be durable before what follows."""
        self._barrier = True

    def drop_wal(self) -> None:
        """Forget the log (it was checkpointed): its header becomes zeros."""
        self.barrier()
        self.write_wal(0, bytes(WAL_HEADER_BYTES))
        self.barrier()
        self.wal_size = 0

    def cut(self) -> int:
        """Close the segment being filled; how many wait now."""
        self._seal()
        return len(self.segments)

    def done(self, segment: Segment) -> None:
        """The first segment is durable."""
        assert self.segments[0] is segment
        self.segments.popleft()
        for offset, page in segment.pages.items():
            if self.pages.get(offset) is page:
                del self.pages[offset]
        if self.is_empty():
            self._bytes = 0
        else:
            self._bytes -= min(self._bytes, len(segment.pages) * PAGE_BYTES + len(segment.wal))

    def _seal(self) -> None:
        self._barrier = False
        part = self._open
        if part.wal_low >= 0:
            low = part.wal_low // PAGE_BYTES * PAGE_BYTES
            high = min(-(-part.wal_high // PAGE_BYTES) * PAGE_BYTES, self.layout.wal_bytes)
            part.wal_low, part.wal_high = low, high
            part.wal = bytes(memoryview(self.wal)[low:high])
        elif not part.pages:
            return
        self.segments.append(part)
        self._open = Segment()

    def writes(self, segment: Segment) -> list[tuple[int, list[bytes]]]:
        """(offset in the space, buffers that follow each other) of a closed segment."""
        out: list[tuple[int, list[bytes]]] = []
        if segment.wal:
            out.append((self.layout.wal_at + segment.wal_low, [segment.wal]))
        expected = -1
        for offset in sorted(segment.pages):
            if offset == expected:
                out[-1][1].append(segment.pages[offset])
            else:
                out.append((self.layout.database_at + offset, [segment.pages[offset]]))
            expected = offset + PAGE_BYTES
        return out
