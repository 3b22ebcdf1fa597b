"""FSCTL_LMR_REQUEST_RESILIENCY: keep this open for a while after its client's loss, whatever it caches.

Source: [MS-SMB2] 3.3.5.15.9 Handling a Resiliency Request; 2.2.31.3 NETWORK_RESILIENCY_REQUEST Request. The
client takes it up again with DHnC (3.3.5.9.7)."""

from __future__ import annotations

from smbproto.fscc.fsctl import NetworkResiliencyInput
from smbproto.status import Status, StatusError
from smbsrv.commands.lock import LOCK_SEQUENCE_BUCKETS
from smbsrv.fsctl.call import Call, Outcome

DIALECT_2_1 = 0x0210
RESILIENCY_DEFAULT_MS = 120_000
RESILIENCY_MAX_MS = 300_000
"""[MS-SMB2] 3.3.3 Initialization, MaxResiliencyTimeout: what Windows has."""


async def run(call: Call) -> Outcome:
    """Raises: INVALID_DEVICE_REQUEST below SMB 2.1; INVALID_PARAMETER for a malformed request, a directory,
    or too long a time."""
    if call.request.connection.dialect < DIALECT_2_1:
        raise StatusError(Status.INVALID_DEVICE_REQUEST, "resiliency came with SMB 2.1")
    asked_ms = call.decode(NetworkResiliencyInput).timeout_ms
    if asked_ms > RESILIENCY_MAX_MS:
        raise StatusError(Status.INVALID_PARAMETER, f"{asked_ms} ms are over {RESILIENCY_MAX_MS}")
    opened = call.opened
    assert opened is not None
    timeout_ms = asked_ms or RESILIENCY_DEFAULT_MS
    call.file.volume.make_resilient(call.file, timeout_ms)
    opened.is_durable = False
    opened.is_resilient = True
    opened.resilient_timeout_ms = timeout_ms
    opened.lock_sequence = [-1] * LOCK_SEQUENCE_BUCKETS
    return Outcome()
