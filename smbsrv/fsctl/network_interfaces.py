"""FSCTL_QUERY_NETWORK_INTERFACE_INFO: where further channels may be opened to.

Source: [MS-SMB2] 3.3.5.15.11 Handling a Query Network Interface Request; 2.2.32.5 NETWORK_INTERFACE_INFO
Response. The list is configuration (`ServerConfig.interfaces`); the node fills it from the host where the
administrator gave none."""

from __future__ import annotations

from ipaddress import ip_address

from smbproto.fscc.fsctl import RDMA_CAPABLE, RSS_CAPABLE, NetworkInterface, encode_interfaces
from smbproto.status import Status, StatusError
from smbsrv.fsctl.call import Call, Outcome

DIALECT_3_0 = 0x0300


async def run(call: Call) -> Outcome:
    """Raises: INVALID_DEVICE_REQUEST below SMB 3.0, NOT_SUPPORTED without multichannel, BUFFER_TOO_SMALL."""
    if call.request.connection.dialect < DIALECT_3_0:
        raise StatusError(Status.INVALID_DEVICE_REQUEST, "interfaces are told from SMB 3.0 on")
    config = call.request.server.config
    if not config.multichannel or not config.interfaces:
        raise StatusError(Status.NOT_SUPPORTED, "no interfaces are told")
    output = encode_interfaces(
        NetworkInterface(
            one.index,
            ip_address(one.address),
            (RSS_CAPABLE if one.is_rss else 0) | (RDMA_CAPABLE if one.is_rdma else 0),
            one.link_speed_bps,
        )
        for one in config.interfaces
    )
    call.need_output(len(output))
    return Outcome(output)
