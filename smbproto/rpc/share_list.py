"""NetrShareEnum as a client sends and reads it: names, kinds and remarks of a server's shares.

Source: [MS-SRVS] 3.1.4.8 NetrShareEnum (Opnum 15); 2.2.4.23 SHARE_INFO_1; 2.2.2.4 Share Types.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from impacket.dcerpc.v5 import srvs
from impacket.dcerpc.v5.dtypes import NULL

from smbproto.errors import WireError
from smbproto.rpc.limits import ENTRIES_MAX, RESPONSE_BYTES_MAX
from smbproto.rpc.service import interface

__all__ = ["NETR_SHARE_ENUM", "SRVSVC", "ShareInfo", "decode_shares_untrusted", "encode_share_enum"]

SRVSVC: Final = interface("4b324fc8-1670-01d3-1278-5a47bf6ee188", 3)
NETR_SHARE_ENUM: Final = 15

STYPE_SPECIAL: Final = 0x80000000
STYPE_MASK: Final = 0x0FFFFFFF
_KINDS = {0: "disk", 1: "printer", 2: "device", 3: "pipe"}


class ShareInfo(NamedTuple):
    """One share. `kind`: disk, printer, device, pipe."""

    name: str
    kind: str
    remark: str
    is_special: bool  # for administration, such as IPC$


def encode_share_enum(server: str) -> bytes:
    """The stub data of a request for all shares, level 1."""
    request = srvs.NetrShareEnum()
    request["ServerName"] = f"\\\\{server}\0"
    request["PreferedMaximumLength"] = RESPONSE_BYTES_MAX // 2
    request["ResumeHandle"] = NULL
    request["InfoStruct"]["ShareInfo"]["tag"] = 1
    request["InfoStruct"]["ShareInfo"]["Level1"]["Buffer"] = NULL
    request["InfoStruct"]["Level"] = 1
    return bytes(request.getData())


def decode_shares_untrusted(stub: bytes) -> list[ShareInfo]:
    """Raises: WireError, also if the server answers with an error."""
    try:
        response: Any = srvs.NetrShareEnumResponse(stub)
        error = int(response["ErrorCode"])
        found = response["InfoStruct"]["ShareInfo"]["Level1"]["Buffer"] if not error else []
        shares = [_share(entry) for entry in list(found)[:ENTRIES_MAX]]
    except Exception as problem:  # whatever impacket makes of bytes that are no such structure
        raise WireError(f"NetrShareEnum's answer is broken: {problem}") from problem
    if error:
        raise WireError(f"NetrShareEnum failed with error {error}")
    return shares


def _share(entry: Any) -> ShareInfo:
    kind = int(entry["shi1_type"])
    return ShareInfo(
        str(entry["shi1_netname"]).rstrip("\0"),
        _KINDS.get(kind & STYPE_MASK, "other"),
        str(entry["shi1_remark"]).rstrip("\0"),
        bool(kind & STYPE_SPECIAL),
    )
