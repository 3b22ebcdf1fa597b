"""A node from its first configuration to its volumes, and every administrative call, without a network."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

import cluster.admin.calls  # noqa: F401
from cluster.admin.pipe import AdminPipe
from cluster.admin.registry import CALLS, perform
from cluster.config import NodeConfig
from cluster.errors import AlreadyExists, NotFound, OperatorError
from cluster.io.runtime import TrioRuntime
from cluster.io.state import StateDirectory
from cluster.node import Node
from cluster.volumes import metadata_size
from smbproto.status import Status, StatusError
from storage.errors import PoolFull, PoolInUse, PoolUnavailable

MIB = 1 << 20


def new_state(tmp_path: Path) -> StateDirectory:
    state = StateDirectory(tmp_path / "state")
    Node.initialise(state, NodeConfig(port=0), bytes(16))
    return state


def on_node(state: StateDirectory, body: Callable[[Node], Awaitable[None]]) -> None:
    """Open the node, run the body, close it."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            node = await Node.open(state, TrioRuntime(nursery))
            try:
                await body(node)
            finally:
                await node.close()
                nursery.cancel_scope.cancel()

    try:
        trio.run(main)
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None


async def make_pool(node: Node, folder: Path, disks: int = 3) -> None:
    paths = [str(folder / f"disk{i}") for i in range(disks)]
    arguments: dict[str, object] = {
        "name": "p", "disks": paths, "disk_bytes": 128 * MIB, "slab_bytes": 4 * MIB
    }  # fmt: skip
    await perform(node, "pool.create", arguments)


def test_pool_volume_and_share_are_there_when_the_node_opens_again(tmp_path: Path) -> None:
    state = new_state(tmp_path)

    async def first(node: Node) -> None:
        await make_pool(node, tmp_path)
        await perform(node, "volume.create", {"name": "v", "size_bytes": 1 << 30})
        await perform(node, "share.add", {"name": "s", "volume": "v", "access": {"everyone": "read"}})
        await perform(node, "user.add", {"name": "ana", "password": "x", "admin": True})

    async def second(node: Node) -> None:
        (volume,) = await perform(node, "volume.list", {})
        assert (volume["name"], volume["health"], volume["shares"]) == ("v", "Healthy", ["s"])
        (share,) = await perform(node, "share.list", {})
        assert share["access"] == "everyone=read"
        assert node.serving.server.find_share("S") is not None
        (user,) = await perform(node, "user.list", {})
        assert user["admin"] is True
        pool = await perform(node, "pool.status", {})
        assert (pool["health"], pool["disks"]) == ("Healthy", 3)
        assert len(await perform(node, "disk.list", {})) == 3
        report = await perform(node, "volume.check", {"name": "v"})
        assert report["consistent"] is True and report["problems"] == []
        assert "v" in node.volumes, "mounted again after the check"

    on_node(state, first)
    on_node(state, second)


def test_what_is_in_use_is_not_removed(tmp_path: Path) -> None:
    state = new_state(tmp_path)

    async def body(node: Node) -> None:
        await make_pool(node, tmp_path)
        await perform(node, "volume.create", {"name": "v", "size_bytes": 1 << 30})
        await perform(node, "share.add", {"name": "s", "volume": "v"})
        with pytest.raises(OperatorError, match="sofs share remove s"):
            await perform(node, "volume.remove", {"name": "v"})
        await perform(node, "share.remove", {"name": "S"})
        await perform(node, "volume.remove", {"name": "v"})
        assert node.volume_names() == []

    on_node(state, body)


@pytest.mark.parametrize(
    ("call", "arguments", "error"),
    [
        ("nothing.there", {}, OperatorError),
        ("share.add", {"name": "s"}, OperatorError),
        ("share.add", {"name": "s", "volume": "none"}, NotFound),
        ("share.add", {"name": "s", "directory": "/nowhere/at/all"}, OperatorError),
        ("share.remove", {"name": "s"}, NotFound),
        ("user.remove", {"name": "nobody"}, NotFound),
        ("user.add", {"name": "a/b", "password": "x"}, OperatorError),
        ("user.add", {"name": "a", "password": 1}, OperatorError),
        ("volume.create", {"name": "v", "size_bytes": 1}, OperatorError),
        ("volume.list", {}, OperatorError),
        ("pool.create", {"name": "p", "disks": []}, OperatorError),
        ("pool.create", {"name": "p", "disks": ["/nowhere/at/all/disk"] * 2}, OperatorError),
        ("session.close", {"name": "zz"}, OperatorError),
        ("session.close", {"name": "12"}, NotFound),
        ("open.close", {"name": "12"}, NotFound),
    ],
)
def test_a_mistake_is_told_as_an_operators_error(
    tmp_path: Path, call: str, arguments: dict[str, object], error: type[OperatorError]
) -> None:
    async def body(node: Node) -> None:
        with pytest.raises(error) as caught:
            await perform(node, call, arguments)
        assert "\n" not in str(caught.value)

    on_node(new_state(tmp_path), body)


