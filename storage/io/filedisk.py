"""A disk that is a file or a block device of this machine.

Reads try the page cache first (`preadv` with RWF_NOWAIT) and go to a thread when it says no; small writes go
to the page cache inline, since that does not wait for the medium; a flush is `fdatasync` in a thread. One
process holds an exclusive `flock` on each disk it has open, so a second server on the same pool is told so.

Some file systems (tmpfs, old kernels) refuse RWF_NOWAIT with EOPNOTSUPP: probed once when the disk is opened;
there a plain `preadv` is used, which on tmpfs never waits.

Invariants: after the first failed write, flush or trim every call raises DiskFailed: the kernel reports a
failed write-back once, so a second `fdatasync` that succeeds would prove nothing. A failed read says nothing
of what was written: it is told, and that's all. Sources: preadv2(2) RWF_NOWAIT; fallocate(2)
FALLOC_FL_PUNCH_HOLE; ioctl BLKDISCARD, BLKGETSIZE64 (linux/fs.h).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
import struct
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from storage.errors import DiskFailed, PoolInUse
from storage.runtime import Runtime
from storage.units import BLOCK_BYTES, DiskOffset

WRITE_INLINE_MAX_BYTES: Final = 1 << 20
IOV_MAX: Final = 1024
BLKDISCARD: Final = 0x1277
BLKGETSIZE64: Final = 0x80081272
FALLOC_FL_KEEP_SIZE: Final = 1
FALLOC_FL_PUNCH_HOLE: Final = 2

T = TypeVar("T")
_libc = ctypes.CDLL(None, use_errno=True)
_preadv = os.preadv
_pwritev = os.pwritev


class FileDisk:
    """`storage.disk.Disk` over one file descriptor. Made by `open` or `create`; `close` releases it."""

    __slots__ = (
        "_failure", "_fd", "_is_closing", "_is_device", "_name", "_nowait", "_running", "_runtime",
        "_size_bytes",
    )  # fmt: skip

    def __init__(self, fd: int, name: str, size_bytes: int, is_device: bool, runtime: Runtime) -> None:
        self._fd = fd
        self._name = name
        self._size_bytes = size_bytes - size_bytes % BLOCK_BYTES
        self._is_device = is_device
        self._runtime = runtime
        self._failure: str | None = None
        self._running = 0
        self._is_closing = False
        self._nowait = _probe_nowait(fd)

    @classmethod
    def create(cls, path: str, size_bytes: int, runtime: Runtime) -> FileDisk:
        """A new sparse file of that size as a disk. Raises FileExistsError if there is one already."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(fd, size_bytes)
        finally:
            os.close(fd)
        return cls.open(path, runtime)

    @classmethod
    def open(cls, path: str, runtime: Runtime) -> FileDisk:
        """Raises DiskFailed (it cannot be opened), PoolInUse (another process holds it)."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise DiskFailed(f"disk {path} cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mode = os.fstat(fd).st_mode
            if stat.S_ISBLK(mode):
                answer = fcntl.ioctl(fd, BLKGETSIZE64, bytes(8))
                return cls(fd, path, struct.unpack("=Q", answer)[0], True, runtime)
            if not stat.S_ISREG(mode):
                raise DiskFailed(f"disk {path} is neither a file nor a block device")
            return cls(fd, path, os.fstat(fd).st_size, False, runtime)
        except BlockingIOError as error:
            os.close(fd)
            raise PoolInUse(f"disk {path} is in use by another server; stop that one first") from error
        except OSError as error:
            os.close(fd)
            raise DiskFailed(f"disk {path} cannot be used: {error.strerror}") from error
        except DiskFailed:
            os.close(fd)
            raise

    @property
    def name(self) -> str:
        return self._name

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    @property
    def is_device(self) -> bool:
        return self._is_device

    @property
    def failure(self) -> str | None:
        """Why it is used no more; None while it is."""
        return self._failure

    def is_there(self) -> bool:
        """Does its name still lead to what is open here? A file that was deleted can be written for as long
        as it is open, and is lost then."""
        if self._fd < 0:
            return False
        try:
            named, held = os.stat(self._name), os.fstat(self._fd)
        except OSError:
            return False
        return (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)

    def give_up(self, why: str) -> None:
        """It is not to be used any more; every later call says why."""
        if self._failure is None:
            self._failure = f"disk {self._name}: {why}"

    def read_now(self, offset: DiskOffset, into: Sequence[memoryview]) -> bool:
        if self._failure is not None:
            raise DiskFailed(self._failure)
        try:
            count = _preadv(self._fd, into, offset, self._nowait)
        except BlockingIOError:
            return False
        except OSError as error:
            raise self._fail("read", offset, error.strerror) from error
        return count == (len(into[0]) if len(into) == 1 else sum(map(len, into)))

    def write_now(self, offset: DiskOffset, data: Sequence[memoryview | bytes]) -> bool:
        if self._failure is not None:
            raise DiskFailed(self._failure)
        length = len(data[0]) if len(data) == 1 else sum(map(len, data))
        if length > WRITE_INLINE_MAX_BYTES or len(data) > IOV_MAX:
            return False
        try:
            count = _pwritev(self._fd, data, offset)
        except OSError as error:
            raise self._fail("write", offset, error.strerror) from error
        if count != length:
            raise self._fail("write", offset, f"only {count} of {length} bytes were taken")
        return True

    async def read(self, offset: DiskOffset, into: Sequence[memoryview]) -> None:
        await self._blocking(lambda: self.read_blocking(offset, into))

    async def write(self, offset: DiskOffset, data: Sequence[memoryview | bytes]) -> None:
        await self._blocking(lambda: self._write_all(offset, data))

    def read_blocking(self, offset: DiskOffset, into: Sequence[memoryview]) -> None:
        if self._failure is not None:
            raise DiskFailed(self._failure)
        for view in into:
            done = 0
            while done < len(view):
                try:
                    count = _preadv(self._fd, [view[done:]], offset + done)
                except OSError as error:
                    raise self._fail("read", offset + done, error.strerror) from error
                if not count:
                    raise self._fail("read", offset + done, "the disk ends there")
                done += count
            offset = DiskOffset(offset + len(view))

    def _write_all(self, offset: int, data: Sequence[memoryview | bytes]) -> None:
        for piece in data:
            view = memoryview(piece)
            done = 0
            while done < len(view):
                try:
                    done += _pwritev(self._fd, [view[done:]], offset + done)
                except OSError as error:
                    raise self._fail("write", offset + done, error.strerror) from error
            offset += len(view)

    async def flush(self) -> None:
        def work() -> None:
            try:
                os.fdatasync(self._fd)
            except OSError as error:
                raise self._fail("flush", 0, error.strerror) from error

        await self._blocking(work)

    async def trim(self, offset: DiskOffset, length: int) -> None:
        def work() -> None:
            if self._is_device:
                try:
                    fcntl.ioctl(self._fd, BLKDISCARD, struct.pack("=QQ", offset, length))
                except OSError as error:
                    if error.errno not in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL):
                        raise self._fail("trim", offset, error.strerror) from error
                return
            mode = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE
            result = _libc.fallocate(self._fd, mode, ctypes.c_long(offset), ctypes.c_long(length))
            code = ctypes.get_errno()
            if result and code not in (errno.EOPNOTSUPP, errno.ENOSYS):
                raise self._fail("trim", offset, os.strerror(code))

        await self._blocking(work)

    async def close(self) -> None:
        """A call that a thread works on ends first; the descriptor goes with the last of them."""
        self._is_closing = True
        self.give_up("closed")
        self._release()

    def _release(self) -> None:
        if self._is_closing and not self._running and self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    async def _blocking(self, work: Callable[[], T]) -> T:
        if self._failure is not None:
            raise DiskFailed(self._failure)
        self._running += 1
        try:
            return await self._runtime.blocking(work)
        finally:
            self._running -= 1
            self._release()

    def _fail(self, what: str, offset: int, why: str | None) -> DiskFailed:
        text = f"disk {self._name}: {what} at byte {offset} of {self._size_bytes} failed: {why}"
        if what != "read" and self._failure is None:
            self._failure = text
        return DiskFailed(self._failure or text)


def _probe_nowait(fd: int) -> int:
    try:
        os.preadv(fd, [bytearray(1)], 0, os.RWF_NOWAIT)
    except BlockingIOError:
        return os.RWF_NOWAIT
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EINVAL):
            return 0
    return os.RWF_NOWAIT
