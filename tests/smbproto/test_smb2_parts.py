"""Parts of messages that have rules of their own: headers, negotiate and create contexts, errors, SMB1's
negotiate."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from impacket import smb3structs

from smbproto import limits
from smbproto.codec import FileId
from smbproto.errors import WireError
from smbproto.smb2 import contexts, create, error, negotiate, oplock_break, smb1_negotiate, tree_connect
from smbproto.smb2.close import CloseRequest
from smbproto.smb2.header import HEADER, Command, Header
from smbproto.smb2.read import ReadRequest
from smbproto.smb2.write import WriteRequest
from smbproto.status import BufferOverflow, BufferTooSmall, Status, StatusError, StoppedOnSymlink
from tests.smbproto.samples import ID, KEY

CONTEXTS = st.lists(
    st.builds(create.CreateContext, st.binary(min_size=1, max_size=20), st.binary(max_size=60)), max_size=6
).map(tuple)


@given(CONTEXTS)
@settings(max_examples=150)
def test_any_chain_of_create_contexts_survives_a_round_trip(chain):
    """[MS-SMB2] 2.2.13.2 SMB2_CREATE_CONTEXT Request Values: data 8-byte aligned, Next a multiple of 8."""
    wire = create.encode_contexts(chain)
    assert create.decode_contexts_untrusted(wire) == chain
    assert create.decode_contexts_untrusted(memoryview(wire)) == chain


@given(CONTEXTS, st.data())
@settings(max_examples=150)
def test_a_damaged_chain_gives_contexts_or_a_wire_error(chain, data):
    wire = bytearray(create.encode_contexts(chain))
    for _ in range(data.draw(st.integers(0, 3)) if wire else 0):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = create.decode_contexts_untrusted(bytes(wire[: data.draw(st.integers(0, len(wire)))]))
    except WireError:
        return
    assert sum(len(context.data) for context in found) <= len(wire)


def test_create_contexts_have_limits():
    """Limits on everything a peer can make grow."""
    many = (create.CreateContext(b"MxAc"),) * limits.CREATE_CONTEXTS_MAX
    assert len(create.decode_contexts_untrusted(create.encode_contexts(many))) == limits.CREATE_CONTEXTS_MAX
    with pytest.raises(WireError):
        create.decode_contexts_untrusted(create.encode_contexts((*many, create.CreateContext(b"MxAc"))))
    with pytest.raises(WireError):
        create.decode_contexts_untrusted(bytes(limits.CREATE_CONTEXT_BYTES_MAX + 1))


def test_the_version_of_a_lease_is_told_by_its_length():
    """[MS-SMB2] 3.3.5.9.8 and 3.3.5.9.11: DataLength 32 is version 1, 52 is version 2."""
    assert isinstance(contexts.decode_lease_untrusted(bytes(32)), contexts.Lease)
    assert isinstance(contexts.decode_lease_untrusted(bytes(52)), contexts.LeaseV2)
    for size in (0, 31, 33, 51, 53):
        with pytest.raises(WireError):
            contexts.decode_lease_untrusted(bytes(size))


def test_a_maximal_access_request_may_be_empty():
    """[MS-SMB2] 2.2.13.2.5 SMB2_CREATE_QUERY_MAXIMAL_ACCESS_REQUEST."""
    assert contexts.maximal_access_timestamp_untrusted(b"") == 0
    assert contexts.maximal_access_timestamp_untrusted((5).to_bytes(8, "little")) == 5
    with pytest.raises(WireError):
        contexts.maximal_access_timestamp_untrusted(b"1234567")


def test_a_negotiate_without_311_has_no_contexts():
    """[MS-SMB2] 2.2.3: the field is ClientStartTime "if the dialect is not 3.1.1", whatever is in it."""
    request = negotiate.NegotiateRequest(dialects=(0x0202, 0x0302), security_mode=1)
    wire = bytearray(bytes(64) + request.encode())
    wire[64 + 28 : 64 + 36] = b"\xff" * 8
    assert negotiate.NegotiateRequest.decode_untrusted(bytes(wire)) == request


@pytest.mark.parametrize(("offset", "count"), [(0, 1), (100, 1), (0xFFFFFFFF, 1), (104, 17), (104, 3)])
def test_negotiate_contexts_outside_their_message_are_a_wire_error(offset, count):
    wire = bytearray(bytes(64) + negotiate.NegotiateRequest(
        dialects=(0x0300, 0x0311), security_mode=1,
        contexts=(negotiate.NegotiateContext(1, bytes(8)), negotiate.NegotiateContext(2, bytes(8))),
    ).encode())  # fmt: skip
    assert negotiate.NegotiateRequest.decode_untrusted(bytes(wire)).contexts[1].type == 2
    wire[64 + 28 : 64 + 34] = offset.to_bytes(4, "little") + count.to_bytes(2, "little")
    with pytest.raises(WireError):
        negotiate.NegotiateRequest.decode_untrusted(bytes(wire))


def test_a_context_is_found_by_its_type():
    found = (negotiate.NegotiateContext(2, b"a"), negotiate.NegotiateContext(2, b"b"))
    assert negotiate.find_context(found, 2) == b"a"
    assert negotiate.find_context(found, 1) is None


def test_too_many_dialects_are_a_wire_error():
    request = negotiate.NegotiateRequest(dialects=(0x0202,) * (limits.DIALECTS_MAX + 1), security_mode=1)
    with pytest.raises(WireError):
        negotiate.NegotiateRequest.decode_untrusted(bytes(64) + request.encode())


def test_too_many_tree_connect_contexts_are_a_wire_error():
    many = (tree_connect.TreeConnectContext(1, b""),) * (limits.TREE_CONNECT_CONTEXTS_MAX + 1)
    request = tree_connect.TreeConnectRequest(path="x", contexts=many)
    with pytest.raises(WireError):
        tree_connect.TreeConnectRequest.decode_untrusted(bytes(64) + request.encode())


def test_the_header_struct_is_64_bytes_and_holds_both_forms():
    """[MS-SMB2] 2.2.1.1 SMB2 Packet Header - ASYNC; 2.2.1.2 SMB2 Packet Header - SYNC."""
    assert HEADER.size == 64
    asynchronous = Header(command=Command.READ, flags=2, async_id=0xFFFFFFFFFFFFFFFE)
    again = Header.decode_untrusted(asynchronous.encode())
    assert (again.async_id, again.tree_id, again.is_async) == (0xFFFFFFFFFFFFFFFE, 0, True)
    synchronous = Header.decode_untrusted(Header(command=0, tree_id=7, status=0x20003).encode())
    assert (synchronous.tree_id, synchronous.async_id, synchronous.channel_sequence) == (7, 0, 3)
    for broken in (b"\xfeSMB\x3f\0" + bytes(58), b"\xffSMB\x40\0" + bytes(58), bytes(63)):
        with pytest.raises(WireError):
            Header.decode_untrusted(broken)


def test_the_kind_of_a_break_is_told_by_structure_size():
    """[MS-SMB2] 3.3.5.22 Receiving an SMB2 OPLOCK_BREAK Acknowledgment."""
    for message in (
        oplock_break.OplockBreakAcknowledgment(oplock_level=1, file_id=ID),
        oplock_break.LeaseBreakAcknowledgment(lease_key=KEY, lease_state=1),
    ):
        assert oplock_break.decode_acknowledgment_untrusted(bytes(64) + message.encode()) == message
    for message, notification in (
        (oplock_break.OplockBreakNotification(oplock_level=1, file_id=ID), True),
        (oplock_break.LeaseBreakNotification(lease_key=KEY, current_lease_state=7, new_lease_state=1), True),
        (oplock_break.OplockBreakResponse(oplock_level=1, file_id=ID), False),
        (oplock_break.LeaseBreakResponse(lease_key=KEY, lease_state=1), False),
    ):
        whole = bytes(64) + message.encode()
        assert oplock_break.decode_from_server_untrusted(whole, notification=notification) == message
    for size in (64, 65, 80):
        with pytest.raises(WireError):
            oplock_break.decode_acknowledgment_untrusted(bytes(size))


def test_error_data_of_311_stand_in_a_context():
    """[MS-SMB2] 2.2.2: "If the server implements the SMB 3.1.1 dialect ... an array of ErrorContextCount"."""
    need = (100).to_bytes(4, "little")
    assert error.error_body(need, dialect_311=False).hex() == "090000000400000064000000"
    assert error.error_body(need, dialect_311=True).hex() == "090001000c000000040000000000000064000000"
    body = error.ErrorResponse.decode_untrusted(bytes(64) + error.error_body(need, dialect_311=True))
    assert error.decode_error_contexts_untrusted(body.error_data, 1) == (error.ErrorContext(0, need),)
    assert error.ErrorResponse().encode() == error.ERROR_RESPONSE_EMPTY


@given(st.binary(max_size=60), st.integers(0, 255))
@settings(max_examples=150)
def test_any_error_data_give_contexts_or_a_wire_error(data, count):
    try:
        assert len(error.decode_error_contexts_untrusted(data, count)) == count
    except WireError:
        pass


def test_several_error_contexts_are_aligned():
    """[MS-SMB2] 2.2.2: "each of these error context structures ... MUST be 8-byte aligned"."""
    both = (error.ErrorContext(0, b"abc"), error.ErrorContext(1, b"d"))
    wire = error.encode_error_contexts(both)
    assert wire.hex() == "03000000000000006162630000000000010000000100000064"
    assert error.decode_error_contexts_untrusted(wire, 2) == both


def test_an_smb1_negotiate_offers_smb2():
    """[MS-SMB2] 3.3.5.3.1 SMB 2.1 or 3.x Support: the dialect string "SMB 2.???"."""
    message = smb1_negotiate.encode_negotiate(("NT LM 0.12", "SMB 2.002", "SMB 2.???"))
    assert message[:5] == b"\xffSMB\x72"
    assert message[32:].hex() == "002200024e54204c4d20302e31320002534d4220322e3030320002534d4220322e3f3f3f00"
    dialects = smb1_negotiate.decode_dialects_untrusted(message)
    assert dialects == ("NT LM 0.12", "SMB 2.002", "SMB 2.???")
    assert smb1_negotiate.offers_smb2(dialects)
    assert not smb1_negotiate.offers_smb2(("NT LM 0.12",))


@given(st.data())
@settings(max_examples=150)
def test_a_damaged_smb1_negotiate_gives_dialects_or_a_wire_error(data):
    wire = bytearray(smb1_negotiate.encode_negotiate(("NT LM 0.12", "SMB 2.???")))
    for _ in range(3):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    try:
        smb1_negotiate.decode_dialects_untrusted(bytes(wire[: data.draw(st.integers(0, len(wire)))]))
    except WireError:
        pass


def test_another_implementation_reads_what_we_write():
    """impacket's structures as the peer: the same fields at the same places."""
    read = smb3structs.SMB2Read(ReadRequest(length=9, offset=8, file_id=ID, remaining_bytes=1).encode())
    assert (read["Length"], read["Offset"], read["RemainingBytes"]) == (9, 8, 1)
    write = smb3structs.SMB2Write(WriteRequest(data=b"hello", offset=3, file_id=ID).encode())
    assert (write["DataOffset"], write["Length"], write["Offset"], write["Buffer"][:5]) == (
        0x70,
        5,
        3,
        b"hello",
    )
    close = smb3structs.SMB2Close(CloseRequest(flags=1, file_id=FileId(1, 2)).encode())
    assert (close["Flags"], close["FileID"]["Persistent"]) == (1, 1)
    whole = create.CreateRequest(desired_access=0x80, create_disposition=1, name="a", contexts=(
        create.CreateContext(b"MxAc"),)).encode()  # fmt: skip
    created = smb3structs.SMB2Create(whole)
    assert (created["NameOffset"], created["NameLength"], created["CreateContextsOffset"]) == (120, 2, 128)
    packet = smb3structs.SMB3Packet(Header(command=8, message_id=5, session_id=6, tree_id=7).encode())
    assert (packet["Command"], packet["MessageID"], packet["SessionID"], packet["TreeID"]) == (8, 5, 6, 7)