def test_names_are_taken_once(tmp_path: Path) -> None:
    async def body(node: Node) -> None:
        await make_pool(node, tmp_path)
        with pytest.raises(AlreadyExists):
            await make_pool(node, tmp_path)
        await perform(node, "volume.create", {"name": "v", "size_bytes": 1 << 30})
        with pytest.raises(AlreadyExists):
            await perform(node, "volume.create", {"name": "v", "size_bytes": 1 << 30})
        with pytest.raises(OperatorError, match="no volume name"):
            await perform(node, "volume.create", {"name": "a b", "size_bytes": 1 << 30})

    on_node(new_state(tmp_path), body)


def test_a_volume_that_does_not_fit_leaves_nothing_behind(tmp_path: Path) -> None:
    async def body(node: Node) -> None:
        await make_pool(node, tmp_path)
        too_large: dict[str, object] = {"name": "v", "size_bytes": 1 << 40, "provisioning": "fixed"}
        with pytest.raises(PoolFull):
            await perform(node, "volume.create", too_large)
        assert node.require_pool().space_names == []

    on_node(new_state(tmp_path), body)


def test_a_second_server_on_the_same_pool_is_told_so(tmp_path: Path) -> None:
    state = new_state(tmp_path)

    async def body(node: Node) -> None:
        await make_pool(node, tmp_path)
        async with trio.open_nursery() as nursery:
            with pytest.raises(PoolInUse, match="in use by another server"):
                await Node.open(state, TrioRuntime(nursery))
            nursery.cancel_scope.cancel()

    on_node(state, body)


def test_a_pool_without_its_quorum_does_not_open(tmp_path: Path) -> None:
    state = new_state(tmp_path)

    async def make(node: Node) -> None:
        await make_pool(node, tmp_path)

    async def never(node: Node) -> None:
        raise AssertionError("it opened")

    on_node(state, make)
    for i in range(2):
        (tmp_path / f"disk{i}").unlink()
    with pytest.raises(PoolUnavailable):
        on_node(state, never)
    (tmp_path / "disk2").unlink()
    with pytest.raises(PoolUnavailable, match="none of the pool's 3 disks"):
        on_node(state, never)


def test_the_pipe_is_for_administrators_and_answers_in_one_line(tmp_path: Path) -> None:
    async def body(node: Node) -> None:
        admin = node.accounts.token(node.accounts.add("root", "x", is_admin=True))
        user = node.accounts.token(node.accounts.add("ana", "x"))
        with pytest.raises(StatusError) as caught:
            AdminPipe(node, user)
        assert caught.value.status == Status.ACCESS_DENIED
        assert "result" in await asked(node, admin, b'{"call": "status", "args": {}}')
        half = (b'{"call": 1, "args": {}}', b'{"call": "status", "args": []}')
        for bad in (b"", b"\xff", b"[]", b"{}", *half):
            answer = await asked(node, admin, bad)
            assert "\n" not in answer["error"]
        answer = await asked(node, admin, b'{"call": "share.remove", "args": {"name": "x"}}')
        assert "there is no share 'x'" in answer["error"]

    on_node(new_state(tmp_path), body)


async def asked(node: Node, token: Any, request: bytes) -> dict[str, Any]:
    """One request, its answer read in pieces."""
    pipe = AdminPipe(node, token)
    await pipe.write(memoryview(request))
    whole, is_more = b"", True
    while is_more:
        piece, is_more = await pipe.read(16)
        whole += piece
    answer: dict[str, Any] = json.loads(whole)
    return answer


def test_every_call_declares_its_arguments() -> None:
    assert {"status", "pool.create", "volume.check", "share.add", "user.add", "open.list"} <= set(CALLS)
    for call in CALLS.values():
        assert call.arguments().__dataclass_fields__ is not None


def test_metadata_is_a_sixteenth_in_whole_slabs() -> None:
    assert metadata_size(64 << 30, 16 * MIB) == 4 << 30
    assert metadata_size(1, 256 * MIB) % (256 * MIB) == 0
