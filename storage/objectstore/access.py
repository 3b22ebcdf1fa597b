"""Access checks, and the descriptor of a new file.

Sources: [MS-DTYP] 2.5.3.2 Access Check Algorithm Pseudocode; 2.5.3.4 Algorithm for Creating a Security
Descriptor; [MS-FSA] 2.1.5.1.2.1 Algorithm to Check Access to an Existing File.
A check is one look into the *maximal access* of (descriptor, token): evaluating the ACL bit by bit gives
the same answer for every mask, so it is done once and kept. Conditions of callback ACEs are not
evaluated: such an ACE never grants, and denies if it is a deny. Mandatory labels and central policies are
not looked at. No I/O.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from smbproto import dtyp
from smbproto.dtyp import Ace, Acl, SecurityDescriptor, Sid, map_generic
from smbproto.status import Status, StatusError
from storage.volume import Token

OWNER_SECURITY_INFORMATION: Final = 0x01
GROUP_SECURITY_INFORMATION: Final = 0x02
DACL_SECURITY_INFORMATION: Final = 0x04
SACL_SECURITY_INFORMATION: Final = 0x08
LABEL_SECURITY_INFORMATION: Final = 0x10

BACKUP_ACCESS: Final = dtyp.FILE_GENERIC_READ | dtyp.FILE_EXECUTE | dtyp.ACCESS_SYSTEM_SECURITY
RESTORE_ACCESS: Final = (
    dtyp.FILE_GENERIC_WRITE | dtyp.DELETE | dtyp.FILE_DELETE_CHILD | dtyp.WRITE_DAC | dtyp.WRITE_OWNER
    | dtyp.ACCESS_SYSTEM_SECURITY
)  # fmt: skip

_ALLOW: Final = frozenset((dtyp.ACCESS_ALLOWED_ACE_TYPE, dtyp.ACCESS_ALLOWED_OBJECT_ACE_TYPE))
_DENY: Final = frozenset((
    dtyp.ACCESS_DENIED_ACE_TYPE, dtyp.ACCESS_DENIED_OBJECT_ACE_TYPE, dtyp.ACCESS_DENIED_CALLBACK_ACE_TYPE,
    dtyp.ACCESS_DENIED_CALLBACK_OBJECT_ACE_TYPE,
))  # fmt: skip
_OWNER_RIGHTS: Final = str(dtyp.SID_OWNER_RIGHTS)
_MODIFY: Final = 0x001301BF


class Rule(NamedTuple):
    """An ACE that counts for the object itself."""

    allows: bool
    mask: int
    sid: str


class Rules(NamedTuple):
    """A descriptor, prepared for checking. `aces` None: a NULL DACL, which grants all."""

    owner: str
    aces: tuple[Rule, ...] | None
    has_owner_rights: bool


def decode(descriptor: bytes) -> SecurityDescriptor:
    """Raises INVALID_SECURITY_DESCR."""
    try:
        return SecurityDescriptor.decode_untrusted(descriptor)
    except dtyp.WireError as error:
        raise StatusError(Status.INVALID_SECURITY_DESCR, str(error)) from error


@lru_cache(maxsize=4096)
def rules_of(descriptor: bytes) -> Rules:
    """Many files share one descriptor, byte by byte."""
    parsed = decode(descriptor)
    owner = str(parsed.owner) if parsed.owner else ""
    if parsed.dacl is None:
        return Rules(owner, None, False)
    found: list[Rule] = []
    for ace in parsed.dacl.aces:
        if ace.flags & dtyp.INHERIT_ONLY_ACE or ace.sid is None or ace.object_type is not None:
            continue
        if ace.type in _ALLOW or ace.type in _DENY:
            found.append(Rule(ace.type in _ALLOW, map_generic(ace.mask), str(ace.sid)))
    return Rules(owner, tuple(found), any(rule.sid == _OWNER_RIGHTS for rule in found))


def maximal_access(descriptor: bytes, token: Token) -> int:
    """Every right that the descriptor and the token's standing privileges give."""
    rules = rules_of(descriptor)
    sids = token.sids
    privileges = token.privileges
    granted = 0
    if privileges:
        granted |= dtyp.WRITE_OWNER if "SeTakeOwnershipPrivilege" in privileges else 0
        granted |= dtyp.ACCESS_SYSTEM_SECURITY if "SeSecurityPrivilege" in privileges else 0
    if rules.aces is None:
        return granted | dtyp.FILE_ALL_ACCESS
    is_owner = rules.owner in sids
    undecided = dtyp.FILE_ALL_ACCESS
    if is_owner and not rules.has_owner_rights:
        granted |= dtyp.READ_CONTROL | dtyp.WRITE_DAC
        undecided &= ~granted
    for allows, mask, sid in rules.aces:
        if sid in sids or (is_owner and sid == _OWNER_RIGHTS):
            if allows:
                granted |= mask & undecided
            undecided &= ~mask
            if not undecided:
                break
    return granted


