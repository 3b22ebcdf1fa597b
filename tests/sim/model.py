"""What a volume may answer: registers with a history, files made of them, names, and who caches and locks
what.

A change is an `Op` with the moment it was asked for and the moment it was answered; moments are a count, not
a time. A read that began at `since` and ended now may see a register as any op left it that began before now,
unless another one that is known to have happened lies wholly between it and `since`. After a power cut the
same holds, with only those ops in the way that were made durable.

An op whose answer was lost `may` have happened: it is in nobody's way, and all can see it.
"""

from __future__ import annotations

from collections.abc import Iterable
from os.path import commonprefix
from typing import Any, Final, Generic, TypeVar

import trio

T = TypeVar("T")

SECTOR: Final = 512
ZEROS: Final = bytes(SECTOR)
HISTORY_MAX: Final = 24
CHANGES_MAX: Final = 100
SIDE: Final = "side"
"""The named stream that files may have; one that is not there is as good as an empty one."""


class Clock:
    """Counts moments."""

    def __init__(self) -> None:
        self.now = 0

    def tick(self) -> int:
        self.now += 1
        return self.now


class Op:
    """One change. `ended` None: not answered yet."""

    __slots__ = ("began", "durable", "ended", "is_certain", "touched", "what")

    def __init__(self, began: int, what: str) -> None:
        self.began = began
        self.ended: int | None = None
        self.is_certain = False
        self.durable = False
        self.touched: list[Register[Any]] = []
        self.what = what

    def answered(self, now: int, *, durable: bool = False) -> None:
        self.ended, self.is_certain = now, True
        self.durable = self.durable or durable

    def lost(self, now: int) -> None:
        """Its answer never came, and by now it cannot happen any more."""
        self.ended = now

    def withdraw(self) -> None:
        """It was refused, or is known not to have happened."""
        for register in self.touched:
            register.entries = [entry for entry in register.entries if entry[0] is not self]

    def __repr__(self) -> str:
        flags = ("" if self.is_certain else "?") + ("!" if self.durable else "")
        return f"{self.what}[{self.began}..{self.ended}]{flags}"


class Register(Generic[T]):
    """One value and its history."""

    __slots__ = ("entries",)

    def __init__(self, op: Op, value: T) -> None:
        self.entries: list[tuple[Op, T]] = [(op, value)]

    def put(self, op: Op, value: T) -> None:
        self.entries.append((op, value))
        op.touched.append(self)
        if len(self.entries) > HISTORY_MAX:
            self._prune()

    def seen(self, since: int, now: int) -> list[T]:
        """What a read from `since` to `now` may give."""
        entries = self.entries
        if len(entries) == 1:
            return [entries[0][1]]
        begun = [entry for entry in entries if entry[0].began < now]
        return [value for op, value in begun if not _is_over(op, begun, since)]

    def after_cut(self) -> list[T]:
        """What it may be after a power cut."""
        entries = self.entries
        if len(entries) == 1:
            return [entries[0][1]]
        kept = [entry for entry in entries if entry[0].durable]
        return [value for op, value in entries if not _is_over(op, kept, None)]

    def settle(self, op: Op, value: T) -> None:
        self.entries = [(op, value)]

    def under_way(self, since: int) -> bool:
        """Whether an op may not have been over then, so that part of it may be seen: a write past the
        valid data length shows what lies below it first."""
        return any(not op.is_certain or op.ended is None or op.ended >= since for op, _ in self.entries)

    def maybe(self) -> list[Op]:
        """Ops that may have happened or not."""
        return [op for op, _ in self.entries if not op.is_certain]

    def _prune(self) -> None:
        kept = [entry for entry in self.entries if entry[0].durable]
        now = min((op.began for op, _ in self.entries if op.ended is None), default=1 << 60)
        self.entries = [entry for entry in self.entries if not _is_over(entry[0], kept, now)]

    def __repr__(self) -> str:
        return repr([op for op, _ in self.entries])


def _is_over(op: Op, others: Iterable[tuple[Op, object]], since: int | None) -> bool:
    """Whether another op certainly came after it, and was over by `since`."""
    ended = op.ended
    if ended is None:
        return False
    for other, _ in others:
        if other.is_certain and other.began > ended and other.ended is not None:
            if since is None or other.ended < since:
                return True
    return False


