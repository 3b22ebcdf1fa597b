"""What a provider of information gives back. Source: [MS-FSA] 2.1.5.12 Server Requests a Query of File
Information."""

from __future__ import annotations

from typing import NamedTuple

from smbproto.status import Status


class Result(NamedTuple):
    """`fixed`: bytes below which the answer is INFO_LENGTH_MISMATCH. `status`: SUCCESS, or BUFFER_OVERFLOW if
    the provider itself left something out."""

    data: bytes
    fixed: int
    status: int = Status.SUCCESS
