"""A volume over a file system: the one arbiter of its opens. What an open is granted is decided in `create`.

Sources: [MS-FSA] 2.1.1.1 Per Volume; 2.1.5.5 Server Requests Closing an Open; 2.1.4.1 Algorithm for
Reporting a Change Notification for a Directory; [MS-SMB2] 3.3.5.22.1 Processing an Oplock Acknowledgment;
3.3.5.22.2 Processing a Lease Acknowledgment; 3.3.2.2 Durable Open Scavenger Timer.
It keeps the tables that are not a node's own: leases by key, nodes that are open, opens kept for lost
clients, who watches. Plain methods run to their end before anything else does, so the tables need no lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import count

from smbproto import dtyp, fscc
from smbproto.status import Status, StatusError
from storage.errors import StorageError
from storage.fs.port import FileSystem, Node, NodeId, VolumeIdentity, VolumeUsage
from storage.objectstore import access, caching, create, naming
from storage.objectstore.breaks import Breaks
from storage.objectstore.caching import Holder
from storage.objectstore.disconnected import KEPT_MAX, Happening, Keeping, State, may_purge
from storage.objectstore.errors import status_error
from storage.objectstore.file import OpenFile
from storage.objectstore.state import Link, NodeState, state_of
from storage.objectstore.walk import DEPTH_MAX
from storage.runtime import Runtime
from storage.volume import BreakSink, File, OpenRequest, OpenResult, Token

WRITE_TIMES_EVERY_S = 0.05
"""Last write times that are due settle together, this much late at most: a task's sleep costs as much as a
CREATE."""
ACCESS_CACHED_MAX = 64
"""Ours: tokens whose maximal access a node remembers."""


class ObjectStoreVolume:
    """Implements `storage.volume.Volume`."""

    def __init__(self, fs: FileSystem, runtime: Runtime) -> None:
        self.fs = fs
        self.runtime = runtime
        self.identity: VolumeIdentity = fs.identity
        self.root: Node = fs.root()
        fs.hold(self.root)
        self.breaks = Breaks(runtime, self.purge)
        self.leases: dict[tuple[bytes, bytes], Holder] = {}
        self.open_nodes: dict[NodeId, NodeState] = {}
        self.kept: list[OpenFile] = []
        self.watch_count = 0
        self.tree_watches = 0
        self._is_scavenging = False
        self._written: list[tuple[float, int, OpenFile]] = []
        self._ticket = count()
        self._is_settling = False

    def attach(self, sink: BreakSink) -> None:
        self.breaks.sink = sink

    async def open(self, request: OpenRequest) -> OpenResult:
        try:
            return await create.open_file(self, request)
        except StorageError as error:
            raise status_error(error) from error

    # descriptors and access
    def descriptor(self, node: Node) -> bytes:
        state = state_of(node)
        found = state.security
        if found is None:
            found = self.fs.security(node)
            if not found:
                if node is self.root:
                    found = access.DEFAULT_ROOT
                elif node.attributes & fscc.FILE_ATTRIBUTE_DIRECTORY:
                    found = access.DEFAULT_DIRECTORY
                else:
                    found = access.DEFAULT_FILE
            state.security = found
        return found

    def descriptor_changed(self, node: Node, descriptor: bytes) -> None:
        state = state_of(node)
        state.security = descriptor
        state.access.clear()
        state.inherited.clear()

    def own_access(self, node: Node, token: Token) -> int:
        """What the node's own descriptor grants, from memory if it can be."""
        cached = state_of(node).access
        hit = cached.get(id(token))
        if hit is not None and hit[0] is token:
            return hit[1]
        granted = access.maximal_access(self.descriptor(node), token)
        if len(cached) >= ACCESS_CACHED_MAX:
            cached.clear()
        cached[id(token)] = (token, granted)
        return granted

    def granted_to(self, node: Node, token: Token) -> int:
        return self.own_access(node, token)

    def maximal_access(self, node: Node, directory: Node | None, token: Token, options: int) -> int:
        """[MS-FSA] 2.1.5.1.2.1: the node's own rights, what the directory adds, and privileges used by
        intent."""
        granted = self.own_access(node, token)
        if directory is not None and granted & (dtyp.DELETE | dtyp.FILE_READ_ATTRIBUTES) != (
            dtyp.DELETE | dtyp.FILE_READ_ATTRIBUTES
        ):
            above = self.own_access(directory, token)
            granted |= dtyp.DELETE if above & dtyp.FILE_DELETE_CHILD else 0
            granted |= dtyp.FILE_READ_ATTRIBUTES if above & dtyp.FILE_LIST_DIRECTORY else 0
        if options & fscc.FILE_OPEN_FOR_BACKUP_INTENT and token.privileges:
            granted |= access.BACKUP_ACCESS if "SeBackupPrivilege" in token.privileges else 0
            granted |= access.RESTORE_ACCESS if "SeRestorePrivilege" in token.privileges else 0
        return granted

    def inherited(self, directory: Node, token: Token, is_directory: bool) -> bytes:
        """The descriptor of a new child that is given none."""
        state = state_of(directory)
        key = (id(token), is_directory)
        hit = state.inherited.get(key)
        if hit is not None and hit[0] is token:
            return hit[1]
        made = access.new_descriptor(self.descriptor(directory), b"", is_directory, token)
        if len(state.inherited) >= ACCESS_CACHED_MAX:
            state.inherited.clear()
        state.inherited[key] = (token, made)
        return made

    def parent_in_share(self, file: OpenFile) -> Node:
        directory = file.came_by.directory
        return file.node if directory is None or file.node is file.root else directory

    # opens
    def enter(self, file: OpenFile) -> None:
        """The open begins to count."""
        state, node_state = file.state, file.node_state
        if not node_state.opens:
            self.open_nodes[file.node.id] = node_state
        node_state.opens += 1
        file.came_by.opens += 1
        state.opens.append(file)
        state.count(file.granted_access, file.share_access, 1)
        self.fs.hold(file.node)
        if file.root is not self.root:
            self.fs.hold(file.root)

    def leave(self, file: OpenFile) -> None:
        """[MS-FSA] 2.1.5.5: caching and sharing end, and what was marked for deletion goes with its last
        open. Where it cannot be deleted it stays, unmarked, and the open is over nevertheless.

        Raises: StatusError for what the file system could not do, when all is done.
        """
        failed: StorageError | None = None
        state, node_state, link = file.state, file.node_state, file.came_by
        if file.delete_on_close and state.caching is not None:
            # Others give up handles that they only cache. First of all, as it may purge opens of this
            # very file.
            self.breaks.deliver(state.caching.check(caching.CHANGE_NAME, file.holder, waits=False).notices)
        holder = file.holder
        if holder is not None and holder.caching.leave(holder, file):
            if holder.is_lease:
                self.leases.pop((holder.client_guid, holder.lease_key), None)
            self.breaks.forget(holder)
        state.opens.remove(file)
        state.count(file.granted_access, file.share_access, -1)
        node_state.opens -= 1
        link.opens -= 1
        try:
            if file.delete_on_close:
                self.mark_deleted(file)
            if state is not node_state.main and not state.opens:
                # A named stream is not None.
                node_state.named.pop(file.stream, None)  # type: ignore[arg-type]
                if state.delete_pending:
                    self._remove_stream(file)
            if link.delete_pending and not link.is_gone and (file.posix_delete or not link.opens):
                self._delete_link(file, link)
        except StorageError as error:
            failed = error
            link.delete_pending = state.delete_pending = False
        if not link.opens:
            node_state.links.remove(link)
            if link.directory is not None:
                self.fs.drop(link.directory)
        if not node_state.opens:
            del self.open_nodes[file.node.id]
        try:
            self.fs.drop(file.node)
        except StorageError as error:
            failed = failed or error
        if file.root is not self.root:
            self.fs.drop(file.root)
        state.wake()
        if failed is not None:
            raise status_error(failed) from failed

    def mark_deleted(self, file: OpenFile) -> None:
        """A stream's open marks its stream, any other the name it came by, but for a full directory."""
        if file.state is not file.node_state.main:
            file.state.delete_pending = True
        elif not file.is_directory or self.fs.is_empty(file.node):
            link = file.came_by
            is_first = not link.delete_pending or link.deleter_key == file.parent_key
            link.deleter_key = file.parent_key if is_first else b""
            link.delete_pending = True
            for watcher in tuple(file.node_state.watchers):
                if watcher.watch_state is not None:
                    watcher.watch_state.end(Status.DELETE_PENDING)

    def _remove_stream(self, file: OpenFile) -> None:
        assert file.stream is not None
        name = file.stream.name
        self.fs.remove_stream(file.stream)
        self.report(file, fscc.FILE_NOTIFY_CHANGE_STREAM_NAME, fscc.FILE_ACTION_REMOVED_STREAM, suffix=name)

    def _delete_link(self, file: OpenFile, link: Link) -> None:
        if link.directory is None or (file.is_directory and not self.fs.is_empty(file.node)):
            link.delete_pending = False
            return
        key = file.parent_key if file.parent_key == link.deleter_key else b""
        self.remove_name(link.directory, link.name, file.node, key)
        link.is_gone = True

    def remove_name(self, directory: Node, name: str, node: Node, spare_key: bytes) -> None:
        """Unlink, and tell who watches or caches the directory."""
        self.fs.unlink(directory, name)
        if node.links:
            node.changed_time = self.runtime.filetime()
            self.fs.changed(node)
        self.report_in(directory, name, naming.name_notice(node), fscc.FILE_ACTION_REMOVED)
        self.content_changed(directory, spare_key)

    def name_replaced(self, node: Node, directory: Node, name: str) -> None:
        """Another file took this name of the node; opens that came by it are nameless now."""
        state = node.state
        if isinstance(state, NodeState):
            fold = self.fs.fold
            for link in state.links:
                if link.directory is directory and fold(link.name) == fold(name):
                    link.is_gone = True

    # caching
    def directory_changed(self, file: OpenFile) -> None:
        """An entry of the file's directory shows something new: others' caching of the directory ends."""
        directory = file.came_by.directory
        if directory is not None and directory.state is not None:
            self._break_directory(directory, file.parent_key)

    def content_changed(self, directory: Node, spare_key: bytes) -> None:
        """A name came, went or changed in a directory: its times, and others' caching of it, but for the
        lease of this key, which the changer named as its own."""
        directory.written = directory.changed_time = directory.accessed = self.runtime.filetime()
        self.fs.changed(directory)
        if directory.state is not None:
            self._break_directory(directory, spare_key)

    def _break_directory(self, directory: Node, spare_key: bytes) -> None:
        found = state_of(directory).main.caching
        if found is None or not found.holders:
            return
        check = found.check(caching.CHANGE_DATA, None, spare_key=spare_key, waits=False)
        if check.notices:
            self.breaks.deliver(check.notices)

    def acknowledge_oplock(self, file: File, level: int) -> int:
        if not isinstance(file, OpenFile) or file.holder is None or file.holder.is_lease:
            raise StatusError(Status.INVALID_DEVICE_STATE, "the open has no oplock")
        holder = file.holder
        if level not in (caching.LEVEL_NONE, caching.LEVEL_II):
            allowed = (caching.LEVEL_EXCLUSIVE, caching.LEVEL_BATCH)
            self._lose(holder)
            raise StatusError(
                Status.INVALID_OPLOCK_PROTOCOL if level in allowed else Status.INVALID_PARAMETER,
                f"the level {level:#x}",
            )
        if holder.state == caching.READ and level != caching.LEVEL_NONE:
            raise StatusError(Status.INVALID_OPLOCK_PROTOCOL, "level II can only go")
        if not holder.is_breaking:
            raise StatusError(Status.INVALID_DEVICE_STATE, "no break is in progress")
        state = caching.STATE_OF_LEVEL.get(level, 0) & holder.breaking_to
        further = holder.caching.acknowledge(holder, state)
        if further is not None:
            self.breaks.deliver([further])
        self.breaks.settled(holder)
        return caching.LEVEL_OF_STATE[state]

    def _lose(self, holder: Holder) -> None:
        if holder.is_breaking:
            holder.caching.expire(holder)
            self.breaks.settled(holder)

    def acknowledge_lease(self, client_guid: bytes, lease_key: bytes, state: int) -> int:
        holder = self.leases.get((client_guid, lease_key))
        if holder is None:
            raise StatusError(Status.OBJECT_NAME_NOT_FOUND, "no such lease")
        further = holder.caching.acknowledge(holder, state)
        if further is not None:
            self.breaks.deliver([further])
        self.breaks.settled(holder)
        return state

    # kept opens
    def keep(self, file: OpenFile) -> bool:
        if len(self.kept) >= KEPT_MAX or file.keeping is None:
            return False
        file.keeping.advance(Happening.CLIENT_LOST, self.runtime.now())
        self.kept.append(file)
        if not self._is_scavenging:
            self._is_scavenging = True
            self.runtime.spawn(self._scavenge, "durable open scavenger")
        return True

    def purge(self, file: OpenFile, happening: Happening = Happening.CONFLICT) -> None:
        """An open whose client cannot answer, kept or just lost, is given up."""
        keeping = file.keeping
        if keeping is not None and keeping.state is State.KEPT:
            keeping.advance(happening, self.runtime.now())
            self.kept.remove(file)
        file.end()
        self.breaks.sink.open_purged(file)

    def make_resilient(self, file: File, timeout_ms: int) -> None:
        if not isinstance(file, OpenFile) or file.is_closed:
            raise StatusError(Status.FILE_CLOSED)
        if file.is_directory:
            raise StatusError(Status.INVALID_PARAMETER, "a directory is not kept")
        keeping = file.keeping
        if keeping is None:
            keeping = file.keeping = Keeping(timeout_ms)
        keeping.timeout_ms = timeout_ms
        keeping.is_resilient = True

    def purge_kept(self, node_state: NodeState) -> bool:
        """Give up every kept open of a file. True: there were some."""
        found = [
            file for state in node_state.all_streams() for file in state.opens if may_purge(file.keeping)
        ]
        for file in found:
            self.purge(file)
        return bool(found)

    async def _scavenge(self) -> None:
        """[MS-SMB2] 3.3.6.2 Durable Open Scavenger Timer Event."""
        while self.kept:
            now = self.runtime.now()
            deadlines: list[float] = []
            for file in tuple(self.kept):
                assert file.keeping is not None and file.keeping.deadline_s is not None
                if file.keeping.deadline_s <= now:
                    self.purge(file, Happening.EXPIRE)
                else:
                    deadlines.append(file.keeping.deadline_s)
            if deadlines:
                await self.runtime.sleep(min(max(min(deadlines) - now, 0.01), 1.0))
        self._is_scavenging = False

    # last write times
    def delay_write_time(self, file: OpenFile, delay_s: float) -> None:
        heappush(self._written, (self.runtime.now() + delay_s, next(self._ticket), file))
        if not self._is_settling:
            self._is_settling = True
            self.runtime.spawn(self._settle_write_times, "last write times")

    async def _settle_write_times(self) -> None:
        while self._written:
            due_s, _, file = self._written[0]
            now = self.runtime.now()
            if due_s > now and not file.is_closed:
                # Not for long at a time: one that is due earlier may come meanwhile.
                await self.runtime.sleep(min(max(due_s - now, WRITE_TIMES_EVERY_S), 0.5))
                continue
            heappop(self._written)
            if not file.is_closed:
                file.settle_write_time()
            if not self._written:
                await self.runtime.sleep(WRITE_TIMES_EVERY_S)
        self._is_settling = False

    # change notification
    def watch_begins(self, file: OpenFile) -> None:
        self.watch_count += 1
        assert file.watch_state is not None
        self.tree_watches += file.watch_state.is_tree
        file.node_state.watchers.append(file)

    def watch_ends(self, file: OpenFile) -> None:
        self.watch_count -= 1
        assert file.watch_state is not None
        self.tree_watches -= file.watch_state.is_tree
        file.node_state.watchers.remove(file)

    def report(self, file: OpenFile, notice: int, action: int, *, suffix: str | None = None) -> None:
        """A change of an open's file; streams are named "file:stream"."""
        directory = file.came_by.directory
        if not self.watch_count or directory is None or file.came_by.is_gone:
            return
        name = file.came_by.name
        if suffix is None and file.state is not file.node_state.main and file.stream is not None:
            suffix = file.stream.name
        self.report_in(directory, f"{name}:{suffix}:$DATA" if suffix else name, notice, action)

    def report_in(self, directory: Node, name: str, notice: int, action: int, spared: int = 0) -> None:
        """[MS-FSA] 2.1.4.1: to those who watch the directory, or a tree that it lies in, for `notice` but
        not for `spared`."""
        if not self.watch_count:
            return
        self._report_to(directory, name, notice, action, spared, is_tree=False)
        if not self.tree_watches:
            return
        for _ in range(DEPTH_MAX):
            above = self.fs.names(directory) if directory is not self.root else []
            if not above:
                return
            directory, part = above[0]
            name = f"{part}\\{name}"
            self._report_to(directory, name, notice, action, spared, is_tree=True)

    @staticmethod
    def _report_to(
        directory: Node, name: str, notice: int, action: int, spared: int, *, is_tree: bool
    ) -> None:
        state = directory.state
        if not isinstance(state, NodeState):
            return
        for watcher in state.watchers:
            watch = watcher.watch_state
            if watch is None or not watch.filter & notice or watch.filter & spared:
                continue
            if watch.is_tree or not is_tree:
                watch.report(action, name)

    # the whole
    def usage(self) -> VolumeUsage:
        return self.fs.usage()

    def snapshots(self) -> Sequence[int]:
        return ()

    async def sync(self) -> None:
        try:
            await self.fs.sync()
        except StorageError as error:
            raise status_error(error) from error

    async def close(self) -> None:
        for node_state in tuple(self.open_nodes.values()):
            for state in node_state.all_streams():
                for file in tuple(state.opens):
                    if file.keeping is not None and file.keeping.state is State.KEPT:
                        self.purge(file, Happening.EXPIRE)
                    else:
                        file.end()
        try:
            await self.fs.close()
        except StorageError as error:
            raise status_error(error) from error
