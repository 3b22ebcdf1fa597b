"""`sofs volume cache`: what a volume's write-back cache holds and does."""

from __future__ import annotations

import random
from pathlib import Path

from tests.cluster.test_spaces import MIB, Node, catalog, make_pool, new_state, on_node, perform, read, write


def test_a_parity_volume_tells_of_its_cache_and_keeps_what_is_in_it(tmp_path: Path) -> None:
    state = new_state(tmp_path)
    data = random.Random(2).randbytes(MIB // 2)

    async def first(node: Node) -> None:
        await make_pool(node, tmp_path, disks=4)
        arguments = {"name": "v", "size_bytes": 64 * MIB, "resiliency": "parity", "columns": 3}
        await perform(node, "volume.create", arguments)
        await write(node, "f", data)
        fs = catalog(node)
        entry = fs.lookup(fs.root(), "f")
        assert entry is not None
        await fs.flush(entry.node)
        (cache,) = await perform(node, "volume.cache", {})
        assert (cache["name"], cache["state"], cache["trouble"]) == ("v", "Write-back", "")
        assert cache["written bytes"] + cache["passed bytes"] >= len(data)
        (volume,) = await perform(node, "volume.list", {})
        assert volume["write cache bytes"] == cache["size bytes"] > 0
        assert volume["write cache dirty bytes"] == cache["dirty bytes"]

    async def second(node: Node) -> None:
        assert await read(node, "f") == data

    on_node(state, first)
    on_node(state, second)
