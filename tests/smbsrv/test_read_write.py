"""READ, WRITE, FLUSH, CLOSE over real bytes, plain, signed and sealed with every algorithm. [MS-SMB2]
3.3.5.10 to 3.3.5.13."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smbproto.codec import FileId
from smbproto.security.encryption import CipherId
from smbproto.security.signing import SigningAlgorithm
from smbproto.smb2.close import CloseResponse
from smbproto.smb2.flush import FlushRequest
from smbproto.smb2.header import SMB2_FLAGS_REPLAY_OPERATION, Command
from smbproto.smb2.read import ReadRequest, ReadResponse
from smbproto.smb2.write import WriteRequest, WriteResponse
from smbproto.status import Status, StatusError
from tests.smbsrv.wire import Instead, Site

NO_FILE = FileId(99, 99)
PROTECTIONS = [
    *[({"dialect": 0x0311, "signing": (algorithm,)}, False) for algorithm in SigningAlgorithm],
    *[({"dialect": dialect}, False) for dialect in (0x0202, 0x0210, 0x0300, 0x0302)],
    *[({"dialect": 0x0311, "ciphers": (cipher,)}, True) for cipher in CipherId],
    *[({"dialect": dialect}, True) for dialect in (0x0300, 0x0302)],
]


@pytest.mark.parametrize(("options", "is_sealing"), PROTECTIONS)
@pytest.mark.parametrize("size", [1, 4096, 65537, 1 << 20])
def test_what_was_written_is_read_under_every_protection(options, is_sealing, size):
    """Each response is verified or decrypted by the client's own code; a sealed one carries no signature."""
    if options["dialect"] == 0x0202:
        size = min(size, 65536)
    peer = Site().logged_on(**options)
    peer.is_sealing = is_sealing
    file_id = peer.create("f")
    data = bytes(range(251)) * (size // 251 + 1)
    written = peer.write(file_id, data[:size])
    assert written.status == Status.SUCCESS
    assert WriteResponse.decode_untrusted(written.message).count == size
    answer = peer.read(file_id, size)
    assert (answer.is_signed, answer.was_sealed) == (not is_sealing, is_sealing)
    assert bytes(ReadResponse.decode_untrusted(answer.message).data) == data[:size]


def test_eight_mebibytes_in_one_request():
    """3.3.5.4: MaxReadSize and MaxWriteSize are 8 MiB with large MTU."""
    peer = Site().logged_on(credits=512)
    file_id = peer.create("f")
    peer.read(file_id, 1)
    data = bytes(8 << 20)
    assert peer.write(file_id, data).status == Status.SUCCESS
    assert peer.read_bytes(file_id, 8 << 20) == data


def test_one_byte_more_is_invalid():
    """ "If Length is greater than Connection.MaxReadSize ... STATUS_INVALID_PARAMETER." (3.3.5.12)"""
    peer = Site().logged_on(credits=512)
    file_id = peer.create("f")
    assert peer.read(file_id, (8 << 20) + 1).status == Status.INVALID_PARAMETER
    peer = Site().logged_on(dialect=0x0202)
    assert peer.read(peer.create("f"), 65537).status == Status.INVALID_PARAMETER


def test_a_charge_that_does_not_pay_is_invalid():
    """3.3.5.2.5: a CreditCharge smaller than the payload needs fails with STATUS_INVALID_PARAMETER."""
    peer = Site().logged_on()
    file_id = peer.create("f")
    for body, command in [
        (ReadRequest(file_id=file_id, length=65537, offset=0).encode(), Command.READ),
        (WriteRequest(file_id=file_id, offset=0, data=bytes(65537)).encode(), Command.WRITE),
    ]:
        assert peer.send(command, body, charge=1).status == Status.INVALID_PARAMETER
        assert peer.send(command, body, charge=0).status == Status.INVALID_PARAMETER
        assert peer.send(command, body, charge=2).status in (Status.SUCCESS, Status.END_OF_FILE)


def test_reads_at_and_past_the_end():
    """[MS-FSA] 2.1.5.3: STATUS_END_OF_FILE at the end, short before it; MinimumCount asks for more or
    nothing."""
    peer = Site().logged_on()
    file_id = peer.create("f")
    peer.write(file_id, b"0123456789")
    assert peer.read_bytes(file_id, 100, 4) == b"456789"
    assert peer.read(file_id, 1, 10).status == Status.END_OF_FILE
    assert peer.read(file_id, 100, 4, minimum_count=6).status == Status.SUCCESS
    assert peer.read(file_id, 100, 4, minimum_count=7).status == Status.END_OF_FILE


def test_unknown_and_closed_files():
    """3.3.5.12: "If no open is found, ... STATUS_FILE_CLOSED"."""
    peer = Site().logged_on()
    file_id = peer.create("f")
    assert peer.read(NO_FILE, 1).status == Status.FILE_CLOSED
    assert peer.read(FileId(file_id.persistent + 1, file_id.volatile), 1).status == Status.FILE_CLOSED
    assert peer.close(file_id).status == Status.SUCCESS
    assert peer.write(file_id, b"x").status == Status.FILE_CLOSED
    assert peer.close(file_id).status == Status.FILE_CLOSED


def test_an_open_of_another_tree_connect_is_closed_here():
    peer = Site().logged_on()
    file_id = peer.create("f")
    peer.write(file_id, b"x")
    peer.tree_connect()
    assert peer.read(file_id, 1).status == Status.FILE_CLOSED


def test_access_is_checked():
    """3.3.5.12 and 3.3.5.13: reading needs FILE_READ_DATA or EXECUTE, writing WRITE_DATA or APPEND_DATA; so
    does FLUSH."""
    peer = Site().logged_on()
    peer.write(peer.create("f"), b"data")
    reader = peer.create("f", desired_access=0x120089)
    writer = peer.create("f", desired_access=0x120196)
    assert peer.read_bytes(reader, 4) == b"data"
    assert peer.write(reader, b"x").status == Status.ACCESS_DENIED
    assert peer.write(writer, b"x").status == Status.SUCCESS
    assert peer.read(writer, 4).status == Status.ACCESS_DENIED
    assert peer.send(Command.FLUSH, FlushRequest(file_id=reader).encode()).status == Status.ACCESS_DENIED
    assert peer.send(Command.FLUSH, FlushRequest(file_id=writer).encode()).status == Status.SUCCESS


def test_write_through_reaches_the_file():
    """3.3.5.13: SMB2_WRITEFLAG_WRITE_THROUGH; the response comes after it is durable."""
    site = Site()
    peer = site.logged_on()
    file_id = peer.create("f")
    open = next(iter(site.server.opens.values()))
    seen = []
    inner = open.file

    async def write(offset, data, through=False):
        seen.append((offset, bytes(data), through))
        await inner.write(offset, data, through)

    Instead(open, write=write)
    assert peer.write(file_id, b"safe", flags=1).status == Status.SUCCESS
    assert peer.write(file_id, b"fast").status == Status.SUCCESS
    assert seen == [(0, b"safe", True)]


def test_close_tells_the_attributes_if_asked():
    """3.3.5.10: SMB2_CLOSE_FLAG_POSTQUERY_ATTRIB; else all is zero."""
    peer = Site().logged_on()
    file_id = peer.create("f")
    peer.write(file_id, bytes(100))
    answer = CloseResponse.decode_untrusted(peer.close(file_id, 1).message)
    assert (answer.flags, answer.end_of_file) == (1, 100) and answer.creation_time and answer.file_attributes
    answer = CloseResponse.decode_untrusted(peer.close(peer.create("f")).message)
    assert answer == CloseResponse()


def test_rdma_on_a_transport_without_it_is_invalid():
    peer = Site().logged_on()
    file_id = peer.create("f")
    peer.write(file_id, b"data")
    assert peer.read(file_id, 4, channel=1).status == Status.INVALID_PARAMETER
    assert peer.write(file_id, b"x", channel=2).status == Status.INVALID_PARAMETER


@pytest.mark.parametrize(
    ("command", "body"),
    [
        (Command.READ, b""),
        (Command.READ, bytes(48)),
        (Command.READ, b"\x31\0" + bytes(20)),
        (Command.WRITE, b""),
        (Command.WRITE, b"\x31\0\xff\xff\xff\xff\xff\xff" + bytes(40)),
        (Command.CLOSE, b"\x18\0"),
        (Command.FLUSH, b"\0"),
        (Command.ECHO, b"\5\0\0\0"),
        (0x13, b""),
        (0x7777, b"x"),
    ],
)
def test_malformed_bodies_are_invalid_parameter(command, body):
    """3.3.5: a wrong StructureSize, a short body, an unknown command: STATUS_INVALID_PARAMETER, and the
    connection stays."""
    peer = Site().logged_on()
    assert peer.send(command, body).status == Status.INVALID_PARAMETER
    assert peer.send(Command.ECHO, b"\4\0\0\0").status == Status.SUCCESS


def test_channel_sequence_orders_writes_of_a_broken_channel():
    """3.3.5.2.10: older sequence numbers fail modifying requests with STATUS_FILE_NOT_AVAILABLE; reads go
    on."""
    site = Site()
    peer = site.logged_on()
    file_id = peer.create("f")
    peer.write(file_id, b"old!")
    body = WriteRequest(file_id=file_id, offset=0, data=b"new!").encode()
    assert peer.send(Command.WRITE, body, status=5).status == Status.SUCCESS
    assert peer.write(file_id, b"late").status == Status.FILE_NOT_AVAILABLE
    assert peer.send(Command.WRITE, body, status=0x8006).status == Status.FILE_NOT_AVAILABLE
    assert peer.read_bytes(file_id, 4) == b"new!"
    open = next(iter(site.server.opens.values()))
    assert (open.channel_sequence, open.outstanding, open.outstanding_before) == (5, 0, 0)


def test_replayed_write_waits_for_what_went_before():
    """3.3.5.2.10: a replay fails while requests of the former channel sequence are outstanding."""
    site = Site()
    peer = site.logged_on()
    file_id = peer.create("f")
    open = next(iter(site.server.opens.values()))
    open.outstanding_before = 1
    body = WriteRequest(file_id=file_id, offset=0, data=b"x").encode()
    assert (
        peer.send(Command.WRITE, body, flags=SMB2_FLAGS_REPLAY_OPERATION).status == Status.FILE_NOT_AVAILABLE
    )
    open.outstanding_before = 0
    assert peer.send(Command.WRITE, body, flags=SMB2_FLAGS_REPLAY_OPERATION).status == Status.SUCCESS


def test_fast_and_slow_path_answer_alike():
    """The plain function and the coroutine differ in speed only."""
    site = Site()
    peer = site.logged_on()
    file_id = peer.create("f")
    peer.write(file_id, b"0123456789")
    open = next(iter(site.server.opens.values()))
    fast = peer.read(file_id, 6, 2)
    Instead(open, read_now=lambda offset, into: -1, write_now=lambda offset, data: False)
    slow = peer.read(file_id, 6, 2)
    assert bytes(fast.message[64:]) == bytes(slow.message[64:])
    assert peer.write(file_id, b"ab", 2).status == Status.SUCCESS
    assert peer.read_bytes(file_id, 4, 1) == b"1ab4"


def test_a_bug_in_a_handler_ends_that_connection_only():
    """Whatever a handler raises beside its refusals passes through to the driver."""
    site = Site()
    peer, other = site.logged_on(), site.logged_on(client_guid=b"O" * 16)
    file_id = peer.create("f")

    def broken(offset, into):
        raise ZeroDivisionError

    Instead(next(iter(site.server.opens.values())), read_now=broken)
    with pytest.raises(ZeroDivisionError):
        peer.read(file_id, 1)
    peer.connection.lost()
    assert other.write(other.create("g"), b"x").status == Status.SUCCESS


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 300), st.binary(min_size=1, max_size=80)), max_size=12)
)
def test_reads_see_the_last_writes(steps):
    """Against a bytearray."""
    peer = Site().logged_on(credits=512)
    file_id, model = peer.create("f"), bytearray()
    for is_write, offset, data in steps:
        if is_write:
            peer.write(file_id, data, offset)
            model.extend(bytes(max(0, offset + len(data) - len(model))))
            model[offset : offset + len(data)] = data
        elif offset >= len(model):
            assert peer.read(file_id, len(data), offset).status == Status.END_OF_FILE
        else:
            assert peer.read_bytes(file_id, len(data), offset) == model[offset : offset + len(data)]


def test_statuses_of_the_file_pass_through():
    site = Site()
    peer = site.logged_on()
    file_id = peer.create("f")

    def full(offset, data):
        raise StatusError(Status.DISK_FULL)

    async def full_too(offset, data, through=False):
        raise StatusError(Status.DISK_FULL)

    Instead(next(iter(site.server.opens.values())), write_now=full, write=full_too)
    assert peer.write(file_id, b"x").status == Status.DISK_FULL
