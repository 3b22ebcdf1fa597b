"""What a node has beside names and bytes: security descriptor, extended attributes, reparse point, object id.

Descriptors are stored once each and referred to by number; the numbers of recent ones are in memory. The
rest is rare, and goes to SQLite at once, inside the open transaction.

Sources: [MS-FSCC] 2.1.2 Reparse Point Data Structures; 2.4.16 FileFullEaInformation; 2.1.3
FILE_OBJECTID_BUFFER Structure."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

from storage.errors import CatalogCorrupt
from storage.fs import limits
from storage.fs.names import Names
from storage.fs.port import ExtendedAttribute, Node, NodeId
from storage.fs.state import ATTRIBUTE_REPARSE, HAS_EAS, HAS_OBJECT_ID, HAS_REPARSE, NodeState

_EA = struct.Struct("<BBH")
_FULL_EA_FIXED_BYTES = 5
"""What FileEaInformation counts for each EA beside its name and value: the packed OS/2 form of a FEA."""
_EA_LIST_FIXED_BYTES = 4


def encode_eas(eas: Sequence[ExtendedAttribute]) -> bytes:
    return b"".join(_EA.pack(ea.flags, len(ea.name), len(ea.value)) + ea.name + ea.value for ea in eas)


def decode_eas(blob: bytes) -> list[ExtendedAttribute]:
    out: list[ExtendedAttribute] = []
    at = 0
    while at < len(blob):
        if at + _EA.size > len(blob):
            raise CatalogCorrupt(f"a list of extended attributes ends inside an entry at byte {at}")
        flags, name_length, value_length = _EA.unpack_from(blob, at)
        at += _EA.size
        end = at + name_length + value_length
        if end > len(blob):
            raise CatalogCorrupt(f"a list of extended attributes ends inside an entry at byte {at}")
        out.append(ExtendedAttribute(blob[at : at + name_length], blob[at + name_length : end], flags))
        at = end
    return out


def descriptor_hash(descriptor: bytes) -> bytes:
    return hashlib.blake2b(descriptor, digest_size=16).digest()


class Attributes(Names):
    """Descriptors, EAs, reparse points and object ids."""

    # security -------------------------------------------------------------------------------------
    def security(self, node: Node) -> bytes:
        state: NodeState = node.private  # type: ignore[assignment]
        return self._descriptors.get(state.security) or self._descriptor(state.security, node.id)

    def set_security(self, node: Node, descriptor: bytes) -> None:
        self._admit(1 + 2 * (len(descriptor) // limits.PAGE_BYTES + 1))
        state: NodeState = node.private  # type: ignore[assignment]
        number = self._security_id(descriptor)
        old, new = self._charged(node, state.security), self._charged(node, number)
        if old is not new:
            used = sum(stream.allocated_bytes for stream in self._named_streams(node).values())
            used += 0 if node.data is None else node.data.allocated_bytes
            if new is not None:
                self._quotas.check(new, used)
                self._quotas.charge(new, used)
            if old is not None:
                self._quotas.charge(old, -used)
        state.security = number
        self._touch(node, state)

    def _security_id(self, descriptor: bytes) -> int:
        """The number of a descriptor, stored now if it is new."""
        number = self._securities.get(descriptor)
        if number is not None:
            return number
        digest = descriptor_hash(descriptor)
        for found, stored in self._rows("select id, descriptor from securities where hash=?", (digest,)):
            if stored == descriptor:
                self._know_descriptor(found, descriptor)
                return int(found)
        number = self._next_security
        self._next_security += 1
        self._run(
            "insert into securities(id, hash, descriptor) values(?,?,?)", [(number, digest, descriptor)]
        )
        self._know_descriptor(number, descriptor)
        return number

    # extended attributes --------------------------------------------------------------------------
    def eas(self, node: Node) -> list[ExtendedAttribute]:
        state: NodeState = node.private  # type: ignore[assignment]
        if not state.has & HAS_EAS:
            return []
        rows = self._rows("select list from eas where node=?", (node.id,))
        return decode_eas(bytes(rows[0][0])) if rows else []

    def set_eas(self, node: Node, eas: Sequence[ExtendedAttribute]) -> None:
        blob = encode_eas(eas)
        self._admit(1 + 2 * (len(blob) // limits.PAGE_BYTES + 1))
        state: NodeState = node.private  # type: ignore[assignment]
        if eas:
            self._run("insert or replace into eas(node, list) values(?,?)", [(node.id, blob)])
            state.has |= HAS_EAS
            node.ea_bytes = _EA_LIST_FIXED_BYTES + sum(
                _FULL_EA_FIXED_BYTES + len(ea.name) + len(ea.value) for ea in eas
            )
        else:
            self._run("delete from eas where node=?", [(node.id,)])
            state.has &= ~HAS_EAS
            node.ea_bytes = 0
        self._touch(node, state)

    # reparse points -------------------------------------------------------------------------------
    def reparse(self, node: Node) -> bytes:
        state: NodeState = node.private  # type: ignore[assignment]
        if not state.has & HAS_REPARSE:
            return b""
        rows = self._rows("select buffer from reparse where node=?", (node.id,))
        return bytes(rows[0][0]) if rows else b""

    def set_reparse(self, node: Node, tag: int, buffer: bytes) -> None:
        self._admit(1 + 2 * (len(buffer) // limits.PAGE_BYTES + 1))
        state: NodeState = node.private  # type: ignore[assignment]
        if tag:
            self._run("insert or replace into reparse(node, buffer) values(?,?)", [(node.id, buffer)])
            state.has |= HAS_REPARSE
            node.attributes |= ATTRIBUTE_REPARSE
        else:
            self._run("delete from reparse where node=?", [(node.id,)])
            state.has &= ~HAS_REPARSE
            node.attributes &= ~ATTRIBUTE_REPARSE
        node.reparse_tag = tag
        self._touch(node, state)

    # object ids -----------------------------------------------------------------------------------
    def object_id(self, node: Node) -> bytes:
        state: NodeState = node.private  # type: ignore[assignment]
        if not state.has & HAS_OBJECT_ID:
            return b""
        rows = self._rows("select object_id from object_ids where node=?", (node.id,))
        return bytes(rows[0][0]) if rows else b""

    def set_object_id(self, node: Node, object_id: bytes) -> None:
        """b"" removes it. A node that had the same first 16 bytes loses them."""
        self._admit(2)
        self.write_out()
        state: NodeState = node.private  # type: ignore[assignment]
        self._run("delete from object_ids where node=?", [(node.id,)])
        if object_id:
            self._run(
                "insert or replace into object_ids(node, key, object_id) values(?,?,?)",
                [(node.id, object_id[:16], object_id)],
            )
            state.has |= HAS_OBJECT_ID
        else:
            state.has &= ~HAS_OBJECT_ID
        self._touch(node, state)

    def find_object_id(self, object_id: bytes) -> Node | None:
        rows = self._rows("select node from object_ids where key=?", (object_id[:16],))
        return self.node(NodeId(rows[0][0])) if rows else None
