"""What a client offers in NEGOTIATE, what it accepts, and the later proof that nobody changed it.

Source: [MS-SMB2] 3.2.4.2.2.2 SMB2-Only Negotiate; 3.2.5.2 Receiving an SMB2 NEGOTIATE Response; 3.2.5.5
Receiving an SMB2 TREE_CONNECT Response (VALIDATE_NEGOTIATE_INFO); 3.2.5.14.12 Handling a Validate Negotiate
Info Response.
"""

from __future__ import annotations

from dataclasses import dataclass

from smbproto import limits
from smbproto.errors import ProtocolViolation, WireError
from smbproto.fscc.fsctl import ValidateNegotiate, ValidateNegotiateInput
from smbproto.security.encryption import CipherId
from smbproto.security.signing import SigningAlgorithm
from smbproto.smb2 import negotiate as wire
from smbproto.smb2.negotiate import NegotiateContext, NegotiateRequest, NegotiateResponse, find_context

__all__ = ["ALL_DIALECTS", "ClientConfig", "Negotiated"]

ALL_DIALECTS = (0x0202, 0x0210, 0x0300, 0x0302, 0x0311)
SALT_BYTES = 32
CAPABILITIES = wire.SMB2_GLOBAL_CAP_LEASING | wire.SMB2_GLOBAL_CAP_LARGE_MTU | wire.SMB2_GLOBAL_CAP_ENCRYPTION


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """What this client wants of a connection."""

    client_guid: bytes
    server_name: str = ""
    dialects: tuple[int, ...] = ALL_DIALECTS
    ciphers: tuple[CipherId, ...] = (
        CipherId.AES_128_GCM,
        CipherId.AES_256_GCM,
        CipherId.AES_128_CCM,
        CipherId.AES_256_CCM,
    )
    signing_algorithms: tuple[SigningAlgorithm, ...] = (
        SigningAlgorithm.AES_GMAC,
        SigningAlgorithm.AES_CMAC,
        SigningAlgorithm.HMAC_SHA256,
    )
    require_signing: bool = True
    require_encryption: bool = False
    credits_target: int = 1024

    @property
    def security_mode(self) -> int:
        if self.require_signing:
            return wire.SMB2_NEGOTIATE_SIGNING_REQUIRED | wire.SMB2_NEGOTIATE_SIGNING_ENABLED
        return wire.SMB2_NEGOTIATE_SIGNING_ENABLED

    @property
    def capabilities(self) -> int:
        return CAPABILITIES if max(self.dialects) >= wire.SMB2_DIALECT_300 else 0

    def request(self, salt: bytes) -> NegotiateRequest:
        contexts: tuple[NegotiateContext, ...] = ()
        if wire.SMB2_DIALECT_311 in self.dialects:
            contexts = self._contexts(salt)
        return NegotiateRequest(
            dialects=self.dialects,
            security_mode=self.security_mode,
            capabilities=self.capabilities,
            client_guid=self.client_guid,
            contexts=contexts,
        )

    def _contexts(self, salt: bytes) -> tuple[NegotiateContext, ...]:
        preauth = wire.PreauthIntegrityCapabilities(hash_algorithms=(wire.HASH_SHA512,), salt=salt)
        ciphers = wire.EncryptionCapabilities(ciphers=tuple(map(int, self.ciphers)))
        signing = wire.SigningCapabilities(algorithms=tuple(map(int, self.signing_algorithms)))
        contexts = [
            NegotiateContext(wire.SMB2_PREAUTH_INTEGRITY_CAPABILITIES, preauth.encode()),
            NegotiateContext(wire.SMB2_ENCRYPTION_CAPABILITIES, ciphers.encode()),
            NegotiateContext(wire.SMB2_SIGNING_CAPABILITIES, signing.encode()),
        ]
        if self.server_name:
            name = wire.NetnameContext(net_name=self.server_name).encode()
            contexts.append(NegotiateContext(wire.SMB2_NETNAME_NEGOTIATE_CONTEXT_ID, name))
        return tuple(contexts)

    def validate_request(self) -> bytes:
        """[MS-SMB2] 2.2.31.4 VALIDATE_NEGOTIATE_INFO Request: what we sent in NEGOTIATE, once more."""
        return ValidateNegotiateInput(
            capabilities=self.capabilities,
            guid=self.client_guid,
            security_mode=self.security_mode,
            dialects=self.dialects,
        ).encode()


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What both ends agreed on. Sizes in bytes."""

    dialect: int
    server_guid: bytes
    capabilities: int
    security_mode: int
    transact_max_bytes: int
    read_max_bytes: int
    write_max_bytes: int
    server_time: int
    hint: bytes  # SPNEGO NegTokenInit2
    cipher: CipherId | None = None
    signing: SigningAlgorithm | None = None  # None: what the dialect says

    @property
    def is_large_mtu(self) -> bool:
        """Requests may cost several credits."""
        return self.dialect >= wire.SMB2_DIALECT_210 and bool(
            self.capabilities & wire.SMB2_GLOBAL_CAP_LARGE_MTU
        )

    @property
    def server_requires_signing(self) -> bool:
        return bool(self.security_mode & wire.SMB2_NEGOTIATE_SIGNING_REQUIRED)

    @staticmethod
    def of_response(config: ClientConfig, response: NegotiateResponse) -> Negotiated:
        """Raises: ProtocolViolation for an answer that does not fit what was offered."""
        dialect = response.dialect_revision
        if dialect not in config.dialects:
            raise ProtocolViolation(f"the server chose dialect {dialect:#06x}, which was not offered")
        small = min(response.max_transact_size, response.max_read_size, response.max_write_size)
        if small < limits.SMALL_MTU_BYTES_MAX and dialect >= wire.SMB2_DIALECT_210:
            raise ProtocolViolation(f"the server takes {small} bytes at most; 65536 are the least")
        large = dialect >= wire.SMB2_DIALECT_210 and response.capabilities & wire.SMB2_GLOBAL_CAP_LARGE_MTU
        ceiling = limits.TRANSACT_BYTES_MAX if large else limits.SMALL_MTU_BYTES_MAX
        cipher, signing = None, None
        if dialect == wire.SMB2_DIALECT_311:
            cipher, signing = _agreed_311(config, response)
        elif dialect >= wire.SMB2_DIALECT_300 and response.capabilities & wire.SMB2_GLOBAL_CAP_ENCRYPTION:
            cipher = CipherId.AES_128_CCM
        return Negotiated(
            dialect=dialect,
            server_guid=response.server_guid,
            capabilities=response.capabilities,
            security_mode=response.security_mode,
            transact_max_bytes=min(response.max_transact_size, ceiling),
            read_max_bytes=min(response.max_read_size, ceiling),
            write_max_bytes=min(response.max_write_size, ceiling),
            server_time=response.system_time,
            hint=response.security_buffer,
            cipher=cipher,
            signing=signing,
        )

    def check_validation(self, output: bytes) -> None:
        """Compare [MS-SMB2] 2.2.32.6 VALIDATE_NEGOTIATE_INFO Response with what NEGOTIATE said.

        Raises: ProtocolViolation: somebody between us changed the negotiation.
        """
        try:
            heard = ValidateNegotiate.decode_untrusted(output)
        except WireError as error:
            raise ProtocolViolation(f"VALIDATE_NEGOTIATE_INFO is broken: {error}") from None
        said = ValidateNegotiate(
            capabilities=self.capabilities,
            guid=self.server_guid,
            security_mode=self.security_mode,
            dialect=self.dialect,
        )
        if heard != said:
            raise ProtocolViolation("the negotiation was changed on its way: VALIDATE_NEGOTIATE_INFO differs")


def _agreed_311(
    config: ClientConfig, response: NegotiateResponse
) -> tuple[CipherId | None, SigningAlgorithm | None]:
    """Cipher and signing algorithm from the contexts of a 3.1.1 response."""
    kinds = [context.type for context in response.contexts]
    if any(kinds.count(kind) > 1 for kind in kinds):
        raise ProtocolViolation("a negotiate context comes twice")
    try:
        data = find_context(response.contexts, wire.SMB2_PREAUTH_INTEGRITY_CAPABILITIES)
        hashes = wire.PreauthIntegrityCapabilities.decode_untrusted(data or b"").hash_algorithms
        if hashes != (wire.HASH_SHA512,):
            raise ProtocolViolation(f"the server chose preauthentication hashes {hashes}")
        data = find_context(response.contexts, wire.SMB2_ENCRYPTION_CAPABILITIES)
        ciphers = wire.EncryptionCapabilities.decode_untrusted(data).ciphers if data is not None else (0,)
        data = find_context(response.contexts, wire.SMB2_SIGNING_CAPABILITIES)
        signing = wire.SigningCapabilities.decode_untrusted(data).algorithms if data is not None else ()
    except WireError as error:
        raise ProtocolViolation(f"a negotiate context is broken: {error}") from None
    if len(ciphers) != 1 or (ciphers[0] and ciphers[0] not in config.ciphers):
        raise ProtocolViolation(f"the server chose ciphers {ciphers}, which were not offered")
    if len(signing) > 1 or any(algorithm not in config.signing_algorithms for algorithm in signing):
        raise ProtocolViolation(f"the server chose signing algorithms {signing}, which were not offered")
    cipher = CipherId(ciphers[0]) if ciphers[0] else None
    return cipher, SigningAlgorithm(signing[0]) if signing else None
