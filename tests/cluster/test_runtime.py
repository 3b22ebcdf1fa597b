"""The runtime on Trio: threads for what blocks, events, background tasks."""

import threading
import time

import pytest
import trio

from cluster.io.runtime import TrioRuntime
from smbproto.io.eager import IO, WAIT, run_inline


def run(test, **options):
    async def main():
        async with trio.open_nursery() as nursery:
            runtime = TrioRuntime(nursery, **options)
            try:
                with trio.fail_after(10):
                    return await test(runtime)
            finally:
                nursery.cancel_scope.cancel()

    return trio.run(main)


def test_blocking_runs_in_a_thread_and_returns_or_raises():
    async def test(runtime):
        assert await runtime.blocking(lambda: threading.current_thread()) is not threading.current_thread()
        with pytest.raises(ZeroDivisionError):
            await runtime.blocking(lambda: 1 // 0)

    run(test)


def test_threads_are_bounded_and_work_is_not_lost():
    running, peak = [], []

    def work(number):
        running.append(number)
        peak.append(len(running))
        threading.Event().wait(0.002)
        running.remove(number)
        return number

    async def test(runtime):
        results = {}

        async def one(number):
            results[number] = await runtime.blocking(lambda: work(number))

        async with trio.open_nursery() as nursery:
            for number in range(40):
                nursery.start_soon(one, number)
        assert results == {number: number for number in range(40)}

    run(test, threads_max=3)
    assert 1 < max(peak) <= 3


def test_what_a_thread_has_begun_it_ends():
    """Cancellation waits for it: whoever gave it memory may take that back only then."""
    done = threading.Event()
    begun = threading.Event()

    def work():
        begun.set()
        done.wait(5)
        return "done"

    async def test(runtime):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(runtime.blocking, work)
                await trio.to_thread.run_sync(begun.wait)
                scope.cancel()
                nursery.start_soon(trio.lowlevel.checkpoint)
                done.set()
        assert scope.cancel_called

    run(test)


def test_events_sleep_and_blocking_detach_when_inline():
    async def test(runtime):
        event = runtime.event()
        for work, kind in [(event.wait(), WAIT), (runtime.sleep(1), WAIT), (runtime.blocking(int), IO)]:
            assert run_inline(work)[0] is kind
            work.close()
        event.set()
        assert run_inline(event.wait()) == (None, None)
        assert event.is_set()

    run(test)


def test_spawned_tasks_live_in_the_nursery_and_wake_events():
    async def test(runtime):
        event = runtime.event()

        async def background():
            await runtime.sleep(0.001)
            event.set()

        runtime.spawn(background, "background")
        await event.wait()

    run(test)


def test_times_are_what_they_say():
    async def test(runtime):
        assert abs(runtime.now() - time.monotonic()) < 1
        assert abs(runtime.filetime() / 1e7 - 11_644_473_600 - time.time()) < 1
        assert len(runtime.random_bytes(16)) == 16 and runtime.random_bytes(16) != runtime.random_bytes(16)

    run(test)
