"""A row that was given back is still there after a power cut if the release wasn't durable yet."""

from tests.sim.disk import PowerCut
from tests.storage.pool.rig import SLAB, Rig


async def until_the_cut(rig: Rig, cut: int) -> bool:
    """Row 0 written and trimmed, unflushed; then the flush of a new row writes an image of the intent log,
    and only after it the records. False: it came to an end."""
    await rig.create()
    await rig.write(0, rig.rng.randbytes(SLAB))
    await rig.space.flush()
    await rig.reopen()
    await rig.write(0, rig.rng.randbytes(SLAB))
    await rig.write(2 * SLAB, rig.rng.randbytes(SLAB))
    await rig.space.trim(0, SLAB)
    rig.world.cut_at = rig.world.operations + cut
    try:
        await rig.space.flush()
    except PowerCut:
        return True
    return False


def test_a_trimmed_row_stays_in_the_intent_log_until_its_release_is_durable():
    """Seed 23 of the pool simulation: the row's regions left the log with the trim, the next image made that
    durable before the release was, and a power cut in between left a torn block where nobody looked."""
    cut, is_cut = 0, True
    while is_cut:
        for seed in range(3):
            rig = Rig(disks=2, seed=seed)
            try:
                is_cut = rig.world.runtime.run(until_the_cut(rig, cut))
            except PowerCut:
                is_cut = True

            async def look(rig: Rig = rig) -> None:
                await rig.reopen(crash=True)
                buffer = bytearray(SLAB)
                await rig.space.read(0, memoryview(buffer))  # BlockCorrupt, where it was torn

            rig.world.runtime.run(look())
        cut += 1
    assert cut > 5
