"""Compounds, message ids, credits, asynchronous responses, CANCEL. [MS-SMB2] 3.3.1.1, 3.3.1.2, 3.3.4.2,
3.3.5.2.7, 3.3.5.16."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smbproto.codec import RELATED_FILE_ID
from smbproto.errors import ProtocolViolation
from smbproto.smb2.change_notify import ChangeNotifyRequest
from smbproto.smb2.close import CloseRequest
from smbproto.smb2.create import CreateResponse
from smbproto.smb2.header import SMB2_FLAGS_ASYNC_COMMAND, SMB2_FLAGS_RELATED_OPERATIONS, Command
from smbproto.smb2.lock import SMB2_LOCKFLAG_EXCLUSIVE_LOCK, LockElement, LockRequest
from smbproto.smb2.read import ReadRequest, ReadResponse
from smbproto.smb2.write import WriteRequest
from smbproto.status import Status
from smbsrv.limits import Limits
from tests.smbsrv.wire import Peer, Site

ECHO = (Command.ECHO, b"\4\0\0\0")
CANCEL = b"\4\0\0\0"
CLOSE = (Command.CLOSE, CloseRequest(file_id=RELATED_FILE_ID).encode())


def create(path: str, **fields) -> tuple[int, bytes]:
    return Command.CREATE, Peer.create_request(path, **fields)


def read(length: int = 4) -> tuple[int, bytes]:
    return Command.READ, ReadRequest(file_id=RELATED_FILE_ID, length=length, offset=0).encode()


def write(data: bytes) -> tuple[int, bytes]:
    return Command.WRITE, WriteRequest(file_id=RELATED_FILE_ID, offset=0, data=data).encode()


def notify(file_id=RELATED_FILE_ID) -> tuple[int, bytes]:
    return Command.CHANGE_NOTIFY, ChangeNotifyRequest(
        file_id=file_id, output_buffer_length=4096, completion_filter=3
    ).encode()


def statuses(responses) -> list[Status]:
    return [response.status for response in responses]


# compounds


@pytest.mark.parametrize("is_sealing", [False, True])
def test_related_requests_inherit_the_file(is_sealing):
    """3.3.5.2.7.2: FileId, SessionId, TreeId are those of the previous operation. One frame, each element
    signed."""
    peer = Site().logged_on()
    peer.is_sealing = is_sealing
    answers = peer.compound(create("f"), write(b"data"), read(), CLOSE)
    assert statuses(answers) == [Status.SUCCESS] * 4
    assert bytes(ReadResponse.decode_untrusted(answers[2].message).data) == b"data"
    assert all(answer.is_signed != is_sealing and answer.was_sealed == is_sealing for answer in answers)
    assert [bool(a.header.flags & SMB2_FLAGS_RELATED_OPERATIONS) for a in answers] == [
        False,
        True,
        True,
        True,
    ]


def test_failure_of_the_create_is_everybodys():
    """ "If the previous operation fails with an error, the server SHOULD fail the current operation with the
    same." """
    peer = Site().logged_on()
    answers = peer.compound(create("nowhere", create_disposition=1), read(), CLOSE)
    assert statuses(answers) == [Status.OBJECT_NAME_NOT_FOUND] * 3


def test_failure_in_the_middle_leaves_the_file_to_the_rest():
    """The file that CREATE made is still closed (as Windows does; else clients would lose handles)."""
    site = Site()
    answers = site.logged_on().compound(create("f"), read(), CLOSE)
    assert statuses(answers) == [Status.SUCCESS, Status.END_OF_FILE, Status.SUCCESS]
    assert site.server.opens == {}


def test_unrelated_requests_share_a_frame_and_nothing_else():
    """3.3.5.2.7.1 Handling Compounded Unrelated Requests."""
    peer = Site().logged_on()
    answers = peer.compound(create("f"), ECHO, CLOSE, related=False)
    assert statuses(answers) == [Status.SUCCESS, Status.SUCCESS, Status.FILE_CLOSED]


def test_a_related_request_without_file_is_invalid_handle():
    """ "If the previous operation neither contains nor generates a FileId, ... STATUS_INVALID_HANDLE." """
    answers = Site().logged_on().compound(ECHO, CLOSE)
    assert statuses(answers) == [Status.SUCCESS, Status.INVALID_HANDLE]


def test_first_request_must_not_be_related():
    """3.3.5.2.7.2: the chain fails with STATUS_INVALID_PARAMETER, up to where an unrelated request begins
    anew."""
    peer = Site().logged_on()
    out = bytearray()
    for index, (command, body) in enumerate((create("f"), CLOSE, ECHO)):
        body += bytes(-len(body) % 8)
        flags = SMB2_FLAGS_RELATED_OPERATIONS if index < 2 else 0
        out += peer.message(command, body, flags=flags, next_command=64 + len(body) if index < 2 else 0)
    answers = peer.push(peer.frame(out))
    assert statuses(answers) == [Status.INVALID_PARAMETER, Status.INVALID_PARAMETER, Status.SUCCESS]


