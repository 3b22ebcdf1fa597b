"""Who may change a stripe, or put it together from its parts, right now.

A claim is a range of stripes, counted through the space (row x stripes of a row + stripe). Writing, trimming,
repairing and reading with a column missing claim; a read whose blocks are there doesn't, since its blocks fit
the truth or it claims too. A holder never claims a second time, nor waits for a flush, so nothing waits in a
circle. Owner: the machine. Only the Runtime's events are awaited.
"""

from __future__ import annotations

from storage.runtime import Runtime
from storage.space.blocks import Claim


class Claims:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._held: list[Claim] = []

    def is_free(self, start: int, end: int) -> bool:
        """Also from other threads."""
        return not any(claim.start < end and start < claim.end for claim in tuple(self._held))

    async def acquire(self, start: int, end: int) -> Claim:
        while True:
            for claim in self._held:
                if claim.start < end and start < claim.end:
                    break
            else:
                claim = Claim(start, end, self._runtime.event())
                self._held.append(claim)
                return claim
            await claim.done.wait()

    def release(self, claim: Claim) -> None:
        self._held.remove(claim)
        claim.done.set()
