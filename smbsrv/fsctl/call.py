"""What an FSCTL is given, and what it gives back. Source: [MS-SMB2] 3.3.5.15 Receiving an SMB2 IOCTL
Request."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from smbproto.codec import Message
from smbproto.errors import WireError
from smbproto.status import Status, StatusError

if TYPE_CHECKING:
    from smbsrv.open import Open
    from smbsrv.request import Request
    from storage.volume import File

M = TypeVar("M", bound=Message)


class Outcome(NamedTuple):
    """The output buffer. A `status` that is an error still carries it (SRV_COPYCHUNK tells its limits so)."""

    output: bytes = b""
    status: int = Status.SUCCESS


class Call:
    """One FSCTL. `opened` is None for those that concern no file."""

    __slots__ = ("code", "input", "opened", "output_max_bytes", "request")

    def __init__(self, request: Request, code: int, data: bytes, output_max_bytes: int) -> None:
        self.request = request
        self.code = code
        self.input = data
        self.output_max_bytes = output_max_bytes
        self.opened: Open | None = None

    @property
    def file(self) -> File:
        assert self.opened is not None and self.opened.file is not None, "the table says FILE"
        return self.opened.file

    def decode(self, layout: type[M]) -> M:
        """The input. Raises: INVALID_PARAMETER."""
        try:
            return layout.decode_untrusted(self.input)
        except WireError as error:
            raise StatusError(Status.INVALID_PARAMETER, str(error)) from None

    def need_output(self, size_bytes: int, status: Status = Status.BUFFER_TOO_SMALL) -> None:
        """Raises: `status` if MaxOutputResponse is below."""
        if self.output_max_bytes < size_bytes:
            raise StatusError(
                status, f"{self.output_max_bytes} bytes are asked for, the answer has {size_bytes}"
            )

    def need_access(self, any_of: int) -> None:
        """Raises: ACCESS_DENIED if the open has none of these rights."""
        if not self.file.granted_access & any_of:
            raise StatusError(Status.ACCESS_DENIED, f"FSCTL {self.code:#x} needs access {any_of:#x}")

    def need_file_data(self) -> None:
        """Raises: INVALID_PARAMETER for an open that has no data stream (a directory)."""
        if self.file.stream is None:
            raise StatusError(Status.INVALID_PARAMETER, f"FSCTL {self.code:#x} on a directory")
