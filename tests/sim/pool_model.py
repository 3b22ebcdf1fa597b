"""What a space may read as: one register a sector of 512 bytes, with writes that overlap in time.

Each write gives every sector a content of its own, and is a value with a beginning and an end. A read that
ran from b to e may find a value if
    it began before e, and
    no other value is surely later: began after this one had ended, and had ended itself before b.
A value that a read found has ended for later reads, as it has taken effect. After a power cut a value may be
found if no other one is surely later among those that had ended when the last completed flush began; the one
that is found is the only one from then on. A weak value (a trim, a write that was cancelled or failed) need
not take effect.
"""

from __future__ import annotations

from collections.abc import Iterator

SECTOR = 512
ZERO = bytes(SECTOR)
OPEN = 1 << 62
"""The end of a write that hasn't ended."""


class Value:
    __slots__ = ("begin", "content", "durable_end", "end", "fresh", "unsure", "weak")

    def __init__(self, content: bytes, begin: int, end: int = OPEN) -> None:
        self.content = content
        self.begin = begin
        self.end = end
        """As reads know it: an earlier time than the write's own if one saw it."""
        self.durable_end = end
        """As flushes know it."""
        self.weak = False
        """It may never have taken effect; a read that finds it knows better."""
        self.unsure = False
        """No flush promises it."""
        self.fresh = False


