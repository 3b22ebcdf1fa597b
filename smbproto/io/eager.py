"""Eager handlers: a coroutine is run inline by the pump; what must wait moves the rest of it into a Trio
task.

    pump: coro.send(None) --ends--> done, no task was made
                          --yields WAIT or IO--> start_soon(resume(coro)); the handler goes on in there

Code that must wait calls `await detach(kind)` before its first Trio call; everywhere but inline that costs
nothing. WAIT is something of unknown length: inline the pump sees it and tells the client; in a request's
task the callback of `on_wait` does. Awaiting Trio inline without `detach` would park the pump's own task:
`run_inline` refuses that.

Trials: a task costs 15 us, an inline coroutine 0.3 us.
"""

from __future__ import annotations

import threading
import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import ContextVar
from typing import Any, Final, TypeVar

__all__ = ["IO", "WAIT", "Kind", "detach", "on_wait", "resume", "run_inline"]

T = TypeVar("T")


class Kind:
    """Why a handler detaches."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


WAIT: Final = Kind("WAIT")
IO: Final = Kind("IO")

on_wait: ContextVar[Callable[[], None] | None] = ContextVar("on_wait", default=None)
"""In a request's task: what to call when the handler waits for something of unknown length."""


class _Inline(threading.local):
    """Whether this thread runs a coroutine inline right now."""

    on = False


_inline = _Inline()


@types.coroutine
def _yield(kind: Kind) -> Generator[Kind, None, None]:
    yield kind


async def detach(kind: Kind) -> None:
    """Call before waiting. Inline, what follows runs in a task of its own."""
    if _inline.on:
        await _yield(kind)
    elif kind is WAIT:
        callback = on_wait.get()
        if callback is not None:
            callback()


def run_inline(work: Coroutine[Any, Any, T]) -> tuple[Kind | None, T | None]:
    """Run until it ends or detaches: (None, its result) or (why, None). Its exceptions pass through."""
    _inline.on = True
    try:
        kind = work.send(None)
    except StopIteration as stop:
        return None, stop.value
    finally:
        _inline.on = False
    if not isinstance(kind, Kind):
        work.close()
        raise RuntimeError(f"{work!r} awaited {kind!r} before it detached")
    return kind, None


@types.coroutine
def resume(work: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    """Await the rest of a coroutine that detached."""
    result: T = yield from work
    return result