def test_an_unknown_status_keeps_its_value():
    """[MS-ERREF] 2.3: a peer may send a status that we have no name for."""
    strange = Status(0xC0DE0001)
    assert strange == 0xC0DE0001
    assert strange.name == "0xC0DE0001"
    assert strange.is_error
    with pytest.raises(ValueError):
        Status(1 << 32)


def test_warnings_are_neither_errors_nor_success():
    """[MS-ERREF] 2.3: severity in the two highest bits."""
    assert Status.BUFFER_OVERFLOW == 0x80000005
    assert not Status.BUFFER_OVERFLOW.is_error
    assert not Status.BUFFER_OVERFLOW.is_success
    assert Status.PENDING.is_success
    assert Status.ACCESS_DENIED.is_error


def test_status_errors_carry_their_data():
    assert str(StatusError(Status.ACCESS_DENIED, "no")) == "ACCESS_DENIED: no"
    assert BufferTooSmall(7).status == Status.BUFFER_TOO_SMALL
    assert BufferTooSmall(7).need_bytes == 7
    assert BufferOverflow(b"ab").partial == b"ab"
    link = StoppedOnSymlink("\\??\\c:\\x", "x", relative=False, unparsed_path_length_bytes=4)
    assert (link.status, link.unparsed_path_length_bytes) == (Status.STOPPED_ON_SYMLINK, 4)


def test_statuses_have_the_published_values():
    """[MS-ERREF] 2.3.1 NTSTATUS Values, against impacket's table."""
    from impacket import nt_errors

    known = [(status, getattr(nt_errors, f"STATUS_{status.name}", None)) for status in Status]
    assert [(status.name, value) for status, value in known if value not in (None, status.value)] == []
    assert sum(value is not None for _, value in known) > 150
