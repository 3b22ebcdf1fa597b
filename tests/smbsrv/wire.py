"""A client of real bytes, and a server without a wire under it: frames go straight into `Connection.receive`.

`Site` is a server with a share in memory; `Site.connect` gives a `Peer`, which negotiates, logs on and
speaks. Its own signing and sealing is what `smbproto.security` gives; it verifies every response. A handler
that waits stays in `Peer.driver.waiting` until `Peer.go_on` steps it or CANCEL ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from smbproto.codec import FileId
from smbproto.endpoint.framing import Arena
from smbproto.io import eager
from smbproto.io.eager import WAIT, detach, run_inline
from smbproto.security.encryption import CipherId, Opener, Sealer
from smbproto.security.keys import derive_session_keys, signing_algorithm_of
from smbproto.security.legacy import nt_hash
from smbproto.security.ntlm import NtlmInitiator
from smbproto.security.preauth import PreauthIntegrity
from smbproto.security.signing import Signer, SigningAlgorithm, make_signer
from smbproto.security.spnego import SpnegoInitiator
from smbproto.smb2 import negotiate as wire
from smbproto.smb2.close import CloseRequest
from smbproto.smb2.create import CreateRequest, CreateResponse
from smbproto.smb2.header import SMB2_FLAGS_RELATED_OPERATIONS, SMB2_FLAGS_SIGNED, Command, Header
from smbproto.smb2.read import ReadRequest, ReadResponse
from smbproto.smb2.session_setup import SMB2_SESSION_FLAG_BINDING, SessionSetupRequest, SessionSetupResponse
from smbproto.smb2.tree_connect import TreeConnectRequest, TreeConnectResponse
from smbproto.smb2.write import WriteRequest
from smbproto.status import Status
from smbsrv.connection import ARENA_BYTES, Connection
from smbsrv.job import Job
from smbsrv.open import Open
from smbsrv.server import Account, Server, ServerConfig
from smbsrv.share import Share
from storage.objectstore.volume import ObjectStoreVolume
from storage.volume import Token
from tests.suites.memoryfs import MemoryFileSystem

USER, PASSWORD = "ana", "Correct Horse"
ANY_ALGORITHM = (SigningAlgorithm.AES_GMAC, SigningAlgorithm.AES_CMAC, SigningAlgorithm.HMAC_SHA256)
ANY_CIPHER = tuple(CipherId)


def token_of(rid: int) -> Token:
    sid = f"S-1-5-21-1-2-3-{rid}"
    return Token(sid, frozenset({sid, "S-1-1-0", "S-1-5-11", "S-1-5-32-544"}), sid, "S-1-5-21-1-2-3-513")


class Accounts:
    """`smbsrv.server.Authenticator` with two users of one password."""

    def lookup(self, user: str, domain: str) -> Account | None:
        known = {"ana": 1001, "bob": 1002}.get(user.lower())
        return None if known is None else Account(user.lower(), "TEST", nt_hash(PASSWORD), token_of(known))


class _Event:
    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        self._is_set = True

    def is_set(self) -> bool:
        return self._is_set

    async def wait(self) -> None:
        while not self._is_set:
            await detach(WAIT)


class StillRuntime:
    """`storage.runtime.Runtime` with a clock that the test moves. Waiting detaches; nothing here wakes it."""

    def __init__(self) -> None:
        self.time_s = 1000.0
        self._entropy = 0

    def now(self) -> float:
        return self.time_s

    def filetime(self) -> int:
        return 133_000_000_000_000_000 + int(self.time_s * 1e7)

    def random_bytes(self, count: int) -> bytes:
        self._entropy += 1
        return (self._entropy.to_bytes(4, "little") * (count // 4 + 1))[:count][::-1]

    def event(self) -> _Event:
        return _Event()

    async def sleep(self, seconds: float) -> None:
        await detach(WAIT)

    async def blocking(self, work: Callable[[], Any]) -> Any:
        return work()

    def spawn(self, work: Callable[[], Any], name: str) -> None:
        """What does not end at once, such as a timer, is never gone on with here."""
        was_inline, eager._inline.on = eager._inline.on, False
        try:
            kind, _ = run_inline(work())
        finally:
            eager._inline.on = was_inline
        self.last_kind = kind


class StraightDriver:
    """`smbsrv.connection.Driver`: jobs run in the caller; what they send is kept."""

    def __init__(self) -> None:
        self.arena = Arena(ARENA_BYTES)
        self.sent: list[bytes] = []
        self.waiting: dict[Job, Coroutine[Any, Any, Any]] = {}
        self.is_closed = self.stuck = False

    def detach(self, job: Job, work: Any) -> None:
        self.waiting[job] = work
        job.cancel = lambda: self._cancel(job)

    def go_on(self) -> None:
        """Step everything that waits, once."""
        for job, work in list(self.waiting.items()):
            del self.waiting[job]
            self._step(job, work)

    def _step(self, job: Job, work: Any) -> None:
        while work is not None:
            kind, reply = run_inline(work)
            if kind is not None:
                self.detach(job, work)
                job.waits()
                return
            work = job.advance(reply)
        job.finish()

    def _cancel(self, job: Job) -> None:
        self.waiting.pop(job).close()
        self._step(job, job.advance(job.cancelled()))

    def send(self, connection: Connection, frame: memoryview) -> None:
        self.sent.append(bytes(frame))

    def is_stuck(self, connection: Connection) -> bool:
        return self.stuck

    def close(self, connection: Connection) -> None:
        self.is_closed = True
        connection.is_closing = True


@dataclass
class Response:
    """One response: its header, and the message from its header on."""

    header: Header
    message: memoryview
    is_signed: bool
    was_sealed: bool

    @property
    def status(self) -> Status:
        return Status(self.header.status)


@dataclass
class Keys:
    """What a client knows of a session on one channel."""

    session_id: int
    signer: Signer
    sealer: Sealer | None
    opener: Opener | None
    full_key: bytes = b""


class Instead:
    """A file with some methods replaced; everything else is the real one's."""

    def __init__(self, open: Open, **methods: Any) -> None:
        self._inner = open.file
        self.__dict__.update(methods)
        open.file = self  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Site:
    """A server on a volume in memory: share "data", and "secret" that demands encryption."""

    def __init__(self, **config: Any) -> None:
        self.runtime = StillRuntime()
        config.setdefault("guid", bytes(range(16)))
        self.server = Server(ServerConfig(**config), self.runtime, Accounts())
        self.volume = ObjectStoreVolume(MemoryFileSystem(), self.runtime)
        self.server.add_share(Share("data", self.volume))
        self.server.add_share(Share("secret", self.volume, encrypt_data=True))

    def connect(self, **options: Any) -> Peer:
        return Peer(self, **options)

    def logged_on(self, *, share: str = "data", **options: Any) -> Peer:
        """A peer with a session and a tree connect."""
        peer = self.connect(**options)
        peer.negotiate()
        peer.log_on()
        peer.tree_connect(share)
        return peer


