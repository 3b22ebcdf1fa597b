"""Every administrative call is declared once: its name, its arguments, what performs it.

    @call("share.add")
    async def add(node: Node, args: ShareConfig) -> dict[str, object]: ...

Arguments come as a JSON object and are checked against the dataclass; results are JSON values. What an
operator can put right is an OperatorError; it travels as text. Names are noun.verb in the vocabulary of the
command line.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

from cluster import config
from cluster.errors import OperatorError

if TYPE_CHECKING:
    from cluster.node import Node

Handler = Callable[["Node", Any], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class NoArguments:
    """For calls that need none."""


@dataclass(frozen=True, slots=True)
class Named:
    """For calls about one object."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """One declared call."""

    name: str
    handler: Handler

    def arguments(self) -> type[Any]:
        hints = get_type_hints(self.handler, {**self.handler.__globals__, "Node": object})
        kind = hints["args"]
        assert isinstance(kind, type)
        return kind


CALLS: dict[str, Call] = {}


def call(name: str) -> Callable[[Handler], Handler]:
    """Declare a call."""

    def declare(handler: Handler) -> Handler:
        assert name not in CALLS, name
        CALLS[name] = Call(name, handler)
        return handler

    return declare


async def perform(node: Node, name: str, args: dict[str, object]) -> Any:
    """Check and run one call. Raises: OperatorError."""
    found = CALLS.get(name)
    if found is None:
        raise OperatorError(f"there is no administrative call {name!r}")
    return await found.handler(node, config.build(found.arguments(), args, name))
