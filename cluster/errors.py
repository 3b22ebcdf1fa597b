"""What an operator is told: one line that says what was tried and what to do."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class OperatorError(Exception):
    """Raised for anything an operator can put right; the command line prints it as one line, without a
    traceback."""


class ConfigError(OperatorError):
    """A configuration file cannot be believed."""


class NotFound(OperatorError):
    """No object of that name."""


class AlreadyExists(OperatorError):
    """There is one of that name."""


async def told(work: Awaitable[T]) -> T:
    """What the storage refuses as a wrong value, or because there is no such object, as an OperatorError."""
    try:
        return await work
    except ValueError as error:
        raise OperatorError(str(error)) from None
    except KeyError as error:
        raise NotFound(str(error.args[0]) if error.args else "there is no such object") from None
