"""The client for programs without Trio: the same methods, blocking; errors are `OSError`.

Each session has a thread that runs Trio for it; calls may come from any thread.

    with connect_blocking("host", user="ana", password=secret) as session:
        share = session.tree("share")
        with share.open("folder/file.txt", "r", encoding="utf-8") as file: ...
"""

from __future__ import annotations

import io
import queue
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

import trio

from smbclient.errors import os_error_of
from smbclient.file import File
from smbclient.io.connect import connect
from smbclient.session import Session
from smbclient.stat import DirEntry, StatResult, VolumeStat
from smbclient.tree import Tree
from smbclient.watch import Change
from smbproto.errors import WireError
from smbproto.fscc.file_info import Stream
from smbproto.status import Status, StatusError

if TYPE_CHECKING:
    from smbproto.rpc.share_list import ShareInfo

__all__ = ["BlockingFile", "BlockingSession", "BlockingTree", "connect_blocking"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
BUFFER_BYTES = 1 << 20


class _Thread:
    """A thread with Trio and one session in it."""

    def __init__(self, host: str, port: int, options: dict[str, Any]) -> None:
        self._host, self._port, self._options = host, port, options
        self._started: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._token: trio.lowlevel.TrioToken | None = None
        self._stop: trio.Event | None = None
        self.session: Session | None = None
        self._thread = threading.Thread(target=self._run, name=f"smbclient {host}", daemon=True)
        self._thread.start()
        failure = self._started.get()
        if failure is not None:
            self._thread.join()
            raise failure

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as error:
            self._started.put(error)

    async def _main(self) -> None:
        async with connect(self._host, self._port, **self._options) as session:
            self.session = session
            self._token = trio.lowlevel.current_trio_token()
            self._stop = trio.Event()
            self._started.put(None)
            await self._stop.wait()

    def call(self, work: Callable[[*Ts], Awaitable[T]], *args: *Ts, path: str | None = None) -> T:
        """Run `work` in the thread and give its result. Raises: OSError."""
        if self._token is None:
            raise ValueError("the session is closed")
        try:
            return trio.from_thread.run(work, *args, trio_token=self._token)
        except StatusError as error:
            raise os_error_of(error, path) from error
        except WireError as error:
            broken = StatusError(Status.UNEXPECTED_NETWORK_ERROR, f"the server's answer is broken: {error}")
            raise os_error_of(broken, path) from error
        except trio.RunFinishedError:
            lost = StatusError(Status.CONNECTION_DISCONNECTED, "the session's thread has ended")
            raise os_error_of(lost, path) from lost

    def close(self) -> None:
        token, self._token = self._token, None
        if token is not None and self._stop is not None:
            try:
                token.run_sync_soon(self._stop.set)
            except trio.RunFinishedError:
                pass  # it ended by itself
            self._thread.join()


class BlockingFile(io.RawIOBase):
    """An open file as Python's `io` knows them."""

    def __init__(self, thread: _Thread, file: File, mode: str) -> None:
        self._io_thread, self._file, self._mode = thread, file, mode
        self.name = file.path

    @property
    def mode(self) -> str:
        return self._mode

    def readable(self) -> bool:
        return "r" in self._mode or "+" in self._mode

    def writable(self) -> bool:
        return self._mode.strip("b") != "r"

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self._io_thread.call(self._file.read, len(view), path=self.name)
        view[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        return self._io_thread.call(self._file.read, path=self.name)

    def write(self, data: Any) -> int:
        return self._io_thread.call(self._file.write, data, path=self.name)

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == 2:
            self._io_thread.call(self._file.stat, path=self.name)
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def truncate(self, size: int | None = None) -> int:
        return self._io_thread.call(self._file.truncate, size, path=self.name)

    def sync(self) -> None:
        """Return when what was written is on the server's stable storage."""
        self._io_thread.call(self._file.flush, path=self.name)

    def stat(self) -> StatResult:
        return self._io_thread.call(self._file.stat, path=self.name)

    def lock(self, offset: int, length: int, *, shared: bool = False, wait: bool = True) -> None:
        async def work() -> None:
            await self._file.lock(offset, length, shared=shared, wait=wait)

        self._io_thread.call(work, path=self.name)

    def unlock(self, offset: int, length: int) -> None:
        self._io_thread.call(self._file.unlock, offset, length, path=self.name)

    def close(self) -> None:
        if not self.closed:
            try:
                self._io_thread.call(self._file.close, path=self.name)
            finally:
                super().close()


class BlockingTree:
    """A share. The methods are those of `Tree`."""

    def __init__(self, thread: _Thread, tree: Tree) -> None:
        self._thread, self._tree = thread, tree

    def open(
        self, path: str, mode: str = "r", *, buffering: int = BUFFER_BYTES, encoding: str | None = None
    ) -> io.IOBase:
        """As Python's `open`: text unless the mode has a b; unbuffered (bytes only) with `buffering=0`."""
        text, raw_mode = "b" not in mode, mode.replace("t", "").replace("b", "") + "b"
        if text and not buffering:
            raise ValueError("text needs a buffer")
        if encoding is not None and not text:
            raise ValueError("bytes have no encoding")
        file = self._thread.call(self._tree.open, path, raw_mode, path=path)
        raw = BlockingFile(self._thread, file, raw_mode)
        if not buffering:
            return raw
        if "+" in mode:
            buffered: Any = io.BufferedRandom(raw, buffering)
        elif raw.readable():
            buffered = io.BufferedReader(raw, buffering)
        else:
            buffered = io.BufferedWriter(raw, buffering)
        return io.TextIOWrapper(buffered, encoding or "utf-8") if text else buffered

    def read_bytes(self, path: str) -> bytes:
        return self._thread.call(self._tree.read_bytes, path, path=path)

    def write_bytes(self, path: str, data: bytes | bytearray | memoryview) -> int:
        return self._thread.call(self._tree.write_bytes, path, data, path=path)

    def stat(self, path: str = "") -> StatResult:
        return self._thread.call(self._tree.stat, path, path=path)

    def lstat(self, path: str) -> StatResult:
        return self._thread.call(self._tree.lstat, path, path=path)

    def exists(self, path: str) -> bool:
        return self._thread.call(self._tree.exists, path, path=path)

    def is_dir(self, path: str) -> bool:
        return self._thread.call(self._tree.is_dir, path, path=path)

    def is_file(self, path: str) -> bool:
        return self._thread.call(self._tree.is_file, path, path=path)

    def stat_volume(self) -> VolumeStat:
        return self._thread.call(self._tree.stat_volume)

    def list_streams(self, path: str) -> list[Stream]:
        return self._thread.call(self._tree.list_streams, path, path=path)

    def listdir(self, path: str = "", pattern: str = "*") -> list[str]:
        return self._thread.call(self._tree.listdir, path, pattern, path=path)

    def scandir(self, path: str = "", pattern: str = "*") -> list[DirEntry]:
        """The whole listing."""
        return self._thread.call(_all_of, self._tree.scandir(path, pattern), path=path)

    def walk(
        self, top: str = "", *, topdown: bool = True
    ) -> Iterator[tuple[str, list[DirEntry], list[DirEntry]]]:
        return self._each(self._tree.walk(top, topdown=topdown), top)

    def watch(self, path: str = "", *, recursive: bool = False) -> Iterator[list[Change]]:
        """What changes in the directory, as it happens; close the iterator to end it."""
        return self._each(self._tree.watch(path, recursive=recursive), path)

    def _each(self, items: AsyncGenerator[T, None], path: str) -> Iterator[T]:
        try:
            while True:
                try:
                    yield self._thread.call(items.__anext__, path=path)
                except StopAsyncIteration:
                    return
        finally:
            self._thread.call(items.aclose, path=path)

    def mkdir(self, path: str) -> None:
        self._thread.call(self._tree.mkdir, path, path=path)

    def makedirs(self, path: str) -> None:
        self._thread.call(self._tree.makedirs, path, path=path)

    def rmdir(self, path: str) -> None:
        self._thread.call(self._tree.rmdir, path, path=path)

    def remove(self, path: str) -> None:
        self._thread.call(self._tree.remove, path, path=path)

    def rmtree(self, path: str) -> None:
        self._thread.call(self._tree.rmtree, path, path=path)

    def rename(self, source: str, target: str) -> None:
        self._thread.call(self._tree.rename, source, target, path=source)

    def replace(self, source: str, target: str) -> None:
        self._thread.call(self._tree.replace, source, target, path=source)

    def link(self, source: str, target: str) -> None:
        self._thread.call(self._tree.link, source, target, path=source)

    def symlink(self, target: str, path: str) -> None:
        self._thread.call(self._tree.symlink, target, path, path=path)

    def readlink(self, path: str) -> str:
        return self._thread.call(self._tree.readlink, path, path=path)

    def copyfile(self, source: str, target: str) -> int:
        return self._thread.call(self._tree.copyfile, source, target, path=source)

    def truncate(self, path: str, size: int) -> None:
        self._thread.call(self._tree.truncate, path, size, path=path)

    def utime(self, path: str, *, atime_ns: int | None = None, mtime_ns: int | None = None) -> None:
        async def work() -> None:
            await self._tree.utime(path, atime_ns=atime_ns, mtime_ns=mtime_ns)

        self._thread.call(work, path=path)

    def set_attributes(self, path: str, attributes: int) -> None:
        self._thread.call(self._tree.set_attributes, path, attributes, path=path)

    def listxattr(self, path: str) -> list[str]:
        return self._thread.call(self._tree.listxattr, path, path=path)

    def getxattr(self, path: str, name: str) -> bytes:
        return self._thread.call(self._tree.getxattr, path, name, path=path)

    def setxattr(self, path: str, name: str, value: bytes) -> None:
        self._thread.call(self._tree.setxattr, path, name, value, path=path)

    def removexattr(self, path: str, name: str) -> None:
        self._thread.call(self._tree.removexattr, path, name, path=path)


async def _all_of(items: AsyncIterator[T]) -> list[T]:
    return [item async for item in items]


class BlockingSession:
    """A session. Use it in a `with`, or call `close`."""

    def __init__(self, thread: _Thread) -> None:
        assert thread.session is not None
        self._thread, self._session = thread, thread.session

    @property
    def dialect(self) -> int:
        return self._session.dialect

    def tree(self, share: str) -> BlockingTree:
        return BlockingTree(self._thread, self._thread.call(self._session.tree, share, path=share))

    def shares(self) -> list[ShareInfo]:
        return self._thread.call(self._session.shares)

    def close(self) -> None:
        """Log off; again is no error."""
        self._thread.close()

    def __enter__(self) -> BlockingSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def connect_blocking(host: str, port: int = 445, **options: Any) -> BlockingSession:
    """A session on `host`; `options` are those of `connect`. Raises: OSError."""
    try:
        return BlockingSession(_Thread(host, port, options))
    except StatusError as error:
        raise os_error_of(error, host) from error
