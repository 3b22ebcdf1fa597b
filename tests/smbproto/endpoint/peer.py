"""A server's end in a few lines, for tests of the client's: it agrees to what it is told and answers as
scripted."""

from __future__ import annotations

from smbproto.endpoint.framing import OutMessage, frame_bytes_max, write_frame
from smbproto.endpoint.window import ServerWindow
from smbproto.security.encryption import CipherId, Opener, Sealer
from smbproto.security.keys import derive_session_keys, signing_algorithm_of
from smbproto.security.legacy import nt_hash
from smbproto.security.ntlm import NtlmAcceptor
from smbproto.security.preauth import PreauthIntegrity
from smbproto.security.signing import SigningAlgorithm, make_signer
from smbproto.security.spnego import SpnegoAcceptor, negotiate_hint
from smbproto.smb2 import negotiate as wire
from smbproto.smb2.header import SMB2_FLAGS_ASYNC_COMMAND, Command, Header
from smbproto.smb2.session_setup import SessionSetupRequest, SessionSetupResponse
from smbproto.status import Status

SESSION_ID = 0x1122334455
RESPONSE = 1
PASSWORD = "secret"


class Peer:
    """One connection. `frames(data)` cuts and opens what the client sent; `answer` makes a response's
    frame."""

    def __init__(
        self, dialect=0x0311, cipher=CipherId.AES_128_GCM, signing=SigningAlgorithm.AES_GMAC, **response
    ):
        self.dialect, self.cipher, self.signing = dialect, cipher, signing
        self.response = {
            "security_mode": 1,
            "capabilities": 0x44,
            "session_flags": 0,
            "contexts": None,
        } | response
        self.window = ServerWindow()
        self.grant_max = 0xFFFF  # credits of one response
        self.preauth = PreauthIntegrity()
        self.acceptor = SpnegoAcceptor(NtlmAcceptor("PEER", "DOM", lambda n: b"\7" * n, 1 << 56))
        self.signer = self.sealer = self.opener = None

    def requests(self, frames):
        """(header, message, was sealed) of every request in the client's frames."""
        found = []
        for frame in frames:
            view, sealed = memoryview(bytearray(frame)), False
            assert int.from_bytes(view[:4], "big") == len(view) - 4
            view = view[4:]
            if view[0] == 0xFD:
                view, sealed = self.opener.open_in_place(view, 0, len(view)), True
            while True:
                header = Header.decode_untrusted(view)
                end = header.next_command or len(view)
                message = view[:end]
                if header.flags & 8:
                    is_cancel = header.command == Command.CANCEL
                    assert self.signer.verify(message, header.message_id, False, is_cancel), header
                if header.command != Command.CANCEL:
                    assert self.window.consume(header.message_id, header.credit_charge), header
                found.append((header, message, sealed))
                if not header.next_command:
                    break
                assert end % 8 == 0
                view = view[end:]
        return found

    def frame(self, *messages, sealed=False):
        """A frame of OutMessages."""
        buffer = memoryview(bytearray(frame_bytes_max([m.body for m in messages])))
        return bytes(buffer[: write_frame(buffer, 0, messages, self.sealer if sealed else None)])

    def message(
        self, header, body, status=Status.SUCCESS, *, signed=None, grant=None, flags=RESPONSE, async_id=None
    ):
        """A response to the request with that header; granting what it asked for, signed if the request
        was."""
        signed = bool(header.flags & 8) if signed is None else signed
        low, high = (0xFEFF, header.tree_id) if async_id is None else (async_id & 0xFFFFFFFF, async_id >> 32)
        if async_id is not None:
            flags |= SMB2_FLAGS_ASYNC_COMMAND
        return OutMessage(
            header.command, status, flags, header.message_id, low, high, SESSION_ID, body,
            credits=self.window.grant(min(header.credits, self.grant_max)) if grant is None else grant,
            signer=self.signer if signed else None,
        )  # fmt: skip

    def negotiate(self, frames):
        [(header, message, _)] = self.requests(frames)
        request = wire.NegotiateRequest.decode_untrusted(message)
        self.preauth.update(bytes(frames[0])[4:])
        contexts = self.response["contexts"]
        if contexts is None:
            contexts = self._contexts() if self.dialect == 0x0311 else ()
        body = wire.NegotiateResponse(
            security_mode=self.response["security_mode"], dialect_revision=self.dialect,
            server_guid=b"g" * 16,
            capabilities=self.response["capabilities"], max_transact_size=1 << 23, max_read_size=1 << 23,
            max_write_size=1 << 23, security_buffer=negotiate_hint(), contexts=contexts,
        ).encode()  # fmt: skip
        frame = self.frame(self.message(header, body, signed=False))
        self.preauth.update(frame[4:])
        return request, frame

    def _contexts(self):
        preauth = wire.PreauthIntegrityCapabilities(hash_algorithms=(1,), salt=b"s" * 32).encode()
        contexts = [
            wire.NegotiateContext(1, preauth),
            wire.NegotiateContext(2, wire.EncryptionCapabilities(ciphers=(int(self.cipher or 0),)).encode()),
        ]
        if self.signing is not None:
            contexts.append(
                wire.NegotiateContext(8, wire.SigningCapabilities(algorithms=(int(self.signing),)).encode())
            )
        return tuple(contexts)

    def setup(self, frames, session_flags=None):
        """Answer one SESSION_SETUP; may raise AuthenticationFailed."""
        [(header, message, _)] = self.requests(frames)
        self.preauth.update(bytes(frames[0])[4:])
        request = SessionSetupRequest.decode_untrusted(message)
        lookup = {"ana": nt_hash(PASSWORD)}
        step = self.acceptor.step(request.security_buffer, lambda user, domain: lookup.get(user))
        if step.identity is None:
            body = SessionSetupResponse(security_buffer=step.token).encode()
            frame = self.frame(self.message(header, body, Status.MORE_PROCESSING_REQUIRED, signed=False))
            self.preauth.update(frame[4:])
            return frame
        cipher = (
            self.cipher if self.dialect == 0x0311 else CipherId.AES_128_CCM if self.dialect >= 0x300 else None
        )
        keys = derive_session_keys(self.dialect, step.identity.session_key, cipher, self.preauth.value)
        self.signer = make_signer(signing_algorithm_of(self.dialect, self.signing), keys.signing)
        if cipher is not None and keys.server_to_client:
            self.sealer = Sealer(cipher, keys.server_to_client, SESSION_ID)
            self.opener = Opener(cipher, keys.client_to_server)
        flags = self.response["session_flags"] if session_flags is None else session_flags
        body = SessionSetupResponse(session_flags=flags, security_buffer=step.token).encode()
        return self.frame(self.message(header, body, signed=not flags & 3))
