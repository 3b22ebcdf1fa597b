"""Many clients, few resources: the memory of a thousand that watch and wait; a process without
descriptors."""

from __future__ import annotations

import resource
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import trio
import trio.testing

from interop import server
from interop.target import Target
from smbclient import Session, Status, StatusError, Tree, connect

WATCHERS = 1000
AT_ONCE = 20
MEMORY_BYTES_MAX = 200 << 20
DESCRIPTORS = 40


def log_on(target: Target) -> AbstractAsyncContextManager[Session]:
    return connect(target.host, target.port, user=target.user, password=target.password)


async def watch(target: Target, ready: trio.Semaphore) -> None:
    """Log on, watch the share's root, and say nothing more."""
    async with log_on(target) as session:
        tree = await session.tree(target.share)

        async def wait() -> None:
            async for _ in tree.watch():
                break

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked(0.01)
            ready.release()


@pytest.mark.slow
def test_a_thousand_idle_connections_that_watch_a_directory_fit_in_200_mib(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * WATCHERS:
        pytest.skip(f"this machine allows {hard} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    target = server.start_serve(tmp_path)

    async def main() -> int:
        ready = trio.Semaphore(0)
        async with trio.open_nursery() as nursery:
            for _ in range(WATCHERS // AT_ONCE):
                for _ in range(AT_ONCE):
                    nursery.start_soon(watch, target, ready)
                for _ in range(AT_ONCE):
                    await ready.acquire()
            resident_bytes = target.process.resident_bytes()
            nursery.cancel_scope.cancel()
        return resident_bytes

    try:
        assert trio.run(main) <= MEMORY_BYTES_MAX
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert target.stop() == 0
    assert "Traceback" not in target.process.text()


def test_without_descriptors_an_open_is_refused_and_the_server_goes_on(tmp_path: Path) -> None:
    target = server.start_serve(tmp_path)
    resource.prlimit(target.process.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))

    async def fill(tree: Tree) -> StatusError:
        async with trio.open_nursery() as nursery:
            for number in range(2 * DESCRIPTORS):
                try:
                    file = await tree.open(f"f{number}", "w+b")
                    await file.write(b"x")
                except StatusError as error:
                    nursery.cancel_scope.cancel()
                    return error
        raise AssertionError("it never ran out")

    async def main() -> None:
        async with log_on(target) as session:
            refused = await fill(await session.tree(target.share))
            assert refused.status == Status.TOO_MANY_OPENED_FILES
        async with log_on(target) as session:
            tree = await session.tree(target.share)
            assert await tree.write_bytes("after", b"well again") == 10

    trio.run(main)
    assert target.stop() == 0
    assert "Traceback" not in target.process.text()
