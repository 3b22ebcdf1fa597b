"""A caching state may be granted and broken again before the CREATE that asked for it is answered.

Found by the simulation: an open that waited for a break was granted a lease in the moment the break ended;
the next one who had waited broke that lease in the same moment. The server knew no way to the new holder yet,
which was taken for a lost client, and its open was closed. An oplock's break left before the answer that
granted it.
"""

from types import SimpleNamespace

import pytest

from smbproto import fscc
from smbproto.smb2.contexts import SMB2_CREATE_REQUEST_LEASE, Lease
from smbproto.smb2.create import CreateContext, CreateRequest, CreateResponse
from smbproto.smb2.header import Command
from tests.smbsrv.commands.client import RWD, World

READ_WRITE = 0x0012019F
ANA, BOB = 1, 2


def create_body(disposition=fscc.FILE_OPEN_IF, oplock=0, lease_of=0):
    contexts = ()
    if lease_of:
        oplock = 0xFF
        data = Lease(lease_key=bytes([lease_of]) * 16, lease_state=7).encode()
        contexts = (CreateContext(SMB2_CREATE_REQUEST_LEASE, data),)
    return CreateRequest(
        requested_oplock_level=oplock, desired_access=READ_WRITE, share_access=RWD,
        create_disposition=disposition, name="f", contexts=contexts,
    ).encode()


@pytest.mark.parametrize("wanted", [{"lease_of": BOB}, {"oplock": 1}], ids=["lease", "oplock"])
def test_a_break_of_what_was_just_granted_follows_the_answer(wanted):
    """[MS-SMB2] 3.3.4.6 Object Store Indicates an Oplock Break; 3.3.4.7 Object Store Indicates a Lease
    Break."""
    world = World()
    ana, bob, eve = (world.client(number) for number in (ANA, BOB, 3))
    for client in (ana, bob, eve):
        client.connection.has_session = True
        world.server.clients.setdefault(client.connection.client_guid, {})[client.connection] = None
        client.session.channels[client.connection] = SimpleNamespace(connection=client.connection)
    answers, told_before, waiting = [], [], []

    async def asks(client, body):
        reply = await client.send(Command.CREATE, body)
        told_before.append(len(client.driver.sent))
        answers.append(CreateResponse.decode_untrusted(bytes(64) + bytes(reply.body)))
        waiting.remove(client)

    async def main():
        await ana.send(Command.CREATE, create_body(lease_of=ANA))
        # Bob and Eve wait for Ana; Eve overwrites, so that Bob keeps nothing.
        for client, body in ((bob, create_body(**wanted)), (eve, create_body(fscc.FILE_OVERWRITE_IF))):
            waiting.append(client)
            world.runtime.spawn(lambda client=client, body=body: asks(client, body), "asks")
            await world.runtime.sleep(0.1)
        assert waiting == [bob, eve]
        world.volume.acknowledge_lease(bytes([ANA]) * 16, bytes([ANA]) * 16, 0)
        await world.runtime.sleep(0.1)

    world.runtime.run(main())
    assert told_before[0] == 0, "the break came before the answer"
    assert len(bob.driver.sent) == 1, "the break never came"
    assert answers[0].file_id.volatile in bob.session.opens
