"""What a file has besides names, times and bytes: descriptor, EAs, reparse point, object id, named streams.

All of it lies in extended attributes of the host (`attributes.py`), or in memory as long as the server lives
where the host has none.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from smbproto.fscc import FILE_ATTRIBUTE_REPARSE_POINT
from storage.fs.port import ExtendedAttribute, Node, Stream
from storage.fs.upcase import upcase as fold
from storage.io.hostfs import attributes as xattrs
from storage.io.hostfs.data import HostData
from storage.io.hostfs.node import HostNode, StreamBytes, ea_size, host_error, private_of


class HostKept(HostData):
    """The part of `HostFileSystem` that keeps attributes."""

    def _target(self, private: HostNode) -> bytes | int:
        """What to give to calls about extended attributes and times: the descriptor if the name may be
        gone."""
        if private.descriptor >= 0:
            return private.descriptor
        return self._path(private)

    def _put(self, private: HostNode, target: bytes | int, name: bytes, value: bytes) -> None:
        """An extended attribute; in memory where the host keeps none."""
        try:
            if private.memory is None and xattrs.put(target, name, value):
                return
        except FileNotFoundError:
            raise
        except OSError as error:
            raise host_error(error, "keep attributes of", self._path(private)) from error
        if private.memory is None:
            private.memory = {}
        if value:
            private.memory[name] = value
        else:
            private.memory.pop(name, None)

    def _get(self, node: Node, name: bytes) -> bytes:
        private = private_of(node)
        if private.memory is not None and name in private.memory:
            return private.memory[name]
        try:
            return xattrs.get(self._target(private), name)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise host_error(error, "read attributes of", self._path(private)) from error

    def security(self, node: Node) -> bytes:
        return self._get(node, xattrs.SECURITY)

    def set_security(self, node: Node, descriptor: bytes) -> None:
        private = private_of(node)
        self._put(private, self._target(private), xattrs.SECURITY, descriptor)

    def eas(self, node: Node) -> list[ExtendedAttribute]:
        return xattrs.unpack_eas(self._get(node, xattrs.EAS)) if node.ea_bytes else []

    def set_eas(self, node: Node, eas: Sequence[ExtendedAttribute]) -> None:
        private = private_of(node)
        packed = xattrs.pack_eas(eas)
        self._put(private, self._target(private), xattrs.EAS, packed)
        node.ea_bytes = ea_size(packed)
        private.dirty = True

    def reparse(self, node: Node) -> bytes:
        return self._get(node, xattrs.REPARSE) if node.reparse_tag else b""

    def set_reparse(self, node: Node, tag: int, buffer: bytes) -> None:
        private = private_of(node)
        self._put(private, self._target(private), xattrs.REPARSE, buffer if tag else b"")
        node.reparse_tag = tag
        node.attributes &= ~FILE_ATTRIBUTE_REPARSE_POINT
        if tag:
            node.attributes |= FILE_ATTRIBUTE_REPARSE_POINT
        private.dirty = True

    def object_id(self, node: Node) -> bytes:
        return self._get(node, xattrs.OBJECT_ID)

    def set_object_id(self, node: Node, object_id: bytes) -> None:
        private = private_of(node)
        self._put(private, self._target(private), xattrs.OBJECT_ID, object_id)

    # streams
    # ----------------------------------------------------------------------------------------------------
    def _named(self, node: Node) -> dict[str, Stream]:
        """fold -> Stream, read once while the node is held."""
        private = private_of(node)
        if private.streams is None:
            found: dict[str, Stream] = {}
            try:
                listed = os.listxattr(self._target(private))
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.EOPNOTSUPP):
                    raise host_error(error, "list streams of", self._path(private)) from error
                listed = []
            for text in listed:
                attribute = os.fsencode(text)
                if attribute.startswith(xattrs.STREAM_PREFIX):
                    name = attribute[len(xattrs.STREAM_PREFIX) :].decode("utf-8", "replace")
                    content = bytearray(self._get(node, attribute)[1:])
                    found[fold(name)] = self._stream_of(node, name, StreamBytes(attribute, content))
            private.streams = found
        return private.streams

    def _stream_of(self, node: Node, name: str, content: StreamBytes) -> Stream:
        size = len(content.content)
        return Stream(node, name, size, size, -(-size // 8) * 8, content)

    def streams(self, node: Node) -> list[Stream]:
        named = self._named(node)
        default = [node.data] if node.data is not None else []
        return default + [named[key] for key in sorted(named)]

    def stream(self, node: Node, name: str) -> Stream | None:
        return node.data if not name else self._named(node).get(fold(name))

    def make_stream(self, node: Node, name: str) -> Stream:
        attribute = xattrs.STREAM_PREFIX + name.encode("utf-8", "surrogatepass")
        stream = self._stream_of(node, name, StreamBytes(attribute, bytearray()))
        self._named(node)[fold(name)] = stream
        self._write_back(stream)
        return stream

    def remove_stream(self, stream: Stream) -> None:
        private = private_of(stream.node)
        content = stream.private
        assert isinstance(content, StreamBytes)
        self._named(stream.node).pop(fold(stream.name), None)
        self._put(private, self._target(private), content.attribute, b"")
        content.dirty = False
        content.attribute = b""

    def rename_stream(self, stream: Stream, name: str) -> None:
        named = self._named(stream.node)
        content = stream.private
        assert isinstance(content, StreamBytes)
        replaced = named.get(fold(name))
        if replaced is not None and replaced is not stream:
            self.remove_stream(replaced)
        private = private_of(stream.node)
        named.pop(fold(stream.name), None)
        self._put(private, self._target(private), content.attribute, b"")
        content.attribute = xattrs.STREAM_PREFIX + name.encode("utf-8", "surrogatepass")
        stream.name = name
        named[fold(name)] = stream
        self._write_back(stream)
