"""The client's end of one RPC association on one pipe, sans I/O: a bind, then calls one after another.

    NEW --bind()/bound()--> BOUND --request()/response() ...--> BOUND

Source: [C706] 12.6 Connection-oriented RPC PDUs; [MS-RPCE] 3.3.2 Client Details. No authentication at the
RPC level: the pipe's session has authenticated the user.
"""

from __future__ import annotations

from struct import Struct

from smbproto.errors import WireError
from smbproto.rpc import pdu
from smbproto.rpc.limits import FRAGMENT_BYTES_MAX, REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX
from smbproto.rpc.pdu import NDR, Syntax

__all__ = ["Caller", "RpcFault"]

_BIND = Struct("<HHIB3xHBx16sI16sI")
_REQUEST = Struct("<IHH")
_RESPONSE_BYTES = 8
_RESULT_BYTES = 24
_WHOLE = pdu.PFC_FIRST_FRAG | pdu.PFC_LAST_FRAG


class RpcFault(Exception):
    """The server answered a call with a fault."""

    def __init__(self, status: int) -> None:
        super().__init__(f"RPC fault {status:#010x}")
        self.status = status


class Caller:
    """`interface` is what is bound."""

    def __init__(self, interface: Syntax) -> None:
        self._interface = interface
        self._call_id = 0
        self._stub = bytearray()

    def bind(self) -> bytes:
        """The bind, to be sent."""
        self._call_id += 1
        body = _BIND.pack(
            FRAGMENT_BYTES_MAX, FRAGMENT_BYTES_MAX, 0, 1, 0, 1,
            self._interface.uuid.bytes_le, self._interface.version, NDR.uuid.bytes_le, NDR.version,
        )  # fmt: skip
        return pdu.encode(pdu.BIND, _WHOLE, self._call_id, body)

    def bound(self, answer: bytes) -> None:
        """The server's answer to the bind. Raises: WireError, also for a refusal."""
        header = self._header(answer)
        if header.kind != pdu.BIND_ACK:
            raise WireError(f"the bind was answered with PDU type {header.kind}")
        at = pdu.HEADER_BYTES + 8
        name_bytes = int.from_bytes(answer[at : at + 2], "little")
        at += 2 + name_bytes
        at += -at % 4 + 4
        if len(answer) < at + _RESULT_BYTES or answer[at : at + 2] != bytes(2):
            raise WireError("the server does not offer this RPC interface")

    def request(self, operation: int, stub: bytes) -> list[bytes]:
        """The fragments of a call, to be sent one after another."""
        assert len(stub) <= REQUEST_BYTES_MAX
        self._call_id += 1
        self._stub = bytearray()
        room = (FRAGMENT_BYTES_MAX - pdu.HEADER_BYTES - _REQUEST.size) & ~7
        fragments = []
        for at in range(0, max(len(stub), 1), room):
            flags = (pdu.PFC_FIRST_FRAG if at == 0 else 0) | (
                pdu.PFC_LAST_FRAG if at + room >= len(stub) else 0
            )
            body = _REQUEST.pack(len(stub) - at, 0, operation) + stub[at : at + room]
            fragments.append(pdu.encode(pdu.REQUEST, flags, self._call_id, body))
        return fragments

    def response(self, fragment: bytes) -> bytes | None:
        """One fragment of the answer; the whole stub data with the last. Raises: WireError, RpcFault."""
        header = self._header(fragment)
        start = pdu.HEADER_BYTES + _RESPONSE_BYTES
        if header.kind == pdu.FAULT and len(fragment) >= start + 4:
            raise RpcFault(int.from_bytes(fragment[start : start + 4], "little"))
        if header.kind != pdu.RESPONSE or header.auth_bytes or len(fragment) < start:
            raise WireError(f"a call was answered with PDU type {header.kind}")
        self._stub += fragment[start : header.fragment_bytes]
        if len(self._stub) > RESPONSE_BYTES_MAX:
            raise WireError(f"an answer of more than {RESPONSE_BYTES_MAX} bytes")
        return bytes(self._stub) if header.flags & pdu.PFC_LAST_FRAG else None

    def _header(self, fragment: bytes) -> pdu.Header:
        header = pdu.decode_header_untrusted(fragment)
        if header.call_id != self._call_id or header.fragment_bytes > len(fragment):
            raise WireError(
                f"a fragment of call {header.call_id}, {len(fragment)} of {header.fragment_bytes} bytes"
            )
        return header
