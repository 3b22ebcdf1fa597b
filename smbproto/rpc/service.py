"""What an RPC service is: an interface, and operations by number, each from a decoded request to a response.

Source: [C706] 12.6 (operation numbers); [MS-RPCE] 2.2.4 (NDR). Both sides of an operation are impacket's NDR
structures. impacket's reader is not made for strangers: whatever it raises on bad input means bad stub data,
and nothing else does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any, Protocol
from uuid import UUID

from smbproto.rpc import pdu
from smbproto.rpc.limits import HANDLES_MAX, RESPONSE_BYTES_MAX

# impacket logs each field of a stranger's request that it cannot read; the fault says enough.
logging.getLogger("impacket").setLevel(logging.CRITICAL + 1)

_HANDLE = Struct("<IQQ")  # attributes, then a UUID's 16 bytes: a counter and the table's mark


class Fault(Exception):
    """The call ends with a fault PDU of this status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"fault {status:#010x}")
        self.status = status


class Service(Protocol):
    """One interface, bound on one association."""

    @property
    def syntax(self) -> pdu.Syntax: ...
    def call(self, operation: int, stub: bytes) -> bytes:
        """The response's stub data. Raises: Fault."""
        ...


Operation = tuple[type[Any], Callable[[Any], Any]]
"""impacket's request class, and what answers it with a response structure."""


class NdrService:
    """A service of operations declared in `operations`."""

    syntax: pdu.Syntax

    def __init__(self) -> None:
        self.operations: Mapping[int, Operation] = {}

    def call(self, operation: int, stub: bytes) -> bytes:
        known = self.operations.get(operation)
        if known is None:
            raise Fault(pdu.FAULT_OP_RANGE)
        layout, answer = known
        request = decode_untrusted(layout, stub)
        try:
            response = answer(request)
        except UnicodeDecodeError as error:  # impacket reads strings when they are asked for
            raise Fault(pdu.FAULT_BAD_STUB_DATA) from error
        data: bytes = response.getData()
        if len(data) > RESPONSE_BYTES_MAX:
            raise Fault(pdu.FAULT_ACCESS_DENIED)
        return data


def decode_untrusted(layout: type[Any], stub: bytes) -> Any:
    """The request. Raises: Fault BAD_STUB_DATA."""
    try:
        return layout(stub)
    except (MemoryError, RecursionError) as error:
        raise Fault(pdu.FAULT_BAD_STUB_DATA) from error
    except Exception as error:  # impacket raises anything from struct.error to plain Exception
        raise Fault(pdu.FAULT_BAD_STUB_DATA) from error


class Anything:
    """The layout of a request whose content makes no difference."""

    def __init__(self, stub: bytes) -> None:
        self.size_bytes = len(stub)


def text(value: Any) -> str:
    """A string of a request, without its NUL; "" for a null pointer."""
    if isinstance(value, str):
        return value.rstrip("\0")
    if isinstance(value, bytes):
        return value.decode("utf-16-le", "replace").rstrip("\0") if value else ""
    return ""


class Handles:
    """Context handles of one service on one association."""

    def __init__(self) -> None:
        self._open: dict[int, object] = {}
        self._next = 1

    def add(self, value: object) -> bytes:
        """A new handle. Raises: Fault when there are too many."""
        if len(self._open) >= HANDLES_MAX:
            raise Fault(pdu.FAULT_ACCESS_DENIED)
        number, self._next = self._next, self._next + 1
        self._open[number] = value
        return _HANDLE.pack(0, number, 0x53464F53)

    def find(self, handle: Any) -> object | None:
        """What the handle stands for; None if it is none of ours."""
        number = _number(handle)
        return None if number is None else self._open.get(number)

    def close(self, handle: Any) -> bool:
        number = _number(handle)
        return number is not None and self._open.pop(number, None) is not None


def _number(handle: Any) -> int | None:
    data = bytes(handle)
    if len(data) != _HANDLE.size:
        return None
    _, number, mark = _HANDLE.unpack(data)
    return number if mark == 0x53464F53 else None


def interface(uuid: str, version: int) -> pdu.Syntax:
    return pdu.Syntax(UUID(uuid), version)
