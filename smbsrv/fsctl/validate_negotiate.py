"""FSCTL_VALIDATE_NEGOTIATE_INFO: whether somebody between us changed the negotiation.

Source: [MS-SMB2] 3.3.5.15.12 Handling a Validate Negotiate Info Request. Any difference ends the connection
without an answer, and so does the request itself with SMB 3.1.1, where preauthentication integrity has its
place."""

from __future__ import annotations

from smbproto.errors import ProtocolViolation, WireError
from smbproto.fscc.fsctl import ValidateNegotiate, ValidateNegotiateInput
from smbsrv.fsctl.call import Call, Outcome

DIALECT_3_1_1 = 0x0311
_OUTPUT_BYTES = 24


async def run(call: Call) -> Outcome:
    """Raises: ProtocolViolation, which ends the connection."""
    connection = call.request.connection
    if connection.dialect == DIALECT_3_1_1 or call.output_max_bytes < _OUTPUT_BYTES:
        raise ProtocolViolation(
            "VALIDATE_NEGOTIATE_INFO where it has no place, or without room for its answer"
        )
    try:
        said = ValidateNegotiateInput.decode_untrusted(call.input)
    except WireError as error:
        raise ProtocolViolation(f"VALIDATE_NEGOTIATE_INFO: {error}") from None
    common = set(said.dialects) & set(call.request.server.config.dialects)
    if (
        not common
        or max(common) != connection.dialect
        or said.guid != connection.client_guid
        or said.security_mode != connection.client_security_mode
        or said.capabilities != connection.client_capabilities
    ):
        raise ProtocolViolation("the negotiation was not what the client sent")
    output = ValidateNegotiate(
        capabilities=connection.server_capabilities,
        guid=call.request.server.config.guid,
        security_mode=connection.server_security_mode,
        dialect=connection.dialect,
    )
    return Outcome(output.encode())
