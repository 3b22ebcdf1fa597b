"""The bytes of a host file system: reads and writes on descriptors, holes, and named streams kept in memory.

A read that the page cache cannot answer (`RWF_NOWAIT` says EAGAIN) goes to a thread; a write goes to the
page cache inline.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from typing import TypeVar

from smbproto.fscc import FILE_ATTRIBUTE_SPARSE_FILE
from storage.errors import DiskFailed, StorageError, VolumeFull
from storage.fs.port import Node, Stream
from storage.io.hostfs import attributes as xattrs
from storage.io.hostfs.node import CLUSTER_BYTES, HostNode, StreamBytes, allocated, host_error, private_of
from storage.runtime import Runtime
from storage.units import FileOffset

T = TypeVar("T")

WRITE_INLINE_MAX_BYTES = 1 << 20
"""A larger write goes to a thread: it would hold up every other client for more than half a millisecond."""

STREAM_MAX_BYTES = 60 * 1024
"""Extended attributes hold at most 64 KiB."""

_KEEP_SIZE = 1
_PUNCH_HOLE = 2
_fallocate = ctypes.CDLL(None, use_errno=True).fallocate
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


class HostData:
    """The half of `HostFileSystem` that moves bytes."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._nowait = os.RWF_NOWAIT

    def _path(self, private: HostNode) -> bytes:
        raise AssertionError("the file system gives paths")

    def _target(self, private: HostNode) -> bytes | int:
        raise AssertionError("the file system gives targets")

    def _put(self, private: HostNode, target: bytes | int, name: bytes, value: bytes) -> None:
        raise AssertionError("the file system keeps attributes")

    def _store(self, node: Node, private: HostNode) -> bool:
        raise AssertionError("the file system stores attributes")

    def _refused(self, error: OSError, what: str, path: bytes) -> StorageError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return VolumeFull(f"{what} {os.fsdecode(path)!r}: no space left on the host")
        return host_error(error, what, path)

    def _descriptor(self, node: Node) -> int:
        """The file's descriptor, opened at the first use."""
        private = private_of(node)
        if private.descriptor < 0:
            path = self._path(private)
            flags = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            try:
                private.descriptor = os.open(path, os.O_RDWR | flags)
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EROFS, errno.ETXTBSY, errno.EPERM):
                    raise host_error(error, "open", path) from error
                try:
                    private.descriptor = os.open(path, os.O_RDONLY | flags)
                except OSError as second:
                    raise host_error(second, "open", path) from second
        return private.descriptor

    def _do(self, stream: Stream, what: str, work: Callable[[int], T]) -> T:
        try:
            return work(self._descriptor(stream.node))
        except OSError as error:
            raise self._refused(error, what, self._path(private_of(stream.node))) from error

    # reading
    # ----------------------------------------------------------------------------------------------------
    def read_now(self, stream: Stream, offset: FileOffset, into: memoryview) -> bool:
        content = stream.private
        if content is not None:
            assert isinstance(content, StreamBytes)
            into[:] = content.content[offset : offset + len(into)]
            return True
        try:
            count = os.preadv(self._descriptor(stream.node), (into,), offset, self._nowait)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP and self._nowait:
                self._nowait = 0
                return self.read_now(stream, offset, into)
            raise self._refused(error, "read", self._path(private_of(stream.node))) from error
        return count == len(into)

    async def read(self, stream: Stream, offset: FileOffset, into: memoryview) -> None:
        if stream.private is not None:
            self.read_now(stream, offset, into)
            return
        descriptor = self._descriptor(stream.node)

        def work() -> None:
            done = 0
            while done < len(into):
                count = os.preadv(descriptor, (into[done:],), offset + done)
                if count == 0:  # somebody else made the file shorter meanwhile
                    into[done:] = bytes(len(into) - done)
                    return
                done += count

        await self._wait(stream, "read", work)

    async def _wait(self, stream: Stream, what: str, work: Callable[[], T]) -> T:
        try:
            return await self._runtime.blocking(work)
        except OSError as error:
            raise self._refused(error, what, self._path(private_of(stream.node))) from error

    # writing
    # ----------------------------------------------------------------------------------------------------
    def write_now(self, stream: Stream, offset: FileOffset, data: memoryview) -> bool:
        content = stream.private
        if content is not None:
            assert isinstance(content, StreamBytes)
            self._write_stream(stream, content, offset, data)
            return True
        if len(data) > WRITE_INLINE_MAX_BYTES:
            return False
        self._write(stream, offset, data)
        return True

    def _write(self, stream: Stream, offset: int, data: memoryview) -> None:
        try:
            descriptor = self._descriptor(stream.node)
            done = os.pwrite(descriptor, data, offset)
            while done < len(data):
                done += os.pwrite(descriptor, data[done:], offset + done)
        except OSError as error:
            raise self._refused(error, "write", self._path(private_of(stream.node))) from error
        self._grown(stream, offset + len(data))

    def _grown(self, stream: Stream, end: int) -> None:
        private_of(stream.node).unsynced = True
        if end > stream.size_bytes:
            stream.size_bytes = stream.valid_bytes = end
            if not stream.node.attributes & FILE_ATTRIBUTE_SPARSE_FILE:
                stream.allocated_bytes = max(stream.allocated_bytes, -(-end // CLUSTER_BYTES) * CLUSTER_BYTES)

    async def write(self, stream: Stream, offset: FileOffset, data: memoryview) -> None:
        content = stream.private
        if content is not None:
            assert isinstance(content, StreamBytes)
            self._write_stream(stream, content, offset, data)
            return
        descriptor = self._descriptor(stream.node)

        def work() -> None:
            done = 0
            while done < len(data):
                done += os.pwrite(descriptor, data[done:], offset + done)

        await self._wait(stream, "write", work)
        self._grown(stream, offset + len(data))

    def _write_stream(self, stream: Stream, content: StreamBytes, offset: int, data: memoryview) -> None:
        end = offset + len(data)
        if end > STREAM_MAX_BYTES:
            raise VolumeFull(
                f"stream {stream.name!r}: {end} bytes; the host keeps at most {STREAM_MAX_BYTES} in a stream"
            )
        held = content.content
        if len(held) < offset:
            held.extend(bytes(offset - len(held)))
        held[offset:end] = data
        self._resized(stream, content)

    def _resized(self, stream: Stream, content: StreamBytes) -> None:
        content.dirty = True
        stream.size_bytes = stream.valid_bytes = len(content.content)
        stream.allocated_bytes = -(-len(content.content) // 8) * 8

    def _write_back(self, stream: Stream) -> None:
        """One byte goes first, so that an empty stream has a value."""
        content = stream.private
        assert isinstance(content, StreamBytes)
        private = private_of(stream.node)
        if content.attribute:
            target = self._target(private)
            if not xattrs.put(target, content.attribute, b"S" + content.content):
                raise VolumeFull(f"stream {stream.name!r}: the host refuses {len(content.content)} bytes")
        content.dirty = False

    def _store_streams(self, node: Node) -> None:
        for stream in (private_of(node).streams or {}).values():
            content = stream.private
            assert isinstance(content, StreamBytes)
            if content.dirty:
                self._write_back(stream)

    # sizes
    # ------------------------------------------------------------------------------------------------------
    async def set_size(self, stream: Stream, size_bytes: int) -> None:
        content = stream.private
        if content is not None:
            assert isinstance(content, StreamBytes)
            if size_bytes > STREAM_MAX_BYTES:
                raise VolumeFull(
                    f"stream {stream.name!r}: {size_bytes} bytes are more than the host keeps in a stream"
                )
            held = content.content
            del held[size_bytes:]
            held.extend(bytes(size_bytes - len(held)))
            self._resized(stream, content)
            return
        self._do(stream, "resize", lambda descriptor: _truncate(descriptor, size_bytes))
        stream.size_bytes = stream.valid_bytes = size_bytes
        private_of(stream.node).unsynced = True
        self._measure(stream)

    def _measure(self, stream: Stream) -> None:
        status = self._do(stream, "stat", os.fstat)
        stream.allocated_bytes = allocated(status, bool(stream.node.attributes & FILE_ATTRIBUTE_SPARSE_FILE))

    async def set_allocation(self, stream: Stream, allocated_bytes: int) -> None:
        if allocated_bytes < stream.size_bytes:
            await self.set_size(stream, allocated_bytes)
        if stream.private is not None:
            return
        if allocated_bytes > stream.size_bytes:
            descriptor = self._descriptor(stream.node)
            start = stream.size_bytes
            try:
                await self._wait(
                    stream,
                    "allocate",
                    lambda: self._allocate(descriptor, _KEEP_SIZE, start, allocated_bytes - start),
                )
            except DiskFailed:
                self._measure(stream)  # the host cannot reserve; the file is none the worse for it
        self._measure(stream)

    @staticmethod
    def _allocate(descriptor: int, mode: int, offset: int, length: int) -> None:
        if length > 0 and _fallocate(descriptor, mode, offset, length) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    async def set_valid(self, stream: Stream, valid_bytes: int) -> None:
        """The host has no such mark: all of a file is valid."""

    async def zero(self, stream: Stream, offset: FileOffset, length: int) -> None:
        end = min(offset + length, stream.size_bytes)
        if end <= offset:
            return
        content = stream.private
        if content is not None:
            assert isinstance(content, StreamBytes)
            content.content[offset:end] = bytes(end - offset)
            content.dirty = True
            return
        descriptor = self._descriptor(stream.node)

        def work() -> None:
            try:
                self._allocate(descriptor, _PUNCH_HOLE | _KEEP_SIZE, offset, end - offset)
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:
                    raise
                for at in range(offset, end, 1 << 20):
                    os.pwrite(descriptor, bytes(min(1 << 20, end - at)), at)

        await self._wait(stream, "zero", work)
        private_of(stream.node).unsynced = True
        self._measure(stream)

    async def trim(self, stream: Stream, offset: FileOffset, length: int) -> None:
        await self.zero(stream, offset, length)

    def allocated_ranges(self, stream: Stream, offset: FileOffset, length: int) -> list[tuple[int, int]]:
        end = min(offset + length, stream.size_bytes)
        if stream.private is not None:
            return [(offset, end - offset)] if end > offset else []
        return self._do(stream, "find holes of", lambda descriptor: _data_ranges(descriptor, offset, end))

    async def clone(
        self,
        source: Stream,
        source_offset: FileOffset,
        target: Stream,
        target_offset: FileOffset,
        length: int,
    ) -> bool:
        return False

    async def flush(self, node: Node) -> None:
        private = private_of(node)
        self._store(node, private)
        if node.data is None or not (private.unsynced or private.metadata_stale):
            return
        private.unsynced = private.metadata_stale = False
        descriptor = self._descriptor(node)
        await self._wait(node.data, "flush", lambda: os.fsync(descriptor))


def _truncate(descriptor: int, size_bytes: int) -> None:
    try:
        os.ftruncate(descriptor, size_bytes)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise OSError(errno.EBADF, "opened for reading alone") from error


def _data_ranges(descriptor: int, offset: int, end: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    at = offset
    while at < end:
        try:
            start = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break
            raise
        if start >= end:
            break
        stop = min(os.lseek(descriptor, start, os.SEEK_HOLE), end)
        found.append((start, stop - start))
        at = stop
    return found
