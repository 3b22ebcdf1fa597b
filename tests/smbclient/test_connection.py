"""The connection and the pipeline against a server that does what real ones do only on bad days."""

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

import smbclient
from smbproto.codec import RELATED_FILE_ID
from smbproto.fscc import FSCTL_VALIDATE_NEGOTIATE_INFO
from smbproto.fscc.fsctl import ValidateNegotiate
from smbproto.io.memory import memory_stream_pair
from smbproto.smb2.echo import EchoRequest, EchoResponse
from smbproto.smb2.header import Command
from smbproto.smb2.ioctl import IoctlResponse
from smbproto.status import Status, StatusError
from tests.smbclient.scripted import ScriptedServer, scripted_session

ECHO = EchoRequest().encode()


def run(work):
    """On a clock that jumps whenever everybody waits; what should take no time may take 60 seconds of it."""

    async def main():
        with trio.fail_after(60):
            await work()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_one_credit_is_enough_for_any_size():
    """A chunk never costs more credits than there are, so a server that is mean with them is slow, not
    stuck."""
    server = ScriptedServer(grant=1)

    async def work():
        async with scripted_session(server) as session:
            tree = await session.tree("share")
            data = bytes(range(256)) * 2000
            await tree.write_bytes("file", data)
            assert server.file == data
            assert await tree.read_bytes("file") == data
            assert session.channel.credits_free() == 1
            assert (await tree.stat("file")).st_size == len(data)

    run(work)


def test_requests_wait_for_credits_in_their_order():
    server = ScriptedServer(grant=1)
    server.handlers[Command.ECHO] = lambda s, h, m: s.reply(h, EchoResponse())
    order = []

    async def work():
        async with scripted_session(server) as session:
            tree = await session.tree("share")

            async def one(number):
                reply = await session.channel.submit(Command.ECHO, ECHO, tree_id=tree.tree_id, sealed=False)
                order.append(number)
                assert (await reply.wait())[0] == Status.SUCCESS

            async with trio.open_nursery() as nursery:
                for number in range(10):
                    nursery.start_soon(one, number)
                    await trio.testing.wait_all_tasks_blocked()

    run(work)
    assert order == list(range(10))


def test_cancelled_waiting_cancels_at_the_server_and_the_connection_goes_on():
    server, kept = ScriptedServer(), []
    server.handlers[Command.ECHO] = lambda s, h, m: kept.append(h)

    def cancel(server, header, message):
        [kept_header] = kept
        return server.refuse(kept_header, Status.CANCELLED)

    server.handlers[Command.CANCEL] = cancel

    async def work():
        async with scripted_session(server) as session:
            tree = await session.tree("share")
            with trio.move_on_after(1) as scope:
                reply = await session.channel.submit(Command.ECHO, ECHO, tree_id=tree.tree_id, sealed=False)
                await reply.wait()
            assert scope.cancelled_caught
            await tree.write_bytes("file", b"on it goes")
            assert session.channel._endpoint.outstanding == 0

    run(work)
    assert server.log.count(Command.CANCEL) == 1


def test_a_file_opened_for_somebody_who_is_gone_is_closed():
    server, kept = ScriptedServer(), []
    opening = server.handlers[Command.CREATE]
    server.handlers[Command.CREATE] = lambda s, h, m: kept.append((h, m))
    server.handlers[Command.CANCEL] = lambda s, h, m: opening(s, *kept[0])  # too late: it is open

    async def work():
        async with scripted_session(server) as session:
            tree = await session.tree("share")
            with trio.move_on_after(1):
                await tree.open("file")
            await trio.testing.wait_all_tasks_blocked()
            assert session.channel._endpoint.outstanding == 0

    run(work)
    assert server.log[-3:] == [Command.CANCEL, Command.CLOSE, Command.LOGOFF]


def test_a_connection_that_breaks_fails_all_that_wait():
    server = ScriptedServer()
    server.handlers[Command.ECHO] = lambda s, h, m: None

    async def work():
        async with scripted_session(server) as session:
            tree = await session.tree("share")
            errors = []

            async def one():
                reply = await session.channel.submit(Command.ECHO, ECHO, tree_id=tree.tree_id, sealed=False)
                with pytest.raises(StatusError) as caught:
                    await reply.wait()
                errors.append(caught.value.status)

            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(one)
                await trio.testing.wait_all_tasks_blocked()
                await session.channel._stream.aclose()
            assert errors == [Status.CONNECTION_DISCONNECTED] * 3
            with pytest.raises(StatusError):
                await tree.stat("file")

    run(work)