def _sid(text: str) -> Sid:
    return _parse_sid(text)


@lru_cache(maxsize=1024)
def _parse_sid(text: str) -> Sid:
    return Sid.parse(text)


def _substitute(ace: Ace, owner: Sid | None, group: Sid | None) -> Sid | None:
    if ace.sid == dtyp.SID_CREATOR_OWNER:
        return owner
    if ace.sid == dtyp.SID_CREATOR_GROUP:
        return group
    return ace.sid


def _with(ace: Ace, flags: int, mask: int, sid: Sid | None) -> Ace:
    return Ace(ace.type, flags, mask, sid, ace.object_type, ace.inherited_object_type, ace.tail)


def _inherit_ace(ace: Ace, is_directory: bool, mark: int, owner: Sid | None, group: Sid | None) -> list[Ace]:
    """What a child gets of one ACE of its directory; [MS-DTYP] 2.5.3.4.3 ComputeInheritedACLfromParent."""
    flags = ace.flags
    keep = flags & (dtyp.SUCCESSFUL_ACCESS_ACE_FLAG | dtyp.FAILED_ACCESS_ACE_FLAG) | mark
    stops = bool(flags & dtyp.NO_PROPAGATE_INHERIT_ACE)
    if not is_directory:
        if not flags & dtyp.OBJECT_INHERIT_ACE:
            return []
        return [_with(ace, keep, map_generic(ace.mask), _substitute(ace, owner, group))]
    onwards = flags & (dtyp.OBJECT_INHERIT_ACE | dtyp.CONTAINER_INHERIT_ACE)
    if not flags & dtyp.CONTAINER_INHERIT_ACE:
        if not flags & dtyp.OBJECT_INHERIT_ACE or stops:
            return []
        return [_with(ace, keep | onwards | dtyp.INHERIT_ONLY_ACE, ace.mask, ace.sid)]
    sid, mask = _substitute(ace, owner, group), map_generic(ace.mask)
    if stops:
        return [_with(ace, keep, mask, sid)]
    if sid == ace.sid and mask == ace.mask:
        return [_with(ace, keep | onwards, mask, sid)]
    return [
        _with(ace, keep, mask, sid),
        _with(ace, keep | onwards | dtyp.INHERIT_ONLY_ACE, ace.mask, ace.sid),
    ]


def _inherit_acl(
    acl: Acl | None, is_directory: bool, auto: bool, owner: Sid | None, group: Sid | None
) -> list[Ace]:
    mark = dtyp.INHERITED_ACE if auto else 0
    return [
        child
        for ace in (acl.aces if acl else ())
        for child in _inherit_ace(ace, is_directory, mark, owner, group)
    ]


def _explicit(acl: Acl, owner: Sid | None, group: Sid | None) -> list[Ace]:
    """A DACL given with the create: generic rights and creator SIDs of effective ACEs become what they
    stand for."""
    found: list[Ace] = []
    for ace in acl.aces:
        if ace.sid is None or ace.flags & dtyp.INHERIT_ONLY_ACE:
            found.append(ace)
            continue
        sid, mask = _substitute(ace, owner, group), map_generic(ace.mask)
        inherits = ace.flags & (dtyp.OBJECT_INHERIT_ACE | dtyp.CONTAINER_INHERIT_ACE)
        if inherits and (sid != ace.sid or mask != ace.mask):
            plain = dtyp.OBJECT_INHERIT_ACE | dtyp.CONTAINER_INHERIT_ACE | dtyp.NO_PROPAGATE_INHERIT_ACE
            found.append(_with(ace, ace.flags & ~plain, mask, sid))
            found.append(_with(ace, ace.flags | dtyp.INHERIT_ONLY_ACE, ace.mask, ace.sid))
        else:
            found.append(_with(ace, ace.flags, mask, sid))
    return found


def _mapped(acl: Acl) -> list[Ace]:
    """A DACL that is set: generic rights of effective ACEs become file rights; creator SIDs stay what
    they are."""
    return [
        ace
        if ace.sid is None or ace.flags & dtyp.INHERIT_ONLY_ACE
        else _with(ace, ace.flags, map_generic(ace.mask), ace.sid)
        for ace in acl.aces
    ]