@pytest.mark.parametrize("following", [8, 60, 71, 100, 4096, 0xFFFFFFF8])
def test_broken_chains_end_the_connection(following):
    """ "If each request ... does not start at an 8-byte aligned boundary, the server SHOULD disconnect."
    (3.3.5.2.7)"""
    peer = Site().logged_on()
    message = peer.message(ECHO[0], ECHO[1] + bytes(28), next_command=following)
    with pytest.raises(ProtocolViolation):
        peer.push(peer.frame(message))


def test_endless_chains_end_the_connection():
    peer = Site(limits=Limits(compound_elements=8)).logged_on(credits=64)
    peer.send(*ECHO)
    with pytest.raises(ProtocolViolation, match="more than 8"):
        peer.compound(*[ECHO] * 9)


KINDS = {
    "create": lambda: create("f"), "missing": lambda: create("gone", create_disposition=1),
    "write": lambda: write(b"x"), "read": read, "close": lambda: CLOSE, "echo": lambda: ECHO,
}  # fmt: skip


@settings(max_examples=60)
@given(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=8), st.booleans(), st.booleans())
def test_every_request_of_a_compound_is_answered_in_order(kinds, related, is_sealing):
    """Against a model of one inherited file."""
    peer = Site().logged_on(credits=64)
    peer.send(*ECHO)
    peer.is_sealing = is_sealing
    first = peer.message_id
    answers = peer.compound(*(KINDS[kind]() for kind in kinds), related=related)
    assert [a.header.message_id for a in answers] == list(range(first, first + len(kinds)))
    file, has_file_id, size, last = "none", False, 0, Status.SUCCESS
    for index, (kind, status) in enumerate(zip(kinds, statuses(answers), strict=True)):
        is_related = related and index > 0
        if not is_related:
            file, has_file_id = "none", kind in ("read", "write", "close")
        expected = Status.SUCCESS
        if kind == "create":
            file, has_file_id = "open", True
        elif kind == "missing":
            file, has_file_id, expected = "none", True, Status.OBJECT_NAME_NOT_FOUND
        elif kind != "echo":
            if not is_related or file == "closed":
                expected = Status.FILE_CLOSED
            elif file == "none":
                expected = last if has_file_id and last.is_error else Status.INVALID_HANDLE
            elif kind == "write":
                size = 1
            elif kind == "read" and not size:
                expected = Status.END_OF_FILE
            elif kind == "close":
                file = "closed"
        assert status == expected, kind
        last = status


# message ids and credits


def test_a_message_id_is_good_once():
    """3.3.5.2.3: an id outside the window, or used before, ends the connection."""
    for again in (0, 5000, 1 << 63):
        peer = Site().logged_on()
        with pytest.raises(ProtocolViolation, match="message id"):
            peer.send(*ECHO, message_id=again)


def test_ids_may_come_in_any_order():
    peer = Site().logged_on(credits=16)
    peer.send(*ECHO)
    base = peer.message_id
    for offset in (3, 1, 0, 2):
        assert peer.send(*ECHO, message_id=base + offset).status == Status.SUCCESS


def test_credits_are_granted_as_asked_up_to_the_limit():
    """3.3.1.2: and never so few that the client could not go on."""
    peer = Site(limits=Limits(credits_max=512)).logged_on(credits=1)
    assert peer.send(*ECHO, credits=300).header.credits == 300
    assert peer.send(*ECHO, credits=300).header.credits < 300
    assert peer.connection.window.available == 512
    assert peer.send(*ECHO, credits=0).header.credits == 1


def test_strangers_get_few_credits():
    peer = Site().connect(credits=8192)
    peer.negotiate()
    assert peer.granted <= 1 + Limits().credits_before_session


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 600), st.integers(1, 8)), max_size=30))
def test_what_is_granted_may_be_used_and_no_more(steps):
    """The client's count of ids and the server's window agree at every step."""
    peer = Site(limits=Limits(credits_max=512)).logged_on(credits=1)
    file_id = peer.create("f")
    for wanted, charge in steps:
        body = ReadRequest(file_id=file_id, length=charge * 65536, offset=0).encode()
        before = peer.granted - peer.message_id
        assert before == peer.connection.window.available
        if charge > before:
            with pytest.raises(ProtocolViolation):
                peer.send(Command.READ, body, charge=charge)
            return
        peer.send(Command.READ, body, charge=charge, credits=wanted)


# asynchronous requests


def watched(peer: Peer):
    """A CHANGE_NOTIFY that waits: the open directory and its interim response."""
    directory = peer.create("d", create_options=1)
    return directory, peer.send(*notify(directory))


def test_a_request_that_waits_gets_an_interim_response():
    """3.3.4.2: STATUS_PENDING with an AsyncId, unsigned, and credits; the final response has none."""
    peer = Site().logged_on()
    _, interim = watched(peer)
    assert interim.status == Status.PENDING and not interim.is_signed
    assert interim.header.is_async and interim.header.async_id and interim.header.credits
    peer.create(r"d\new")
    peer.driver.go_on()
    (final,) = peer.late()
    assert final.status == Status.SUCCESS and final.is_signed
    assert (final.header.async_id, final.header.credits) == (interim.header.async_id, 0)
    assert final.header.message_id == interim.header.message_id
    assert peer.connection.jobs == {} and peer.connection.asynchronous == {}


