"""A disk that puts the zeros of a new slab's checksums elsewhere. Found by the simulation of pools, seed
11626."""

from __future__ import annotations

from collections.abc import Sequence

from storage.units import BLOCK_BYTES, DiskOffset, SpaceOffset
from tests.storage.pool.rig import SIZE, Rig


def test_what_was_never_written_is_zeros_though_a_disk_lost_the_zeros() -> None:
    """storage/pool/core.py, P2: "A new row's record is committed only when its zeroed checksums [...] are
    durable." """
    rig = Rig(disks=4)

    async def work() -> None:
        await rig.create()
        await rig.fill()
        await rig.pool.delete_space("s")
        disk, label = rig.world.disks[0], rig.pool._core.members[0].known_label
        checks = {int(label.checks_at(slab)) for slab in range(label.slab_count)}
        assert any(disk.content[at : at + BLOCK_BYTES].strip(b"\0") for at in checks), "all zeros"
        lost: list[int] = []
        write = disk._write

        def losing(offset: DiskOffset, data: Sequence[memoryview | bytes]) -> None:
            if offset in checks and not any(map(any, data)):
                lost.append(offset)
            else:
                write(offset, data)

        disk._write = losing  # type: ignore[method-assign]
        space = await rig.pool.create_space("t", "mirror", SIZE, columns=1)
        for at in range(0, SIZE, 64 << 10):
            await space.write(SpaceOffset(at), [b"x" * BLOCK_BYTES])
        await space.flush()
        assert lost, "no slab of that disk was taken"
        content = memoryview(bytearray(SIZE))
        await space.read(SpaceOffset(0), content)
        for at in range(0, SIZE, 64 << 10):
            assert content[at : at + BLOCK_BYTES] == b"x" * BLOCK_BYTES
            assert not any(content[at + BLOCK_BYTES : at + (64 << 10)])
        assert rig.pool.status().disks[0].health != "Healthy"

    rig.run(work)
