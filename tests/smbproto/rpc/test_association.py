"""The connection-oriented protocol under the services. [C706] 12.6 Connection-oriented RPC PDUs; [MS-RPCE]
3.3.3."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from impacket.dcerpc.v5 import samr, srvs, wkst
from impacket.dcerpc.v5.dtypes import RPC_SID

from smbproto.errors import WireError
from smbproto.rpc import pdu
from smbproto.rpc.association import Association
from smbproto.rpc.limits import FRAGMENT_BYTES_MAX, FRAGMENT_BYTES_MIN, REQUEST_BYTES_MAX
from smbproto.rpc.lsarpc import LsaService
from smbproto.rpc.samr import SamService
from smbproto.rpc.srvsvc import ServerService
from smbproto.rpc.wkssvc import WorkstationService
from tests.smbproto.rpc.host import Host, User

WHOLE = pdu.PFC_FIRST_FRAG | pdu.PFC_LAST_FRAG


def bind(syntax, *, transfers=(pdu.NDR,), kind=pdu.BIND, context=0, fragment=FRAGMENT_BYTES_MAX) -> bytes:
    body = struct.pack("<HHIB3x", fragment, fragment, 0, 1)
    body += struct.pack(
        "<HBx16sHH", context, len(transfers), syntax.uuid.bytes_le, syntax.version & 0xFFFF, 0
    )
    body += b"".join(struct.pack("<16sI", one.uuid.bytes_le, one.version) for one in transfers)
    return pdu.encode(kind, WHOLE, 1, body)


def request(stub: bytes, operation: int, *, flags: int = WHOLE, context: int = 0, call: int = 2) -> bytes:
    return pdu.encode(pdu.REQUEST, flags, call, struct.pack("<IHH", len(stub), context, operation) + stub)


def fault_of(fragment: bytes) -> int:
    header = pdu.decode_header_untrusted(fragment)
    assert header.kind == pdu.FAULT
    return struct.unpack_from("<I", fragment, 24)[0]


def result_of(fragment: bytes) -> tuple[int, int]:
    return struct.unpack_from("<HH", fragment, len(fragment) - 24)


@pytest.fixture
def server():
    host = Host()
    association = Association("srvsvc", [ServerService(host), WorkstationService(host)])
    association.receive(bind(ServerService.syntax))
    return association


def test_a_bind_is_accepted():
    """[C706] 12.6.4.4 bind_ack: the secondary address, then one result for each context."""
    (answer,) = Association("srvsvc", [ServerService(Host())]).receive(bind(ServerService.syntax))
    assert pdu.decode_header_untrusted(answer).kind == pdu.BIND_ACK
    assert b"\\PIPE\\srvsvc\0" in answer and result_of(answer) == (pdu.ACCEPTANCE, 0)


@pytest.mark.parametrize(
    ("syntax", "transfers", "result"),
    [
        (LsaService.syntax, (pdu.NDR,), (pdu.PROVIDER_REJECTION, pdu.ABSTRACT_SYNTAX_NOT_SUPPORTED)),
        (
            pdu.Syntax(ServerService.syntax.uuid, 9),
            (pdu.NDR,),
            (pdu.PROVIDER_REJECTION, pdu.ABSTRACT_SYNTAX_NOT_SUPPORTED),
        ),
        (ServerService.syntax, (), (pdu.PROVIDER_REJECTION, pdu.TRANSFER_SYNTAXES_NOT_SUPPORTED)),
    ],
)
def test_what_cannot_be_bound_is_rejected(syntax, transfers, result):
    """[C706] 12.6.3.1: p_result provider_rejection with its reason."""
    (answer,) = Association("srvsvc", [ServerService(Host())]).receive(bind(syntax, transfers=transfers))
    assert result_of(answer) == result


def test_authentication_within_rpc_is_refused():
    """[C706] 12.6.4.5 bind_nak: authentication_type_not_recognized."""
    body = bind(ServerService.syntax)[16:] + struct.pack("<BBBBI", 10, 6, 0, 0, 0) + b"NTLMSSP\0"
    message = bytearray(pdu.encode(pdu.BIND, WHOLE, 1, body))
    struct.pack_into("<H", message, 10, 8)
    (answer,) = Association("srvsvc", [ServerService(Host())]).receive(message)
    assert pdu.decode_header_untrusted(answer).kind == pdu.BIND_NAK
    assert struct.unpack_from("<H", answer, 16) == (pdu.AUTHENTICATION_TYPE_NOT_RECOGNIZED,)


def call(association, layout, **kwargs) -> list[bytes]:
    return association.receive(request(layout.getData(), layout.opnum, **kwargs))


def server_info(level: int = 100):
    asked = srvs.NetrServerGetInfo()
    asked["ServerName"], asked["Level"] = "\0", level
    return asked


def test_a_request_is_answered(server):
    """[C706] 12.6.4.10 response: with the call id of its request."""
    (answer,) = call(server, server_info(), call=77)
    header = pdu.decode_header_untrusted(answer)
    assert (header.kind, header.flags, header.call_id) == (pdu.RESPONSE, WHOLE, 77)
    found = srvs.NetrServerGetInfoResponse(answer[24:])
    assert found["InfoStruct"]["ServerInfo100"]["sv100_name"] == "SOFS\0"


def test_a_second_context_is_altered_in(server):
    """[C706] 12.6.4.1 alter_context."""
    (answer,) = server.receive(bind(WorkstationService.syntax, kind=pdu.ALTER_CONTEXT, context=5))
    assert pdu.decode_header_untrusted(answer).kind == pdu.ALTER_CONTEXT_RESP
    asked = wkst.NetrWkstaGetInfo()
    asked["ServerName"], asked["Level"] = "\0", 100
    (answer,) = call(server, asked, context=5)
    assert pdu.decode_header_untrusted(answer).kind == pdu.RESPONSE


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (request(b"", 9999), pdu.FAULT_OP_RANGE),
        (request(b"", 15, context=3), pdu.FAULT_UNKNOWN_INTERFACE),
        (request(b"\1", 15), pdu.FAULT_BAD_STUB_DATA),
        (request(b"\1\2\3", 15, flags=pdu.PFC_LAST_FRAG), pdu.FAULT_PROTOCOL),
    ],
)
def test_faults(server, message, status):
    """[C706] 12.6.4.7 fault; Appendix E: nca_s_op_rng_error, nca_s_unk_if; [MS-RPCE] rpc_x_bad_stub_data."""
    (answer,) = server.receive(message)
    assert fault_of(answer) == status


def test_a_request_before_the_bind_is_a_fault():
    """[C706] 12.6.4.9: a presentation context that was never negotiated."""
    (answer,) = call(Association("srvsvc", [ServerService(Host())]), server_info())
    assert fault_of(answer) == pdu.FAULT_UNKNOWN_INTERFACE


@pytest.mark.parametrize("cut", [1, 7, 100])
def test_fragments_and_pieces_make_one_request(server, cut):
    """[C706] 12.6.2.2: PFC_FIRST_FRAG to PFC_LAST_FRAG; a pipe may bring any piece of a fragment."""
    asked = server_info()
    stub = asked.getData()
    fragments = (
        request(stub[:8], asked.opnum, flags=pdu.PFC_FIRST_FRAG)
        + request(stub[8:12], asked.opnum, flags=0)
        + request(stub[12:], asked.opnum, flags=pdu.PFC_LAST_FRAG)
    )
    answers = []
    for at in range(0, len(fragments), cut):
        answers += server.receive(fragments[at : at + cut])
    assert [pdu.decode_header_untrusted(one).kind for one in answers] == [pdu.RESPONSE]


@pytest.mark.parametrize("fragment", [0, FRAGMENT_BYTES_MIN, FRAGMENT_BYTES_MAX, 65535])
def test_a_long_answer_is_cut_to_the_client_s_fragments(fragment):
    """[C706] 12.6.3.1: max_recv_frag of the client bounds what is sent; stub data in multiples of 8 bytes."""
    host = Host()
    host.accounts.everyone = [User(f"user number {n}", 1000 + n) for n in range(200)]
    association = Association("samr", [SamService(host)])
    association.receive(bind(SamService.syntax, fragment=fragment))
    stub = b"".join(
        one[24:]
        for one in _enumerate_users(
            association, largest=min(fragment or FRAGMENT_BYTES_MAX, FRAGMENT_BYTES_MAX)
        )
    )
    assert stub.count("user number".encode("utf-16-le")) == 200


def _enumerate_users(association, largest: int) -> list[bytes]:
    connect = samr.SamrConnect()
    connect["ServerName"], connect["DesiredAccess"] = "\0", 0x2000000
    (answer,) = call(association, connect)
    opened = samr.SamrOpenDomain()
    opened["ServerHandle"] = samr.SamrConnectResponse(answer[24:])["ServerHandle"]
    opened["DesiredAccess"] = 0x2000000
    machine = RPC_SID()
    machine.fromCanonical("S-1-5-21-11-22-33")
    opened["DomainId"] = machine
    (answer,) = call(association, opened)
    listed = samr.SamrEnumerateUsersInDomain()
    listed["DomainHandle"] = samr.SamrOpenDomainResponse(answer[24:])["DomainHandle"]
    listed["EnumerationContext"], listed["UserAccountControl"] = 0, 0
    listed["PreferedMaximumLength"] = 0xFFFFFFFF
    fragments = call(association, listed)
    assert len(fragments) > 1
    assert all(pdu.decode_header_untrusted(one).fragment_bytes == len(one) <= largest for one in fragments)
    flags = [pdu.decode_header_untrusted(one).flags for one in fragments]
    assert flags == [pdu.PFC_FIRST_FRAG, *[0] * (len(flags) - 2), pdu.PFC_LAST_FRAG]
    return fragments


@pytest.mark.parametrize(
    "message",
    [
        b"\4" + bytes(15),
        bytes((5, 0, 0, 3)) + b"\0\0\0\0" + bytes(8),
        pdu.encode(pdu.RESPONSE, WHOLE, 1, bytes(8)),
        pdu.encode(pdu.BIND, WHOLE, 1, bytes(5)),
        pdu.encode(pdu.BIND, WHOLE, 1, struct.pack("<HHIB3x", 0, 0, 0, 200)),
        pdu.encode(pdu.REQUEST, WHOLE, 1, bytes(3)),
        pdu.encode(pdu.REQUEST, WHOLE, 1, bytes(20000)),
    ],
)
def test_what_is_malformed_ends_the_association(server, message):
    """[C706] 12.6: another version or byte order, a server's PDU, a cut one, an overlong fragment."""
    with pytest.raises(WireError):
        server.receive(message)


def test_a_request_is_bounded(server):
    """Ours: REQUEST_BYTES_MAX; a client cannot make the server gather more."""
    flags = pdu.PFC_FIRST_FRAG
    with pytest.raises(WireError):
        for _ in range(REQUEST_BYTES_MAX // 4000 + 2):
            server.receive(request(bytes(4000), 15, flags=flags))
            flags = 0


@settings(max_examples=150, deadline=None)
@given(operation=st.integers(0, 80), stub=st.binary(max_size=200), which=st.integers(0, 3))
def test_no_stub_brings_a_service_down(operation, stub, which):
    """Any bytes to any operation give a response or a fault."""
    made = (ServerService, WorkstationService, LsaService, SamService)[which](Host())
    association = Association("any", [made])
    association.receive(bind(made.syntax))
    answers = association.receive(request(stub, operation))
    assert {pdu.decode_header_untrusted(one).kind for one in answers} <= {pdu.RESPONSE, pdu.FAULT}
    assert answers