def new_descriptor(parent: bytes, given: bytes, is_directory: bool, token: Token) -> bytes:
    """[MS-DTYP] 2.5.3.4.1 CreateSecurityDescriptor: what is given counts, the rest comes from the
    directory, and where it has nothing to give, from the token's default DACL. Raises
    INVALID_SECURITY_DESCR, INVALID_OWNER, INVALID_ACL."""
    above = decode(parent)
    creator = decode(given) if given else None
    owner = creator.owner if creator and creator.owner else _sid(token.owner)
    group = creator.group if creator and creator.group else _sid(token.group)
    if creator and creator.owner:
        check_new_owner(creator.owner, token)
    control = dtyp.SE_SELF_RELATIVE | dtyp.SE_DACL_PRESENT
    auto = bool(above.control & dtyp.SE_DACL_AUTO_INHERITED)
    if creator and creator.control & dtyp.SE_DACL_PRESENT:
        control |= creator.control & dtyp.SE_DACL_PROTECTED
        dacl = None
        if creator.dacl is not None:
            dacl = Acl(tuple(_explicit(creator.dacl, owner, group)), creator.dacl.revision)
    else:
        aces = _inherit_acl(above.dacl, is_directory, auto, owner, group)
        if aces:
            control |= dtyp.SE_DACL_AUTO_INHERITED if auto else 0
        else:
            aces = [
                Ace(dtyp.ACCESS_ALLOWED_ACE_TYPE, 0, dtyp.FILE_ALL_ACCESS, sid)
                for sid in (owner, dtyp.SID_LOCAL_SYSTEM)
            ]
        dacl = Acl(tuple(aces))
    sacl = None
    if creator and creator.sacl is not None:
        if "SeSecurityPrivilege" not in token.privileges:
            raise StatusError(Status.PRIVILEGE_NOT_HELD, "a system ACL needs SeSecurityPrivilege")
        sacl = creator.sacl
        control |= creator.control & dtyp.SE_SACL_PROTECTED
    else:
        auto = bool(above.control & dtyp.SE_SACL_AUTO_INHERITED)
        aces = _inherit_acl(above.sacl, is_directory, auto, owner, group)
        if aces:
            sacl = Acl(tuple(aces))
            control |= dtyp.SE_SACL_AUTO_INHERITED if auto else 0
    return encode(SecurityDescriptor(owner, group, dacl, sacl, control))


def encode(descriptor: SecurityDescriptor) -> bytes:
    """Raises INVALID_ACL."""
    try:
        return descriptor.encode()
    except ValueError as error:
        raise StatusError(Status.INVALID_ACL, str(error)) from error


def check_new_owner(owner: Sid, token: Token) -> None:
    """Only oneself, a group that may own, or anyone with SeRestorePrivilege. Raises INVALID_OWNER."""
    text = str(owner)
    if text not in token.sids and text != token.owner and "SeRestorePrivilege" not in token.privileges:
        raise StatusError(
            Status.INVALID_OWNER, f"{text} may not be made the owner by {token.name or token.user}"
        )


def needed_to_query(information: int) -> int:
    """[MS-FSA] 2.1.5.14 Server Requests a Query of Security Information."""
    needed = 0
    if information & (
        OWNER_SECURITY_INFORMATION
        | GROUP_SECURITY_INFORMATION
        | DACL_SECURITY_INFORMATION
        | LABEL_SECURITY_INFORMATION
    ):
        needed |= dtyp.READ_CONTROL
    if information & SACL_SECURITY_INFORMATION:
        needed |= dtyp.ACCESS_SYSTEM_SECURITY
    return needed


def needed_to_set(information: int) -> int:
    """[MS-FSA] 2.1.5.17 Server Requests Setting of Security Information."""
    needed = 0
    if information & (OWNER_SECURITY_INFORMATION | GROUP_SECURITY_INFORMATION | LABEL_SECURITY_INFORMATION):
        needed |= dtyp.WRITE_OWNER
    if information & DACL_SECURITY_INFORMATION:
        needed |= dtyp.WRITE_DAC
    if information & SACL_SECURITY_INFORMATION:
        needed |= dtyp.ACCESS_SYSTEM_SECURITY
    return needed


def _is_label(ace: Ace) -> bool:
    return ace.type == dtyp.SYSTEM_MANDATORY_LABEL_ACE_TYPE


def parts(descriptor: bytes, information: int) -> bytes:
    """The parts asked for, as a self-relative descriptor."""
    whole = decode(descriptor)
    dacl_bits = (
        dtyp.SE_DACL_PRESENT | dtyp.SE_DACL_AUTO_INHERITED | dtyp.SE_DACL_PROTECTED | dtyp.SE_DACL_DEFAULTED
    )
    control = dtyp.SE_SELF_RELATIVE
    sacl = None
    if information & DACL_SECURITY_INFORMATION:
        control |= whole.control & dacl_bits
    if information & (SACL_SECURITY_INFORMATION | LABEL_SECURITY_INFORMATION) and whole.sacl is not None:
        control |= whole.control & dacl_bits << 1
        labels_only = not information & SACL_SECURITY_INFORMATION
        aces = tuple(ace for ace in whole.sacl.aces if _is_label(ace) or not labels_only)
        sacl = Acl(aces, whole.sacl.revision) if aces or not labels_only else None
        control |= dtyp.SE_SACL_PRESENT if sacl is not None else 0
    return SecurityDescriptor(
        whole.owner if information & OWNER_SECURITY_INFORMATION else None,
        whole.group if information & GROUP_SECURITY_INFORMATION else None,
        whole.dacl if information & DACL_SECURITY_INFORMATION else None,
        sacl, control,
    ).encode()  # fmt: skip


