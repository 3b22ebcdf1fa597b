"""A path that knows its share: the habits of `pathlib`, with `await`.

root = SmbPath(tree)
async for found in (root / "folder").iterdir(): ...
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from smbclient.names import join, normalize, parent_of
from smbclient.stat import StatResult
from smbclient.tree import Tree

if TYPE_CHECKING:
    from smbclient.file import File

__all__ = ["SmbPath"]


class SmbPath:
    """A file or directory of a share, there or not."""

    __slots__ = ("path", "tree")

    def __init__(self, tree: Tree, path: str = "") -> None:
        self.tree = tree
        self.path = normalize(path)

    def __truediv__(self, other: str) -> SmbPath:
        return SmbPath(self.tree, join(self.path, other))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SmbPath) and (self.tree, self.path) == (other.tree, other.path)

    def __hash__(self) -> int:
        return hash((id(self.tree), self.path))

    def __str__(self) -> str:
        return self.path

    def __repr__(self) -> str:
        return f"SmbPath({self.tree.share!r}, {self.path!r})"

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name

    @property
    def stem(self) -> str:
        return PurePosixPath(self.path).stem

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.path).suffix

    @property
    def parent(self) -> SmbPath:
        """The root of the share is its own parent."""
        return SmbPath(self.tree, parent_of(self.path))

    def with_name(self, name: str) -> SmbPath:
        return self.parent / name

    async def stat(self, *, follow_symlinks: bool = True) -> StatResult:
        return await self.tree.stat(self.path, follow_symlinks=follow_symlinks)

    async def exists(self) -> bool:
        return await self.tree.exists(self.path)

    async def is_dir(self) -> bool:
        return await self.tree.is_dir(self.path)

    async def is_file(self) -> bool:
        return await self.tree.is_file(self.path)

    async def iterdir(self) -> AsyncIterator[SmbPath]:
        async for entry in self.tree.scandir(self.path):
            yield SmbPath(self.tree, entry.path)

    async def open(self, mode: str = "rb") -> File:
        return await self.tree.open(self.path, mode)

    async def read_bytes(self) -> bytes:
        return await self.tree.read_bytes(self.path)

    async def write_bytes(self, data: bytes) -> int:
        return await self.tree.write_bytes(self.path, data)

    async def read_text(self, encoding: str = "utf-8") -> str:
        return (await self.read_bytes()).decode(encoding)

    async def write_text(self, text: str, encoding: str = "utf-8") -> int:
        return await self.write_bytes(text.encode(encoding))

    async def mkdir(self, *, parents: bool = False, exist_ok: bool = False) -> None:
        if parents or exist_ok:
            await self.tree.makedirs(self.path, exist_ok=exist_ok)
        else:
            await self.tree.mkdir(self.path)

    async def unlink(self) -> None:
        await self.tree.remove(self.path)

    async def rmdir(self) -> None:
        await self.tree.rmdir(self.path)

    async def rename(self, target: str | SmbPath) -> SmbPath:
        await self.tree.rename(self.path, str(target))
        return SmbPath(self.tree, str(target))

    async def replace(self, target: str | SmbPath) -> SmbPath:
        await self.tree.replace(self.path, str(target))
        return SmbPath(self.tree, str(target))
