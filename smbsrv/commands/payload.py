"""How much a request may ask for. Source: [MS-SMB2] 3.3.5.2.5 Verifying the Credit Charge and the Payload
Size; 3.3.5.15 Receiving an SMB2 IOCTL Request, 3.3.5.18, 3.3.5.20 and their kin: OutputBufferLength against
Connection.MaxTransactSize."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smbproto.status import Status, StatusError

if TYPE_CHECKING:
    from smbsrv.request import Request

CREDIT_BYTES = 65536


def check_payload(request: Request, response_bytes: int, request_bytes: int = 0) -> None:
    """Raises: INVALID_PARAMETER if a payload is over MaxTransactSize, or the message's CreditCharge does not
    pay for it."""
    connection = request.connection
    largest = response_bytes if response_bytes > request_bytes else request_bytes
    if largest > connection.max_transact_size:
        raise StatusError(
            Status.INVALID_PARAMETER, f"{largest} bytes are over the {connection.max_transact_size} agreed on"
        )
    # max(1, (max(send, expected) - 1) / 65536 + 1); a CreditCharge of 0 counts as 1
    charge = (
        (largest - 1) // CREDIT_BYTES + 1
        if largest > CREDIT_BYTES and connection.supports_multi_credit
        else 1
    )
    if charge > (request.credit_charge or 1):
        raise StatusError(
            Status.INVALID_PARAMETER, f"{request.credit_charge} credits do not pay for {largest} bytes"
        )
