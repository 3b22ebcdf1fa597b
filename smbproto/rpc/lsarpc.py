"""The local security authority: names of SIDs, SIDs of names, what the account domain is called.

Source: [MS-LSAT] 3.1.4 Message Processing Events and Sequencing Rules; [MS-LSAD] 3.1.4.4 Policy Object
Methods. Nothing is changed through it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from impacket.dcerpc.v5 import lsad, lsat
from impacket.dcerpc.v5.dtypes import LPWSTR, NTSTATUS, NULL, PRPC_UNICODE_STRING, RPC_SID
from impacket.dcerpc.v5.ndr import NDRCALL, NDRPOINTER

from smbproto.rpc.identities import SID_TYPE_DOMAIN, SID_TYPE_UNKNOWN, Identities, Identity
from smbproto.rpc.limits import LOOKUPS_MAX
from smbproto.rpc.port import Host
from smbproto.rpc.service import Anything, Handles, NdrService, interface, text
from smbproto.status import Status

POLICY: Final = "policy"
NO_DOMAIN: Final = 0xFFFFFFFF
POLICY_PRIMARY_DOMAIN: Final = 3
POLICY_ACCOUNT_DOMAIN: Final = 5
POLICY_SERVER_ROLE: Final = 6
POLICY_DNS_DOMAIN: Final = 12
ROLE_PRIMARY: Final = 3


class _TextPointer(NDRPOINTER):  # type: ignore[misc]
    referent = (("Data", PRPC_UNICODE_STRING),)


class GetUserName(NDRCALL):  # type: ignore[misc]
    """[MS-LSAT] 3.1.4.2: DomainName is a pointer to a pointer, which impacket's own structure is not."""

    opnum = 45
    structure = (("SystemName", LPWSTR), ("UserName", PRPC_UNICODE_STRING), ("DomainName", _TextPointer))


class GetUserNameResponse(NDRCALL):  # type: ignore[misc]
    structure = (
        ("UserName", PRPC_UNICODE_STRING), ("DomainName", _TextPointer), ("ErrorCode", NTSTATUS),
    )  # fmt: skip


def set_sid(target: Any, field: str, sid: str) -> None:
    """Write a SID into a pointer field."""
    value = RPC_SID()
    value.fromCanonical(sid)
    target[field] = value


def sid_text(value: Any) -> str:
    """A SID of a request; "" for a null pointer or one that is none."""
    try:
        return str(value.formatCanonical())
    except (AttributeError, TypeError, IndexError, ValueError, KeyError):
        return ""


class _Domains:
    """The referenced domains of a look-up, in order of first mention."""

    def __init__(self) -> None:
        self._index: dict[tuple[str, str], int] = {}

    def of(self, identity: Identity) -> int:
        return self._index.setdefault((identity.domain, identity.domain_sid), len(self._index))

    def write(self, response: Any) -> None:
        listed = response["ReferencedDomains"]
        listed["Entries"] = len(self._index)
        listed["MaxEntries"] = len(self._index)
        if not self._index:
            listed["Domains"] = NULL
        for name, sid in self._index:
            entry = lsad.LSAPR_TRUST_INFORMATION()
            entry["Name"] = name
            set_sid(entry, "Sid", sid)
            listed["Domains"].append(entry)


def _status(mapped: int, asked: int) -> int:
    """[MS-LSAT] 3.1.4.5: all, some, or none could be translated."""
    if mapped == asked:
        return Status.SUCCESS
    return Status.SOME_NOT_MAPPED if mapped else Status.NONE_MAPPED


