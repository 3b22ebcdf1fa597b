"""The pump over real sockets: batches, large frames, slow clients, waiting, bugs, and how few Trio steps it
makes."""

import socket

import pytest
import trio

from smbproto.smb2.change_notify import ChangeNotifyRequest
from smbproto.smb2.header import Command
from smbproto.smb2.read import ReadRequest, ReadResponse
from smbproto.smb2.write import WriteRequest
from smbproto.status import Status
from smbsrv.limits import Limits
from tests.smbsrv.io.live import in_thread, live, socket_peer
from tests.smbsrv.wire import Instead

ECHO = (Command.ECHO, b"\4\0\0\0")


def run(test, **config):
    async def main():
        async with live(**config) as site:
            await test(site)

    trio.run(main)


def hangs_up(client) -> bool:
    try:
        return client.recv(10) == b""
    except ConnectionResetError:
        return True


def read_frames(peer, file_id, count: int, length: int) -> bytes:
    charge = max(1, length // 65536)
    body = ReadRequest(file_id=file_id, length=length, offset=0).encode()
    return b"".join(peer.frame(peer.message(Command.READ, body, charge=charge)) for _ in range(count))


def data_of(response) -> bytes:
    assert response.status == Status.SUCCESS
    return bytes(ReadResponse.decode_untrusted(response.message).data)


@pytest.mark.parametrize("is_sealing", [False, True])
def test_small_and_large_requests(is_sealing):
    """Frames from 100 bytes to 8 MiB, received in pieces of whatever size TCP makes of them."""

    def talk(site):
        peer = socket_peer(site, credits=600)
        peer.is_sealing = is_sealing
        file_id = peer.create("f")
        peer.send(*ECHO)
        for size in (1, 65536, 65537, 300_000, 1 << 20, 8 << 20):
            data = (bytes(range(256)) * (size // 256 + 1))[:size]
            assert peer.write(file_id, data).status == Status.SUCCESS
            assert peer.read_bytes(file_id, size) == data

    async def test(site):
        await in_thread(lambda: talk(site))

    run(test)


def test_batches_are_answered_in_order_with_few_trio_steps():
    """The regression guard: at depth 32 a READ costs next to no step of Trio's scheduler."""
    rounds, depth = 60, 32

    class Steps(trio.abc.Instrument):
        count = 0

        def before_task_step(self, task):
            self.count += 1

    def prepare(site):
        peer = socket_peer(site, credits=512)
        file_id = peer.create("f")
        peer.write(file_id, bytes(range(256)) * 16)
        peer.send(*ECHO)
        return peer, file_id

    def load(peer, file_id):
        for _ in range(rounds):
            first = peer.message_id
            peer.socket.sendall(read_frames(peer, file_id, depth, 4096))
            for number in range(depth):
                (response,) = peer.next()
                assert response.header.message_id == first + number
                assert len(data_of(response)) == 4096

    async def test(site):
        peer, file_id = await in_thread(lambda: prepare(site))
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        await in_thread(lambda: load(peer, file_id))
        trio.lowlevel.remove_instrument(steps)
        assert steps.count / (rounds * depth) < 0.4, steps.count

    run(test)


def test_a_client_that_does_not_take_its_answers_is_not_read_and_hurts_nobody():
    """Its requests wait in its own socket; another client is served meanwhile; then all answers come."""

    def begin(site):
        slow = socket_peer(site, credits=1024)
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        file_id = slow.create("f")
        slow.send(*ECHO)
        slow.write(file_id, bytes(1 << 20))
        slow.socket.sendall(read_frames(slow, file_id, 48, 1 << 20))
        return slow

    def other(site):
        peer = socket_peer(site, client_guid=b"O" * 16)
        for _ in range(50):
            assert peer.send(*ECHO).status == Status.SUCCESS
        return peer

    def finish(slow):
        for _ in range(48):
            (response,) = slow.next()
            assert len(data_of(response)) == 1 << 20

    async def test(site):
        slow = await in_thread(lambda: begin(site))
        _quick = await in_thread(lambda: other(site))
        assert site.server.statistics.bytes_read < 40 << 20
        first = next(iter(site.server.connections))
        first.driver._by_connection[first].unsent_since_s -= 1
        assert [one.driver.is_stuck(one) for one in site.server.connections] == [True, False]
        await in_thread(lambda: finish(slow))
        assert site.server.statistics.bytes_read == 48 << 20

    run(test)


def test_writes_under_way_are_bounded():
    """A slow disk must not make the server hold all that the credits of its clients allow (512 MiB each)."""

    def ask(peer, file_id):
        body = WriteRequest(file_id=file_id, offset=0, data=bytes(1 << 20)).encode()
        for _ in range(20):
            peer.socket.sendall(peer.frame(peer.message(Command.WRITE, body, charge=16)))

    def finish(peer):
        for _ in range(20):
            assert peer.next()[0].status == Status.SUCCESS

    async def test(site):
        peer = await in_thread(lambda: socket_peer(site, credits=800))
        file_id = await in_thread(lambda: peer.create("f"))
        open = next(iter(site.server.opens.values()))
        gate, begun = trio.Event(), []

        async def write(offset, data, through):
            begun.append(1)
            await site.runtime.blocking(int)
            await gate.wait()

        Instead(open, write=write, write_now=lambda offset, data: False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(in_thread, lambda: ask(peer, file_id))
            await trio.sleep(0.3)
            assert len(begun) == 9
            gate.set()
        await in_thread(lambda: finish(peer))
        assert len(begun) == 20

    run(test, limits=Limits(reading_bytes=8 << 20))


def test_reads_under_way_are_bounded():
    """Requests past `reading_bytes` wait in the socket while detached READs hold memory; CANCEL-able waits do
    not count."""

    def begin(site):
        peer = socket_peer(site, credits=1024)
        file_id = peer.create("f")
        peer.send(*ECHO)
        peer.write(file_id, bytes(1 << 20))
        return peer, file_id

    def ask(peer, file_id):
        peer.socket.sendall(read_frames(peer, file_id, 40, 1 << 20))

    def finish(peer):
        for _ in range(40):
            assert len(data_of(peer.next()[0])) == 1 << 20

    async def test(site):
        peer, file_id = await in_thread(lambda: begin(site))
        open = next(iter(site.server.opens.values()))
        gate, inner, begun = trio.Event(), open.file, []

        async def read(offset, into):
            begun.append(1)
            await site.runtime.blocking(int)
            await gate.wait()
            return await inner.read(offset, into)

        Instead(open, read=read, read_now=lambda offset, into: -1)
        await in_thread(lambda: ask(peer, file_id))
        await trio.sleep(0.1)
        assert len(begun) == 9
        gate.set()
        await in_thread(lambda: finish(peer))
        assert len(begun) == 40

    run(test, limits=Limits(reading_bytes=8 << 20))


def test_a_request_that_waits_leaves_the_pump_free_and_can_be_cancelled():
    """Interim response, other requests in between, then CANCEL; also one that comes in the same batch."""

    def talk(site):
        peer = socket_peer(site)
        directory = peer.create("d", create_options=1)
        body = ChangeNotifyRequest(file_id=directory, output_buffer_length=4096, completion_filter=3).encode()
        (pending,) = peer.push(peer.frame(peer.message(Command.CHANGE_NOTIFY, body)))
        assert pending.status == Status.PENDING
        assert peer.send(*ECHO).status == Status.SUCCESS
        cancel = peer.message(Command.CANCEL, b"\4\0\0\0", message_id=pending.header.message_id)
        assert peer.push(peer.frame(cancel))[0].status == Status.CANCELLED
        message = peer.message(Command.CHANGE_NOTIFY, body)
        cancel = peer.message(Command.CANCEL, b"\4\0\0\0", message_id=peer.message_id - 1)
        (pending,) = peer.push(peer.frame(message) + peer.frame(cancel))
        assert pending.status == Status.PENDING
        assert peer.next()[0].status == Status.CANCELLED

    async def test(site):
        await in_thread(lambda: talk(site))

    run(test)


def test_a_write_that_waits_keeps_its_bytes():
    """The receive buffer is given away: what comes later must not overwrite the data of a request under
    way."""

    def talk(site, file_id, peer):
        frames = []
        for number in range(64):
            body = peer.message(
                Command.WRITE,
                b"\x31\0\x70\0" + (4096).to_bytes(4, "little") + (number * 4096).to_bytes(8, "little")
                + file_id.persistent.to_bytes(8, "little") + file_id.volatile.to_bytes(8, "little")
                + bytes(16) + bytes([number]) * 4096,
            )  # fmt: skip
            frames.append(peer.frame(body))
        for start in range(0, 64, 8):
            peer.socket.sendall(b"".join(frames[start : start + 8]))
        for _ in range(64):
            assert peer.next()[0].status == Status.SUCCESS
        data = peer.read_bytes(file_id, 64 * 4096)
        assert [data[n * 4096 : (n + 1) * 4096] == bytes([n]) * 4096 for n in range(64)] == [True] * 64

    def begin(site):
        peer = socket_peer(site, credits=512)
        return peer, peer.create("f")

    async def test(site):
        peer, file_id = await in_thread(lambda: begin(site))
        await in_thread(lambda: peer.send(*ECHO))
        open = next(iter(site.server.opens.values()))
        inner = open.file

        async def write(offset, data, through=False):
            await site.runtime.blocking(lambda: None)
            await trio.sleep(0.005)
            await inner.write(offset, data, through)

        Instead(open, write=write, write_now=lambda offset, data: False)
        await in_thread(lambda: talk(site, file_id, peer))

    run(test)


def test_a_slow_request_gets_its_interim_response_after_a_while():
    """3.3.4.2: disk work tells nothing at first; past `interim_s` the client learns that it goes on."""

    def begin(site):
        peer = socket_peer(site)
        file_id = peer.create("f")
        peer.write(file_id, b"data")
        return peer, file_id

    async def test(site):
        peer, file_id = await in_thread(lambda: begin(site))
        open = next(iter(site.server.opens.values()))
        gate, inner = trio.Event(), open.file

        async def read(offset, into):
            await site.runtime.blocking(int)
            await gate.wait()
            return await inner.read(offset, into)

        Instead(open, read=read, read_now=lambda offset, into: -1)
        interim = await in_thread(lambda: peer.read(file_id, 4))
        assert interim.status == Status.PENDING
        gate.set()
        (final,) = await in_thread(peer.next)
        assert data_of(final) == b"data" and final.header.async_id == interim.header.async_id

    run(test, limits=Limits(interim_s=0.05))


@pytest.mark.parametrize("waits_first", [False, True])
def test_a_bug_ends_its_connection_and_no_other(waits_first, caplog):
    """It is logged with the message; the opens of that client are closed."""

    def begin(site):
        peer, other = socket_peer(site), socket_peer(site, client_guid=b"O" * 16)
        file_id = peer.create("f")
        return peer, other, file_id

    async def test(site):
        peer, other, file_id = await in_thread(lambda: begin(site))
        open = next(iter(site.server.opens.values()))

        async def broken(offset, data, through=False):
            if waits_first:
                await site.runtime.blocking(int)
            raise ZeroDivisionError

        Instead(open, write=broken, write_now=lambda offset, data: False)
        with pytest.raises(EOFError):
            await in_thread(lambda: peer.write(file_id, b"x"))
        assert (await in_thread(lambda: other.send(*ECHO))).status == Status.SUCCESS
        assert site.server.statistics.bugs == 1 and "ZeroDivisionError" in caplog.text
        assert len(site.server.connections) == 1

    run(test)


def test_violations_and_rubbish_end_the_connection():
    def talk(site):
        for frame in (b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\x04abcd", b"\xff" * 300):
            client = site.dial()
            client.sendall(frame)
            assert hangs_up(client)
        peer = socket_peer(site)
        assert peer.send(*ECHO).status == Status.SUCCESS

    async def test(site):
        await in_thread(lambda: talk(site))
        assert site.server.statistics.violations == 3

    run(test)


def test_strangers_and_the_unfinished_are_dropped():
    """A connection without a session, and one that leaves a frame unfinished, end after their time."""

    def talk(site):
        assert hangs_up(site.dial())
        peer = socket_peer(site)
        peer.socket.sendall(b"\0\0\1\0\xfeSMB")
        assert hangs_up(peer.socket)

    async def test(site):
        await in_thread(lambda: talk(site))

    run(test, limits=Limits(unauthenticated_s=0.2, partial_frame_s=0.1))


def test_connections_are_bounded():
    def talk(site):
        peers = [socket_peer(site) for _ in range(3)]
        assert hangs_up(site.dial())
        peers[0].socket.close()
        return peers

    async def test(site):
        peers = await in_thread(lambda: talk(site))
        await trio.sleep(0.05)
        await in_thread(lambda: socket_peer(site))
        assert (await in_thread(lambda: peers[1].send(*ECHO))).status == Status.SUCCESS

    run(test, limits=Limits(connections=3))


def test_a_lost_connection_ends_its_session_and_shutdown_ends_all():
    def talk(site):
        peer = socket_peer(site)
        peer.create("f")
        peer.socket.close()
        other = socket_peer(site)
        other.create("g")
        return other

    async def test(site):
        other = await in_thread(lambda: talk(site))
        await trio.sleep(0.05)
        assert len(site.server.sessions) == 1 and len(site.server.opens) == 1
        assert other.keys.session_id in site.server.sessions

    run(test)
