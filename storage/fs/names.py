"""Names: look-up, listing, make, link, unlink, rename; and how long nodes live.

A directory's entries in memory are a dict from the folded name. When it holds all of them (`complete`: new
directories always, others once they were read whole) a miss is an answer; otherwise a miss is asked of
SQLite. Large directories are listed page by page from SQLite, after the buffered changes were written out
to it.

Source: [MS-FSA] 2.1.1.5 Per Link; storage/fs/port.py.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort

from storage.errors import CatalogCorrupt
from storage.fs import limits, schema
from storage.fs.core import ROOT_ID
from storage.fs.drain import Drain
from storage.fs.port import Entry, Node, NodeId, Stream
from storage.fs.state import (
    ATTRIBUTE_DIRECTORY,
    ATTRIBUTE_REPARSE,
    HAS_HARDLINKS,
    NodeState,
)
from storage.fs.upcase import upcase

_LARGE = 1 << 30
"""`NodeState.misses` of a directory that was found too large to be held whole."""


class Names(Drain):
    """The name space of one volume."""

    def fold(self, name: str) -> str:
        return name.upper() if name.isascii() else upcase(name)

    def root(self) -> Node:
        node = self.node(ROOT_ID)
        if node is None:
            raise CatalogCorrupt("the catalog has no root directory")
        return node

    def node(self, node_id: NodeId) -> Node | None:
        node = self._nodes.get(node_id)
        if node is None:
            if not 0 < node_id < self._next_id:
                return None
            node = self._load(node_id)
        return node

    def lookup(self, directory: Node, name: str) -> Entry | None:
        state: NodeState = directory.private  # type: ignore[assignment]
        fold = name.upper() if name.isascii() else upcase(name)
        found = state.names.get(fold)
        if found is None:
            if state.complete:
                return None
            found = self._find(directory, state, fold)
            if found is None:
                return None
        node = self._nodes.get(found[1])
        if node is None:
            node = self._child(directory, found)
        else:
            node.private.recent = True  # type: ignore[attr-defined]
        return Entry(found[0], node)

    def _child(self, directory: Node, found: tuple[str, int]) -> Node:
        node = self._nodes.get(found[1]) or self._load(found[1])
        if node is None:
            raise CatalogCorrupt(
                f"entry {found[0]!r} of directory {directory.id} leads to node {found[1]}, which is not there"
            )
        return node

    def _find(self, directory: Node, state: NodeState, fold: str) -> tuple[str, int] | None:
        """An entry of an incomplete directory that is not in memory."""
        buffered = self._dirty_names.get((directory.id, fold))
        if buffered is not None:
            return buffered[:2] if buffered[1] else None
        state.misses += 1
        if state.misses == limits.MISSES_BEFORE_LOAD and self._load_names(directory, state):
            return state.names.get(fold)
        rows = self._rows(
            "select name, child from dirents where parent=? and fold=?",
            (directory.id, schema.encode_name(fold)),
        )
        if not rows:
            return None
        name, child = rows[0]
        found = (schema.decode_name(name), child)
        self._remember(directory, state, fold, found)
        return found

    def _remember(self, directory: Node, state: NodeState, fold: str, found: tuple[str, int]) -> None:
        if not state.names:
            if directory.data is not None:
                return
            state.names = {}
            self._directories[directory.id] = state
        state.names[fold] = found

    def _load_names(self, directory: Node, state: NodeState) -> bool:
        """Read the directory whole, if it is not too large."""
        self.write_out()
        rows = self._rows(
            "select fold, name, child from dirents where parent=? order by fold limit ?",
            (directory.id, limits.DIRECTORY_LOAD_MAX + 1),
        )
        if len(rows) > limits.DIRECTORY_LOAD_MAX or directory.data is not None:
            state.misses = _LARGE
            return False
        decode = schema.decode_name
        state.names = {decode(fold): (decode(name), child) for fold, name, child in rows}
        state.complete = True
        state.order = list(state.names)
        self._directories[directory.id] = state
        return True

    # listing --------------------------------------------------------------------------------------
    def entries(self, directory: Node, after: str | None, limit: int) -> list[Entry]:
        state: NodeState = directory.private  # type: ignore[assignment]
        if not state.complete and (state.misses >= _LARGE or not self._load_names(directory, state)):
            return self._page(directory, after, limit)
        order = state.order
        if order is None:
            order = state.order = sorted(state.names)
        start = 0 if after is None else bisect_right(order, self.fold(after))
        names, nodes = state.names, self._nodes
        folds = order[start : start + limit]
        missing = sum(names[fold][1] not in nodes for fold in folds)
        if missing > 8:
            self._page(directory, after, len(folds))
        out: list[Entry] = []
        for fold in folds:
            found = names[fold]
            out.append(Entry(found[0], nodes.get(found[1]) or self._child(directory, found)))
        return out

    def _page(self, directory: Node, after: str | None, limit: int) -> list[Entry]:
        """A page straight from SQLite; loads the nodes on the way."""
        self.write_out()
        start = b"" if after is None else schema.encode_name(self.fold(after))
        rows = self._rows(schema.LIST_NODES, (directory.id, start, limit))
        return [Entry(schema.decode_name(row[0]), self._from_row(row[2:])) for row in rows]

    def is_empty(self, directory: Node) -> bool:
        state: NodeState = directory.private  # type: ignore[assignment]
        if state.complete:
            return not state.names
        self.write_out()
        return not self._rows("select 1 from dirents where parent=? limit 1", (directory.id,))

    def names(self, node: Node) -> list[tuple[Node, str]]:
        state: NodeState = node.private  # type: ignore[assignment]
        if not state.parent:
            return []
        found: list[tuple[Node, str]] = []
        for parent_id, fold in ((state.parent, state.fold), *sorted(self._more_names(node, state))):
            parent = self.node(NodeId(parent_id))
            entry = self.lookup(parent, fold) if parent is not None else None
            if parent is None or entry is None:
                raise CatalogCorrupt(
                    f"node {node.id} says it is {fold!r} in directory {parent_id}, which does not know it"
                )
            found.append((parent, entry.name))
        return found

    def _more_names(self, node: Node, state: NodeState) -> set[tuple[int, str]]:
        if state.more_names is None:
            state.more_names = set()
            if state.has & HAS_HARDLINKS:
                rows = self._rows("select parent, fold from hardlinks where child=?", (node.id,))
                state.more_names = {(parent, schema.decode_name(fold)) for parent, fold in rows}
        return state.more_names

    # changes --------------------------------------------------------------------------------------
    def make(
        self, directory: Node, name: str, *, is_directory: bool, attributes: int, now: int, security: bytes
    ) -> Node:
        self._admit(2 + (len(name) >> 5))
        node_id = NodeId(self._next_id)
        self._next_id += 1
        fold = name.upper() if name.isascii() else upcase(name)
        state = NodeState(self._security_id(security), directory.id, fold)
        if is_directory:
            node = Node(node_id, attributes | ATTRIBUTE_DIRECTORY, now, now, now, now)
            state.names = {}
            state.complete = True
        else:
            node = Node(node_id, attributes & ~ATTRIBUTE_DIRECTORY, now, now, now, now)
            node.data = Stream(node, "")
        node.private = state
        self._nodes[node_id] = node
        self._add_name(directory, fold, name, node_id)
        self._touch(node, state)
        return node

    def _add_name(self, directory: Node, fold: str, name: str, child: int) -> None:
        state: NodeState = directory.private  # type: ignore[assignment]
        key = (directory.id, fold)
        buffered = self._dirty_names.get(key)
        self._dirty_names[key] = (name, child, buffered is not None and buffered[2])
        if not state.names:
            self._directories[directory.id] = state
        state.names[fold] = (name, child)
        if state.order is not None:
            insort(state.order, fold)

    def _remove_name(self, directory: Node, fold: str) -> None:
        state: NodeState = directory.private  # type: ignore[assignment]
        key = (directory.id, fold)
        buffered = self._dirty_names.get(key)
        if buffered is None or buffered[2]:
            self._dirty_names[key] = ("", 0, True)
        else:
            del self._dirty_names[key]
        if state.names.pop(fold, None) is not None and state.order is not None:
            del state.order[bisect_left(state.order, fold)]

    def link(self, node: Node, directory: Node, name: str) -> None:
        self._admit(2 + (len(name) >> 5))
        fold = self.fold(name)
        self._add_name(directory, fold, name, node.id)
        state: NodeState = node.private  # type: ignore[assignment]
        node.links += 1
        self._gain_name(node, state, directory.id, fold)
        self._touch(node, state)

    def unlink(self, directory: Node, name: str) -> None:
        self._admit(0)
        entry = self.lookup(directory, name)
        assert entry is not None, f"{name!r} is not in directory {directory.id}"
        self._unlink(directory, self.fold(name), entry.node)

    def _unlink(self, directory: Node, fold: str, node: Node) -> None:
        self._remove_name(directory, fold)
        state: NodeState = node.private  # type: ignore[assignment]
        node.links -= 1
        self._lose_name(node, state, directory.id, fold)
        if node.links == 0 and not state.holds:
            self._purge(node, state)
        else:
            self._touch(node, state)

    def rename(self, directory: Node, name: str, to_directory: Node, to_name: str) -> None:
        self._admit(2 + (len(to_name) >> 5))
        fold, to_fold = self.fold(name), self.fold(to_name)
        entry = self.lookup(directory, name)
        assert entry is not None, f"{name!r} is not in directory {directory.id}"
        node = entry.node
        state: NodeState = node.private  # type: ignore[assignment]
        is_same = directory is to_directory and fold == to_fold
        if not is_same:
            replaced = self.lookup(to_directory, to_name)
            if replaced is not None:
                self._unlink(to_directory, to_fold, replaced.node)
        self._remove_name(directory, fold)
        self._add_name(to_directory, to_fold, to_name, node.id)
        if not is_same:
            self._lose_name(node, state, directory.id, fold)
            self._gain_name(node, state, to_directory.id, to_fold)
        self._touch(node, state)

    def _gain_name(self, node: Node, state: NodeState, parent: int, fold: str) -> None:
        """One more (directory, fold) leads to the node. The first is kept in its row, the others in
        `hardlinks`."""
        if not state.parent:
            state.parent, state.fold = parent, fold
            return
        self._more_names(node, state).add((parent, fold))
        state.has |= HAS_HARDLINKS
        self._run(
            "insert or replace into hardlinks values(?,?,?)", [(node.id, parent, schema.encode_name(fold))]
        )

    def _lose_name(self, node: Node, state: NodeState, parent: int, fold: str) -> None:
        more = self._more_names(node, state)
        if (state.parent, state.fold) == (parent, fold):
            if not more:
                state.parent, state.fold = 0, ""
                return
            parent, fold = min(more)
            state.parent, state.fold = parent, fold
        more.remove((parent, fold))
        self._run(
            "delete from hardlinks where child=? and parent=? and fold=?",
            [(node.id, parent, schema.encode_name(fold))],
        )
        if not more:
            state.has &= ~HAS_HARDLINKS

    # life -----------------------------------------------------------------------------------------
    def hold(self, node: Node) -> None:
        state: NodeState = node.private  # type: ignore[assignment]
        state.holds += 1
        state.recent = True
        if node.id not in self._nodes:
            self._nodes[node.id] = node

    def drop(self, node: Node) -> None:
        state: NodeState = node.private  # type: ignore[assignment]
        assert state.holds > 0
        state.holds -= 1
        if not state.holds and node.links == 0 and not self._closed:
            self._purge(node, state)

    def changed(self, node: Node) -> None:
        if self._failure is not None:
            raise self._failure
        state: NodeState = node.private  # type: ignore[assignment]
        if not node.links and not state.holds:
            return  # It is gone.
        attributes = node.attributes & ~(ATTRIBUTE_DIRECTORY | ATTRIBUTE_REPARSE)
        if node.data is None:
            attributes |= ATTRIBUTE_DIRECTORY
        if node.reparse_tag:
            attributes |= ATTRIBUTE_REPARSE
        node.attributes = attributes
        self._changes = state.changed_at = self._changes + 1
        self._dirty_nodes[node.id] = node
        if not self._armed:
            self._arm()

    def _security_id(self, descriptor: bytes) -> int:
        raise AssertionError("Names is used through CatalogFileSystem")