class SpaceModel:
    """`name` is for messages. Ranges are whole sectors."""

    def __init__(self, name: str, size_bytes: int, content: list[bytes | None] | None = None) -> None:
        self.name = name
        self.size_bytes = size_bytes
        self._time = 0
        self._values: list[list[Value]] = [
            [Value(one or ZERO, 0, 0)] for one in content or [ZERO] * (size_bytes // SECTOR)
        ]
        self._flushed = 0
        """When the last completed flush began."""
        self.reads_checked = 0
        self.is_trim_free = False
        """What was trimmed may read as anything that it ever held, until it is written again: a cache drops
        what
        it has, and what shows then is older."""

    def now(self) -> int:
        self._time += 1
        return self._time

    # -- writes --------------------------------------------------------------------------------------------

    def write_begins(self, offset: int, data: bytes, fresh: bool = False) -> list[tuple[int, Value]]:
        begin = self.now()
        written = []
        for at in range(0, len(data), SECTOR):
            value = Value(data[at : at + SECTOR], begin)
            value.fresh = fresh
            self._values[(offset + at) // SECTOR].append(value)
            written.append(((offset + at) // SECTOR, value))
        return written

    def write_ends(self, written: list[tuple[int, Value]], is_sure: bool) -> None:
        """`is_sure` False: it failed or was cancelled, so it may have happened or not."""
        end = self.now()
        for sector, value in written:
            value.end = min(value.end, end)
            value.durable_end = end
            value.weak = value.weak or not is_sure
            value.unsure = value.unsure or not is_sure
            self._forget(sector)

    def trim_begins(self, offset: int, length: int) -> list[tuple[int, Value]]:
        """Reads as it was or as zeros until it is written again."""
        written = self.write_begins(offset, bytes(length))
        for _, value in written:
            value.weak = value.unsure = True
        return written

    def flush_begins(self) -> int:
        return self.now()

    def flush_ends(self, began: int) -> None:
        self._flushed = max(self._flushed, began)

    # -- reads ---------------------------------------------------------------------------------------------

    def read_begins(self) -> int:
        return self.now()

    def read_ends(self, began: int, offset: int, found: bytes | bytearray) -> None:
        """Raises AssertionError if no order of the writes explains it."""
        ended = self.now()
        self.reads_checked += 1
        for at in range(0, len(found), SECTOR):
            sector = (offset + at) // SECTOR
            content = bytes(found[at : at + SECTOR])
            value = self._find(sector, content, began, ended)
            if value is None and self._is_trimmed(self._present(sector, began)):
                continue
            assert value is not None, self._complain("read", sector, content, began)
            if content != ZERO:  # of several zeros nobody knows which one it was
                value.end = min(value.end, ended)
                value.weak = False

    def _find(self, sector: int, content: bytes, began: int, ended: int) -> Value | None:
        for value in self._present(sector, began):
            if value.content == content and value.begin < ended:
                return value
        return None

    def _is_trimmed(self, values: list[Value]) -> bool:
        return self.is_trim_free and any(one.weak and one.content == ZERO for one in values)

    def _present(self, sector: int, began: int) -> list[Value]:
        """What a read that began then may find."""
        values = self._values[sector]
        latest = max((o.begin for o in values if o.end < began and not o.weak), default=-1)
        return [value for value in values if value.end >= latest]

    # -- power cuts ----------------------------------------------------------------------------------------

    def power_cut(self, content: list[bytes | None], is_lenient: bool) -> None:
        """What the space holds once it is open again, by sector; None: it cannot be read. `is_lenient`:
        blocks written since the last flush may hold anything (a disk was damaged otherwise, too)."""
        assert len(content) * SECTOR == self.size_bytes
        now = self.now()
        settled: list[list[Value]] = []
        for sector, found in enumerate(content):
            if found is not None:
                self._survives(sector, found, is_lenient)
                settled.append([Value(found, now, now)])
            else:
                settled.append([self._perhaps(value, now) for value in self._survivors(sector)])
        self._values = settled
        self._flushed = now

    def may_have_lost(self) -> None:
        """What was not flushed may be gone, though the power was on: the only disk of a block was away."""
        now = self.now()
        for sector in range(len(self._values)):
            under_way = [value for value in self._values[sector] if value.end == OPEN]
            ended = [value for value in self._survivors(sector) if value.end != OPEN]
            if len(ended) > 1:
                self._values[sector] = [*(self._perhaps(value, now) for value in ended), *under_way]

    def audit(self, content: list[bytes | None]) -> None:
        """All of it was read, with nobody writing."""
        for sector, found in enumerate(content):
            if found is not None:
                self.read_ends(self.read_begins(), sector * SECTOR, found)

    def is_unflushed(self, offset: int) -> bool:
        """Was any of that block written since the last flush?"""
        return any(True for _ in self._block(offset // SECTOR))

    def _survives(self, sector: int, found: bytes, is_lenient: bool) -> None:
        recent = list(self._block(sector))
        if any(value.fresh for value in recent) or (is_lenient and recent):
            return
        survivors = self._survivors(sector)
        if any(value.content == found for value in survivors) or self._is_trimmed(survivors):
            return
        raise AssertionError(self._complain("power cut", sector, found, self._flushed))

    def _survivors(self, sector: int) -> list[Value]:
        """What a power cut may leave."""
        latest = self._latest_flushed(sector)
        return [value for value in self._values[sector] if value.durable_end >= latest]

    def _latest_flushed(self, sector: int) -> int:
        """When the latest value began that is surely on the disks."""
        flushed = self._flushed
        return max(
            (o.begin for o in self._values[sector] if o.durable_end < flushed and not o.unsure), default=-1
        )

    def _perhaps(self, value: Value, now: int) -> Value:
        """One of several, nobody knows which."""
        one = Value(value.content, now, now)
        one.weak = one.unsure = True
        return one

    def _block(self, sector: int) -> Iterator[Value]:
        """Values of the sector's block that no flush covers: fresh ones make all of it undefined."""
        first = sector // 8 * 8
        for one in range(first, first + 8):
            for value in self._values[one]:
                if value.durable_end >= self._flushed:
                    yield value

    # -- inside --------------------------------------------------------------------------------------------

    def _forget(self, sector: int) -> None:
        """Values that neither a read nor a power cut could find any more."""
        values = self._values[sector]
        if len(values) % 8 == 0:
            latest = self._latest_flushed(sector)
            self._values[sector] = [one for one in values if max(one.end, one.durable_end) >= latest]

    def _complain(self, what: str, sector: int, found: bytes, began: int) -> str:
        known = "; ".join(
            f"{value.content[:6].hex()} {value.begin}..{'' if value.end == OPEN else value.end}"
            f"{' weak' if value.weak else ''}{' fresh' if value.fresh else ''}"
            for value in self._values[sector]
        )
        return (
            f"space {self.name} {what} at {began} (flushed {self._flushed}): sector {sector} (block "
            f"{sector // 8}) holds {found[:6].hex()}, which no order of writes explains: {known}"
        )
