"""The catalog file system: a volume made of a metadata space and a data space.

`CatalogFileSystem` implements the port storage/fs/port.py. Its parts, each a class over the one before:

    Core        nodes, names, extents in memory; the write-behind to SQLite        core.py
    Drain       when changes become durable; flush, sync, close                    drain.py
    Names       look-up, listing, make, link, unlink, rename, hold, drop           names.py
    Attributes  security descriptors, EAs, reparse points, object ids              attributes.py
    Placement   where new clusters go; what is counted of reads and writes         placement.py
    Streams     streams, sizes, allocation                                         streams.py
    Data        read, write                                                        data.py
    Ranges      zero, trim, valid data length, clone                               ranges.py
    Mover       clusters moved under files in use                                  mover.py
    Thin        retrim, consolidation, growth                                      thin.py
    Tiering     hot and cold data, pins, statistics                                tiering.py

Metadata: SQLite through vfs.py over the metadata space. Data: clusters of 64 KiB of the data space.
A volume is mounted by one owner at a time; that is the caller's duty (pool ownership).
Format: docs/formats/catalog.md.
"""

from __future__ import annotations

from typing import Self

import apsw

from storage.errors import CatalogCorrupt, StorageError
from storage.fs import limits, schema, segments
from storage.fs.attributes import descriptor_hash
from storage.fs.core import ROOT_ID
from storage.fs.layout import Layout, database_length, decode_layout, plan_layout, wal_frames_end, wal_length
from storage.fs.overlay import Overlay
from storage.fs.port import NodeId, VolumeIdentity, VolumeUsage
from storage.fs.state import ATTRIBUTE_DIRECTORY, NodeState
from storage.fs.tiering import Tiering
from storage.fs.vfs import SpaceVfs
from storage.runtime import Runtime
from storage.space.port import Space
from storage.tier.space import TieredSpace
from storage.units import SpaceOffset

# [MS-FSCC] 2.5.1 FileFsAttributeInformation, FileSystemAttributes: what works here.
FEATURES = (
    0x00000002  # FILE_CASE_PRESERVED_NAMES
    | 0x00000004  # FILE_UNICODE_ON_DISK
    | 0x00000008  # FILE_PERSISTENT_ACLS
    | 0x00000020  # FILE_VOLUME_QUOTAS
    | 0x00000040  # FILE_SUPPORTS_SPARSE_FILES
    | 0x00000080  # FILE_SUPPORTS_REPARSE_POINTS
    | 0x00000400  # FILE_SUPPORTS_POSIX_UNLINK_RENAME
    | 0x00010000  # FILE_SUPPORTS_OBJECT_IDS
    | 0x00040000  # FILE_NAMED_STREAMS
    | 0x00400000  # FILE_SUPPORTS_HARD_LINKS
    | 0x00800000  # FILE_SUPPORTS_EXTENDED_ATTRIBUTES
    | 0x01000000  # FILE_SUPPORTS_OPEN_BY_FILE_ID
    | 0x08000000  # FILE_SUPPORTS_BLOCK_REFCOUNTING
)
_READ_AHEAD_BYTES = 1 << 20


