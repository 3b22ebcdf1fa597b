"""What an administrator does to the file system of a simulated node while clients use it: free clusters are
trimmed, sparse rows emptied, hot ranges brought to the fast tier, files pinned to a tier. None of it may be
seen by anybody.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from storage.errors import StorageError, VolumeFull
from storage.tier.space import Tier

if TYPE_CHECKING:
    from tests.sim.node import SimNode


class Administrator:
    """`run` goes on until it is cancelled."""

    def __init__(
        self,
        node: SimNode,
        paths: list[str],
        rng: random.Random,
        every_s: float,
        count: Callable[[str, int], None],
    ) -> None:
        self._node = node
        self._paths = paths
        self._rng = rng
        self._every_s = every_s
        self._count = count

    async def run(self) -> None:
        fs = self._node.fs
        while True:
            await trio.sleep(self._rng.expovariate(1 / self._every_s))
            kinds = (self._retrim, self._consolidate, self._optimize, self._pin)
            work = self._rng.choices(kinds, (1, 3, 3, 3))[0]
            try:
                await work()
            except VolumeFull:
                self._count("no room for upkeep", 1)
            except StorageError:
                if not self._node.is_closing:
                    raise
                return
            if not fs.has_tiers and self._rng.random() < 0.5:
                await trio.sleep(self._every_s)

    async def _retrim(self) -> None:
        self._count("bytes trimmed", await self._node.fs.retrim(self._pace))

    async def _consolidate(self) -> None:
        self._count("bytes consolidated", (await self._node.fs.consolidate(self._pace)).moved_bytes)

    async def _optimize(self) -> None:
        fs = self._node.fs
        self._count("bytes moved between tiers", (await fs.optimize_tiers(pace=self._pace)).moved_bytes)

    async def _pin(self) -> None:
        fs = self._node.fs
        if not fs.has_tiers:
            return
        node = fs.root()
        for part in self._rng.choice(self._paths).split("/"):
            entry = fs.lookup(node, part)
            if entry is None:
                return
            node = entry.node
        if self._rng.random() < 0.3:
            await fs.unpin(node)
            return
        result = await fs.pin(node, self._rng.choice((Tier.FAST, Tier.SLOW)), self._pace)
        self._count("files pinned", 1)
        self._count("bytes moved between tiers", result.moved_bytes)

    async def _pace(self, length: int) -> None:
        if self._rng.random() < 0.5:
            await trio.sleep(self._rng.expovariate(1 / 0.01))
