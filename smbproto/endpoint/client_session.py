"""A session from the client's side: its set-up, token by token, and its keys.

    SETTING_UP --MORE_PROCESSING_REQUIRED, next token--> SETTING_UP
         | SUCCESS, signature right                         | any other status, a wrong signature
         v                                                  v
      VALID --LOGOFF, USER_SESSION_DELETED-->             GONE
        | ^                                                 ^
        | +--SUCCESS-----+                                  |
        +--new token--> RENEWING --any other status---------+

Renewing proves again who we are (NETWORK_SESSION_EXPIRED asks for it); the keys stay.

Source: [MS-SMB2] 3.2.5.3 Receiving an SMB2 SESSION_SETUP Response; 3.2.5.3.1 Handling a New Authentication;
3.2.5.3.2 Handling a Reauthentication; 3.1.4.2 Generating Cryptographic Keys.
"""

from __future__ import annotations

from enum import Enum, auto

from smbproto.endpoint.client_negotiate import ClientConfig, Negotiated
from smbproto.errors import ProtocolViolation
from smbproto.security.authentication import AuthenticationFailed
from smbproto.security.encryption import Opener, Sealer
from smbproto.security.keys import derive_session_keys, signing_algorithm_of
from smbproto.security.preauth import PreauthIntegrity
from smbproto.security.signing import Signer, make_signer
from smbproto.security.spnego import SpnegoInitiator
from smbproto.smb2.header import SMB2_FLAGS_SIGNED
from smbproto.smb2.session_setup import (
    SMB2_SESSION_FLAG_ENCRYPT_DATA,
    SMB2_SESSION_FLAG_IS_GUEST,
    SMB2_SESSION_FLAG_IS_NULL,
    SessionSetupResponse,
)
from smbproto.status import Status, StatusError

__all__ = ["ClientSession", "SessionState"]

SETUP_ROUNDS_MAX = 8


class SessionState(Enum):
    """See the module's drawing."""

    SETTING_UP = auto()
    VALID = auto()
    RENEWING = auto()
    GONE = auto()


class ClientSession:
    """One session. `session_id` is 0 until the server's first answer."""

    __slots__ = (
        "_config",
        "_initiator",
        "_negotiated",
        "_rounds",
        "encrypt_data",
        "is_anonymous",
        "is_guest",
        "opener",
        "preauth",
        "sealer",
        "session_id",
        "signer",
        "signing_required",
        "state",
    )

    def __init__(
        self,
        config: ClientConfig,
        negotiated: Negotiated,
        initiator: SpnegoInitiator,
        preauth: PreauthIntegrity,
    ) -> None:
        """`preauth`: a copy of the connection's chain, which this session goes on with."""
        self._config, self._negotiated, self._initiator = config, negotiated, initiator
        self._rounds = 0
        self.preauth = preauth
        self.session_id = 0
        self.state = SessionState.SETTING_UP
        self.signer: Signer | None = None
        self.sealer: Sealer | None = None
        self.opener: Opener | None = None
        self.signing_required = False
        self.encrypt_data = False
        self.is_guest = self.is_anonymous = False

    def begin(self) -> bytes:
        """The first token."""
        return self._initiator.begin()

    def next_token(self, response: SessionSetupResponse, message: memoryview) -> bytes:
        """The server wants more. Raises: StatusError, WireError, ProtocolViolation."""
        self._rounds += 1
        if self._rounds > SETUP_ROUNDS_MAX:
            raise ProtocolViolation(f"a session setup of more than {SETUP_ROUNDS_MAX} rounds")
        if self.state is SessionState.SETTING_UP:
            self.preauth.update(message)
        token = self._initiator.step(response.security_buffer)
        return token if token is not None else b""

    def begin_again(self, initiator: SpnegoInitiator) -> bytes:
        """Renew a valid session: the first token."""
        assert self.state is SessionState.VALID
        self.state = SessionState.RENEWING
        self._initiator, self._rounds = initiator, 0
        return initiator.begin()

    def renewed(self, response: SessionSetupResponse) -> None:
        """The server says yes again. Raises: StatusError, WireError."""
        if response.security_buffer:
            self._initiator.step(response.security_buffer)
        self.state = SessionState.VALID

    def established(self, response: SessionSetupResponse, message: memoryview, message_id: int) -> None:
        """The server says yes: make the keys and check the signature of its answer.

        Raises: StatusError, WireError, ProtocolViolation.
        """
        if response.security_buffer:
            self._initiator.step(response.security_buffer)
        flags = response.session_flags
        self.is_guest = bool(flags & SMB2_SESSION_FLAG_IS_GUEST)
        self.is_anonymous = bool(flags & SMB2_SESSION_FLAG_IS_NULL)
        if self.is_guest or self.is_anonymous:
            self._without_keys()
        else:
            self._with_keys(bool(flags & SMB2_SESSION_FLAG_ENCRYPT_DATA), message, message_id)
        self.state = SessionState.VALID

    def _without_keys(self) -> None:
        """A guest's key is known to anybody, so nothing of this session can be signed or encrypted.

        Both flags stand in a message that nobody could sign: without these checks whoever sits between could
        set them, and have a user's session go on unsigned.
        """
        if self.is_anonymous and not self._initiator.is_anonymous:
            raise StatusError(Status.ACCESS_DENIED, "the server made us anonymous, which we did not ask for")
        if self.is_guest and self._config.require_signing:
            raise StatusError(Status.SMB_GUEST_LOGON_BLOCKED, "the server made us a guest, who cannot sign")
        if self._config.require_encryption:
            raise StatusError(Status.ACCESS_DENIED, "a guest or anonymous session cannot be encrypted")

    def _with_keys(self, encrypt: bool, message: memoryview, message_id: int) -> None:
        negotiated, full_key = self._negotiated, self._initiator.session_key
        if not full_key:
            raise AuthenticationFailed("the server ended the authentication before we proved anything")
        keys = derive_session_keys(negotiated.dialect, full_key, negotiated.cipher, self.preauth.value)
        self.signer = make_signer(signing_algorithm_of(negotiated.dialect, negotiated.signing), keys.signing)
        self.signing_required = self._config.require_signing or negotiated.server_requires_signing
        if negotiated.cipher is not None:
            self.sealer = Sealer(negotiated.cipher, keys.client_to_server, self.session_id)
            self.opener = Opener(negotiated.cipher, keys.server_to_client)
        self.encrypt_data = encrypt or self._config.require_encryption
        if self.encrypt_data and self.sealer is None:
            raise StatusError(Status.NOT_SUPPORTED, "encryption is required, but the server offers none")
        if message[16] & SMB2_FLAGS_SIGNED:
            if not self.signer.verify(message, message_id, True):
                raise ProtocolViolation("the final SESSION_SETUP response has a wrong signature")
        elif negotiated.dialect >= 0x0311 or self.signing_required:
            raise ProtocolViolation("the final SESSION_SETUP response is not signed")