class LsaService(NdrService):
    """See the module."""

    syntax = interface("12345778-1234-abcd-ef00-0123456789ab", 0)

    def __init__(self, host: Host) -> None:
        super().__init__()
        self._host = host
        self._identities = Identities(host)
        self._handles = Handles()
        self.operations = {
            0: (lsad.LsarClose, self._close),
            6: (Anything, self._open_policy),
            7: (lsad.LsarQueryInformationPolicy, self._query_policy),
            13: (lsad.LsarEnumerateTrustedDomains, self._enumerate_trusted),
            14: (lsat.LsarLookupNames, self._lookup_names),
            15: (lsat.LsarLookupSids, self._lookup_sids),
            44: (Anything, self._open_policy_2),
            45: (GetUserName, self._get_user_name),
            46: (lsad.LsarQueryInformationPolicy2, self._query_policy_2),
            50: (lsad.LsarEnumerateTrustedDomainsEx, self._enumerate_trusted_ex),
            57: (lsat.LsarLookupSids2, self._lookup_sids_2),
            58: (lsat.LsarLookupNames2, self._lookup_names_2),
            68: (lsat.LsarLookupNames3, self._lookup_names_3),
            76: (lsat.LsarLookupSids3, self._lookup_sids_3),
            77: (lsat.LsarLookupNames4, self._lookup_names_4),
        }

    def _is_policy(self, request: Any) -> bool:
        return self._handles.find(request["PolicyHandle"]) is POLICY

    # the policy object

    def _open_policy(self, request: Any) -> Any:
        """[MS-LSAD] 3.1.4.4.2 LsarOpenPolicy (Opnum 6). The server's name and the object attributes are
        ignored."""
        return self._opened(lsad.LsarOpenPolicyResponse())

    def _open_policy_2(self, request: Any) -> Any:
        """[MS-LSAD] 3.1.4.4.1 LsarOpenPolicy2 (Opnum 44)."""
        return self._opened(lsad.LsarOpenPolicy2Response())

    def _opened(self, response: Any) -> Any:
        if self._host.caller.is_anonymous:
            response["PolicyHandle"] = bytes(20)
            response["ErrorCode"] = Status.ACCESS_DENIED
        else:
            response["PolicyHandle"] = self._handles.add(POLICY)
            response["ErrorCode"] = Status.SUCCESS
        return response

    def _close(self, request: Any) -> Any:
        """[MS-LSAD] 3.1.4.9.4 LsarClose (Opnum 0)."""
        response = lsad.LsarCloseResponse()
        was_open = self._handles.close(request["ObjectHandle"])
        response["ObjectHandle"] = bytes(20)
        response["ErrorCode"] = Status.SUCCESS if was_open else Status.INVALID_HANDLE
        return response

    def _query_policy(self, request: Any) -> Any:
        """[MS-LSAD] 3.1.4.4.4 LsarQueryInformationPolicy (Opnum 7)."""
        return self._queried(request, lsad.LsarQueryInformationPolicyResponse())

    def _query_policy_2(self, request: Any) -> Any:
        """[MS-LSAD] 3.1.4.4.3 LsarQueryInformationPolicy2 (Opnum 46)."""
        return self._queried(request, lsad.LsarQueryInformationPolicy2Response())

    def _queried(self, request: Any, response: Any) -> Any:
        kind = int(request["InformationClass"])
        writers: dict[int, Callable[[Any], None]] = {
            POLICY_PRIMARY_DOMAIN: self._primary_domain,
            POLICY_ACCOUNT_DOMAIN: self._account_domain,
            POLICY_SERVER_ROLE: self._server_role,
            POLICY_DNS_DOMAIN: self._dns_domain,
        }
        writer = writers.get(kind)
        error = Status.SUCCESS
        if not self._is_policy(request):
            error = Status.INVALID_HANDLE
        elif writer is None:
            error = Status.INVALID_PARAMETER
        response["ErrorCode"] = error
        if error or writer is None:
            response["PolicyInformation"] = NULL
            return response
        response["PolicyInformation"]["tag"] = kind
        writer(response["PolicyInformation"])
        return response

    def _primary_domain(self, info: Any) -> None:
        """No domain: the workgroup's name, without a SID."""
        info["PolicyPrimaryDomainInfo"]["Name"] = self._host.workgroup
        info["PolicyPrimaryDomainInfo"]["Sid"] = NULL

    def _account_domain(self, info: Any) -> None:
        info["PolicyAccountDomainInfo"]["DomainName"] = self._host.name
        set_sid(info["PolicyAccountDomainInfo"], "DomainSid", self._identities.machine_sid)

    def _server_role(self, info: Any) -> None:
        info["PolicyServerRoleInfo"]["LsaServerRole"] = ROLE_PRIMARY

    def _dns_domain(self, info: Any) -> None:
        dns = info["PolicyDnsDomainInfo"]
        dns["Name"] = self._host.workgroup
        dns["DnsDomainName"] = NULL
        dns["DnsForestName"] = NULL
        dns["DomainGuid"] = bytes(16)
        dns["Sid"] = NULL

    def _enumerate_trusted(self, request: Any) -> Any:
        """[MS-LSAD] 3.1.4.7.8 LsarEnumerateTrustedDomains (Opnum 13): there are none."""
        return self._no_trusts(request, lsad.LsarEnumerateTrustedDomainsResponse(), "Information")

    def _enumerate_trusted_ex(self, request: Any) -> Any:
        """[MS-LSAD] 3.1.4.7.7 LsarEnumerateTrustedDomainsEx (Opnum 50): there are none."""
        return self._no_trusts(request, lsad.LsarEnumerateTrustedDomainsExResponse(), "EnumerationBuffer")

    def _no_trusts(self, request: Any, response: Any, array: str) -> Any:
        response["EnumerationContext"] = 0
        response["EnumerationBuffer"]["Entries"] = 0
        response["EnumerationBuffer"][array] = NULL
        response["ErrorCode"] = Status.NO_MORE_ENTRIES if self._is_policy(request) else Status.INVALID_HANDLE
        return response

    def _get_user_name(self, request: Any) -> Any:
        """[MS-LSAT] 3.1.4.2 LsarGetUserName (Opnum 45). Who asks for no domain gets none."""
        response = GetUserNameResponse()
        response["UserName"] = self._host.caller.name
        wants_domain = request.fields["DomainName"].fields["ReferentID"]
        response["DomainName"] = self._host.caller.domain if wants_domain else NULL
        response["ErrorCode"] = Status.SUCCESS
        return response

    # SIDs to names

    def _lookup_sids(self, request: Any) -> Any:
        """[MS-LSAT] 3.1.4.11 LsarLookupSids (Opnum 15)."""
        return self._names(request, lsat.LsarLookupSidsResponse(), lsat.LSAPR_TRANSLATED_NAME, True)

    def _lookup_sids_2(self, request: Any) -> Any:
        """[MS-LSAT] 3.1.4.10 LsarLookupSids2 (Opnum 57)."""
        return self._names(request, lsat.LsarLookupSids2Response(), lsat.LSAPR_TRANSLATED_NAME_EX, True)

    def _lookup_sids_3(self, request: Any) -> Any:
        """[MS-LSAT] 3.1.4.9 LsarLookupSids3 (Opnum 76): without a handle."""
        return self._names(request, lsat.LsarLookupSids3Response(), lsat.LSAPR_TRANSLATED_NAME_EX, False)

    def _names(self, request: Any, response: Any, entry_type: Any, has_handle: bool) -> Any:
        asked = request["SidEnumBuffer"]
        sids: Sequence[Any] = asked["SidInfo"] if asked["Entries"] else ()
        refused = self._refuse(request, response, "TranslatedNames", "Names", len(sids), has_handle)
        if refused is not None:
            return refused
        domains = _Domains()
        mapped = 0
        translated = response["TranslatedNames"]
        for one in sids:
            sid = sid_text(one["Sid"])
            identity = self._identities.of_sid(sid)
            entry = entry_type()
            if identity is None:
                entry["Use"], entry["Name"], entry["DomainIndex"] = SID_TYPE_UNKNOWN, sid, -1
            else:
                mapped += 1
                entry["Use"] = identity.use
                entry["Name"] = "" if identity.use == SID_TYPE_DOMAIN else identity.name
                entry["DomainIndex"] = domains.of(identity)
            if entry_type is lsat.LSAPR_TRANSLATED_NAME_EX:
                entry["Flags"] = 0
            translated["Names"].append(entry)
        translated["Entries"] = len(sids)
        return self._done(response, domains, mapped, len(sids))

    # names to SIDs

    def _lookup_names(self, request: Any) -> Any:
        """[MS-LSAT] 3.1.4.8 LsarLookupNames (Opnum 14)."""
        return self._sids(request, lsat.LsarLookupNamesResponse(), _sid_entry, True)

    def _lookup_names_2(self, request: Any) -> Any:
        """[MS-LSAT] 3.1.4.7 LsarLookupNames2 (Opnum 58)."""
        return self._sids(request, lsat.LsarLookupNames2Response(), _sid_ex_entry, True)

    def _lookup_names_3(self, request: Any) -> Any:
        """[MS-LSAT] 3.1.4.6 LsarLookupNames3 (Opnum 68)."""
        return self._sids(request, lsat.LsarLookupNames3Response(), _sid_ex2_entry, True)

    def _lookup_names_4(self, request: Any) -> Any:
        """[MS-LSAT] 3.1.4.5 LsarLookupNames4 (Opnum 77): without a handle."""
        return self._sids(request, lsat.LsarLookupNames4Response(), _sid_ex2_entry, False)

    def _sids(
        self, request: Any, response: Any, entry_of: Callable[[Identity | None, int], Any], has_handle: bool
    ) -> Any:
        names = [text(one["Data"]) for one in request["Names"]]
        refused = self._refuse(request, response, "TranslatedSids", "Sids", len(names), has_handle)
        if refused is not None:
            return refused
        domains = _Domains()
        mapped = 0
        translated = response["TranslatedSids"]
        for name in names:
            identity = self._identities.of_name(name)
            mapped += identity is not None
            index = domains.of(identity) if identity is not None else -1
            translated["Sids"].append(entry_of(identity, index))
        translated["Entries"] = len(names)
        return self._done(response, domains, mapped, len(names))

    def _refuse(
        self, request: Any, response: Any, field: str, array: str, count: int, has_handle: bool
    ) -> Any | None:
        """The response, if there is nothing to look up; None: go on."""
        error = Status.SUCCESS
        if has_handle and not self._is_policy(request):
            error = Status.INVALID_HANDLE
        elif not has_handle and self._host.caller.is_anonymous:
            error = Status.ACCESS_DENIED
        elif not 0 < count <= LOOKUPS_MAX:
            error = Status.INVALID_PARAMETER
        if not error:
            return None
        response["ReferencedDomains"] = NULL
        response[field]["Entries"] = 0
        response[field][array] = NULL
        response["MappedCount"] = 0
        response["ErrorCode"] = error
        return response

    def _done(self, response: Any, domains: _Domains, mapped: int, asked: int) -> Any:
        domains.write(response)
        response["MappedCount"] = mapped
        response["ErrorCode"] = _status(mapped, asked)
        return response


