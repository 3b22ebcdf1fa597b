"""A kept open and a live one on the same lease.

Found by the simulation: a client lost the answer to its CREATE, came back, and opened the file again with
the same lease key. Then the lease was broken, and the live open answered. The kept open stayed, without any
caching that somebody could break, and held up deleting the file until its time was over.
"""

import pytest

from storage.volume import DurableRequest
from tests.storage.objectstore.world import World, lease

NONE, R, RH, RWH = 0, 1, 3, 7
V2 = DurableRequest(2, b"guid" * 4, 60_000)


@pytest.mark.parametrize(("left", "is_kept"), [(RH, True), (R, False), (NONE, False)])
def test_a_kept_open_goes_when_its_lease_loses_handle_caching(left, is_kept):
    """[MS-SMB2] 3.3.7.1 Handling Loss of a Connection: kept is what is held with HANDLE caching."""
    world = World()
    world.write_file("f", b"content")
    mine = lease("a", RWH)
    lost = world.open_result("f", caching=mine, durable=V2)
    assert lost.is_durable and lost.file.client_lost()
    again = world.open("f", caching=mine)
    bob = world.start_open("f", caching=lease("b", R, client="bob"))
    assert not bob.is_done and len(world.lease_breaks) == 1
    world.volume.acknowledge_lease(mine.client_guid, mine.lease_key, left)
    assert (lost.file not in world.purged) is is_kept and not again.is_closed
    world.settle()
    assert bob.is_done and not bob.result.file.is_closed
