"""Remote procedure calls over a named pipe of IPC$, and what the client asks by them: the list of shares.

Source: [MS-RPCE] 2.1.1.2 SMB (NCACN_NP); [MS-SMB2] 3.2.4.20 FSCTL_PIPE_TRANSCEIVE; [MS-SRVS] 3.1.4.8
NetrShareEnum.
"""

from __future__ import annotations

from smbclient.file import File
from smbclient.session import Session
from smbproto import dtyp, fscc
from smbproto.errors import WireError
from smbproto.rpc import pdu
from smbproto.rpc.caller import Caller, RpcFault
from smbproto.rpc.limits import FRAGMENT_BYTES_MAX
from smbproto.rpc.share_list import (
    NETR_SHARE_ENUM,
    SRVSVC,
    ShareInfo,
    decode_shares_untrusted,
    encode_share_enum,
)
from smbproto.status import Status, StatusError

__all__ = ["list_shares"]

FRAGMENTS_MAX = 4096


async def list_shares(session: Session) -> list[ShareInfo]:
    """All shares that the server tells us of. Raises: StatusError."""
    try:
        stub = await _call(
            session, "srvsvc", Caller(SRVSVC), NETR_SHARE_ENUM, encode_share_enum(session.host)
        )
        return decode_shares_untrusted(stub)
    except (WireError, RpcFault) as error:
        raise StatusError(Status.UNEXPECTED_NETWORK_ERROR, f"listing the shares: {error}") from error


async def _call(session: Session, pipe: str, caller: Caller, operation: int, stub: bytes) -> bytes:
    """Open the pipe, bind, call once, close. Raises: StatusError, WireError, RpcFault."""
    tree = await session.tree("IPC$")
    access = dtyp.FILE_GENERIC_READ | dtyp.FILE_GENERIC_WRITE
    async with await tree.create(pipe, access=access) as file:
        caller.bound(await _transceive(file, caller.bind()))
        *first, last = caller.request(operation, stub)
        for fragment in first:
            await file.write_at(0, fragment)
        answer = await _transceive(file, last)
        for _ in range(FRAGMENTS_MAX):
            done = caller.response(answer)
            if done is not None:
                return done
            answer = await _whole(file, await file.read_at(0, FRAGMENT_BYTES_MAX))
    raise WireError(f"an answer of more than {FRAGMENTS_MAX} fragments")


async def _transceive(file: File, data: bytes) -> bytes:
    also = (Status.BUFFER_OVERFLOW,)
    output = await file.ioctl(fscc.FSCTL_PIPE_TRANSCEIVE, data, room_bytes=FRAGMENT_BYTES_MAX, also=also)
    return await _whole(file, output)


async def _whole(file: File, data: bytes) -> bytes:
    """The fragment that begins with `data`, with what of it is still in the pipe."""
    header = pdu.decode_header_untrusted(data)
    while len(data) < header.fragment_bytes:
        more = await file.read_at(0, header.fragment_bytes - len(data))
        if not more:
            raise WireError(f"a fragment ends after {len(data)} of {header.fragment_bytes} bytes")
        data += more
    return data
