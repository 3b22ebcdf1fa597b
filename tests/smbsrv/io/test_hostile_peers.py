"""What strangers and broken peers do to the server's own tasks, which must outlive them."""

from __future__ import annotations

import errno

import pytest
import trio

from smbproto.smb2.change_notify import ChangeNotifyRequest
from smbproto.smb2.flush import FlushRequest
from smbproto.smb2.header import Command
from smbproto.smb2.session_setup import SessionSetupRequest
from smbproto.status import Status
from smbsrv.io.listener import _accept
from smbsrv.io.timers import interim_responses
from smbsrv.job import Job
from smbsrv.limits import Limits
from smbsrv.request import Request
from storage.errors import DiskFailed
from tests.smbsrv.wire import Instead, Site


class Overdue:
    """A job that is due for its interim response, on a connection that turns out to be gone."""

    async_id = 0
    started_s = 0.0

    def __init__(self, connection):
        self.connection = connection

    def may_wait(self):
        return True

    def interim(self):
        self.connection.jobs.clear()
        self.connection.lost()


def test_a_connection_that_is_lost_while_it_is_told_to_wait_does_not_stop_the_timers():
    """[MS-SMB2] 3.3.4.2: sending the interim response may be what shows that the client is gone."""
    site = Site()
    peers = [site.connect() for _ in range(3)]
    for peer in peers:
        peer.connection.jobs = {Overdue(peer.connection): None}
    interim_responses(site.server, site.runtime.now())
    assert not site.server.connections


class Listener:
    """`trio.SocketListener`, as far as `_accept` needs it: each accept raises the next error."""

    def __init__(self, *numbers):
        self.socket = self
        self.numbers = list(numbers)

    async def accept(self):
        raise OSError(self.numbers.pop(0), "refused")


def test_an_error_of_a_connection_that_was_to_be_accepted_is_not_the_servers():
    """accept(2): ENETDOWN, EHOSTUNREACH, EPERM and the like belong to the new connection."""
    listener = Listener(errno.ENETDOWN, errno.EHOSTUNREACH, errno.EPERM, errno.ECONNABORTED, errno.EBADF)
    with pytest.raises(OSError) as raised:
        trio.run(_accept, None, listener)
    assert raised.value.errno == errno.EBADF and not listener.numbers


def test_a_stranger_begins_few_session_setups():
    """Else a handful of connections could fill the server's table of sessions and keep everybody out."""
    site = Site(limits=Limits(setups_before_session=3))
    stranger = site.connect()
    stranger.negotiate()

    def begin():
        token = b"NTLMSSP\0\1\0\0\0" + (0x00088201).to_bytes(4, "little") + bytes(16)
        body = SessionSetupRequest(flags=0, security_mode=1, security_buffer=token).encode()
        return stranger.send(Command.SESSION_SETUP, body, session_id=0).status

    assert [begin() for _ in range(3)] == [Status.MORE_PROCESSING_REQUIRED] * 3
    assert begin() == Status.INSUFFICIENT_RESOURCES
    assert len(site.server.sessions) == 3
    honest = site.logged_on()
    assert honest.send(Command.ECHO, b"\4\0\0\0").status == Status.SUCCESS


def test_a_watcher_that_waits_holds_no_receive_buffer():
    """A job that may wait for ever has a copy of its few bytes; else 1,000 watchers hold 256 MiB."""
    peer = Site().logged_on()
    opened = peer.create("d", create_options=1)
    body = ChangeNotifyRequest(file_id=opened, output_buffer_length=4096, completion_filter=1).encode()
    peer.push(peer.frame(peer.message(Command.CHANGE_NOTIFY, body)))
    (job,) = peer.driver.waiting
    frame = job.current.message.obj
    assert not job.keeps_memory()
    assert job.current.message.obj is not frame and len(job.current.message.obj) < 200
    request = Request(peer.site.server, peer.connection, memoryview(b"x"), Command.CREATE, 1, 0, 1)
    create = Job(peer.connection, [request], None)
    assert create.keeps_memory(), "its name and contexts are views"


@pytest.mark.parametrize("command", [Command.LOGOFF, Command.TREE_DISCONNECT])
def test_an_open_that_fails_to_close_keeps_no_other_from_closing(command):
    """3.3.5.6, 3.3.5.8: all opens of the session or tree connect close; a sick disk concerns one of them."""
    site = Site()
    peer = site.logged_on()
    for name in "abc":
        peer.create(name)

    async def fail():
        raise DiskFailed("the disk is sick")

    first = next(iter(site.server.opens.values()))
    Instead(first, close=fail)
    assert peer.send(command, b"\4\0\0\0").status == Status.SUCCESS
    assert not site.server.opens


def test_a_disk_that_fails_where_nobody_expected_it_is_a_status():
    """Else it would end the connection, with all that is open on it."""
    site = Site()
    peer = site.logged_on()
    file_id = peer.create("f")

    async def fail():
        raise DiskFailed("the disk is sick")

    (opened,) = site.server.opens.values()
    Instead(opened, flush=fail)
    body = FlushRequest(file_id=file_id).encode()
    assert peer.send(Command.FLUSH, body).status == Status.UNEXPECTED_IO_ERROR
    assert peer.send(Command.ECHO, b"\4\0\0\0").status == Status.SUCCESS
