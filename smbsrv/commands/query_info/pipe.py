"""QUERY_INFO of a named pipe. Source: [MS-SMB2] 3.3.5.20.1 Handling SMB2_0_INFO_FILE; [MS-FSCC] 2.4.37
FilePipeInformation, 2.4.38 FilePipeLocalInformation, 2.4.47 FileStandardInformation (for a pipe,
DeletePending is set: Windows, seen in captures)."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from smbproto import fscc
from smbproto.fscc.file_info import FilePipeLocalInformation
from smbproto.status import Status, StatusError
from smbsrv.commands.query_info.result import Result

if TYPE_CHECKING:
    from smbsrv.open import Open

SMB2_0_INFO_FILE = 1
SMB2_0_INFO_FILESYSTEM = 2
PIPE_QUOTA_BYTES = 4096

_PIPE = Struct("<II")
_STANDARD = Struct("<QQIBB2x")
_DEVICE = Struct("<II")
_U32 = Struct("<I")


def query(opened: Open, info_type: int, info_class: int) -> Result:
    """Raises: NOT_SUPPORTED for what a pipe has not."""
    pipe = opened.pipe
    assert pipe is not None, "an open is of a file or of a pipe"
    if info_type == SMB2_0_INFO_FILE:
        if info_class == fscc.FILE_STANDARD_INFORMATION:
            return Result(_STANDARD.pack(PIPE_QUOTA_BYTES, 0, 1, 1, 0), 24)
        if info_class == fscc.FILE_PIPE_INFORMATION:
            return Result(_PIPE.pack(fscc.FILE_PIPE_MESSAGE_MODE, fscc.FILE_PIPE_QUEUE_OPERATION), 8)
        if info_class == fscc.FILE_PIPE_LOCAL_INFORMATION:
            _, waiting = pipe.peek()
            data = FilePipeLocalInformation(
                named_pipe_type=fscc.FILE_PIPE_MESSAGE_TYPE,
                named_pipe_configuration=fscc.FILE_PIPE_FULL_DUPLEX,
                maximum_instances=0xFFFFFFFF,
                current_instances=1,
                inbound_quota=PIPE_QUOTA_BYTES,
                read_data_available=waiting,
                outbound_quota=PIPE_QUOTA_BYTES,
                write_quota_available=PIPE_QUOTA_BYTES,
                named_pipe_state=fscc.FILE_PIPE_CONNECTED_STATE,
                named_pipe_end=fscc.FILE_PIPE_CLIENT_END,
            ).encode()
            return Result(data, 40)
        if info_class == fscc.FILE_NAME_INFORMATION:
            text = f"\\{pipe.name}".encode("utf-16-le")
            return Result(_U32.pack(len(text)) + text, 4)
    if info_type == SMB2_0_INFO_FILESYSTEM and info_class == fscc.FILE_FS_DEVICE_INFORMATION:
        return Result(_DEVICE.pack(fscc.FILE_DEVICE_NAMED_PIPE, fscc.FILE_DEVICE_IS_MOUNTED), 8)
    raise StatusError(Status.NOT_SUPPORTED, f"information {info_type}/{info_class} of a pipe")
