"""One RPC association on one pipe: bytes of the client in, fragments for the client out.

      bind                request ... (fragments)        anything malformed
   NEW ----> BOUND --------------------------------> BOUND ----------------> BROKEN
              ^ | alter_context                        | last fragment: response, or fault
              +-+                                      v

Sources: [C706] 12.6 Connection-oriented RPC PDUs; [MS-RPCE] 3.3.3 Server Details. Authentication at the RPC
level is refused (bind_nak): the pipe's session has authenticated the user already.
Owner: the pipe (`smbsrv/pipes`). No I/O.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from smbproto.errors import WireError
from smbproto.rpc import pdu
from smbproto.rpc.limits import CONTEXTS_MAX, FRAGMENT_BYTES_MAX, FRAGMENT_BYTES_MIN, REQUEST_BYTES_MAX
from smbproto.rpc.pdu import NDR, NO_SYNTAX, Context, Header, Result
from smbproto.rpc.service import Fault

if TYPE_CHECKING:
    from smbproto.rpc.service import Service


class Association:
    """`services`: what may be bound, each with state of its own for this association."""

    def __init__(self, pipe_name: str, services: Sequence[Service]) -> None:
        self.pipe_name = pipe_name
        self._services: Mapping[object, Service] = {one.syntax.uuid: one for one in services}
        self._contexts: dict[int, Service] = {}
        self._buffer = bytearray()
        self._is_bound = False
        self._fragment_max = FRAGMENT_BYTES_MAX
        self._call: tuple[int, int, int] | None = None
        """(call id, context id, operation) of a request whose last fragment is not there yet."""
        self._stub = bytearray()

    def receive(self, data: bytes | bytearray | memoryview) -> list[bytes]:
        """What to answer, fragment by fragment. Raises: WireError; the association is of no use then."""
        self._buffer += data
        out: list[bytes] = []
        while len(self._buffer) >= pdu.HEADER_BYTES:
            header = pdu.decode_header_untrusted(self._buffer)
            if header.fragment_bytes > FRAGMENT_BYTES_MAX + 1600:
                raise WireError(f"a fragment of {header.fragment_bytes} bytes")
            if len(self._buffer) < header.fragment_bytes:
                break
            body = bytes(self._buffer[pdu.HEADER_BYTES : header.fragment_bytes])
            del self._buffer[: header.fragment_bytes]
            out += self._handle(header, body)
        return out

    def _handle(self, header: Header, body: bytes) -> list[bytes]:
        kind = header.kind
        if kind in (pdu.BIND, pdu.ALTER_CONTEXT):
            return [self._bind(header, body)]
        if kind == pdu.REQUEST:
            return self._request(header, body)
        if kind in (pdu.CO_CANCEL, pdu.ORPHANED):
            self._call = None
            self._stub.clear()
            return []
        if kind == pdu.AUTH3:
            return []
        raise WireError(f"RPC PDU of type {kind} from a client")

    # binding

    def _bind(self, header: Header, body: bytes) -> bytes:
        if header.auth_bytes:
            return pdu.encode_bind_nak(header.call_id, pdu.AUTHENTICATION_TYPE_NOT_RECOGNIZED)
        if header.kind == pdu.ALTER_CONTEXT and not self._is_bound:
            return pdu.encode_fault(header.call_id, 0, pdu.FAULT_PROTOCOL)
        asked = pdu.decode_bind_untrusted(body)
        if not self._is_bound:
            self._is_bound = True
            offered = min(asked.receive_max or FRAGMENT_BYTES_MAX, FRAGMENT_BYTES_MAX)
            self._fragment_max = max(offered, FRAGMENT_BYTES_MIN)
        results = [self._accept(context) for context in asked.contexts]
        is_bind = header.kind == pdu.BIND
        return pdu.encode_bind_ack(
            pdu.BIND_ACK if is_bind else pdu.ALTER_CONTEXT_RESP,
            header.call_id,
            self._fragment_max,
            asked.group or 0x53F0,
            f"\\PIPE\\{self.pipe_name}" if is_bind else "",
            results,
        )

    def _accept(self, context: Context) -> Result:
        for transfer in context.transfers:
            if str(transfer.uuid).startswith(pdu.BIND_TIME_FEATURES):
                return Result(pdu.NEGOTIATE_ACK, 0, NO_SYNTAX)
        service = self._services.get(context.interface.uuid)
        if service is None or service.syntax.version != context.interface.version:
            return Result(pdu.PROVIDER_REJECTION, pdu.ABSTRACT_SYNTAX_NOT_SUPPORTED, NO_SYNTAX)
        if NDR not in context.transfers:
            return Result(pdu.PROVIDER_REJECTION, pdu.TRANSFER_SYNTAXES_NOT_SUPPORTED, NO_SYNTAX)
        if context.id not in self._contexts and len(self._contexts) >= CONTEXTS_MAX:
            return Result(pdu.PROVIDER_REJECTION, 0, NO_SYNTAX)
        self._contexts[context.id] = service
        return Result(pdu.ACCEPTANCE, 0, NDR)

    # calls

    def _request(self, header: Header, body: bytes) -> list[bytes]:
        if header.auth_bytes:
            body = body[: len(body) - header.auth_bytes - 8]
        context_id, operation, stub = pdu.decode_request_untrusted(body, header.flags)
        if header.flags & pdu.PFC_FIRST_FRAG:
            self._call = (header.call_id, context_id, operation)
            self._stub.clear()
        elif self._call != (header.call_id, context_id, operation):
            self._call = None
            return [pdu.encode_fault(header.call_id, context_id, pdu.FAULT_PROTOCOL)]
        if len(self._stub) + len(stub) > REQUEST_BYTES_MAX:
            raise WireError(f"a request of more than {REQUEST_BYTES_MAX} bytes")
        self._stub += stub
        if not header.flags & pdu.PFC_LAST_FRAG:
            return []
        whole = bytes(self._stub)
        self._stub.clear()
        self._call = None
        return self._call_service(header.call_id, context_id, operation, whole)

    def _call_service(self, call_id: int, context_id: int, operation: int, stub: bytes) -> list[bytes]:
        service = self._contexts.get(context_id)
        if service is None:
            return [pdu.encode_fault(call_id, context_id, pdu.FAULT_UNKNOWN_INTERFACE)]
        try:
            answer = service.call(operation, stub)
        except Fault as fault:
            return [pdu.encode_fault(call_id, context_id, fault.status)]
        return pdu.encode_response(call_id, context_id, answer, self._fragment_max)
