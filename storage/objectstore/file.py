"""One open of a file or directory: bytes, locks, life. What changes names or attributes is in `naming`
and `metadata`.

Sources: [MS-FSA] 2.1.1.8 Per Open; 2.1.5.3 Server Requests a Read; 2.1.5.4 Server Requests a Write;
2.1.5.5 Server Requests Closing an Open; 2.1.5.7 Server Requests Flushing Cached Data; 2.1.5.8 Server
Requests a Byte-Range Lock; 2.1.5.9 Server Requests an Unlock of a Byte-Range; 2.1.4.17 Algorithm for
Noting That a File Has Been Modified. Reading never breaks caching: whoever holds WRITE is alone with its
key. Writing takes READ from all others, without waiting. Timestamps are set at once, unless this open set
them itself (-1 and explicit times stick for the life of the open). Times are FILETIME; offsets and sizes
are bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from smbproto import dtyp, fscc
from smbproto.status import Status, StatusError
from storage.errors import StorageError
from storage.fs.port import ExtendedAttribute, Node, QuotaControl, QuotaRecord, Stream, VolumeUsage
from storage.objectstore import caching, data, metadata, naming, quota, scan
from storage.objectstore.caching import Holder
from storage.objectstore.disconnected import Happening, Keeping, State, may_keep
from storage.objectstore.errors import status_error
from storage.objectstore.locks import LockTable
from storage.objectstore.metadata import STICKY_ACCESSED, STICKY_CHANGED, STICKY_WRITTEN
from storage.objectstore.notify import WAITERS_MAX, Watch
from storage.objectstore.shortnames import short_name
from storage.objectstore.state import READS, WRITES, Link, NodeState, StreamState
from storage.units import FileOffset
from storage.volume import CachingGrant, File, RangeLock, Token

if TYPE_CHECKING:
    from storage.objectstore.volume import ObjectStoreVolume

OFFSET_MAX: Final = 0x7FFF_FFFF_FFFF_FFFF
WRITTEN_NOTICE: Final = fscc.FILE_NOTIFY_CHANGE_LAST_WRITE | fscc.FILE_NOTIFY_CHANGE_SIZE
STREAM_NOTICE: Final = fscc.FILE_NOTIFY_CHANGE_STREAM_WRITE | fscc.FILE_NOTIFY_CHANGE_STREAM_SIZE


WRITE_TIME_DELAYS_S: Final = (2.0, 60.0)
"""By whether the open has shown a write already. Windows: the first after two seconds, later ones when it
likes."""
_NO_CACHING: Final = CachingGrant()


class OpenFile:
    """Implements `storage.volume.File`."""

    __slots__ = (
        "_fs", "_may_read", "_may_write", "_read_any", "context", "current_offset", "delete_on_close",
        "granted_access", "holder", "is_closed", "is_directory", "is_modified", "is_write_pending",
        "is_write_shown", "keeping", "came_by", "listing", "mode", "node", "node_state", "options",
        "posix_delete", "root", "share_access", "state", "sticky", "stream", "token", "volume",
        "watch_state", "parent_key", "quota_scan_at",
    )  # fmt: skip

    def __init__(
        self, volume: ObjectStoreVolume, node_state: NodeState, state: StreamState, link: Link, granted: int,
        share: int, options: int, token: Token, root: Node, context: object,
    ) -> None:  # fmt: skip
        node = node_state.node
        self.volume: ObjectStoreVolume = volume
        self._fs = volume.fs
        self.node: Node = node
        self.node_state = node_state
        self.state = state
        self.came_by = link
        self.stream: Stream | None = state.stream
        self.is_directory = state.stream is None
        self.granted_access = granted
        self.share_access = share
        self.options = options
        self.token = token
        self.root = root
        self.context = context
        self.holder: Holder | None = None
        self.keeping: Keeping | None = None
        self.parent_key = b""
        self.quota_scan_at = b""
        self.current_offset = 0
        self.mode = options & 0x3E
        self.sticky = 0
        self.delete_on_close = False
        self.posix_delete = False
        self.is_closed = False
        self.is_modified = False
        self.is_write_pending = False
        self.is_write_shown = False
        self._read_any = False
        self._may_read = self.stream is not None and bool(granted & READS)
        self._may_write = self.stream is not None and bool(granted & WRITES)
        self.listing: scan.Scan | None = None
        self.watch_state: Watch | None = None

    @property
    def caching(self) -> CachingGrant:
        """What it is granted now."""
        holder = self.holder
        if holder is None:
            return _NO_CACHING
        if not holder.version:
            return CachingGrant(holder.level)
        return CachingGrant(
            caching.LEVEL_LEASE,
            holder.lease_key,
            holder.state,
            holder.is_breaking,
            holder.epoch,
            holder.version,
            holder.parent_key,
        )

    # bytes
    def read_now(self, offset: int, into: memoryview) -> int:
        length = self._readable(offset, len(into))
        if not length:
            return 0
        if length != len(into):
            into = into[:length]
        stream = self.stream
        assert stream is not None
        try:
            done = self._fs.read_now(stream, FileOffset(offset), into)
        except StorageError as error:
            raise status_error(error) from error
        return length if done else -1

    def _readable(self, offset: int, length: int) -> int:
        """How much of the range may be read. The checks of a read."""
        stream = self.stream
        if not self._may_read or stream is None:
            self._refuse(READS)
            raise StatusError(Status.ACCESS_DENIED, "the open may not read")
        if offset + length > OFFSET_MAX or offset < 0:
            raise StatusError(Status.INVALID_PARAMETER, f"a read of {length} bytes at {offset}")
        if not length:
            return 0
        locks = self.state.locks
        if locks is not None and locks.forbids_read(self, offset, length):
            raise StatusError(Status.FILE_LOCK_CONFLICT, f"[{offset}, {offset + length}) is locked")
        left = stream.size_bytes - offset
        if left <= 0:
            raise StatusError(Status.END_OF_FILE)
        self._read_any = True
        if length > left:
            length = left
        self.current_offset = offset + length
        return length

    async def read(self, offset: int, into: memoryview) -> int:
        length = self._readable(offset, len(into))
        if not length:
            return 0
        stream = self.stream
        assert stream is not None
        try:
            await self._fs.read(stream, FileOffset(offset), into[:length])
        except StorageError as error:
            raise status_error(error) from error
        return length

    def write_now(self, offset: int, data: memoryview) -> bool:
        if self.options & fscc.FILE_WRITE_THROUGH:
            return False
        length = len(data)
        offset = self._writable(offset, length)
        if not length:
            return True
        stream = self.stream
        assert stream is not None
        before = stream.size_bytes
        try:
            if not self._fs.write_now(stream, FileOffset(offset), data):
                return False
        except StorageError as error:
            raise status_error(error) from error
        self.note_written(offset + length > before, is_write=True)
        return True

    def _writable(self, offset: int, length: int) -> int:
        """The offset to write at. The checks of a write; others lose their READ caching."""
        stream = self.stream
        if not self._may_write or stream is None:
            self._refuse(WRITES)
            raise StatusError(Status.ACCESS_DENIED, "the open may not write")
        if not self.granted_access & dtyp.FILE_WRITE_DATA:
            offset = stream.size_bytes
        if (offset + length > data.SIZE_MAX and length) or not 0 <= offset <= OFFSET_MAX:
            raise StatusError(Status.INVALID_PARAMETER, f"a write of {length} bytes at {offset}")
        state = self.state
        locks = state.locks
        if locks is not None and locks.forbids_write(self, offset, length):
            raise StatusError(Status.FILE_LOCK_CONFLICT, f"[{offset}, {offset + length}) is locked")
        if state.caching is not None and length:
            self.break_data()
        return offset

    def break_data(self) -> None:
        """This open changes the stream's data: all others lose READ (and with it the rest)."""
        found = self.state.caching
        if found is not None and found.holders:
            check = found.check(caching.CHANGE_DATA, self.holder, waits=False)
            if check.notices:
                self.volume.breaks.deliver(check.notices)

    async def write(self, offset: int, data: memoryview, through: bool = False) -> None:
        length = len(data)
        offset = self._writable(offset, length)
        stream = self.stream
        assert stream is not None
        try:
            if length:
                before = stream.size_bytes
                if not self._fs.write_now(stream, FileOffset(offset), data):
                    await self._fs.write(stream, FileOffset(offset), data)
                self.note_written(offset + length > before, is_write=True)
            if through or self.options & fscc.FILE_WRITE_THROUGH:
                await self._fs.flush(self.node)
        except StorageError as error:
            raise status_error(error) from error

    def note_written(self, is_longer: bool, *, is_write: bool = False) -> None:
        """[MS-FSA] 2.1.4.17 Algorithm for Noting That a File Has Been Modified.

        As Windows, an open's first write shows in the last write time two seconds later, further ones later
        still; a flush, a close, and what sets the size show it at once. Caching of the directory ends
        when it is closed.
        """
        if is_write:
            if not self.is_write_pending:
                self.is_write_pending = True
                self.volume.delay_write_time(self, WRITE_TIME_DELAYS_S[self.is_write_shown])
                self._touch(False)
                self.is_modified = True
        else:
            self.is_write_pending = False
            self._touch(True)
            self.volume.directory_changed(self)
        if self.volume.watch_count:
            if self.state is self.node_state.main:
                notice = WRITTEN_NOTICE if is_longer else fscc.FILE_NOTIFY_CHANGE_LAST_WRITE
                self.volume.report(self, notice, fscc.FILE_ACTION_MODIFIED)
            else:
                self.volume.report(self, STREAM_NOTICE, fscc.FILE_ACTION_MODIFIED_STREAM)

    def _touch(self, is_written: bool) -> None:
        node = self.node
        now = self.volume.runtime.filetime()
        if is_written:  # [MS-FSA] 2.1.4.17 Algorithm for Noting That a File Has Been Modified
            if not self.sticky & STICKY_WRITTEN:
                node.written = now
            if not self.sticky & STICKY_ACCESSED:
                node.accessed = now
        if not self.sticky & STICKY_CHANGED:
            node.changed_time = now
        node.attributes = node.attributes & ~fscc.FILE_ATTRIBUTE_NORMAL | fscc.FILE_ATTRIBUTE_ARCHIVE
        self._fs.changed(node)

    def settle_write_time(self) -> None:
        """The delay of a write's time is over."""
        if self.is_write_pending:
            self.is_write_pending = False
            self.is_write_shown = True
            self._touch(True)

    def _refuse(self, wanted: int) -> None:
        """Why an open may not read or write: raises."""
        if self.is_closed:
            raise StatusError(Status.FILE_CLOSED)
        if self.stream is None:
            raise StatusError(Status.INVALID_DEVICE_REQUEST, "a directory has no data")
        if not self.granted_access & wanted:
            raise StatusError(Status.ACCESS_DENIED, f"access {self.granted_access:#x} does not do")

    def require(self, access: int) -> None:
        """Raises ACCESS_DENIED if the open lacks all of `access`, FILE_CLOSED after close."""
        if self.is_closed:
            raise StatusError(Status.FILE_CLOSED)
        if not self.granted_access & access:
            raise StatusError(Status.ACCESS_DENIED, f"{self.granted_access:#x} has none of {access:#x}")

    async def flush(self) -> None:
        self.settle_write_time()
        try:
            await self._fs.flush(self.node)
        except StorageError as error:
            raise status_error(error) from error

    async def set_end_of_file(self, size_bytes: int) -> None:
        await data.set_end_of_file(self, size_bytes)

    async def set_allocation(self, allocated_bytes: int) -> None:
        await data.set_allocation(self, allocated_bytes)

    async def set_valid_data(self, valid_bytes: int) -> None:
        await data.set_valid_data(self, valid_bytes)

    async def zero_data(self, offset: int, beyond: int) -> None:
        await data.zero_data(self, offset, beyond)

    async def trim(self, ranges: Sequence[tuple[int, int]]) -> int:
        return await data.trim(self, ranges)

    def allocated_ranges(self, offset: int, length: int) -> list[tuple[int, int]]:
        return data.allocated_ranges(self, offset, length)

    async def copy_from(self, source: File, source_offset: int, offset: int, length: int) -> int:
        return await data.copy_from(self, source, source_offset, offset, length)

    async def duplicate_extents(self, source: File, source_offset: int, offset: int, length: int) -> None:
        await data.duplicate_extents(self, source, source_offset, offset, length)

    def set_sparse(self, sparse: bool) -> None:
        metadata.set_sparse(self, sparse)

    # locks
    async def lock(self, ranges: Sequence[RangeLock], fail_immediately: bool) -> None:
        if self.stream is None:
            raise StatusError(Status.INVALID_PARAMETER, "a directory cannot be locked")
        self.require(READS | WRITES)
        self.break_data()
        state = self.state
        if state.locks is None:
            state.locks = LockTable()
        locks = state.locks
        try:
            locks.lock(self, ranges)
            return
        except StatusError as error:
            if fail_immediately or len(ranges) != 1 or error.status is not Status.LOCK_NOT_GRANTED:
                if locks.is_idle():
                    state.locks = None
                raise
        event = self.volume.runtime.event()
        waiter = locks.enqueue(self, ranges[0], event.set)
        try:
            await event.wait()
        except BaseException:
            locks.withdraw(waiter)
            raise
        if not waiter.is_granted:
            raise StatusError(Status.RANGE_NOT_LOCKED, "the open was closed while it waited")

    def unlock(self, ranges: Sequence[RangeLock]) -> None:
        if self.stream is None:
            raise StatusError(Status.INVALID_PARAMETER, "a directory cannot be locked")
        locks = self.state.locks
        if locks is None:
            raise StatusError(Status.RANGE_NOT_LOCKED, "nothing is locked")
        try:
            locks.unlock(self, ranges)
        finally:
            if locks.is_idle():
                self.state.locks = None

    # names, attributes
    def name(self) -> str:
        return naming.name_of(self)

    def short_name(self) -> str:
        last = naming.name_of(self).rpartition("\\")[2].partition(":")[0]
        return short_name(last, self._fs.fold(last)) if last else ""

    def is_delete_pending(self) -> bool:
        return self.came_by.delete_pending or self.state.delete_pending or self.came_by.is_gone

    def link_count(self) -> int:
        return naming.link_count(self)

    def streams(self) -> list[Stream]:
        return self._fs.streams(self.node)

    def maximal_access(self) -> int:
        return self.volume.maximal_access(self.node, self.came_by.directory, self.token, self.options)

    async def set_basic(
        self, created: int, accessed: int, written: int, changed: int, attributes: int
    ) -> None:
        metadata.set_basic(self, created, accessed, written, changed, attributes)

    async def set_disposition(self, flags: int) -> None:
        await naming.set_disposition(self, flags)

    async def rename(self, target: str, replace: bool, posix: bool = False) -> None:
        await naming.rename(self, target, replace, posix)

    async def link(self, target: str, replace: bool) -> None:
        await naming.link(self, target, replace)

    def eas(self) -> list[ExtendedAttribute]:
        self.require(dtyp.FILE_READ_EA)
        return self._fs.eas(self.node)

    async def set_eas(self, eas: Sequence[ExtendedAttribute]) -> None:
        metadata.set_eas(self, eas)

    def security(self, information: int) -> bytes:
        return metadata.security(self, information)

    async def set_security(self, information: int, descriptor: bytes) -> None:
        metadata.set_security(self, information, descriptor)

    def reparse(self) -> bytes:
        return metadata.reparse(self)

    async def set_reparse(self, buffer: bytes) -> None:
        metadata.set_reparse(self, buffer)

    async def delete_reparse(self, buffer: bytes) -> None:
        metadata.delete_reparse(self, buffer)

    def object_id(self, create: bool) -> bytes:
        return metadata.object_id(self, create)

    def set_object_id(self, object_id: bytes) -> None:
        metadata.set_object_id(self, object_id)

    def delete_object_id(self) -> None:
        metadata.delete_object_id(self)

    # quotas
    def usage(self) -> VolumeUsage:
        return quota.usage(self)

    def quota_control(self) -> QuotaControl | None:
        return quota.control(self)

    def set_quota_control(self, control: QuotaControl) -> None:
        quota.set_control(self, control)

    def quotas(self) -> list[QuotaRecord]:
        return quota.records(self)

    def quota(self, sid: bytes) -> QuotaRecord:
        return quota.record(self, sid)

    def set_quotas(self, records: Sequence[QuotaRecord]) -> None:
        quota.set_records(self, records)

    # directories
    def scan(self, pattern: str, restart: bool, reopen: bool) -> scan.Scan:
        return scan.start(self, pattern, restart, reopen)

    async def watch(
        self, completion_filter: int, watch_tree: bool, output_limit: int
    ) -> list[tuple[int, str]]:
        if not self.is_directory:
            raise StatusError(Status.INVALID_PARAMETER, "only a directory can be watched")
        self.require(dtyp.FILE_LIST_DIRECTORY)
        if self.came_by.delete_pending:
            raise StatusError(Status.DELETE_PENDING)
        watch = self.watch_state
        if watch is None:
            watch = self.watch_state = Watch(completion_filter, watch_tree, output_limit)
            self.volume.watch_begins(self)
        while not watch.has_news:
            if len(watch.waiters) >= WAITERS_MAX:
                raise StatusError(
                    Status.INSUFFICIENT_RESOURCES, f"over {WAITERS_MAX} requests wait for changes"
                )
            event = self.volume.runtime.event()
            watch.waiters.append(event.set)
            try:
                await event.wait()
            finally:
                if event.set in watch.waiters:
                    watch.waiters.remove(event.set)
        return watch.take(output_limit)

    # life
    async def close(self) -> None:
        self.end()

    def end(self) -> None:
        """[MS-FSA] 2.1.5.5 Server Requests Closing an Open. Idempotent; a plain function, as it is done
        at once."""
        if self.is_closed:
            return
        self.is_closed = True
        self._may_read = self._may_write = False
        state = self.state
        if state.locks is not None:
            state.locks.release(self)
            if state.locks.is_idle():
                state.locks = None
        if self.watch_state is not None:
            self.volume.watch_ends(self)
            self.watch_state.end(Status.NOTIFY_CLEANUP)
        if self._read_any:
            metadata.note_read(self)
        self.settle_write_time()
        if self.is_modified:
            self.volume.directory_changed(self)
        self.volume.leave(self)

    def client_lost(self) -> bool:
        locks = self.state.locks
        has_locks = locks is not None and locks.owns(self)
        if self.is_closed or not may_keep(self.keeping, self.holder, has_locks):
            return False
        return self.volume.keep(self)

    def reclaim(self, context: object) -> None:
        keeping = self.keeping
        if self.is_closed or keeping is None or keeping.state is not State.KEPT:
            raise StatusError(Status.OBJECT_NAME_NOT_FOUND, "the open is not kept")
        keeping.advance(Happening.RECLAIM, self.volume.runtime.now())
        self.volume.kept.remove(self)
        self.context = context
