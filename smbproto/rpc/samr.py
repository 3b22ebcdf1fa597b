"""The security account manager: which accounts and groups there are. Nothing is changed through it; no
password leaves by it.

Source: [MS-SAMR] 3.1.5 Message Processing Events and Sequencing Rules. Two domains: the machine's own (users,
the group "None") and BUILTIN (aliases).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from impacket.dcerpc.v5 import samr
from impacket.dcerpc.v5.dtypes import NULL, RPC_UNICODE_STRING, ULONG

from smbproto.rpc.identities import (
    ALIASES,
    BUILTIN_SID,
    GROUP_NONE,
    RID_NONE,
    SID_TYPE_ALIAS,
    SID_TYPE_GROUP,
    SID_TYPE_UNKNOWN,
    SID_TYPE_USER,
    Alias,
    members_of,
)
from smbproto.rpc.limits import ENTRIES_MAX, LOOKUPS_MAX
from smbproto.rpc.lsarpc import set_sid, sid_text
from smbproto.rpc.port import Host, UserView
from smbproto.rpc.samr_layouts import display, domain_info, group_info, user_info
from smbproto.rpc.service import Anything, Handles, NdrService, interface, text
from smbproto.status import Status

SERVER: Final = "server"
BUILTIN: Final = "Builtin"
GROUP_ATTRIBUTES: Final = 0x7  # SE_GROUP_MANDATORY, ENABLED_BY_DEFAULT, ENABLED


class Domain(NamedTuple):
    sid: str


class User(NamedTuple):
    rid: int


class Group(NamedTuple):
    rid: int


class SamService(NdrService):
    """See the module."""

    syntax = interface("12345778-1234-abcd-ef00-0123456789ac", 1)

    def __init__(self, host: Host) -> None:
        super().__init__()
        self._host = host
        self._handles = Handles()
        self.operations = {
            0: (samr.SamrConnect, self._connect),
            1: (samr.SamrCloseHandle, self._close),
            5: (samr.SamrLookupDomainInSamServer, self._lookup_domain),
            6: (samr.SamrEnumerateDomainsInSamServer, self._enumerate_domains),
            7: (samr.SamrOpenDomain, self._open_domain),
            8: (samr.SamrQueryInformationDomain, self._query_domain),
            11: (samr.SamrEnumerateGroupsInDomain, self._enumerate_groups),
            13: (samr.SamrEnumerateUsersInDomain, self._enumerate_users),
            15: (samr.SamrEnumerateAliasesInDomain, self._enumerate_aliases),
            16: (samr.SamrGetAliasMembership, self._alias_membership),
            17: (samr.SamrLookupNamesInDomain, self._lookup_names),
            18: (samr.SamrLookupIdsInDomain, self._lookup_ids),
            19: (samr.SamrOpenGroup, self._open_group),
            20: (samr.SamrQueryInformationGroup, self._query_group),
            25: (samr.SamrGetMembersInGroup, self._group_members),
            27: (samr.SamrOpenAlias, self._open_alias),
            28: (samr.SamrQueryInformationAlias, self._query_alias),
            33: (samr.SamrGetMembersInAlias, self._alias_members),
            34: (samr.SamrOpenUser, self._open_user),
            36: (samr.SamrQueryInformationUser, self._query_user),
            39: (samr.SamrGetGroupsForUser, self._groups_for_user),
            40: (samr.SamrQueryDisplayInformation, self._display),
            44: (samr.SamrGetUserDomainPasswordInformation, self._user_password_policy),
            46: (samr.SamrQueryInformationDomain2, self._query_domain_2),
            47: (samr.SamrQueryInformationUser2, self._query_user_2),
            48: (samr.SamrQueryDisplayInformation2, self._display_2),
            51: (samr.SamrQueryDisplayInformation3, self._display_3),
            56: (Anything, self._password_policy),
            57: (samr.SamrConnect2, self._connect_2),
            62: (samr.SamrConnect4, self._connect_4),
            64: (samr.SamrConnect5, self._connect_5),
            65: (samr.SamrRidToSid, self._rid_to_sid),
        }

    # handles

    def _domain(self, request: Any) -> Domain | None:
        found = self._handles.find(request["DomainHandle"])
        return found if isinstance(found, Domain) else None

    def _user(self, request: Any) -> UserView | None:
        found = self._handles.find(request["UserHandle"])
        if not isinstance(found, User):
            return None
        return next((user for user in self._users() if user.rid == found.rid), None)

    def _users(self) -> Sequence[UserView]:
        return self._host.accounts.users()

    def _is_own(self, domain: Domain) -> bool:
        return domain.sid == self._host.accounts.machine_sid

    def _connected(self, response: Any) -> Any:
        """[MS-SAMR] 3.1.5.1: access to the server object is for authenticated users."""
        anonymous = self._host.caller.is_anonymous
        response["ServerHandle"] = bytes(20) if anonymous else self._handles.add(SERVER)
        response["ErrorCode"] = Status.ACCESS_DENIED if anonymous else Status.SUCCESS
        return response

    def _connect(self, request: Any) -> Any:
        """[MS-SAMR] 3.1.5.1.4 SamrConnect (Opnum 0)."""
        return self._connected(samr.SamrConnectResponse())

    def _connect_2(self, request: Any) -> Any:
        """[MS-SAMR] 3.1.5.1.3 SamrConnect2 (Opnum 57)."""
        return self._connected(samr.SamrConnect2Response())

    def _connect_4(self, request: Any) -> Any:
        """[MS-SAMR] 3.1.5.1.2 SamrConnect4 (Opnum 62)."""
        return self._connected(samr.SamrConnect4Response())

    def _connect_5(self, request: Any) -> Any:
        """[MS-SAMR] 3.1.5.1.1 SamrConnect5 (Opnum 64)."""
        response = samr.SamrConnect5Response()
        response["OutVersion"] = 1
        response["OutRevisionInfo"]["tag"] = 1
        response["OutRevisionInfo"]["V1"]["Revision"] = 3
        response["OutRevisionInfo"]["V1"]["SupportedFeatures"] = 0
        return self._connected(response)

    def _close(self, request: Any) -> Any:
        """[MS-SAMR] 3.1.5.13.1 SamrCloseHandle (Opnum 1)."""
        response = samr.SamrCloseHandleResponse()
        was_open = self._handles.close(request["SamHandle"])
        response["SamHandle"] = bytes(20)
        response["ErrorCode"] = Status.SUCCESS if was_open else Status.INVALID_HANDLE
        return response

    def _open(self, response: Any, field: str, value: object | None, error: Status) -> Any:
        response[field] = bytes(20) if value is None else self._handles.add(value)
        response["ErrorCode"] = error if value is None else Status.SUCCESS
        return response

    def _open_domain(self, request: Any) -> Any:
        """[MS-SAMR] 3.1.5.1.5 SamrOpenDomain (Opnum 7)."""
        response = samr.SamrOpenDomainResponse()
        if self._handles.find(request["ServerHandle"]) is not SERVER:
            return self._open(response, "DomainHandle", None, Status.INVALID_HANDLE)
        sid = sid_text(request["DomainId"])
        is_known = sid in (BUILTIN_SID, self._host.accounts.machine_sid)
        return self._open(response, "DomainHandle", Domain(sid) if is_known else None, Status.NO_SUCH_DOMAIN)

    def _open_user(self, request: Any) -> Any:
        """[MS-SAMR] 3.1.5.1.9 SamrOpenUser (Opnum 34)."""
        response = samr.SamrOpenUserResponse()
        domain = self._domain(request)
        if domain is None:
            return self._open(response, "UserHandle", None, Status.INVALID_HANDLE)
        rid = request["UserId"]
        is_known = self._is_own(domain) and any(user.rid == rid for user in self._users())
        return self._open(response, "UserHandle", User(rid) if is_known else None, Status.NO_SUCH_USER)

    def _open_group(self, request: Any) -> Any:
        """[MS-SAMR] 3.1.5.1.7 SamrOpenGroup (Opnum 19)."""
        response = samr.SamrOpenGroupResponse()
        domain = self._domain(request)
        if domain is None:
            return self._open(response, "GroupHandle", None, Status.INVALID_HANDLE)
        is_known = self._is_own(domain) and request["GroupId"] == RID_NONE
        return self._open(
            response, "GroupHandle", Group(RID_NONE) if is_known else None, Status.NO_SUCH_GROUP
        )

    def _open_alias(self, request: Any) -> Any:
        """[MS-SAMR] 3.1.5.1.8 SamrOpenAlias (Opnum 27)."""
        response = samr.SamrOpenAliasResponse()
        domain = self._domain(request)
        if domain is None:
            return self._open(response, "AliasHandle", None, Status.INVALID_HANDLE)
        found = [alias for alias in ALIASES if alias.rid == request["AliasId"] and domain.sid == BUILTIN_SID]
        return self._open(response, "AliasHandle", found[0] if found else None, Status.NO_SUCH_ALIAS)

    # the server's domains

    def _lookup_domain(self, request: Any) -> Any:
        """[MS-SAMR] 3.1.5.11.1 SamrLookupDomainInSamServer (Opnum 5)."""
        response = samr.SamrLookupDomainInSamServerResponse()
        name = text(request["Name"]).casefold()
        own = self._host.name.casefold()
        sid = {own: self._host.accounts.machine_sid, BUILTIN.casefold(): BUILTIN_SID}.get(name, "")
        error = Status.SUCCESS if sid else Status.NO_SUCH_DOMAIN
        if self._handles.find(request["ServerHandle"]) is not SERVER:
            error = Status.INVALID_HANDLE
        if error:
            response["DomainId"] = NULL
        else:
            set_sid(response, "DomainId", sid)
        response["ErrorCode"] = error
        return response

    def _enumerate_domains(self, request: Any) -> Any:
        """[MS-SAMR] 3.1.5.2.1 SamrEnumerateDomainsInSamServer (Opnum 6)."""
        response = samr.SamrEnumerateDomainsInSamServerResponse()
        is_server = self._handles.find(request["ServerHandle"]) is SERVER
        return _enumeration(request, response, [(0, self._host.name), (0, BUILTIN)] if is_server else None)

    def _query_domain(self, request: Any) -> Any:
        """[MS-SAMR] 3.1.5.5.2 SamrQueryInformationDomain (Opnum 8)."""
        return self._domain_queried(request, samr.SamrQueryInformationDomainResponse())

    def _query_domain_2(self, request: Any) -> Any:
        """[MS-SAMR] 3.1.5.5.1 SamrQueryInformationDomain2 (Opnum 46)."""
        return self._domain_queried(request, samr.SamrQueryInformationDomain2Response())

    def _domain_queried(self, request: Any, response: Any) -> Any:
        domain = self._domain(request)
        error = Status.INVALID_HANDLE
        if domain is not None:
            own = self._is_own(domain)
            name = self._host.name if own else BUILTIN
            counts = (len(self._users()), 1, 0) if own else (0, 0, len(ALIASES))
            done = domain_info(response["Buffer"], int(request["DomainInformationClass"]), name, counts)
            error = Status.SUCCESS if done else Status.INVALID_INFO_CLASS
        if error:
            response["Buffer"] = NULL
        response["ErrorCode"] = error
        return response

    # enumerations in a domain

    def _enumerate_users(self, request: Any) -> Any:
        """[MS-SAMR] 3.1.5.2.5 SamrEnumerateUsersInDomain (Opnum 13)."""
        domain = self._domain(request)
        entries: list[tuple[int, str]] | None = None
        if domain is not None:
            entries = [(user.rid, user.name) for user in self._users()] if self._is_own(domain) else []
        return _enumeration(request, samr.SamrEnumerateUsersInDomainResponse(), entries)

    def _enumerate_groups(self, request: Any) -> Any:
        """[MS-SAMR] 3.1.5.2.3 SamrEnumerateGroupsInDomain (Opnum 11)."""
        domain = self._domain(request)
        entries: list[tuple[int, str]] | None = None
        if domain is not None:
            entries = [(RID_NONE, GROUP_NONE)] if self._is_own(domain) else []
        return _enumeration(request, samr.SamrEnumerateGroupsInDomainResponse(), entries)

    def _enumerate_aliases(self, request: Any) -> Any:
        """[MS-SAMR] 3.1.5.2.4 SamrEnumerateAliasesInDomain (Opnum 15)."""
        domain = self._domain(request)
        entries: list[tuple[int, str]] | None = None
        if domain is not None:
            entries = [] if self._is_own(domain) else [(alias.rid, alias.name) for alias in ALIASES]
        return _enumeration(request, samr.SamrEnumerateAliasesInDomainResponse(), entries)

    def _known(self, domain: Domain) -> list[tuple[int, str, int]]:
        """(RID, name, use) of all that the domain has."""
        if not self._is_own(domain):
            return [(alias.rid, alias.name, SID_TYPE_ALIAS) for alias in ALIASES]
        users = [(user.rid, user.name, SID_TYPE_USER) for user in self._users()]
        return [*users, (RID_NONE, GROUP_NONE, SID_TYPE_GROUP)]

    def _lookup_names(self, request: Any) -> Any:
        """[MS-SAMR] 3.1.5.11.2 SamrLookupNamesInDomain (Opnum 17)."""
        response = samr.SamrLookupNamesInDomainResponse()
        names = [text(one["Data"]).casefold() for one in request["Names"]]
        domain = self._domain(request)
        if domain is None or len(names) > LOOKUPS_MAX:
            _numbers(response["RelativeIds"], [])
            _numbers(response["Use"], [])
            response["ErrorCode"] = Status.INVALID_HANDLE if domain is None else Status.INVALID_PARAMETER
            return response
        known = {name.casefold(): (rid, use) for rid, name, use in self._known(domain)}
        found = [known.get(name) for name in names]
        _numbers(response["RelativeIds"], [one[0] if one else 0 for one in found])
        _numbers(response["Use"], [one[1] if one else SID_TYPE_UNKNOWN for one in found])
        response["ErrorCode"] = _mapping(sum(one is not None for one in found), len(found))
        return response

    def _lookup_ids(self, request: Any) -> Any:
        """[MS-SAMR] 3.1.5.11.3 SamrLookupIdsInDomain (Opnum 18)."""
        response = samr.SamrLookupIdsInDomainResponse()
        rids = [int(one["Data"] if not isinstance(one, int) else one) for one in request["RelativeIds"]]
        domain = self._domain(request)
        known = {} if domain is None else {rid: (name, use) for rid, name, use in self._known(domain)}
        if domain is None or len(rids) > LOOKUPS_MAX:
            rids = []
        found = [known.get(rid) for rid in rids]
        response["Names"]["Count"] = len(found)
        if not found:
            response["Names"]["Element"] = NULL
        for one in found:
            entry = RPC_UNICODE_STRING()
            entry["Data"] = one[0] if one else ""
            response["Names"]["Element"].append(entry)
        _numbers(response["Use"], [one[1] if one else SID_TYPE_UNKNOWN for one in found])
        mapped = sum(one is not None for one in found)
        response["ErrorCode"] = Status.INVALID_HANDLE if domain is None else _mapping(mapped, len(found))
        return response

    # one user

    def _query_user(self, request: Any) -> Any:
        """[MS-SAMR] 3.1.5.5.6 SamrQueryInformationUser (Opnum 36)."""
        return self._user_queried(request, samr.SamrQueryInformationUserResponse())

    def _query_user_2(self, request: Any) -> Any:
        """[MS-SAMR] 3.1.5.5.5 SamrQueryInformationUser2 (Opnum 47)."""
        return self._user_queried(request, samr.SamrQueryInformationUser2Response())

    def _user_queried(self, request: Any, response: Any) -> Any:
        user = self._user(request)
        error = Status.INVALID_HANDLE
        if user is not None:
            done = user_info(response["Buffer"], int(request["UserInformationClass"]), user)
            error = Status.SUCCESS if done else Status.INVALID_INFO_CLASS
        if error:
            response["Buffer"] = NULL
        response["ErrorCode"] = error
        return response

    def _groups_for_user(self, request: Any) -> Any:
        """[MS-SAMR] 3.1.5.9.1 SamrGetGroupsForUser (Opnum 39)."""
        response = samr.SamrGetGroupsForUserResponse()
        if self._user(request) is None:
            response["Groups"] = NULL
            response["ErrorCode"] = Status.INVALID_HANDLE
            return response
        entry = samr.GROUP_MEMBERSHIP()
        entry["RelativeId"], entry["Attributes"] = RID_NONE, GROUP_ATTRIBUTES
        response["Groups"]["MembershipCount"] = 1
        response["Groups"]["Groups"].append(entry)
        response["ErrorCode"] = Status.SUCCESS
        return response

    def _alias_membership(self, request: Any) -> Any:
        """[MS-SAMR] 3.1.5.9.2 SamrGetAliasMembership (Opnum 16)."""
        response = samr.SamrGetAliasMembershipResponse()
        domain = self._domain(request)
        asked = request["SidArray"]
        sids = {sid_text(one["SidPointer"]) for one in asked["Sids"]} if asked["Count"] else set()
        rids: list[int] = []
        if domain is not None and not self._is_own(domain):
            machine = self._host.accounts.machine_sid
            rids = [
                alias.rid
                for alias in ALIASES
                if any(f"{machine}-{user.rid}" in sids for user in members_of(alias, self._users()))
            ]
        _numbers(response["Membership"], rids)
        response["ErrorCode"] = Status.INVALID_HANDLE if domain is None else Status.SUCCESS
        return response

    def _user_password_policy(self, request: Any) -> Any:
        """[MS-SAMR] 3.1.5.13.4 SamrGetUserDomainPasswordInformation (Opnum 44)."""
        response = samr.SamrGetUserDomainPasswordInformationResponse()
        _no_password_policy(response)
        response["ErrorCode"] = Status.INVALID_HANDLE if self._user(request) is None else Status.SUCCESS
        return response

    def _password_policy(self, request: Any) -> Any:
        """[MS-SAMR] 3.1.5.13.3 SamrGetDomainPasswordInformation (Opnum 56)."""
        response = samr.SamrGetDomainPasswordInformationResponse()
        _no_password_policy(response)
        response["ErrorCode"] = Status.SUCCESS
        return response

    # groups

    def _query_group(self, request: Any) -> Any:
        """[MS-SAMR] 3.1.5.5.3 SamrQueryInformationGroup (Opnum 20)."""
        response = samr.SamrQueryInformationGroupResponse()
        is_group = isinstance(self._handles.find(request["GroupHandle"]), Group)
        kind = int(request["GroupInformationClass"])
        return _group_queried(
            response, is_group, kind, (GROUP_NONE, "Ordinary users", len(self._users()), True)
        )

    def _query_alias(self, request: Any) -> Any:
        """[MS-SAMR] 3.1.5.5.4 SamrQueryInformationAlias (Opnum 28)."""
        response = samr.SamrQueryInformationAliasResponse()
        alias = self._handles.find(request["AliasHandle"])
        kind = int(request["AliasInformationClass"])
        if not isinstance(alias, Alias):
            return _group_queried(response, False, kind, ("", "", 0, False))
        count = len(members_of(alias, self._users()))
        return _group_queried(response, True, kind, (alias.name, alias.comment, count, False))

    def _group_members(self, request: Any) -> Any:
        """[MS-SAMR] 3.1.5.8.3 SamrGetMembersInGroup (Opnum 25)."""
        response = samr.SamrGetMembersInGroupResponse()
        if not isinstance(self._handles.find(request["GroupHandle"]), Group):
            response["Members"] = NULL
            response["ErrorCode"] = Status.INVALID_HANDLE
            return response
        users = self._users()[:ENTRIES_MAX]
        members = response["Members"]
        members["MemberCount"] = len(users)
        if not users:
            members["Members"] = members["Attributes"] = NULL
        for user in users:
            members["Members"].append(_number(user.rid))
            members["Attributes"].append(_number(GROUP_ATTRIBUTES))
        response["ErrorCode"] = Status.SUCCESS
        return response

    def _alias_members(self, request: Any) -> Any:
        """[MS-SAMR] 3.1.5.8.6 SamrGetMembersInAlias (Opnum 33)."""
        response = samr.SamrGetMembersInAliasResponse()
        alias = self._handles.find(request["AliasHandle"])
        users = members_of(alias, self._users()) if isinstance(alias, Alias) else []
        members = response["Members"]
        members["Count"] = len(users)
        if not users:
            members["Sids"] = NULL
        for user in users[:ENTRIES_MAX]:
            entry = samr.PSAMPR_SID_INFORMATION()
            set_sid(entry, "SidPointer", f"{self._host.accounts.machine_sid}-{user.rid}")
            members["Sids"].append(entry)
        response["ErrorCode"] = Status.SUCCESS if isinstance(alias, Alias) else Status.INVALID_HANDLE
        return response

    # listings

    def _display(self, request: Any) -> Any:
        """[MS-SAMR] 3.1.5.3.3 SamrQueryDisplayInformation (Opnum 40)."""
        return self._displayed(request, samr.SamrQueryDisplayInformationResponse())

    def _display_2(self, request: Any) -> Any:
        """[MS-SAMR] 3.1.5.3.2 SamrQueryDisplayInformation2 (Opnum 48)."""
        return self._displayed(request, samr.SamrQueryDisplayInformation2Response())

    def _display_3(self, request: Any) -> Any:
        """[MS-SAMR] 3.1.5.3.1 SamrQueryDisplayInformation3 (Opnum 51)."""
        return self._displayed(request, samr.SamrQueryDisplayInformation3Response())

    def _displayed(self, request: Any, response: Any) -> Any:
        domain = self._domain(request)
        own = domain is not None and self._is_own(domain)
        users = self._users() if own else ()
        groups = ((RID_NONE, GROUP_NONE, "Ordinary users"),) if own else ()
        kind = int(request["DisplayInformationClass"])
        start, count = request["Index"], min(request["EntryCount"], ENTRIES_MAX)
        left = display(response, kind, users, groups, start, count)
        if domain is None:
            response["ErrorCode"] = Status.INVALID_HANDLE
        elif left < 0:
            response["ErrorCode"] = Status.INVALID_INFO_CLASS
        else:
            response["ErrorCode"] = Status.MORE_ENTRIES if left else Status.SUCCESS
        return response

    def _rid_to_sid(self, request: Any) -> Any:
        """[MS-SAMR] 3.1.5.13.5 SamrRidToSid (Opnum 65)."""
        response = samr.SamrRidToSidResponse()
        found = self._handles.find(request["ObjectHandle"])
        base = {Domain: self._host.accounts.machine_sid, Alias: BUILTIN_SID}.get(type(found), "")
        if isinstance(found, Domain):
            base = found.sid
        elif isinstance(found, User | Group):
            base = self._host.accounts.machine_sid
        if base:
            set_sid(response, "Sid", f"{base}-{request['Rid']}")
        else:
            response["Sid"] = NULL
        response["ErrorCode"] = Status.SUCCESS if base else Status.INVALID_HANDLE
        return response


def _number(value: int) -> Any:
    entry = ULONG()
    entry["Data"] = value
    return entry


def _numbers(target: Any, values: Sequence[int]) -> None:
    """A SAMPR_ULONG_ARRAY."""
    target["Count"] = len(values)
    if not values:
        target["Element"] = NULL
    for value in values:
        target["Element"].append(_number(value))


def _no_password_policy(response: Any) -> None:
    """Any password will do."""
    response["PasswordInformation"]["MinPasswordLength"] = 0
    response["PasswordInformation"]["PasswordProperties"] = 0


def _mapping(mapped: int, asked: int) -> Status:
    if mapped == asked:
        return Status.SUCCESS
    return Status.SOME_NOT_MAPPED if mapped else Status.NONE_MAPPED


def _enumeration(request: Any, response: Any, entries: Sequence[tuple[int, str]] | None) -> Any:
    """Everything in one go, from EnumerationContext on; None: the handle was wrong."""
    start = request["EnumerationContext"]
    found = () if entries is None else entries[start : start + ENTRIES_MAX]
    response["EnumerationContext"] = start + len(found)
    response["Buffer"]["EntriesRead"] = len(found)
    if not found:
        response["Buffer"]["Buffer"] = NULL
    for rid, name in found:
        entry = samr.SAMPR_RID_ENUMERATION()
        entry["RelativeId"], entry["Name"] = rid, name
        response["Buffer"]["Buffer"].append(entry)
    response["CountReturned"] = len(found)
    if entries is None:
        response["ErrorCode"] = Status.INVALID_HANDLE
    else:
        response["ErrorCode"] = Status.MORE_ENTRIES if start + len(found) < len(entries) else Status.SUCCESS
    return response


def _group_queried(response: Any, is_open: bool, kind: int, facts: tuple[str, str, int, bool]) -> Any:
    error = Status.INVALID_HANDLE
    if is_open:
        error = Status.SUCCESS if group_info(response["Buffer"], kind, *facts) else Status.INVALID_INFO_CLASS
    if error:
        response["Buffer"] = NULL
    response["ErrorCode"] = error
    return response
