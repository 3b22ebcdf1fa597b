"""A volume over memory, with a clock and tasks that the test moves by hand: nothing runs by itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from types import coroutine
from typing import Any

from smbproto import dtyp, fscc
from smbproto.status import Status, StatusError
from storage.objectstore.volume import ObjectStoreVolume
from storage.volume import (
    CachingRequest,
    ExtendedAttribute,
    File,
    LeaseBreak,
    OpenRequest,
    OpenResult,
    Token,
)
from tests.suites.memoryfs import MemoryFileSystem

EVERYONE, AUTHENTICATED, ADMINISTRATORS = "S-1-1-0", "S-1-5-11", "S-1-5-32-544"
ANA_SID, BOB_SID, USERS = "S-1-5-21-1-2-3-1001", "S-1-5-21-1-2-3-1002", "S-1-5-21-1-2-3-513"
ANA = Token(ANA_SID, frozenset({ANA_SID, USERS, EVERYONE, AUTHENTICATED}), ANA_SID, USERS, name="ana")
BOB = Token(BOB_SID, frozenset({BOB_SID, USERS, EVERYONE, AUTHENTICATED}), BOB_SID, USERS, name="bob")
READ, WRITE, ALL = 0x120089, 0x120116, dtyp.FILE_ALL_ACCESS
SHARE_ALL = 7
ROOT = 0x1301FF
"""What the default descriptor of a root gives to a user."""
START = 133_000_000_000_000_000


class Cancelled(BaseException):
    """What a cancelled task sees."""


@coroutine
def suspend(event: FakeEvent) -> Generator[FakeEvent, None, None]:
    yield event


class FakeEvent:
    """`storage.runtime.Event`."""

    def __init__(self) -> None:
        self.flag = False

    def set(self) -> None:
        self.flag = True

    def is_set(self) -> bool:
        return self.flag

    async def wait(self) -> None:
        if not self.flag:
            await suspend(self)


class Task:
    """A coroutine that runs until it must wait. `result` or `error` once it has ended."""

    def __init__(self, work: Awaitable[Any]) -> None:
        self._coroutine: Any = work
        self.waits_for: FakeEvent | None = None
        self.is_done = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.step(None)

    def step(self, error: BaseException | None) -> None:
        try:
            send = self._coroutine.send
            self.waits_for = send(None) if error is None else self._coroutine.throw(error)
        except StopIteration as end:
            self.is_done, self.result = True, end.value
        except (StatusError, Cancelled) as caught:
            self.is_done, self.error = True, caught

    @property
    def status(self) -> Status:
        """Of its refusal."""
        assert self.is_done, "it still waits"
        assert isinstance(self.error, StatusError), f"it succeeded with {self.result!r}"
        return self.error.status

    def cancel(self) -> None:
        self.step(Cancelled())


class World:
    """Runtime, break sink and volume in one."""

    def __init__(self, *, total_bytes: int = 1 << 40) -> None:
        self.time_s = 1000.0
        self.filetime_now = START
        self.tasks: list[Task] = []
        self.sleepers: list[tuple[float, FakeEvent]] = []
        self.lease_breaks: list[LeaseBreak] = []
        self.oplock_breaks: list[tuple[File, int, bool]] = []
        self.purged: list[File] = []
        self.can_tell = True
        self.fs = MemoryFileSystem(total_bytes=total_bytes, now=START)
        self.volume = ObjectStoreVolume(self.fs, self)
        self.volume.attach(self)

    # Runtime
    def now(self) -> float:
        return self.time_s

    def filetime(self) -> int:
        self.filetime_now += 10
        return self.filetime_now

    def random_bytes(self, count: int) -> bytes:
        return bytes(range(count))

    def event(self) -> FakeEvent:
        return FakeEvent()

    async def sleep(self, seconds: float) -> None:
        event = FakeEvent()
        self.sleepers.append((self.time_s + seconds, event))
        await event.wait()

    async def blocking(self, work: Callable[[], Any]) -> Any:
        return work()

    def spawn(self, work: Callable[[], Awaitable[None]], name: str) -> None:
        self.tasks.append(Task(work()))

    # BreakSink
    def oplock_break(self, file: File, level: int, ack_required: bool) -> bool:
        self.oplock_breaks.append((file, level, ack_required))
        return self.can_tell

    def lease_break(self, notice: LeaseBreak) -> bool:
        self.lease_breaks.append(notice)
        return self.can_tell

    def open_purged(self, file: File) -> None:
        self.purged.append(file)

    # moving
    def settle(self) -> None:
        """Let every task run that can."""
        while ready := [t for t in self.tasks if not t.is_done and t.waits_for and t.waits_for.flag]:
            for task in ready:
                task.step(None)
        self.tasks = [task for task in self.tasks if not task.is_done]

    def advance(self, seconds: float) -> None:
        end = self.time_s + seconds
        while due := [sleeper for sleeper in self.sleepers if sleeper[0] <= end]:
            first = min(due, key=lambda sleeper: sleeper[0])
            self.sleepers.remove(first)
            self.time_s = max(self.time_s, first[0])
            first[1].set()
            self.settle()
        self.time_s = end

    def start(self, work: Awaitable[Any]) -> Task:
        task = Task(work)
        if not task.is_done:
            self.tasks.append(task)
        return task

    def run(self, work: Awaitable[Any]) -> Any:
        """To its end, which it must reach without waiting."""
        task = Task(work)
        assert task.is_done, "it waits"
        if task.error is not None:
            raise task.error
        return task.result

    def refuses(self, work: Awaitable[Any]) -> Status:
        task = Task(work)
        return task.status

    # shorthand
    @staticmethod
    def request(path: str, access: int = ALL, share: int = SHARE_ALL, disposition: int = fscc.FILE_OPEN_IF,
                options: int = 0, token: Token = ANA, **more: Any) -> OpenRequest:
        attributes = more.pop("attributes", 0)
        return OpenRequest(path, access, share, disposition, options, attributes, token, **more)

    def start_open(self, *args: Any, **more: Any) -> Task:
        return self.start(self.volume.open(self.request(*args, **more)))

    def open(self, *args: Any, **more: Any) -> Any:
        return self.open_result(*args, **more).file

    def open_result(self, *args: Any, **more: Any) -> OpenResult:
        result = self.run(self.volume.open(self.request(*args, **more)))
        assert isinstance(result, OpenResult)
        return result

    def open_status(self, *args: Any, **more: Any) -> Status:
        return self.refuses(self.volume.open(self.request(*args, **more)))

    def mkdir(self, path: str) -> None:
        self.close(self.open(path, options=fscc.FILE_DIRECTORY_FILE, disposition=fscc.FILE_CREATE))

    def write_file(self, path: str, content: bytes = b"", **more: Any) -> None:
        file = self.open(path, disposition=fscc.FILE_OVERWRITE_IF, **more)
        if content:
            assert file.write_now(0, memoryview(content))
        self.close(file)

    def close(self, *files: Any) -> None:
        for file in files:
            self.run(file.close())

    def exists(self, path: str) -> bool:
        try:
            options = fscc.FILE_OPEN_REPARSE_POINT
            self.close(self.open(path, 0x80, disposition=fscc.FILE_OPEN, options=options))
        except StatusError as error:
            assert error.status in (Status.OBJECT_NAME_NOT_FOUND, Status.OBJECT_PATH_NOT_FOUND), error
            return False
        return True

    def read_file(self, path: str) -> bytes:
        file = self.open(path, READ, disposition=fscc.FILE_OPEN)
        into = memoryview(bytearray(file.stream.size_bytes))
        if into:
            assert file.read_now(0, into) == len(into)
        self.close(file)
        return bytes(into)


def lease(key: str, state: int, *, client: str = "ana", version: int = 2, epoch: int = 0,
          parent: str = "") -> CachingRequest:
    """A lease request by short names."""
    parent_key = parent.encode().ljust(16, b".") if parent else b""
    return CachingRequest(0xFF, key.encode().ljust(16, b"."), state, version, epoch, parent_key,
                          client.encode().ljust(16, b"_"))


def oplock(level: int) -> CachingRequest:
    return CachingRequest(level)


def ea(name: bytes, value: bytes, flags: int = 0) -> ExtendedAttribute:
    return ExtendedAttribute(name, value, flags)