def _sid_entry(identity: Identity | None, index: int) -> Any:
    """[MS-LSAT] 2.2.13 LSA_TRANSLATED_SID."""
    entry = lsat.LSA_TRANSLATED_SID()
    entry["Use"] = SID_TYPE_UNKNOWN if identity is None else identity.use
    is_domain = identity is not None and identity.use == SID_TYPE_DOMAIN
    entry["RelativeId"] = 0 if identity is None else NO_DOMAIN if is_domain else identity.rid
    entry["DomainIndex"] = index
    return entry


def _sid_ex_entry(identity: Identity | None, index: int) -> Any:
    """[MS-LSAT] 2.2.24 LSAPR_TRANSLATED_SID_EX."""
    entry = lsat.LSAPR_TRANSLATED_SID_EX()
    plain = _sid_entry(identity, index)
    entry["Use"], entry["RelativeId"], entry["DomainIndex"] = plain["Use"], plain["RelativeId"], index
    entry["Flags"] = 0
    return entry


def _sid_ex2_entry(identity: Identity | None, index: int) -> Any:
    """[MS-LSAT] 2.2.25 LSAPR_TRANSLATED_SID_EX2."""
    entry = lsat.LSAPR_TRANSLATED_SID_EX2()
    entry["Use"] = SID_TYPE_UNKNOWN if identity is None else identity.use
    if identity is None:
        entry["Sid"] = NULL
    else:
        set_sid(entry, "Sid", identity.sid)
    entry["DomainIndex"] = index
    entry["Flags"] = 0
    return entry
