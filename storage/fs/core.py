"""The heart of the catalog file system: nodes and names in memory, and the write-behind to SQLite.

Every change is made in memory first and remembered in the `_dirty_*` tables; `write_out` turns them into
rows, in batches, inside one open transaction; `commit` ends it. Both are plain calls that never wait:
SQLite writes into the overlay. When a commit becomes durable is the business of drain.py.

Sequence numbers: `_changes` counts changes; `_committed` and `_durable` say up to which of them a COMMIT,
and a finished drain, reach.

Between two changes the tables are always consistent, so a commit may fall anywhere between two calls of the
port, never inside one. Nodes nobody holds are only forgotten by `forget`, which background tasks call, so a
Node stays the only one of its id through any stretch of code that does not await."""

from __future__ import annotations

from typing import Any, NoReturn

import apsw

from storage.errors import CatalogCorrupt, StorageError, VolumeFull
from storage.fs import limits, schema, segments
from storage.fs.allocator import Allocator
from storage.fs.extents import ExtentMap, Run
from storage.fs.layout import Layout
from storage.fs.overlay import Overlay
from storage.fs.port import Node, NodeId, QuotaControl, Stream
from storage.fs.quotas import TRACK, UNLIMITED, Charged, Quotas
from storage.fs.shared import SharedClusters
from storage.fs.state import (
    ATTRIBUTE_DIRECTORY,
    HAS_EAS,
    HAS_HARDLINKS,
    HAS_OBJECT_ID,
    HAS_REPARSE,
    HAS_STREAMS,
    NodeState,
    StreamState,
)
from storage.fs.vfs import SpaceVfs
from storage.runtime import Runtime
from storage.space.port import Space

ROOT_ID = NodeId(1)
Parts = tuple[Space, Space, Runtime, Layout, Overlay, SpaceVfs, apsw.Connection]
"""Metadata space, data space, runtime, layout, overlay, VFS, connection: what `CatalogFileSystem.open` puts
together."""
_TIME_MAX = (1 << 63) - 1


def _clamped(node: object, attributes: object, *more: Any) -> tuple[object, ...]:
    """A row of `nodes` whose four times fit."""
    return node, attributes, *(min(time, _TIME_MAX) for time in more[:4]), *more[4:]


def _storage_error(error: Exception) -> StorageError:
    """What a space raised comes through SQLite as it was, or as the cause of SQLite's error."""
    if isinstance(error, StorageError):
        return error
    cause = error.__cause__ or error.__context__
    if isinstance(cause, StorageError):
        return cause
    if isinstance(error, apsw.FullError):
        return VolumeFull(f"the catalog is full: {error}")
    return CatalogCorrupt(f"the catalog failed: {error}")