@pytest.mark.parametrize("by_async_id", [True, False])
@pytest.mark.parametrize("is_sealing", [True, False])
def test_cancel_ends_a_waiting_request(by_async_id, is_sealing):
    """3.3.5.16: by AsyncId or by MessageId; "the server MUST NOT send a response to the CANCEL"."""
    peer = Site().logged_on()
    peer.is_sealing = is_sealing
    _, interim = watched(peer)
    fields = {"message_id": interim.header.message_id, "tree_id": 0}
    if by_async_id:
        fields |= {"flags": SMB2_FLAGS_ASYNC_COMMAND, "async_id": interim.header.async_id}
    (final,) = peer.push(peer.frame(peer.message(Command.CANCEL, CANCEL, **fields)))
    assert final.status == Status.CANCELLED
    assert final.header.command == Command.CHANGE_NOTIFY
    assert peer.connection.asynchronous == {}
    assert peer.send(*ECHO).status == Status.SUCCESS


def test_a_cancel_with_a_wrong_signature_or_unknown_id_is_nothing():
    peer = Site().logged_on()
    _, interim = watched(peer)
    wrong = peer.message(Command.CANCEL, CANCEL, message_id=interim.header.message_id)
    wrong[55] ^= 1
    assert peer.push(peer.frame(wrong)) == []
    unknown = peer.message(Command.CANCEL, CANCEL, flags=SMB2_FLAGS_ASYNC_COMMAND, async_id=999, message_id=0)
    assert peer.push(peer.frame(unknown)) == []
    assert len(peer.connection.jobs) == 1


def test_a_blocked_lock_waits_and_is_granted():
    """3.3.5.14: a lock that waits is answered asynchronously."""
    site = Site()
    ana, bob = site.logged_on(), site.logged_on(client_guid=b"B" * 16)
    file_id, other = ana.create("f"), bob.create("f")
    element = LockElement(offset=0, length=10, flags=SMB2_LOCKFLAG_EXCLUSIVE_LOCK)
    assert (
        ana.send(Command.LOCK, LockRequest(file_id=file_id, locks=(element,)).encode()).status
        == Status.SUCCESS
    )
    waiting = bob.send(Command.LOCK, LockRequest(file_id=other, locks=(element,)).encode())
    assert waiting.status == Status.PENDING
    assert ana.close(file_id).status == Status.SUCCESS
    bob.driver.go_on()
    assert statuses(bob.late()) == [Status.SUCCESS]


def test_closing_the_file_ends_what_waits_on_it():
    """A CHANGE_NOTIFY on a closed directory ends with STATUS_NOTIFY_CLEANUP."""
    peer = Site().logged_on()
    directory, _ = watched(peer)
    assert peer.close(directory).status == Status.SUCCESS
    peer.driver.go_on()
    assert statuses(peer.late()) == [Status.NOTIFY_CLEANUP]


def test_last_of_a_compound_may_wait_and_what_is_done_leaves_before():
    """3.3.4.2 and 3.3.5.2.7: the answers so far and the interim response leave together."""
    peer = Site().logged_on()
    answers = peer.compound(create("d", create_options=1), notify())
    assert statuses(answers) == [Status.SUCCESS, Status.PENDING]
    file_id = CreateResponse.decode_untrusted(answers[0].message).file_id
    peer.create(r"d\new")
    peer.driver.go_on()
    assert statuses(peer.late()) == [Status.SUCCESS]
    assert peer.close(file_id).status == Status.SUCCESS


def test_in_the_middle_of_a_compound_nothing_may_wait():
    """"The server MAY fail requests in a compound which require asynchronous processing." (3.3.5.2.7)"""
    peer = Site().logged_on()
    answers = peer.compound(create("d", create_options=1), notify(), CLOSE)
    assert statuses(answers) == [Status.SUCCESS, Status.INTERNAL_ERROR, Status.SUCCESS]


def test_waiting_requests_are_bounded():
    """3.3.4.2: "the server MAY choose to fail that operation with STATUS_INSUFFICIENT_RESOURCES"."""
    peer = Site(limits=Limits(async_requests_per_connection=3)).logged_on()
    directory = peer.create("d", create_options=1)
    answers = [peer.send(*notify(directory)).status for _ in range(4)]
    assert answers == [Status.PENDING] * 3 + [Status.INSUFFICIENT_RESOURCES]


def test_what_waits_ends_with_its_connection():
    """3.3.7.1: all requests of the connection are cancelled, its opens closed."""
    site = Site()
    peer = site.logged_on()
    watched(peer)
    peer.connection.lost()
    assert peer.connection.jobs == {} and peer.late() == []
    assert site.server.opens == {} and site.server.connections == {}
