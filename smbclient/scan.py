"""Listing a directory: the first part comes with the open, in one round trip; later parts are as large as
allowed.

Source: [MS-SMB2] 3.2.4.17 Application Requests Enumerating a Directory; [MS-FSCC] 2.4.24
FileIdFullDirectoryInformation.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from smbclient.errors import error_of
from smbclient.names import join, normalize, wire_path
from smbclient.stat import DirEntry, StatResult
from smbclient.tree import INFO_BYTES, SHARE_ALL, Tree
from smbproto import dtyp, fscc
from smbproto.codec import RELATED_FILE_ID, FileId
from smbproto.endpoint.window import credit_charge
from smbproto.fscc.directory import decode_directory_untrusted
from smbproto.smb2.close import CloseRequest
from smbproto.smb2.create import CreateRequest
from smbproto.smb2.header import Command
from smbproto.smb2.query_directory import QueryDirectoryRequest, QueryDirectoryResponse
from smbproto.status import Status

__all__ = ["scan"]

PART_BYTES = 256 * 1024
INFO_CLASS = fscc.FILE_ID_FULL_DIRECTORY_INFORMATION
ENDS = (Status.NO_MORE_FILES, Status.NO_SUCH_FILE)


async def scan(tree: Tree, path: str, pattern: str) -> AsyncGenerator[DirEntry, None]:
    """See `Tree.scandir`."""
    doing = f"listing {path!r}"

    create = CreateRequest(
        desired_access=dtyp.FILE_LIST_DIRECTORY | dtyp.FILE_READ_ATTRIBUTES | dtyp.SYNCHRONIZE,
        share_access=SHARE_ALL,
        create_disposition=fscc.FILE_OPEN,
        create_options=fscc.FILE_DIRECTORY_FILE,
        name=wire_path(path),
    )
    first = (Command.QUERY_DIRECTORY, _request(RELATED_FILE_ID, pattern, INFO_BYTES))
    opened, [(status, message)] = await tree.chain(create, [first], doing, close=False)
    directory = normalize(path)
    try:
        while status == Status.SUCCESS:
            output = QueryDirectoryResponse.decode_untrusted(message).output
            for entry in decode_directory_untrusted(INFO_CLASS, output):
                if entry.file_name not in (".", ".."):
                    yield DirEntry(
                        entry.file_name, join(directory, entry.file_name), StatResult.of_entry(entry)
                    )
            room = tree.info_bytes(PART_BYTES)
            reply = await tree.channel.submit(
                Command.QUERY_DIRECTORY,
                _request(opened.file_id, pattern, room).encode(),
                tree_id=tree.tree_id,
                sealed=tree.sealed,
                charge=credit_charge(room),
            )
            status, message = await reply.wait()
        if status not in ENDS:
            raise error_of(status, message, doing)
    finally:
        close = CloseRequest(file_id=opened.file_id)
        await tree.call(Command.CLOSE, close, f"closing {path!r}", also=(Status.FILE_CLOSED,))


def _request(file_id: FileId, pattern: str, room_bytes: int) -> QueryDirectoryRequest:
    return QueryDirectoryRequest(
        file_information_class=INFO_CLASS, file_id=file_id, file_name=pattern, output_buffer_length=room_bytes
    )
