"""The thin driver over any stream makes the same promises as the pump."""

import pytest
import trio
import trio.testing

from smbproto.smb2.change_notify import ChangeNotifyRequest
from smbproto.smb2.header import Command
from smbproto.status import Status
from smbsrv.io.stream import serve_stream
from tests.smbsrv.io.live import LiveSite, StreamPeer, in_thread
from tests.smbsrv.wire import Instead

ECHO = (Command.ECHO, b"\4\0\0\0")


def run(test):
    async def main():
        async with trio.open_nursery() as nursery:
            site = LiveSite(nursery)

            def connect(**options):
                ours, theirs = trio.testing.memory_stream_pair()
                nursery.start_soon(serve_stream, site.server, theirs)
                return StreamPeer(site, ours, **options)

            with trio.fail_after(20):
                await test(site, connect)
            nursery.cancel_scope.cancel()

    trio.run(main)


def log_on(peer):
    peer.negotiate()
    peer.log_on()
    peer.tree_connect()
    return peer


def test_a_conversation_in_memory():
    def talk(peer):
        log_on(peer)
        file_id = peer.create("f")
        peer.write(file_id, b"data" * 1000)
        assert peer.read_bytes(file_id, 4000) == b"data" * 1000
        directory = peer.create("d", create_options=1)
        body = ChangeNotifyRequest(file_id=directory, output_buffer_length=4096, completion_filter=3).encode()
        assert peer.send(Command.CHANGE_NOTIFY, body).status == Status.PENDING
        cancel = peer.message(Command.CANCEL, b"\4\0\0\0", message_id=peer.message_id - 1)
        assert peer.push(peer.frame(cancel))[0].status == Status.CANCELLED

    async def test(site, connect):
        peer = connect()
        await in_thread(lambda: talk(peer))
        await peer.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert site.server.sessions == {} and site.server.opens == {} and site.server.connections == {}

    run(test)


def test_what_waits_and_what_is_buggy():
    async def test(site, connect):
        peer = connect()
        await in_thread(lambda: log_on(peer))
        file_id = await in_thread(lambda: peer.create("f"))
        open = next(iter(site.server.opens.values()))
        inner = open.file

        async def write(offset, data, through=False):
            await site.runtime.blocking(int)
            if data[:3] == b"bug":
                raise ZeroDivisionError
            await inner.write(offset, data, through)

        Instead(open, write=write, write_now=lambda offset, data: False)
        assert (await in_thread(lambda: peer.write(file_id, b"good"))).status == Status.SUCCESS
        with pytest.raises(EOFError):
            await in_thread(lambda: peer.write(file_id, b"bug"))
        assert site.server.statistics.bugs == 1

    run(test)


def test_a_violation_ends_the_connection():
    async def test(site, connect):
        peer = connect()
        await in_thread(lambda: log_on(peer))
        with pytest.raises(EOFError):
            await in_thread(lambda: peer.push(b"\0\0\0\4abcd"))

    run(test)
