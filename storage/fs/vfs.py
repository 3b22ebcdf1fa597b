"""SQLite's files on a metadata space: an apsw VFS that never waits to write.

Two files live on the space: the database and its write-ahead log. Writes and syncs go into the overlay
(overlay.py) and return at once; reads are served from there, else from the space. Anything else SQLite
opens (the rollback journal of the very first statements, temporary files) is volatile memory.

One connection, `locking_mode=exclusive`, on the loop's thread: locks are not needed.
Source: SQLite, "The SQLite OS Interface or VFS"; apsw, "Virtual File System (VFS)".
"""

from __future__ import annotations

from typing import Any

import apsw

from storage.fs.limits import PAGE_BYTES
from storage.fs.overlay import Overlay
from storage.space.port import Space
from storage.units import SpaceOffset

DATABASE = "catalog"


class _File:
    """What SQLite asks of every file, for one that nobody else opens."""

    def xLock(self, level: int) -> None: ...
    def xUnlock(self, level: int) -> None: ...
    def xCheckReservedLock(self) -> bool:
        return False

    def xFileControl(self, operation: int, pointer: int) -> bool:
        return False

    def xSectorSize(self) -> int:
        return PAGE_BYTES

    def xDeviceCharacteristics(self) -> int:
        return apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE

    def xClose(self) -> None: ...


class _Database(_File):
    def __init__(self, overlay: Overlay, space: Space) -> None:
        self._overlay = overlay
        self._pages = overlay.pages
        self._space = space
        self._base = overlay.layout.database_at

    def xRead(self, amount: int, offset: int) -> bytes | bytearray:
        page_at = offset & ~(PAGE_BYTES - 1)
        page = self._pages.get(page_at)
        if page is not None:
            return page if amount == PAGE_BYTES else page[offset - page_at : offset - page_at + amount]
        amount = min(amount, self._overlay.database_size - offset)
        if amount <= 0:
            return b""
        into = bytearray(amount)
        where = SpaceOffset(self._base + offset)
        if not self._space.read_now(where, memoryview(into)):
            self._space.read_blocking(where, memoryview(into))
        return into

    def xWrite(self, data: bytes, offset: int) -> None:
        limit = self._overlay.layout.database_bytes  # it may grow
        if offset + len(data) > limit:
            raise apsw.FullError(f"the database's region of {limit} bytes is full")
        self._overlay.write_page(offset, data)

    def xTruncate(self, size: int) -> None:
        self._overlay.database_size = size

    def xSync(self, flags: int) -> None:
        self._overlay.barrier()

    def xFileSize(self) -> int:
        return self._overlay.database_size


class _Wal(_File):
    def __init__(self, overlay: Overlay) -> None:
        self._overlay = overlay
        self._limit = overlay.layout.wal_bytes

    def xRead(self, amount: int, offset: int) -> bytes:
        end = min(offset + amount, self._overlay.wal_size)
        return bytes(memoryview(self._overlay.wal)[offset:end]) if offset < end else b""

    def xWrite(self, data: bytes, offset: int) -> None:
        if offset + len(data) > self._limit:
            raise apsw.FullError(f"the log's region of {self._limit} bytes is full")
        self._overlay.write_wal(offset, data)

    def xTruncate(self, size: int) -> None:
        if size == 0 and self._overlay.wal_size:
            self._overlay.drop_wal()

    def xSync(self, flags: int) -> None:
        self._overlay.barrier()

    def xFileSize(self) -> int:
        return self._overlay.wal_size


class _Volatile(_File):
    def __init__(self) -> None:
        self._bytes = bytearray()

    def xRead(self, amount: int, offset: int) -> bytes:
        return bytes(self._bytes[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:
        if len(self._bytes) < offset:
            self._bytes.extend(bytes(offset - len(self._bytes)))
        self._bytes[offset : offset + len(data)] = data

    def xTruncate(self, size: int) -> None:
        del self._bytes[size:]

    def xSync(self, flags: int) -> None: ...

    def xFileSize(self) -> int:
        return len(self._bytes)


class SpaceVfs(apsw.VFS):
    """The VFS of one mounted catalog; `name` must be its own. `unregister` when the connection is closed."""

    def __init__(self, name: str, overlay: Overlay, space: Space) -> None:
        self.name = name
        self._overlay = overlay
        self._space = space
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: list[int]) -> Any:
        filename = name.filename() if isinstance(name, apsw.URIFilename) else name
        flags[1] = flags[0]
        if filename == DATABASE:
            return _Database(self._overlay, self._space)
        if filename == DATABASE + "-wal":
            return _Wal(self._overlay)
        return _Volatile()

    def xDelete(self, filename: str, sync_directory: bool) -> None:
        if filename == DATABASE + "-wal":
            self._overlay.drop_wal()

    def xAccess(self, pathname: str, flags: int) -> bool:
        if pathname == DATABASE:
            return self._overlay.database_size > 0
        return pathname == DATABASE + "-wal" and self._overlay.wal_size > 0

    def xFullPathname(self, name: str) -> str:
        return name
