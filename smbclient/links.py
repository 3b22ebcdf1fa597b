"""Symbolic links as Windows and Linux clients make them: reparse points.

Source: [MS-FSCC] 2.1.2.4 Symbolic Link Reparse Data Buffer; 2.3.71 FSCTL_SET_REPARSE_POINT Request; 2.3.27
FSCTL_GET_REPARSE_POINT Request.
"""

from __future__ import annotations

from smbclient.tree import Tree
from smbproto import dtyp, fscc
from smbproto.fscc.reparse import (
    Link,
    decode_lx_symlink_untrusted,
    decode_mount_point_untrusted,
    decode_nfs_untrusted,
    decode_reparse_untrusted,
    decode_symlink_untrusted,
    encode_reparse,
    encode_symlink,
)
from smbproto.status import Status, StatusError

__all__ = ["make_symlink", "read_link"]

REPARSE_BYTES = 16384
_TO_SET = dtyp.FILE_WRITE_ATTRIBUTES | dtyp.FILE_WRITE_DATA | dtyp.DELETE | dtyp.SYNCHRONIZE


async def make_symlink(tree: Tree, target: str, path: str, *, directory: bool) -> None:
    """See `Tree.symlink`. If the link cannot be made, nothing is left behind."""
    wire = target.replace("/", "\\")
    relative = not wire.startswith("\\") and wire[1:2] != ":"
    substitute = wire if relative or wire.startswith("\\??\\") else "\\??\\" + wire
    flags = fscc.SYMLINK_FLAG_RELATIVE if relative else 0
    buffer = encode_reparse(encode_symlink(Link(substitute, wire, flags)))
    kind = fscc.FILE_DIRECTORY_FILE if directory else fscc.FILE_NON_DIRECTORY_FILE
    file = await tree.create(
        path,
        access=_TO_SET,
        disposition=fscc.FILE_CREATE,
        options=kind | fscc.FILE_OPEN_REPARSE_POINT,
    )
    async with file:
        try:
            await file.ioctl(fscc.FSCTL_SET_REPARSE_POINT, buffer, room_bytes=0)
        except StatusError:
            await file.set_info(fscc.FILE_DISPOSITION_INFORMATION, b"\1")
            raise


async def read_link(tree: Tree, path: str) -> str:
    """See `Tree.readlink`."""
    access = dtyp.FILE_READ_ATTRIBUTES | dtyp.SYNCHRONIZE
    async with await tree.create(path, access=access, options=fscc.FILE_OPEN_REPARSE_POINT) as file:
        output = await file.ioctl(fscc.FSCTL_GET_REPARSE_POINT, room_bytes=REPARSE_BYTES)
    point = decode_reparse_untrusted(output)
    if point.tag == fscc.IO_REPARSE_TAG_SYMLINK:
        target = decode_symlink_untrusted(point.data).substitute_name
    elif point.tag == fscc.IO_REPARSE_TAG_MOUNT_POINT:
        target = decode_mount_point_untrusted(point.data).substitute_name
    elif point.tag == fscc.IO_REPARSE_TAG_NFS:
        target = decode_nfs_untrusted(point.data).target
    elif point.tag == fscc.IO_REPARSE_TAG_LX_SYMLINK:
        target = decode_lx_symlink_untrusted(point.data)
    else:
        raise StatusError(Status.NOT_A_REPARSE_POINT, f"{path!r} has a reparse point of tag {point.tag:#x}")
    return target.removeprefix("\\??\\").replace("\\", "/")
