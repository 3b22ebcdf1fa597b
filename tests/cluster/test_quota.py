"""`sofs quota`: the calls, without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cluster.admin.registry import perform
from cluster.errors import NotFound, OperatorError
from cluster.node import Node
from tests.cluster.test_node import make_pool, new_state, on_node


async def with_volume(node: Node, folder: Path) -> None:
    await make_pool(node, folder)
    await perform(node, "volume.create", {"name": "v", "size_bytes": 1 << 30})
    await perform(node, "user.add", {"name": "ana", "password": "x", "admin": False})


def test_limits_of_users_and_of_the_volume_are_set_and_listed(tmp_path: Path) -> None:
    async def body(node: Node) -> None:
        await with_volume(node, tmp_path)
        await perform(
            node, "quota.default",
            {"name": "v", "mode": "enforce", "limit_bytes": 1 << 20, "threshold_bytes": 1 << 19},
        )  # fmt: skip
        limits: dict[str, object] = {"name": "v", "user": "ana", "limit_bytes": 5}
        await perform(node, "quota.set", limits)
        await perform(node, "quota.set", {"name": "v", "user": "S-1-5-18"})
        found: dict[str, Any] = await perform(node, "quota.list", {"name": "v"})
        assert (found["enforced"], found["default limit bytes"]) == (True, 1 << 20)
        rows = {row["user"]: row for row in found["owners"]}
        assert rows["ana"] == {
            "user": "ana", "state": "OK", "used bytes": 0, "threshold bytes": None, "limit bytes": 5
        }  # fmt: skip
        assert rows["S-1-5-18"]["limit bytes"] is None
        await perform(node, "quota.set", {"name": "v", "user": "ana", "forget": True})
        again: dict[str, Any] = await perform(node, "quota.list", {"name": "v"})
        assert [row["user"] for row in again["owners"]] == ["S-1-5-18"]

    on_node(new_state(tmp_path), body)


@pytest.mark.parametrize(
    ("call", "arguments", "error"),
    [
        ("quota.list", {"name": "w"}, NotFound),
        ("quota.set", {"name": "v", "user": "nobody"}, NotFound),
        ("quota.set", {"name": "v", "user": "ana", "forget": True}, NotFound),
        ("quota.set", {"name": "v", "user": "ana", "limit_bytes": -2}, OperatorError),
        ("quota.set", {"name": "v", "user": "administrators", "limit_bytes": 5}, OperatorError),
        ("quota.default", {"name": "v", "mode": "off"}, OperatorError),
    ],
)
def test_mistakes_are_told(
    tmp_path: Path, call: str, arguments: dict[str, object], error: type[OperatorError]
) -> None:
    async def body(node: Node) -> None:
        await with_volume(node, tmp_path)
        with pytest.raises(error) as caught:
            await perform(node, call, arguments)
        assert "\n" not in str(caught.value)

    on_node(new_state(tmp_path), body)