class Gate:
    """Who may work on a thing of the model: several at a time, or one alone. In order of arrival."""

    def __init__(self) -> None:
        self._shared = 0
        self._alone = False
        self._queue: list[tuple[bool, trio.Event]] = []

    async def share(self) -> None:
        await self._enter(False)

    async def alone(self) -> None:
        await self._enter(True)

    def leave(self) -> None:
        if self._alone:
            self._alone = False
        else:
            self._shared -= 1
        self._let_in()

    def downgrade(self) -> None:
        assert self._alone
        self._alone = False
        self._shared = 1
        self._let_in()

    async def _enter(self, alone: bool) -> None:
        event = trio.Event()
        entry = (alone, event)
        self._queue.append(entry)
        self._let_in()
        try:
            await event.wait()
        except trio.Cancelled:
            if entry in self._queue:
                self._queue.remove(entry)
            else:
                self.leave()
            raise

    def _let_in(self) -> None:
        while self._queue:
            alone, event = self._queue[0]
            if self._alone or (alone and self._shared):
                return
            self._queue.pop(0)
            if alone:
                self._alone = True
            else:
                self._shared += 1
            event.set()


class ModelStream:
    """Bytes: a size, and sectors that were ever written."""

    def __init__(self, op: Op) -> None:
        self.origin = op
        self.size: Register[int] = Register(op, 0)
        self.sectors: dict[int, Register[bytes]] = {}
        self.caching: dict[object, int] = {}
        """Holder -> caching state that the holder believes it has."""
        self.locks: list[Lock] = []
        self.changes: list[tuple[int, float, int]] = []
        """Changes that were answered: the moment each began, the time it was over, the client."""

    def changed(self, op: Op, now_s: float, client: int) -> None:
        self.changes.append((op.began, now_s, client))
        del self.changes[:-CHANGES_MAX]

    def sector(self, index: int) -> Register[bytes]:
        found = self.sectors.get(index)
        if found is None:
            found = self.sectors[index] = Register(self.origin, ZEROS)
        return found

    def write(self, op: Op, first: int, data: bytes) -> None:
        """Whole sectors."""
        assert len(data) % SECTOR == 0
        for at in range(0, len(data), SECTOR):
            self.sector(first + at // SECTOR).put(op, data[at : at + SECTOR])

    def zero_from(self, op: Op, first: int) -> None:
        for index, register in self.sectors.items():
            if index >= first:
                register.put(op, ZEROS)

    def registers(self) -> Iterable[Register[bytes] | Register[int]]:
        yield self.size
        yield from self.sectors.values()

    def check_read(self, offset: int, data: bytes, since: int, now: int, what: str) -> None:
        """`data` was read at `offset`, a multiple of a sector, and all of it lies below the size."""
        for at in range(0, len(data), SECTOR):
            register = self.sectors.get((offset + at) // SECTOR)
            found = data[at : at + SECTOR]
            allowed = [ZEROS] if register is None else register.seen(since, now)
            if any(value.startswith(found) for value in allowed):
                continue
            is_half_done = register is not None and register.under_way(since) and _is_of(found, allowed)
            if not is_half_done:
                raise AssertionError(
                    f"{what}: sector {(offset + at) // SECTOR} reads {_differs(found, allowed)}; "
                    f"history {register}, read {since}..{now}"
                )

    def check_after_cut(self, data: bytes, what: str) -> None:
        """The whole content after a power cut. Settled to it."""
        sizes = self.size.after_cut()
        assert len(data) in sizes, f"{what}: size {len(data)} after a power cut, allowed {sizes}; {self.size}"
        for at in range(0, len(data), SECTOR):
            register = self.sectors.get(at // SECTOR)
            found = data[at : at + SECTOR]
            allowed = [ZEROS] if register is None else register.after_cut()
            if not _is_of(found, allowed):
                raise AssertionError(
                    f"{what}: sector {at // SECTOR} after a power cut is {_differs(found, allowed)}; "
                    f"history {register}; sizes {self.size}"
                )

    def settle(self, op: Op, data: bytes) -> None:
        self.origin = op
        self.size = Register(op, len(data))
        self.sectors = {
            at // SECTOR: Register(op, data[at : at + SECTOR].ljust(SECTOR, b"\0"))
            for at in range(0, len(data), SECTOR)
        }


def _is_of(found: bytes, allowed: list[bytes]) -> bool:
    """One of them, or the beginning of one and the end of another: what lies behind the valid data length of
    before the cut reads as zeros, though the bytes before it are new."""
    if any(value.startswith(found) for value in allowed):
        return True
    length = len(found)
    head = max(len(commonprefix([found, value])) for value in allowed)
    tail = max(len(commonprefix([found[::-1], value[:length][::-1]])) for value in allowed)
    return head + tail >= length


def _differs(found: bytes, allowed: list[bytes]) -> str:
    """What was found, and from which byte on each allowed content is another."""
    parts = []
    for value in allowed:
        at = next((i for i in range(len(found)) if found[i] != value[i]), -1)
        parts.append(
            f"{value[max(0, at - 4) : at + 12]!r} at {at}, where it has {found[max(0, at - 4) : at + 12]!r}"
        )
    return f"{len(found)} bytes {found[:24]!r}...; allowed were: " + "; ".join(parts)


class ModelFile:
    """A file, whatever its name. `gate`: shared to read and to write in place, alone to change
    sizes."""

    def __init__(self, number: int, op: Op) -> None:
        self.number = number
        self.node_id: int | None = None
        self.gate = Gate()
        self.streams = {"": ModelStream(op), SIDE: ModelStream(op)}
        self.hidden: Register[bool] = Register(op, False)
        self.name_ops: list[Op] = [op]
        """What gave it its names, and took them."""
        self.opens = 0
        """CREATEs on it so far."""
        self.zombies: list[tuple[Any, Any]] = []
        """(node, connection) of opens that only lingered when their connection was lost."""
        self.opening = 0
        """Those that may still come to something."""

    def ops(self) -> Iterable[Op]:
        yield from self.name_ops
        for stream in self.streams.values():
            for register in stream.registers():
                for op, _ in register.entries:
                    yield op
        for op, _ in self.hidden.entries:
            yield op

    def flushed(self, began: int) -> None:
        """A FLUSH that began then was answered with SUCCESS."""
        for op in self.ops():
            if op.ended is not None and op.ended < began:
                op.durable = True

    def __repr__(self) -> str:
        return f"file {self.number}"


class Lock:
    """A byte-range lock as its holder believes."""

    __slots__ = ("end", "exclusive", "holder", "start")

    def __init__(self, holder: object, start: int, end: int, exclusive: bool) -> None:
        self.holder, self.start, self.end, self.exclusive = holder, start, end, exclusive

    def conflicts(self, start: int, end: int, holder: object, exclusive: bool) -> bool:
        return (
            self.start < end
            and start < self.end
            and (self.exclusive or exclusive)
            and (self.holder is not holder or self.exclusive or exclusive)
        )


class ModelName:
    """A name in a directory: nothing, or a file. `gate`: shared to open what is there, alone to change what
    is."""

    def __init__(self, path: str, op: Op) -> None:
        self.path = path
        self.gate = Gate()
        self.holds: Register[ModelFile | None] = Register(op, None)

    def __repr__(self) -> str:
        return f"name {self.path!r}"


class Model:
    """The names that clients use, in some directories, and the files there were."""

    def __init__(self, clock: Clock, directories: list[str], names_each: int) -> None:
        self.directories = directories
        self.files: list[ModelFile] = []
        origin = Op(clock.tick(), "format")
        origin.answered(clock.tick(), durable=True)
        self.names = [
            ModelName(f"{directory}/File {number}".lstrip("/"), origin)
            for directory in directories
            for number in range(names_each)
        ]

    def new_file(self, op: Op) -> ModelFile:
        self.files.append(ModelFile(len(self.files), op))
        return self.files[-1]

    def names_in(self, directory: str) -> list[ModelName]:
        return [name for name in self.names if name.path.rpartition("/")[0] == directory]