class CatalogFileSystem(Tiering):
    """A mounted volume. Made by `format` and `open`, ended by `close`."""

    _instances = 0

    @classmethod
    async def format(
        cls,
        metadata: Space,
        data: Space,
        runtime: Runtime,
        *,
        label: str = "",
        security: bytes = b"",
        volume_id: bytes | None = None,
    ) -> Self:
        """Make a new, empty volume on two spaces; `security` is the root's descriptor. What they held is
        lost.

        The header comes last, after everything else is durable: until then the space holds no catalog."""
        volume_id = runtime.random_bytes(16) if volume_id is None else volume_id
        layout = plan_layout(metadata.size_bytes, volume_id)
        await metadata.write(SpaceOffset(0), [bytes(limits.PAGE_BYTES)])
        await metadata.write(SpaceOffset(layout.wal_at), [bytes(limits.PAGE_BYTES)])
        await metadata.flush()
        overlay = Overlay(layout)
        vfs = SpaceVfs(cls._new_name(), overlay, metadata)
        connection = schema.connect(vfs.name, layout)
        now = runtime.filetime()
        try:
            schema.create_tables(
                connection,
                {
                    "volume_id": volume_id,
                    "label": label,
                    "serial": int.from_bytes(runtime.random_bytes(4), "little") or 1,
                    "created": now,
                    "next_id": 16,
                    "data_bytes": data.size_bytes,
                    "cluster_bytes": limits.CLUSTER_BYTES,
                },
            )
            if isinstance(data, TieredSpace):
                connection.executemany(
                    "insert into segments values(?,?,?,?)", segments.rows_of(data.segments)
                )
            connection.execute(
                "insert into securities(id, hash, descriptor) values(1, ?, ?)",
                (descriptor_hash(security), security),
            )
            connection.execute(
                schema.PUT_NODE,
                (ROOT_ID, ATTRIBUTE_DIRECTORY, now, now, now, now, 1, 0, 0, 1, 0, 0, b"", 0, 0, 0),
            )
            connection.execute("pragma wal_checkpoint(truncate)").fetchall()
        finally:
            connection.close()
            vfs.unregister()
        await write_queue(overlay, metadata)
        await metadata.write(SpaceOffset(0), [layout.encode()])
        await metadata.flush()
        return await cls.open(metadata, data, runtime)

    @classmethod
    async def open(cls, metadata: Space, data: Space, runtime: Runtime) -> Self:
        """Mount. What a crash left behind is settled: SQLite replays its log, files without names are freed.

        Raises: CatalogCorrupt if the metadata space holds no catalog, one of another version or one that
        does not fit the data space."""
        overlay = await load_overlay(metadata)
        vfs = SpaceVfs(cls._new_name(), overlay, metadata)
        try:
            connection = schema.connect(vfs.name, overlay.layout)
        except apsw.Error as error:
            vfs.unregister()
            raise CatalogCorrupt(f"the catalog cannot be opened: {error}") from error
        try:
            try:
                volume = cls(metadata, data, runtime, overlay.layout, overlay, vfs, connection)
            except apsw.Error as error:
                raise CatalogCorrupt(f"the catalog cannot be read: {error}") from error
            if int(volume._meta["data_bytes"]) > data.size_bytes:
                made = int(volume._meta["data_bytes"])
                raise CatalogCorrupt(
                    f"the volume was made on {made} bytes of data space, this one has {data.size_bytes}"
                )
            volume._store_size()
            volume._free_orphans()
            # Ids are put aside before any is used, so that none is used twice.
            volume._changes += 1
            volume._armed = True
            await volume.sync()
            await volume._grow_catalog()
            volume._armed = False
            volume._watch_tiers()
        except StorageError:
            connection.close()
            vfs.unregister()
            raise
        return volume

    def _free_orphans(self) -> None:
        """Files that lost their last name while somebody held them, before a crash."""
        for (node_id,) in self._rows("select id from nodes where links = 0"):
            node = self.node(NodeId(node_id))
            if node is not None:
                state: NodeState = node.private  # type: ignore[assignment]
                self._armed = True
                self._purge(node, state)
                if len(self._dead_nodes) > self._rows_max:
                    self.commit()
        self._armed = False

    @classmethod
    def _new_name(cls) -> str:
        CatalogFileSystem._instances += 1
        return f"sofs-catalog-{CatalogFileSystem._instances}"

    @property
    def identity(self) -> VolumeIdentity:
        meta = self._meta
        volume_id = meta["volume_id"]
        assert isinstance(volume_id, bytes)
        return VolumeIdentity(
            label=str(meta["label"]), serial=int(meta["serial"]), created=int(meta["created"]),
            features=FEATURES, object_id=volume_id, component_max=limits.COMPONENT_MAX,
        )  # fmt: skip

    def usage(self) -> VolumeUsage:
        """Free is what the catalog has free, but no more than a thin data space can still get."""
        allocator = self._allocator
        free = allocator.unused() << limits.CLUSTER_SHIFT
        space = self._data.usage()
        thin = space.available_bytes + max(
            space.allocated_bytes - (allocator.used << limits.CLUSTER_SHIFT), 0
        )
        return VolumeUsage(
            allocator.clusters << limits.CLUSTER_SHIFT,
            allocator.used << limits.CLUSTER_SHIFT,
            min(free, thin) >> limits.CLUSTER_SHIFT << limits.CLUSTER_SHIFT,
            limits.CLUSTER_BYTES,
            512,
        )

    def set_label(self, label: str) -> None:
        """FileFsLabelInformation."""
        self._admit()
        self._run("insert or replace into meta values('label', ?)", [(label,)])
        self._meta["label"] = label
        root = self.root()
        self._touch(root, root.private)  # type: ignore[arg-type]


async def write_queue(overlay: Overlay, metadata: Space) -> None:
    for _ in range(overlay.cut()):
        segment = overlay.segments[0]
        for offset, buffers in overlay.writes(segment):
            await metadata.write(SpaceOffset(offset), buffers)
        await metadata.flush()
        overlay.done(segment)


async def _read(space: Space, offset: int, length: int) -> bytearray:
    into = bytearray(length)
    await space.read(SpaceOffset(offset), memoryview(into))
    return into


async def load_overlay(metadata: Space) -> Overlay:
    """The overlay of a catalog at rest: its lengths, and its log as far as its salts go, in memory."""
    header = await _read(metadata, 0, limits.PAGE_BYTES)
    layout: Layout = decode_layout(header, metadata.size_bytes)
    overlay = Overlay(layout)
    first = await _read(metadata, layout.database_at, limits.PAGE_BYTES)
    overlay.database_size = database_length(first, layout.database_bytes)
    if not overlay.database_size:
        raise CatalogCorrupt("the metadata space has a catalog header, but no database behind it")
    log = overlay.wal
    while len(log) < layout.wal_bytes:
        length = min(_READ_AHEAD_BYTES, layout.wal_bytes - len(log))
        log += await _read(metadata, layout.wal_at + len(log), length)
        if not wal_length(log):
            break
        overlay.wal_size = wal_frames_end(log, len(log))
        if overlay.wal_size + limits.PAGE_BYTES * 2 < len(log):
            break
    return overlay
