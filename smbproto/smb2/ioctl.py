"""[MS-SMB2] 2.2.31 SMB2 IOCTL Request; 2.2.32 SMB2 IOCTL Response. Payloads: `smbproto.fscc.fsctl`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from smbproto.codec import (
    BYTES,
    FileId,
    Message,
    Names,
    Pair,
    message,
    reserved2,
    reserved4,
    u32,
)
from smbproto.fscc.fsctl_codes import FSCTL_NAMES

SMB2_0_IOCTL_IS_FSCTL: Final = 0x00000001

CTL_CODES = Names(FSCTL_NAMES, flags=False)


@message(structure_size=57)
class IoctlRequest(Message):
    """[MS-SMB2] 2.2.31 SMB2 IOCTL Request."""

    reserved: ClassVar[reserved2]
    ctl_code: Annotated[u32, CTL_CODES]
    file_id: FileId
    input: Annotated[bytes, Pair("II", BYTES)] = b""
    max_input_response: u32 = 0
    output: Annotated[bytes, Pair("II", BYTES, align=8)] = b""
    max_output_response: u32 = 0
    flags: u32 = SMB2_0_IOCTL_IS_FSCTL
    reserved_2: ClassVar[reserved4]


@message(structure_size=49)
class IoctlResponse(Message):
    """[MS-SMB2] 2.2.32 SMB2 IOCTL Response."""

    reserved: ClassVar[reserved2]
    ctl_code: Annotated[u32, CTL_CODES]
    file_id: FileId
    input: Annotated[bytes, Pair("II", BYTES, points_when_empty=True)] = b""
    output: Annotated[bytes, Pair("II", BYTES, align=8, points_when_empty=True)] = b""
    flags: u32 = 0
    reserved_2: ClassVar[reserved4]