def test_a_server_that_breaks_the_protocol_is_left_with_the_reason():
    server = ScriptedServer()
    server.handlers[Command.CREATE] = lambda s, h, m: [s.peer.message(h, b"unsigned" * 12, signed=False)]

    async def work():
        async with scripted_session(server) as session:
            tree = await session.tree("share")
            with pytest.raises(StatusError, match="not signed") as caught:
                await tree.open("file")
            assert caught.value.status == Status.CONNECTION_DISCONNECTED

    run(work)


def test_a_silent_server_is_given_up():
    async def work():
        client, _ = memory_stream_pair()
        with pytest.raises(StatusError) as caught:
            async with smbclient.connect("silent", user="ana", password="x", stream=client, timeout_s=5):
                raise AssertionError("there is no session")
        assert caught.value.status == Status.IO_TIMEOUT
        assert trio.current_time() > 4

    run(work)


def test_errors_of_the_caller_come_out_as_they_are():
    """Not wrapped in the group of some nursery inside."""

    async def work():
        with pytest.raises(ZeroDivisionError):
            async with smbclient.connect(
                "x", user="ana", password="secret", stream=_serving(ScriptedServer())
            ):
                raise ZeroDivisionError

    streams = []

    def _serving(server):
        client, other = memory_stream_pair()
        streams.append(other)
        trio.lowlevel.spawn_system_task(server.serve, other)
        return client

    run(work)


@settings(max_examples=40)
@given(
    size=st.integers(0, 400_000),
    read_max=st.sampled_from([1000, 65536, 100_000, None]),
    offset=st.integers(0, 9),
)
def test_reading_is_whole_whatever_a_read_gives(size, read_max, offset):
    """A server may give less than was asked for; only no data at all is the end of the file."""
    server = ScriptedServer(read_max=read_max)
    server.file[:] = bytes(index * 7 & 255 for index in range(size))

    async def work():
        async with scripted_session(server) as session:
            tree = await session.tree("share")
            async with await tree.open("file") as file:
                assert await file.read_at(offset) == server.file[offset:]
                assert await file.read_at(offset, 70_000) == server.file[offset : offset + 70_000]

    run(work)


def test_a_failing_write_is_told_and_the_rest_is_given_up():
    server = ScriptedServer()
    plain = server.handlers[Command.WRITE]
    count = 0

    def write(server, header, message):
        nonlocal count
        count += 1
        return server.refuse(header, Status.DISK_FULL) if count == 3 else plain(server, header, message)

    server.handlers[Command.WRITE] = write

    async def work():
        async with scripted_session(server) as session:
            tree = await session.tree("share")
            with pytest.raises(StatusError, match="writing 'file' at 2097152") as caught:
                await tree.write_bytes("file", bytes(20 << 20))
            assert caught.value.status == Status.DISK_FULL
            assert (await tree.open("file")).path == "file"

    run(work)


@pytest.mark.parametrize("change", [None, "dialect", "capabilities", "security_mode", "status"])
def test_below_3_1_1_the_negotiation_is_validated_and_a_lie_ends_it(change):
    """[MS-SMB2] 3.2.5.14.12 Handling a Validate Negotiate Info Response."""
    server = ScriptedServer(dialect=0x0302)

    def validate(server, header, message):
        if change == "status":
            return server.refuse(header, Status.NOT_SUPPORTED)
        heard = ValidateNegotiate(capabilities=0x44, guid=b"g" * 16, security_mode=1, dialect=0x0302)
        if change:
            setattr(heard, change, getattr(heard, change) ^ 2)
        return server.reply(
            header,
            IoctlResponse(
                ctl_code=FSCTL_VALIDATE_NEGOTIATE_INFO, file_id=RELATED_FILE_ID, output=heard.encode()
            ),
        )

    server.handlers[Command.IOCTL] = validate

    async def work():
        async with scripted_session(server) as session:
            if change is None:
                await session.tree("share")
                return
            with pytest.raises(StatusError, match="VALIDATE_NEGOTIATE_INFO") as caught:
                await session.tree("share")
            assert caught.value.status == Status.CONNECTION_DISCONNECTED
            with pytest.raises(StatusError, match="VALIDATE_NEGOTIATE_INFO"):
                await session.tree("another")

    run(work)
    assert server.log[-1] == (Command.LOGOFF if change is None else Command.IOCTL)


def test_small_mtu_of_2_0_2_sends_no_large_request():
    """[MS-SMB2] 3.2.4.1.5 Sending Multi-Credit Requests: not in 2.0.2."""
    server = ScriptedServer(dialect=0x0202)

    async def work():
        async with scripted_session(server, dialects=[0x0202]) as session:
            tree = await session.tree("share")
            await tree.write_bytes("file", bytes(200_000))
            assert len(server.file) == 200_000

    run(work)
    assert server.log.count(Command.WRITE) == 4
