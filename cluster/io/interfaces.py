"""Addresses and speeds of this host's network interfaces, for clients that want several channels.

Only addresses that the server listens on are told. Source: [MS-SMB2] 3.3.5.15.11 Handling a Query Network
Interface Request.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Sequence
from pathlib import Path

from pyroute2 import IPRoute

from smbsrv.server import NetworkInterface

log = logging.getLogger("sofs.interfaces")

LOOPBACK_SPEED_BPS = 10_000_000_000
UNKNOWN_SPEED_BPS = 1_000_000_000
INTERFACES_MAX = 64
WILDCARDS = ("0.0.0.0", "::")


def host_interfaces(bind: Sequence[str]) -> tuple[NetworkInterface, ...]:
    """Every address of an interface that is up and among `bind` (a wildcard stands for all but loopback and
    link-local)."""
    everything = any(address in WILDCARDS for address in bind)
    found: list[NetworkInterface] = []
    try:
        with IPRoute() as netlink:
            links = {
                link["index"]: link.get_attr("IFLA_IFNAME")
                for link in netlink.get_links()
                if link["state"] == "up"
            }
            addresses = [
                (a["index"], a.get_attr("IFA_ADDRESS")) for a in netlink.get_addr() if a["index"] in links
            ]
    except OSError as error:
        log.warning("the host's interfaces cannot be listed, clients will use one channel: %s", error)
        return ()
    for index, text in addresses:
        address = ipaddress.ip_address(text)
        listed = text in bind or (everything and not address.is_loopback and not address.is_link_local)
        if listed and len(found) < INTERFACES_MAX:
            speed = LOOPBACK_SPEED_BPS if address.is_loopback else _speed(links[index])
            found.append(NetworkInterface(index, text, speed))
    return tuple(found)


def _speed(name: str) -> int:
    """Bits per second, as the driver tells; a guess where it does not."""
    try:
        megabits = int(Path("/sys/class/net", name, "speed").read_text())
    except (OSError, ValueError):
        return UNKNOWN_SPEED_BPS
    return megabits * 1_000_000 if megabits > 0 else UNKNOWN_SPEED_BPS