def _new_control(old: int, new: int, shift: int) -> int:
    """AUTO_INHERITED is kept only when the caller asks for it (AUTO_INHERIT_REQ); the request bit itself
    is not stored."""
    bits = (dtyp.SE_DACL_PRESENT << 2 * shift) | (
        (dtyp.SE_DACL_AUTO_INHERITED | dtyp.SE_DACL_PROTECTED) << shift
    )
    taken = new & (dtyp.SE_DACL_PROTECTED << shift)
    if new & dtyp.SE_DACL_AUTO_INHERIT_REQ << shift and new & dtyp.SE_DACL_AUTO_INHERITED << shift:
        taken |= dtyp.SE_DACL_AUTO_INHERITED << shift
    return old & ~bits | taken


def merge(descriptor: bytes, information: int, given: bytes, token: Token) -> bytes:
    """The descriptor with the parts named by `information` replaced."""
    old, new = decode(descriptor), decode(given)
    owner, group, dacl, sacl, control = old.owner, old.group, old.dacl, old.sacl, old.control
    if information & OWNER_SECURITY_INFORMATION:
        if new.owner is None:
            raise StatusError(Status.INVALID_OWNER, "no owner in the descriptor")
        if new.owner != old.owner:
            check_new_owner(new.owner, token)
        owner = new.owner
    if information & GROUP_SECURITY_INFORMATION:
        if new.group is None:
            raise StatusError(Status.INVALID_PRIMARY_GROUP, "no group in the descriptor")
        group = new.group
    if information & DACL_SECURITY_INFORMATION:
        dacl = Acl(tuple(_mapped(new.dacl)), new.dacl.revision) if new.dacl else None
        control = _new_control(control, new.control, 0) | dtyp.SE_DACL_PRESENT
    if information & SACL_SECURITY_INFORMATION:
        sacl = new.sacl
        control = _new_control(control, new.control, 1)
    elif information & LABEL_SECURITY_INFORMATION:
        kept = tuple(ace for ace in (old.sacl.aces if old.sacl else ()) if not _is_label(ace))
        labels = tuple(ace for ace in (new.sacl.aces if new.sacl else ()) if _is_label(ace))
        sacl = Acl(kept + labels) if kept or labels else None
    control = control & ~dtyp.SE_SACL_PRESENT | (dtyp.SE_SACL_PRESENT if sacl is not None else 0)
    return encode(SecurityDescriptor(owner, group, dacl, sacl, control))


def _default(inherit: int, mark: int) -> bytes:
    allow = dtyp.ACCESS_ALLOWED_ACE_TYPE
    aces = [
        Ace(allow, inherit | mark, dtyp.FILE_ALL_ACCESS, dtyp.SID_BUILTIN_ADMINISTRATORS),
        Ace(allow, inherit | mark, dtyp.FILE_ALL_ACCESS, dtyp.SID_LOCAL_SYSTEM),
        Ace(allow, inherit | mark, _MODIFY | dtyp.FILE_DELETE_CHILD, dtyp.SID_AUTHENTICATED_USERS),
    ]
    if inherit:
        flags = inherit | dtyp.INHERIT_ONLY_ACE | mark
        aces.append(Ace(allow, flags, dtyp.FILE_ALL_ACCESS, dtyp.SID_CREATOR_OWNER))
    control = dtyp.SE_SELF_RELATIVE | dtyp.SE_DACL_PRESENT | dtyp.SE_DACL_AUTO_INHERITED
    administrators = dtyp.SID_BUILTIN_ADMINISTRATORS
    return SecurityDescriptor(administrators, administrators, Acl(tuple(aces)), None, control).encode()


_BOTH: Final = dtyp.OBJECT_INHERIT_ACE | dtyp.CONTAINER_INHERIT_ACE
DEFAULT_ROOT: Final = _default(_BOTH, 0)
"""Of a root that was never given one: administrators and the system all; every authenticated user may
change and delete, and has full control of what he creates."""
DEFAULT_DIRECTORY: Final = _default(_BOTH, dtyp.INHERITED_ACE)
DEFAULT_FILE: Final = _default(0, dtyp.INHERITED_ACE)