@dataclass
class Peer:
    """One connection of a client. `is_sealing`: send everything encrypted."""

    site: Site
    dialect: int = 0x0311
    signing: tuple[SigningAlgorithm, ...] = ANY_ALGORITHM
    ciphers: tuple[CipherId, ...] = ANY_CIPHER
    client_guid: bytes = b"C" * 16
    is_sealing: bool = False
    credits: int = 64
    message_id: int = 0
    tree_id: int = 0
    keys: Keys | None = None
    driver: StraightDriver = field(default_factory=StraightDriver)
    preauth: PreauthIntegrity = field(default_factory=PreauthIntegrity)
    granted: int = 1

    def __post_init__(self) -> None:
        self.connection = self.site.server.new_connection(self.driver, "test")
        self.negotiated: wire.NegotiateResponse | None = None
        self._pushed: list[Response] = []

    # frames

    def push(self, frame: bytes) -> list[Response]:
        """Give the server these bytes; what it answers at once."""
        memory = memoryview(bytearray(frame + bytes(16)))
        at, end = 0, len(frame)
        out = b""
        while True:
            reached = self.connection.receive(memory, at, end)
            out += bytes(self.driver.arena.view[: self.driver.arena.end])
            self.driver.arena.end = 0
            if reached == at:
                break
            at = reached
        out += b"".join(self.driver.sent)
        self.driver.sent.clear()
        return self._responses(out)

    def late(self) -> list[Response]:
        """What was sent apart from answers to `push`."""
        out = b"".join(self.driver.sent)
        self.driver.sent.clear()
        return self._responses(out)

    def _responses(self, data: bytes) -> list[Response]:
        found: list[Response] = []
        at = 0
        while at < len(data):
            length = int.from_bytes(data[at : at + 4], "big")
            memory = memoryview(bytearray(data[at + 4 : at + 4 + length]))
            at += 4 + length
            sealed = memory[:4] == b"\xfdSMB"
            if sealed:
                assert self.keys is not None and self.keys.opener is not None
                memory = self.keys.opener.open_in_place(memory, 0, len(memory))
            found += self._elements(memory, sealed)
        assert at == len(data), "the server sent a frame with a wrong length"
        return found

    def _elements(self, memory: memoryview, sealed: bool) -> list[Response]:
        found = []
        while True:
            header = Header.decode_untrusted(memory)
            message = memory[: header.next_command or len(memory)]
            is_signed = bool(header.flags & SMB2_FLAGS_SIGNED)
            if is_signed and self.keys is not None:
                assert self.keys.signer.verify(message, header.message_id, True), (
                    "a wrong signature of the server"
                )
            self.granted += header.credits
            found.append(Response(header, message, is_signed, sealed))
            if not header.next_command:
                return found
            assert header.next_command % 8 == 0
            memory = memory[header.next_command :]

    def message(
        self, command: int, body: bytes, *, charge: int = 1, sign: bool | None = None, **fields: Any
    ) -> bytearray:
        """One message, signed if we have a key and do not seal; takes a message id."""
        fields.setdefault("session_id", self.keys.session_id if self.keys else 0)
        fields.setdefault("tree_id", self.tree_id)
        fields.setdefault("credits", self.credits)
        if "message_id" not in fields:
            fields["message_id"] = self.message_id
            self.message_id += max(charge, 1)
        sign = self.keys is not None and not self.is_sealing if sign is None else sign
        if sign:
            fields["flags"] = fields.get("flags", 0) | SMB2_FLAGS_SIGNED
        header = Header(command=command, credit_charge=charge if self.dialect > 0x0202 else 0, **fields)
        out = bytearray(header.encode() + body)
        if sign:
            self.sign(out)
        return out

    def sign(self, message: bytearray) -> None:
        assert self.keys is not None
        header = Header.decode_untrusted(message)
        is_cancel = header.command == Command.CANCEL
        message[48:64] = self.keys.signer.sign(memoryview(message), header.message_id, False, is_cancel)

    def frame(self, message: bytes | bytearray) -> bytes:
        """With its length in front, sealed if we seal."""
        if self.is_sealing:
            assert self.keys is not None and self.keys.sealer is not None
            memory = memoryview(bytearray(52 + len(message) + 16))
            memory[52 : 52 + len(message)] = message
            message = bytes(memory[: self.keys.sealer.seal_in_place(memory, 0, len(message))])
        return len(message).to_bytes(4, "big") + bytes(message)

    def send(self, command: int, body: bytes, **fields: Any) -> Response:
        """One request; its only response."""
        (response,) = self.push(self.frame(self.message(command, body, **fields)))
        return response

    def compound(self, *parts: tuple[int, bytes], related: bool = True) -> list[Response]:
        """Requests in one frame, padded and each signed."""
        out = bytearray()
        for index, (command, body) in enumerate(parts):
            flags = SMB2_FLAGS_RELATED_OPERATIONS if related and index else 0
            is_last = index == len(parts) - 1
            body += bytes(0 if is_last else -len(body) % 8)
            following = 0 if is_last else 64 + len(body)
            out += self.message(command, body, flags=flags, next_command=following)
        return self.push(self.frame(out))

    # setting up

    def negotiate_request(self) -> bytes:
        dialects = tuple(d for d in (0x0202, 0x0210, 0x0300, 0x0302, 0x0311) if d <= self.dialect)
        contexts: list[wire.NegotiateContext] = []
        if self.dialect >= 0x0311:
            hashes = wire.PreauthIntegrityCapabilities(hash_algorithms=(1,), salt=bytes(32))
            contexts.append(wire.NegotiateContext(wire.SMB2_PREAUTH_INTEGRITY_CAPABILITIES, hashes.encode()))
            if self.ciphers:
                ciphers = wire.EncryptionCapabilities(ciphers=self.ciphers).encode()
                contexts.append(wire.NegotiateContext(wire.SMB2_ENCRYPTION_CAPABILITIES, ciphers))
            if self.signing:
                algorithms = wire.SigningCapabilities(algorithms=self.signing).encode()
                contexts.append(wire.NegotiateContext(wire.SMB2_SIGNING_CAPABILITIES, algorithms))
        return wire.NegotiateRequest(
            dialects=dialects,
            security_mode=1,
            capabilities=0x7F if self.dialect >= 0x0300 else 0,
            client_guid=self.client_guid,
            contexts=tuple(contexts),
        ).encode()

    def negotiate(self) -> wire.NegotiateResponse:
        request = self.message(Command.NEGOTIATE, self.negotiate_request())
        (response,) = self.push(self.frame(request))
        assert response.status == Status.SUCCESS
        self.preauth.update(request)
        self.preauth.update(response.message)
        self.negotiated = wire.NegotiateResponse.decode_untrusted(response.message)
        return self.negotiated

    @property
    def cipher(self) -> CipherId | None:
        assert self.negotiated is not None
        if self.dialect < 0x0300:
            return None
        if self.dialect < 0x0311:
            return (
                CipherId.AES_128_CCM
                if self.negotiated.capabilities & wire.SMB2_GLOBAL_CAP_ENCRYPTION
                else None
            )
        data = wire.find_context(self.negotiated.contexts, wire.SMB2_ENCRYPTION_CAPABILITIES)
        chosen = 0 if data is None else wire.EncryptionCapabilities.decode_untrusted(data).ciphers[0]
        return CipherId(chosen) if chosen else None

    @property
    def algorithm(self) -> SigningAlgorithm:
        assert self.negotiated is not None
        data = wire.find_context(self.negotiated.contexts, wire.SMB2_SIGNING_CAPABILITIES)
        agreed = (
            None
            if data is None
            else SigningAlgorithm(wire.SigningCapabilities.decode_untrusted(data).algorithms[0])
        )
        return signing_algorithm_of(self.dialect, agreed)

    def log_on(
        self,
        user: str = USER,
        password: str = PASSWORD,
        *,
        is_raw: bool = False,
        binding: Keys | None = None,
        previous: int = 0,
        again: bool = False,
    ) -> Response:
        """NTLM, wrapped in SPNEGO unless `is_raw`; the last response. Our keys are set if it succeeded."""
        ntlm = NtlmInitiator(user, password, entropy=self.site.runtime.random_bytes, filetime=0)
        spnego = SpnegoInitiator(ntlm)
        preauth = self.preauth.copy()
        outgoing = ntlm.negotiate() if is_raw else spnego.begin()
        session_id = binding.session_id if binding else self.keys.session_id if again and self.keys else 0
        if binding:
            self.keys = Keys(binding.session_id, binding.signer, binding.sealer, binding.opener)
        while True:
            body = SessionSetupRequest(
                flags=SMB2_SESSION_FLAG_BINDING if binding else 0,
                security_mode=1,
                security_buffer=outgoing,
                previous_session_id=previous,
            ).encode()
            request = self.message(
                Command.SESSION_SETUP, body, session_id=session_id, tree_id=0, sign=bool(binding or again)
            )
            data = self._raw(self.frame(request))
            preauth.update(request)
            memory = memoryview(bytearray(data[4:]))
            header = Header.decode_untrusted(memory)
            self.granted += header.credits
            session_id = header.session_id
            response = Response(header, memory, bool(header.flags & SMB2_FLAGS_SIGNED), False)
            if header.status != Status.MORE_PROCESSING_REQUIRED:
                break
            preauth.update(memory)
            token = SessionSetupResponse.decode_untrusted(memory).security_buffer
            outgoing = ntlm.authenticate(token) if is_raw else spnego.step(token) or b""
        if header.status == Status.SUCCESS and not again:
            self._keep_keys(session_id, ntlm.session_key, preauth, binding)
        if response.is_signed and header.status == Status.SUCCESS and self.keys is not None:
            assert self.keys.signer.verify(memory, header.message_id, True), "a wrong signature of the server"
        return response

    def _raw(self, frame: bytes) -> bytes:
        memory = memoryview(bytearray(frame + bytes(16)))
        self.connection.receive(memory, 0, len(frame))
        out = bytes(self.driver.arena.view[: self.driver.arena.end]) + b"".join(self.driver.sent)
        self.driver.arena.end = 0
        self.driver.sent.clear()
        return out

    def _keep_keys(
        self, session_id: int, full_key: bytes, preauth: PreauthIntegrity, binding: Keys | None
    ) -> None:
        keys = derive_session_keys(self.dialect, full_key, self.cipher, preauth.value)
        signer = make_signer(self.algorithm, keys.signing)
        sealer = opener = None
        if binding is not None:
            sealer, opener = binding.sealer, binding.opener
        elif self.cipher is not None and full_key:
            sealer = Sealer(self.cipher, keys.client_to_server, session_id)
            opener = Opener(self.cipher, keys.server_to_client)
        self.keys = Keys(session_id, signer, sealer, opener, full_key)

    def tree_connect(self, share: str = "data") -> TreeConnectResponse:
        response = self.send(
            Command.TREE_CONNECT, TreeConnectRequest(path=rf"\\server\{share}").encode(), tree_id=0
        )
        assert response.status == Status.SUCCESS, response.status
        self.tree_id = response.header.tree_id
        return TreeConnectResponse.decode_untrusted(response.message)

    # files

    @staticmethod
    def create_request(path: str, **fields: Any) -> bytes:
        fields.setdefault("desired_access", 0x001F01FF)
        fields.setdefault("share_access", 7)
        fields.setdefault("create_disposition", 3)
        return CreateRequest(name=path, impersonation_level=2, **fields).encode()

    def create(self, path: str, **fields: Any) -> FileId:
        response = self.send(Command.CREATE, self.create_request(path, **fields))
        assert response.status == Status.SUCCESS, response.status
        return CreateResponse.decode_untrusted(response.message).file_id

    def write(self, file_id: FileId, data: bytes, offset: int = 0, **fields: Any) -> Response:
        charge = max(1, (len(data) + 65535) // 65536)
        return self.send(
            Command.WRITE,
            WriteRequest(file_id=file_id, offset=offset, data=data, **fields).encode(),
            charge=charge,
        )

    def read(self, file_id: FileId, length: int, offset: int = 0, **fields: Any) -> Response:
        charge = max(1, (length + 65535) // 65536)
        body = ReadRequest(file_id=file_id, length=length, offset=offset, **fields).encode()
        return self.send(Command.READ, body, charge=charge)

    def read_bytes(self, file_id: FileId, length: int, offset: int = 0) -> bytes:
        response = self.read(file_id, length, offset)
        assert response.status == Status.SUCCESS, response.status
        return bytes(ReadResponse.decode_untrusted(response.message).data)

    def close(self, file_id: FileId, flags: int = 0) -> Response:
        return self.send(Command.CLOSE, CloseRequest(flags=flags, file_id=file_id).encode())