class Core:
    """State and write-behind, shared by the classes that together make the file system."""

    def __init__(self, *parts: *Parts) -> None:
        (
            self._metadata, self._data, self._runtime, self._layout, self._overlay, self._vfs, self._db
        ) = parts  # fmt: skip
        layout, connection = self._layout, self._db
        self._nodes: dict[int, Node] = {}
        self._directories: dict[int, NodeState] = {}
        """Directories with names in memory, the longest unused first."""
        self._dirty_nodes: dict[int, Node] = {}
        self._dirty_streams: dict[int, Stream] = {}
        self._dirty_names: dict[tuple[int, str], tuple[str, int, bool]] = {}
        """(parent, fold) -> (name, child, whether a row may exist); child 0: removed."""
        self._dead_nodes: dict[int, int] = {}
        """Node -> its HAS_* bits: gone, though its rows may still be there."""
        self._dead_streams: list[int] = []
        self._in_transaction = False
        self._changes = 0
        self._committed = 0
        self._durable = 0
        self._data_dirty = False
        self._freed: list[tuple[int, list[tuple[int, int]]]] = []
        """(commit, runs): free for reuse once that commit is durable."""
        self._ahead: dict[int, tuple[Node, StreamState]] = {}
        """Streams that keep clusters back behind their end."""
        self._failure: StorageError | None = None
        self._closed = False
        self._armed = False
        self._securities: dict[bytes, int] = {}
        self._descriptors: dict[int, bytes] = {}
        self._rows_max = min(limits.COMMIT_ROWS_MAX, layout.wal_bytes // (4 * limits.PAGE_BYTES))
        self._room = 0
        meta = schema.read_meta(connection, layout)
        schema.upgrade(connection)
        self._meta = meta
        self._quotas = Quotas(
            self._rows("select * from quotas"),
            QuotaControl(
                meta.get("quota_flags", TRACK),
                meta.get("quota_threshold", UNLIMITED),
                meta.get("quota_limit", UNLIMITED),
            ),
            self._note_quota,
        )
        self._next_id = int(meta["next_id"])
        self._ids_end = self._next_id
        self._next_security = self._one("select coalesce(max(id), 0) + 1 from securities")
        rows = self._rows("select tier, at, length from segments order by id")
        self._segments = segments.settle(self._data, rows, int(meta["data_bytes"]))
        self._allocator = Allocator(
            self._data.size_bytes >> limits.CLUSTER_SHIFT,
            self._rows("select id, used from groups"),
            self._load_group,
            segments.zones(self._segments),
        )
        self._shared = SharedClusters(self._rows("select first, count, refs from shared"))
        self._measure_room()

    # SQLite ---------------------------------------------------------------------------------------
    def _rows(self, sql: str, parameters: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(sql, parameters).fetchall()
        except (apsw.Error, StorageError) as error:
            if self._in_transaction == self._db.in_transaction:
                raise _storage_error(error) from error
            self._broken(error)  # SQLite rolled back what was written out.

    def _one(self, sql: str, parameters: tuple[object, ...] = ()) -> int:
        return int(self._rows(sql, parameters)[0][0])

    def _run(self, sql: str, rows: list[tuple[object, ...]]) -> None:
        """Execute once for each row, inside the open transaction."""
        if not rows:
            return
        try:
            if not self._in_transaction:
                self._db.execute("begin immediate")
                self._in_transaction = True
            self._db.executemany(sql, rows)
        except (apsw.Error, StorageError) as error:
            self._broken(error)

    def _broken(self, error: Exception) -> NoReturn:
        """SQLite failed at a write: what is in memory can no longer be made durable."""
        failure = _storage_error(error)
        self._failure = self._failure or failure
        raise failure from error

    def _load_group(self, group: int) -> bytes | None:
        rows = self._rows("select bitmap from groups where id=?", (group,))
        bitmap = rows[0][0] if rows else None
        if not isinstance(bitmap, bytes) or len(bitmap) != limits.GROUP_CLUSTERS // 8:
            raise CatalogCorrupt(f"the bitmap of allocation group {group} is not there")
        return bitmap

    # changes --------------------------------------------------------------------------------------
    def _admit(self, rows: int = 1) -> None:
        """Before a change that adds so many rows (0: it only takes away): is there room, and is the batch
        not too long?"""
        if self._failure is not None:
            raise self._failure
        if len(self._dirty_nodes) + len(self._dirty_names) > self._rows_max:
            self.commit()
        if not rows:
            return
        self._room -= rows
        if self._room < 0:
            self.commit()
            self._room -= rows
            if self._room < 0:
                raise VolumeFull(f"the catalog's {self._layout.database_bytes} bytes are full")

    def _touch(self, node: Node, state: NodeState) -> None:
        """The node's own row changed."""
        self._changes = state.changed_at = self._changes + 1
        self._dirty_nodes[node.id] = node
        if not self._armed:
            self._arm()

    def _arm(self) -> None:
        """Begin the timer that commits (drain.py)."""
        raise AssertionError("Core is used through CatalogFileSystem")

    def _measure_room(self) -> None:
        """Rows that surely still fit: two for each free page, beyond the reserve."""
        pages = self._one("pragma page_count") - self._one("pragma freelist_count")
        free = self._layout.database_bytes // limits.PAGE_BYTES - pages - limits.METADATA_RESERVE_PAGES
        self._room = 2 * free

    # quotas -----------------------------------------------------------------------------------------
    @property
    def quotas(self) -> Quotas:
        return self._quotas

    def _note_quota(self) -> None:
        """Limits are about to change, by themselves."""
        self._admit(4)
        self._changes += 1
        if not self._armed:
            self._arm()

    def _descriptor(self, number: int, node_id: int) -> bytes:
        descriptor = self._descriptors.get(number)
        if descriptor is None:
            rows = self._rows("select descriptor from securities where id=?", (number,))
            if not rows:
                raise CatalogCorrupt(f"node {node_id} has security descriptor {number}, which is not there")
            descriptor = bytes(rows[0][0])
            self._know_descriptor(number, descriptor)
        return descriptor

    def _know_descriptor(self, number: int, descriptor: bytes) -> None:
        if len(self._descriptors) >= limits.DESCRIPTORS_MAX:
            self._descriptors.clear()
            self._securities.clear()
        self._descriptors[number] = descriptor
        self._securities[descriptor] = number

    def _charged(self, node: Node, security: int) -> Charged | None:
        """Whom the bytes of a node with this descriptor are charged to."""
        quotas = self._quotas
        if not quotas.known(security):
            quotas.learn(security, self._descriptor(security, node.id))
        return quotas.charged(security)

    def _charge(self, node: Node, delta_bytes: int) -> None:
        """So many more bytes are allocated to the node. The caller touches it."""
        if delta_bytes:
            entry = self._charged(node, node.private.security)  # type: ignore[attr-defined]
            if entry is not None:
                self._quotas.charge(entry, delta_bytes)

    def _check_quota(self, node: Node, clusters: int) -> None:
        """Raises: QuotaExceeded if the node's owner may not have so many clusters more."""
        if clusters > 0 and self._quotas.is_enforced:
            entry = self._charged(node, node.private.security)  # type: ignore[attr-defined]
            if entry is not None:
                self._quotas.check(entry, clusters << limits.CLUSTER_SHIFT)

    # write-behind ---------------------------------------------------------------------------------
    def commit(self) -> None:
        """Everything changed so far is in the write-ahead log (in memory: `drain` makes it durable)."""
        if self._committed == self._changes and not self._in_transaction:
            return
        if self._failure is not None:
            raise self._failure
        if self._ahead:
            self._release_ahead(only_unheld=True)
        self.write_out()
        try:
            if self._in_transaction:
                self._db.execute("commit")
                self._in_transaction = False
                self._measure_room()
        except (apsw.Error, StorageError) as error:
            self._broken(error)
        self._committed = self._changes
        freed = self._allocator.take_freed()
        if freed:
            self._freed.append((self._committed, freed))
        if self._overlay.queued_bytes() > limits.QUEUE_BYTES_SOON:
            self._hurry()

    def _hurry(self) -> None:
        """Begin a drain without waiting for its time (drain.py)."""
        raise AssertionError("Core is used through CatalogFileSystem")

    def write_out(self) -> None:
        """Turn what is buffered into rows of the open transaction, so that queries see it."""
        if self._dead_nodes or self._dead_streams:
            self._write_dead()
        if self._dirty_names:
            encode = schema.encode_name
            puts: list[tuple[object, ...]] = []
            drops: list[tuple[object, ...]] = []
            for (parent, fold), (name, child, _) in self._dirty_names.items():
                if child:
                    puts.append((parent, encode(fold), encode(name), child))
                else:
                    drops.append((parent, encode(fold)))
            self._run(schema.DROP_NAME, drops)
            self._run(schema.PUT_NAME, puts)
            self._dirty_names.clear()
        if self._dirty_streams:
            self._write_streams()
        if self._dirty_nodes:
            self._write_nodes()
        self._run(
            "insert or replace into groups(id, used, bitmap) values(?,?,?)",
            list(self._allocator.take_dirty()),
        )
        if self._shared.touched:
            self._write_shared()
        if self._quotas.is_dirty():
            puts, drops, meta = self._quotas.take_dirty()
            self._run("delete from quotas where sid=?", drops)
            self._run(schema.PUT_QUOTA, puts)
            self._run("insert or replace into meta values(?,?)", meta)
        if self._next_id + limits.ID_STEP // 2 > self._ids_end:
            self._ids_end = self._next_id + limits.ID_STEP
            self._run("insert or replace into meta values('next_id', ?)", [(self._ids_end,)])

    def _write_nodes(self) -> None:
        encode = schema.encode_name
        rows: list[tuple[object, ...]] = []
        for node in self._dirty_nodes.values():
            state: NodeState = node.private  # type: ignore[assignment]
            state.is_stored = True
            data = node.data
            size, valid, allocated = (
                (0, 0, 0) if data is None else (data.size_bytes, data.valid_bytes, data.allocated_bytes)
            )
            rows.append(
                (
                    node.id,
                    node.attributes,
                    node.created,
                    node.accessed,
                    node.written,
                    node.changed_time,
                    node.links,
                    node.reparse_tag,
                    node.ea_bytes,
                    state.security,
                    state.has,
                    state.parent,
                    encode(state.fold),
                    size,
                    valid,
                    allocated,
                )
            )
        try:
            self._run(schema.PUT_NODE, rows)
        except OverflowError:
            # A caller's time beyond what SQLite's integers hold (63 bits): kept as the latest there is.
            self._run(schema.PUT_NODE, [_clamped(*row) for row in rows])
        self._dirty_nodes.clear()

    def _write_streams(self) -> None:
        encode = schema.encode_name
        named: list[tuple[object, ...]] = []
        puts: list[tuple[object, ...]] = []
        drops: list[tuple[object, ...]] = []
        for stream_id, stream in self._dirty_streams.items():
            if stream.name:
                named.append(
                    (
                        stream_id,
                        stream.node.id,
                        encode(self.fold(stream.name)),
                        encode(stream.name),
                        stream.size_bytes,
                        stream.valid_bytes,
                        stream.allocated_bytes,
                    )
                )
            state: StreamState = stream.private  # type: ignore[assignment]
            extents = state.extents
            if extents is None or not extents.touched:
                continue
            for first in extents.touched:
                run = extents.starting_at(first)
                if run is None:
                    drops.append((stream_id, first))
                else:
                    puts.append((stream_id, first, run.length, run.space, run.state))
            extents.touched.clear()
        self._run(schema.PUT_STREAM, named)
        self._run(schema.DROP_EXTENT, drops)
        self._run(schema.PUT_EXTENT, puts)
        self._dirty_streams.clear()

    def _write_dead(self) -> None:
        streams: list[tuple[object, ...]] = [(stream,) for stream in self._dead_streams]
        self._run("delete from extents where stream=?", streams)
        self._run("delete from streams where id=?", streams)
        self._run("delete from nodes where id=?", [(node,) for node in self._dead_nodes])
        for bit, table in (
            (HAS_EAS, "eas"),
            (HAS_REPARSE, "reparse"),
            (HAS_OBJECT_ID, "object_ids"),
        ):
            rows: list[tuple[object, ...]] = [(node,) for node, has in self._dead_nodes.items() if has & bit]
            self._run(f"delete from {table} where node=?", rows)
        self._dead_nodes.clear()
        self._dead_streams.clear()

    def _write_shared(self) -> None:
        puts: list[tuple[object, ...]] = []
        drops: list[tuple[object, ...]] = []
        for first in sorted(self._shared.touched):
            run = self._shared.starting_at(first)
            if run is None:
                drops.append((first,))
            else:
                puts.append(run)
        self._run("delete from shared where first=?", drops)
        self._run("insert or replace into shared(first, count, refs) values(?,?,?)", puts)
        self._shared.touched.clear()

    # nodes ----------------------------------------------------------------------------------------
    def fold(self, name: str) -> str:
        raise AssertionError("Core is used through CatalogFileSystem")

    def _load(self, node_id: int) -> Node | None:
        """The node from its row; None if there is no such file. It must not be in memory."""
        if node_id in self._dead_nodes:
            return None
        rows = self._rows(schema.GET_NODE, (node_id,))
        return self._from_row(rows[0]) if rows else None

    def _from_row(self, row: tuple[Any, ...]) -> Node:
        """The one Node of a row, made if it is not in memory."""
        known = self._nodes.get(row[0])
        if known is not None:
            return known
        (node_id, attributes, created, accessed, written, changed, links, tag, ea_bytes, security, has,
         parent, fold, size, valid, allocated) = row  # fmt: skip
        node = Node(node_id, attributes, created, accessed, written, changed, links, tag, ea_bytes)
        state = NodeState(security, parent, schema.decode_name(fold))
        state.has = has
        state.is_stored = True
        node.private = state
        if attributes & ATTRIBUTE_DIRECTORY:
            state.names = {}
        else:
            node.data = Stream(node, "", size, valid, allocated)
        self._nodes[node.id] = node
        if len(self._nodes) > limits.NODES_MAX and not self._armed:
            self._arm()  # Its timer forgets what is too much.
        return node

    def _purge(self, node: Node, state: NodeState) -> None:
        """The node has no name and nobody holds it: give everything back."""
        streams = [*self._named_streams(node).values()] if state.has & HAS_STREAMS else []
        if node.data is not None:
            streams.append(node.data)
        for stream in streams:
            self._free_stream(stream)
        self._nodes.pop(node.id, None)
        self._directories.pop(node.id, None)
        self._dirty_nodes.pop(node.id, None)
        if state.has & HAS_HARDLINKS:
            self._run("delete from hardlinks where child=?", [(node.id,)])
        if state.is_stored or state.has:
            self._dead_nodes[node.id] = state.has
        self._changes += 1
        if not self._armed:
            self._arm()

    def _named_streams(self, node: Node) -> dict[str, Stream]:
        """The named streams by fold."""
        state: NodeState = node.private  # type: ignore[assignment]
        if state.streams is None:
            state.streams = {}
            if state.has & HAS_STREAMS:
                sql = "select id, fold, name, size, valid, allocated from streams where node=?"
                for stream_id, fold, name, size, valid, allocated in self._rows(sql, (node.id,)):
                    stream = Stream(node, schema.decode_name(name), size, valid, allocated)
                    stream.private = StreamState(stream_id)
                    state.streams[schema.decode_name(fold)] = stream
        return state.streams

    # extents --------------------------------------------------------------------------------------
    def _stream_state(self, stream: Stream) -> StreamState:
        state: StreamState | None = stream.private  # type: ignore[assignment]
        if state is None:
            # Only a default stream comes without one; it has its node's id.
            state = stream.private = StreamState(stream.node.id)
        return state

    def _extents(self, stream: Stream) -> ExtentMap:
        state = self._stream_state(stream)
        extents = state.extents
        if extents is None:
            if stream.allocated_bytes == 0:
                extents = ExtentMap()
            else:
                sql = "select first, count, cluster, state from extents where stream=? order by first"
                extents = ExtentMap(Run(*row) for row in self._rows(sql, (state.id,)))
            state.extents = extents
        return extents

    def _free_stream(self, stream: Stream) -> None:
        """All its clusters go back, its rows go."""
        state = self._stream_state(stream)
        if stream.allocated_bytes or state.extents is not None:
            extents = self._extents(stream)
            for run in extents.remove(0, extents.end()):
                self._unreference(run.space, run.length)
        self._charge(stream.node, -stream.allocated_bytes)
        holder: NodeState = stream.node.private  # type: ignore[assignment]
        if holder.is_stored and (stream.name or state.extents is not None):
            self._dead_streams.append(state.id)
        stream.size_bytes = stream.valid_bytes = stream.allocated_bytes = 0
        state.begin = state.end = 0
        state.is_removed = True
        self._drop_ahead(state)
        self._dirty_streams.pop(state.id, None)

    def _unreference(self, first: int, count: int) -> None:
        """One run less refers to these clusters; those nobody refers to are freed, for use after the next
        durable commit."""
        for cluster, length in self._shared.drop(first, count):
            self._allocator.free_later(cluster, length)

    def _drop_ahead(self, state: StreamState) -> None:
        first, count = state.ahead
        if count:
            self._allocator.unreserve(first, count)
            state.ahead = (0, 0)
        self._ahead.pop(state.id, None)

    def _release_ahead(self, only_unheld: bool) -> None:
        for node, state in list(self._ahead.values()):
            holder: NodeState = node.private  # type: ignore[assignment]
            if not only_unheld or not holder.holds:
                self._drop_ahead(state)

    # memory ---------------------------------------------------------------------------------------
    def forget(self) -> None:
        """Let go of nodes and names beyond the limits. Only when nothing is buffered, and never inside a
        call of the port."""
        if self._dirty_nodes or self._dirty_names or self._dirty_streams:
            return
        if sum(len(state.names) for state in self._directories.values()) > limits.NAMES_MAX:
            spare = limits.NAMES_MAX // 4 * 3
            total = 0
            for node_id, state in reversed(list(self._directories.items())):
                total += len(state.names)
                if total > spare:
                    self._forget_names(node_id, state)
        for node_id, state in list(self._directories.items()):
            if len(state.names) > limits.DIRECTORY_NAMES_MAX:
                self._forget_names(node_id, state)
        if len(self._nodes) > limits.NODES_MAX:
            self._forget_nodes(limits.NODES_MAX // 4 * 3)

    def _forget_names(self, node_id: int, state: NodeState) -> None:
        state.names = {}
        state.complete = False
        state.order = None
        state.misses = 0
        self._directories.pop(node_id, None)

    def _forget_nodes(self, target: int) -> None:
        """Second chance: a node used since the last time is passed over once."""
        for node_id, node in list(self._nodes.items()):
            if len(self._nodes) <= target:
                return
            state: NodeState = node.private  # type: ignore[assignment]
            if state.holds or node_id == ROOT_ID:
                continue
            if state.recent:
                state.recent = False
                continue
            del self._nodes[node_id]
            if node_id in self._directories:
                self._forget_names(node_id, state)
