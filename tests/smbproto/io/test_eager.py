"""Eager handlers: inline as far as they go, the rest in a task."""

import pytest
import trio
import trio.lowlevel

from smbproto.io.eager import IO, WAIT, detach, on_wait, resume, run_inline


def test_what_never_waits_ends_inline():
    async def handler() -> int:
        return 7

    assert run_inline(handler()) == (None, 7)


@pytest.mark.parametrize("kind", [WAIT, IO])
def test_what_waits_says_why(kind):
    async def handler() -> None:
        await detach(kind)

    work = handler()
    assert run_inline(work) == (kind, None)
    work.close()


def test_the_rest_runs_in_a_task_and_may_await_trio():
    steps = []

    async def handler() -> str:
        steps.append("inline")
        await detach(IO)
        await trio.lowlevel.checkpoint()
        await detach(WAIT)  # in a task this waits for nothing
        steps.append("task")
        return "done"

    async def main() -> str:
        work = handler()
        assert run_inline(work) == (IO, None)
        result = []

        async def rest() -> None:
            result.append(await resume(work))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(rest)
        return result[0]

    assert trio.run(main) == "done"
    assert steps == ["inline", "task"]


def test_a_task_of_a_request_tells_when_it_waits():
    told = []

    async def main() -> None:
        on_wait.set(lambda: told.append("waits"))
        await detach(IO)
        assert told == []
        await detach(WAIT)

    trio.run(main)
    assert told == ["waits"]


def test_cancellation_reaches_a_resumed_handler():
    async def handler() -> str:
        await detach(WAIT)
        await trio.sleep_forever()
        return "never"

    async def main() -> None:
        work = handler()
        run_inline(work)
        with trio.CancelScope() as scope:
            scope.cancel()
            await resume(work)
        assert scope.cancelled_caught

    trio.run(main)


def test_exceptions_pass_through_inline_and_resumed():
    async def handler(first: bool) -> None:
        if first:
            raise KeyError("inline")
        await detach(IO)
        raise ValueError("task")

    with pytest.raises(KeyError):
        run_inline(handler(True))
    work = handler(False)
    run_inline(work)

    async def rest() -> None:
        await resume(work)

    with pytest.raises(ValueError, match="task"):
        trio.run(rest)


def test_awaiting_trio_before_detaching_is_a_bug():
    """It would park the pump's own task."""

    async def handler() -> None:
        await trio.lowlevel.checkpoint()

    async def main() -> None:
        with pytest.raises(RuntimeError, match="before it detached"):
            run_inline(handler())

    trio.run(main)
