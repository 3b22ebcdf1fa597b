"""Whether an open may succeed, and what it is granted.

Sources: [MS-FSA] 2.1.5.1 Server Requests an Open of a File; 2.1.5.1.1 Creation of a New File; 2.1.5.1.2
Open of an Existing File; 2.1.5.1.2.1 Algorithm to Check Access to an Existing File; 2.1.5.1.2.2 Algorithm
to Check Sharing Access to an Existing Stream or Directory; [MS-SMB2] 3.3.5.9 Receiving an SMB2 CREATE
Request; 3.3.5.9.8, 3.3.5.9.11 Handling the SMB2_CREATE_REQUEST_LEASE(_V2) Create Context.
An attempt is a plain function: it succeeds, refuses, or names the stream whose breaks it must wait for;
then all is decided anew. Nothing is changed before everything that can refuse was asked. What follows
(truncation, allocation) may wait for I/O, when the open counts already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from smbproto import dtyp, fscc
from smbproto.dtyp import map_generic
from smbproto.status import Status, StatusError
from storage.fs.port import Node, Stream
from storage.objectstore import access, caching, metadata, naming
from storage.objectstore.caching import Caching, Holder
from storage.objectstore.disconnected import Keeping, may_grant, timeout_of
from storage.objectstore.file import OpenFile
from storage.objectstore.metadata import SETTABLE, normal
from storage.objectstore.names import DATA, INDEX, ParsedPath, parse_path
from storage.objectstore.quota import quota_file
from storage.objectstore.state import Blocked, Link, NodeState, StreamState, state_of
from storage.objectstore.walk import Target, find
from storage.volume import OpenRequest, OpenResult

if TYPE_CHECKING:
    from storage.objectstore.volume import ObjectStoreVolume

STAT: Final = dtyp.FILE_READ_ATTRIBUTES | dtyp.FILE_WRITE_ATTRIBUTES | dtyp.SYNCHRONIZE
"""[MS-FSA] 2.1.4.12: an open for no more than these breaks nothing."""
LEASE_STAT: Final = STAT | dtyp.READ_CONTROL
"""Windows spares leases, not oplocks, from an open that also reads the descriptor."""
OVERWRITES: Final = frozenset((fscc.FILE_SUPERSEDE, fscc.FILE_OVERWRITE, fscc.FILE_OVERWRITE_IF))
CREATES: Final = frozenset((fscc.FILE_SUPERSEDE, fscc.FILE_CREATE, fscc.FILE_OPEN_IF, fscc.FILE_OVERWRITE_IF))
CHANGES: Final = (
    dtyp.FILE_WRITE_DATA | dtyp.FILE_APPEND_DATA | dtyp.FILE_WRITE_EA | dtyp.FILE_WRITE_ATTRIBUTES |
    dtyp.DELETE | dtyp.FILE_DELETE_CHILD | dtyp.WRITE_DAC | dtyp.WRITE_OWNER
)  # fmt: skip
OPTIONS_VALID: Final = 0x00FFFFFF
ATTRIBUTES_VALID: Final = 0x005FFFB7


class Opened(NamedTuple):
    """What an attempt came to; `truncate`: the stream's bytes go."""

    file: OpenFile
    action: int
    truncate: bool


def _check_request(request: OpenRequest) -> None:
    """[MS-FSA] 2.1.5.1, Phase 1 Parameter validation."""
    options, desired = request.options, request.desired_access
    if request.snapshot:
        raise StatusError(Status.OBJECT_NAME_NOT_FOUND, "there is no such snapshot")
    if not desired or desired & ~dtyp.ACCESS_MASK_VALID:
        raise StatusError(Status.ACCESS_DENIED, f"the access {desired:#x}")
    if (
        request.share_access & ~7 or request.disposition > fscc.FILE_MAXIMUM_DISPOSITION or options &
        ~OPTIONS_VALID or request.attributes & ~ATTRIBUTES_VALID
    ):  # fmt: skip
        raise StatusError(
            Status.INVALID_PARAMETER, "a share access, disposition, option or attribute is not known"
        )
    if options & fscc.FILE_DIRECTORY_FILE and (
        options & fscc.FILE_NON_DIRECTORY_FILE or request.disposition in OVERWRITES
        or request.attributes & fscc.FILE_ATTRIBUTE_TEMPORARY
    ):  # fmt: skip
        raise StatusError(Status.INVALID_PARAMETER, "this cannot be asked of a directory")
    if options & fscc.FILE_DELETE_ON_CLOSE and not map_generic(desired) & (
        dtyp.DELETE | dtyp.MAXIMUM_ALLOWED
    ):
        raise StatusError(Status.ACCESS_DENIED, "deletion on close needs DELETE access")


async def open_file(volume: ObjectStoreVolume, request: OpenRequest) -> OpenResult:
    """Decide, wait where breaks are in the way, and finish. Cancel: safe while it waits; nothing changes."""
    _check_request(request)
    if request.path.startswith("$"):
        request = quota_file(volume, request) or request
    try:
        opened = _attempt(volume, request)
    except Blocked:
        opened = await volume.breaks.until(lambda: _attempt(volume, request), _undo)
    file, action, truncate = opened
    stream = file.stream
    if stream is not None and (truncate or (request.allocation_bytes and action != fscc.FILE_OPENED)):
        try:
            if truncate:
                await volume.fs.set_size(stream, 0)
            if request.allocation_bytes and action != fscc.FILE_OPENED:
                await volume.fs.set_allocation(stream, request.allocation_bytes)
        except BaseException:
            file.delete_on_close = file.delete_on_close or action == fscc.FILE_CREATED
            file.end()
            raise
    keeping = file.keeping
    return OpenResult(file, action, file.caching, keeping is not None, keeping.timeout_ms if keeping else 0)


def _undo(opened: Opened) -> None:
    """Nobody waits for it any more."""
    opened.file.delete_on_close = opened.file.delete_on_close or opened.action == fscc.FILE_CREATED
    opened.file.end()


def _attempt(volume: ObjectStoreVolume, request: OpenRequest) -> Opened:
    """Raises Blocked when others' breaks are in the way."""
    while (opened := _attempt_once(volume, request)) is None:
        pass
    return opened


def _attempt_once(volume: ObjectStoreVolume, request: OpenRequest) -> Opened | None:
    """None: something was settled on the way, try again at once."""
    parsed = parse_path("" if request.options & fscc.FILE_OPEN_BY_FILE_ID else request.path)
    target = find(volume, request, parsed)
    if target.node is None:
        return _create_file(volume, request, target, parsed)
    if request.disposition == fscc.FILE_CREATE and not parsed.stream:
        raise StatusError(Status.OBJECT_NAME_COLLISION, f"{request.path!r} exists")
    return _open_existing(volume, request, target, target.node, parsed)


# existing files


def _stream_of(
    volume: ObjectStoreVolume, request: OpenRequest, node: Node, parsed: ParsedPath
) -> Stream | None:
    """The stream that is meant, None for a directory. Raises when its kind is not what was asked for."""
    is_directory = node.attributes & fscc.FILE_ATTRIBUTE_DIRECTORY
    options = request.options
    if parsed.stream:
        if options & fscc.FILE_DIRECTORY_FILE:
            raise StatusError(Status.NOT_A_DIRECTORY, "a named stream is no directory")
        return volume.fs.stream(node, parsed.stream)
    if is_directory:
        if parsed.type == DATA and options & fscc.FILE_DIRECTORY_FILE:
            raise StatusError(Status.NOT_A_DIRECTORY, "a data stream is no directory")
        if options & fscc.FILE_NON_DIRECTORY_FILE or parsed.type == DATA:
            raise StatusError(Status.FILE_IS_A_DIRECTORY)
        if request.disposition in OVERWRITES:
            raise StatusError(Status.OBJECT_NAME_COLLISION, "a directory cannot be overwritten")
        return None
    if options & fscc.FILE_DIRECTORY_FILE or parsed.type == INDEX:
        raise StatusError(Status.NOT_A_DIRECTORY)
    if parsed.is_directory_wanted:
        raise StatusError(Status.OBJECT_NAME_INVALID, "a file's name ends without a backslash")
    return node.data


def _grant_access(
    volume: ObjectStoreVolume, request: OpenRequest, target: Target, node: Node
) -> tuple[int, int]:
    """[MS-FSA] 2.1.5.1.2.1. Returns the access granted, and what overwriting needs besides for this
    moment."""
    desired = map_generic(request.desired_access)
    wanted = desired & ~dtyp.MAXIMUM_ALLOWED
    is_readonly = node.attributes & fscc.FILE_ATTRIBUTE_READONLY
    added = 0
    if request.disposition in OVERWRITES:
        added = (
            dtyp.DELETE
            if request.disposition == fscc.FILE_SUPERSEDE
            else (dtyp.FILE_WRITE_DATA | dtyp.FILE_WRITE_EA | dtyp.FILE_WRITE_ATTRIBUTES)
        )
        if is_readonly:
            raise StatusError(Status.ACCESS_DENIED, "the file is read-only")
    if is_readonly:
        if request.options & fscc.FILE_DELETE_ON_CLOSE:
            raise StatusError(Status.CANNOT_DELETE, "the file is read-only")
        if wanted & (dtyp.FILE_WRITE_DATA | dtyp.FILE_APPEND_DATA) and (
            not node.attributes & fscc.FILE_ATTRIBUTE_DIRECTORY
        ):
            raise StatusError(Status.ACCESS_DENIED, "the file is read-only")
    limit = request.access_limit | dtyp.ACCESS_SYSTEM_SECURITY
    maximal = volume.maximal_access(node, target.directory, request.token, request.options) & limit
    if wanted & ~maximal or added & ~volume.own_access(node, request.token):
        if wanted & ~maximal == dtyp.ACCESS_SYSTEM_SECURITY:
            raise StatusError(Status.PRIVILEGE_NOT_HELD, "the system ACL needs SeSecurityPrivilege")
        raise StatusError(Status.ACCESS_DENIED, f"wanted {wanted | added:#x}, may have {maximal:#x}")
    if request.is_read_only and (wanted | added) & CHANGES:
        raise StatusError(Status.ACCESS_DENIED, "the share is read-only")
    if desired & dtyp.MAXIMUM_ALLOWED:
        wanted |= maximal & dtyp.FILE_ALL_ACCESS
        if is_readonly:
            wanted &= ~(dtyp.FILE_WRITE_DATA | dtyp.FILE_APPEND_DATA | dtyp.FILE_DELETE_CHILD)
        if request.is_read_only:
            wanted &= ~CHANGES
    return wanted, added


def _link_of(volume: ObjectStoreVolume, node_state: NodeState, target: Target) -> Link | None:
    for link in node_state.links:
        if link.directory is target.directory and link.name == target.name and not link.is_gone:
            return link
    return None


def _lease_for(volume: ObjectStoreVolume, request: OpenRequest, state: StreamState | None) -> Holder | None:
    """The lease that the request names, if it is held already. [MS-SMB2] 3.3.5.9.8: one key, one file."""
    asked = request.caching
    if not asked.lease_key:
        return None
    holder = volume.leases.get((asked.client_guid, asked.lease_key))
    if holder is not None and (state is None or holder.caching.identity is not state):
        raise StatusError(Status.INVALID_PARAMETER, "the lease key is in use for another file")
    return holder


def _open_existing(
    volume: ObjectStoreVolume, request: OpenRequest, target: Target, node: Node, parsed: ParsedPath
) -> Opened | None:
    stream = _stream_of(volume, request, node, parsed)
    node_state = state_of(node)
    link = _link_of(volume, node_state, target)
    if link is not None and link.delete_pending:
        raise StatusError(Status.DELETE_PENDING)
    is_new_stream = bool(parsed.stream) and stream is None
    if is_new_stream and request.disposition in (fscc.FILE_OPEN, fscc.FILE_OVERWRITE):
        raise StatusError(Status.OBJECT_NAME_NOT_FOUND, f"no stream {parsed.stream!r}")
    if parsed.stream and stream is not None and request.disposition == fscc.FILE_CREATE:
        raise StatusError(Status.OBJECT_NAME_COLLISION, f"the stream {parsed.stream!r} exists")
    granted, added = _grant_access(volume, request, target, node)
    overwrites = request.disposition in OVERWRITES and not is_new_stream
    if overwrites and not parsed.stream:
        hidden = node.attributes & (fscc.FILE_ATTRIBUTE_HIDDEN | fscc.FILE_ATTRIBUTE_SYSTEM)
        if hidden & ~request.attributes:
            raise StatusError(Status.ACCESS_DENIED, "hidden and system files keep these attributes")
    if (
        request.options & fscc.FILE_NO_EA_KNOWLEDGE
        and node.ea_bytes
        and any(ea.flags & 0x80 for ea in volume.fs.eas(node))
    ):
        raise StatusError(Status.ACCESS_DENIED, "the file needs knowledge of its EAs")
    if request.options & fscc.FILE_DELETE_ON_CLOSE and (target.directory is None or node is target.root):
        raise StatusError(Status.CANNOT_DELETE, "the root of a volume or share")
    if is_new_stream:
        if request.is_read_only:
            raise StatusError(Status.ACCESS_DENIED, "the share is read-only")
        _lease_for(volume, request, None)
        stream = volume.fs.make_stream(node, parsed.stream)
    state = node_state.of(stream)
    if state.delete_pending:
        raise StatusError(Status.DELETE_PENDING)
    holder = _lease_for(volume, request, state)
    if not _make_room(
        volume, request, state, granted, granted | (added if overwrites else 0), overwrites, holder
    ):
        return None
    file = _enter(volume, request, target, node_state, state, link, granted)
    action = fscc.FILE_OPENED
    if is_new_stream:
        action = fscc.FILE_CREATED
        volume.report(file, fscc.FILE_NOTIFY_CHANGE_STREAM_NAME, fscc.FILE_ACTION_ADDED_STREAM)
        metadata.changed(file, 0)
    elif overwrites:
        action = fscc.FILE_SUPERSEDED if request.disposition == fscc.FILE_SUPERSEDE else fscc.FILE_OVERWRITTEN
        _overwrite(volume, request, file)
    _grant_caching(volume, request, file, holder)
    return Opened(file, action, overwrites)


def _make_room(
    volume: ObjectStoreVolume, request: OpenRequest, state: StreamState, granted: int, effective: int,
    overwrites: bool, holder: Holder | None,
) -> bool:  # fmt: skip
    """Sharing and others' caching. False: try again, something was settled. Raises Blocked,
    SHARING_VIOLATION."""
    node_state = state.node_state
    share = request.share_access
    if state.conflicts(effective, share) or (
        (node_state.named or state is not node_state.main)
        and node_state.deletion_conflicts(state, effective, share)
    ):
        found = state.caching
        if found is not None:
            check = found.check(caching.OPEN_SHARING, holder)
            if check.notices or check.must_wait:
                if volume.breaks.start(check, state):
                    raise Blocked(state)
                return False
        if volume.purge_kept(node_state):
            return False
        raise StatusError(Status.SHARING_VIOLATION, f"access {effective:#x}, sharing {share}")
    found = state.caching
    if found is None or not found.holders or not (effective & ~STAT):
        return True
    bits = caching.OPEN_OVERWRITE if overwrites else caching.OPEN
    check = found.check(bits, holder, skip_leases=not effective & ~LEASE_STAT)
    if check.notices or check.must_wait:
        if volume.breaks.start(check, state):
            raise Blocked(state)
        return not check.notices and not check.must_wait
    return True


def _enter(
    volume: ObjectStoreVolume, request: OpenRequest, target: Target, node_state: NodeState, state:
    StreamState, link: Link | None, granted: int,
) -> OpenFile:  # fmt: skip
    if link is None:
        link = Link(target.directory, target.name)
    if not link.opens:  # new, or the kept opens that came by it were purged for this one
        node_state.links.append(link)
        if target.directory is not None:
            volume.fs.hold(target.directory)
    file = OpenFile(
        volume,
        node_state,
        state,
        link,
        granted,
        request.share_access,
        request.options,
        request.token,
        target.root,
        request.context,
    )
    file.delete_on_close = bool(request.options & fscc.FILE_DELETE_ON_CLOSE)
    file.parent_key = request.caching.parent_key
    volume.enter(file)
    return file


def _overwrite(volume: ObjectStoreVolume, request: OpenRequest, file: OpenFile) -> None:
    """What overwriting replaces besides the bytes: attributes, EAs, named streams that nobody has open."""
    node, fs = file.node, volume.fs
    if file.state is file.node_state.main:
        kept = node.attributes & ~SETTABLE & ~fscc.FILE_ATTRIBUTE_SPARSE_FILE
        node.attributes = normal(kept | request.attributes & SETTABLE | fscc.FILE_ATTRIBUTE_ARCHIVE)
        eas = metadata.merge_eas((), request.eas)
        if eas or node.ea_bytes:
            fs.set_eas(node, eas)
        for stream in fs.streams(node):
            if stream.name and not file.node_state.of(stream).opens:
                file.node_state.named.pop(stream, None)
                fs.remove_stream(stream)
    file.note_written(True)


# new files


def _create_file(
    volume: ObjectStoreVolume, request: OpenRequest, target: Target, parsed: ParsedPath
) -> Opened:
    """[MS-FSA] 2.1.5.1.1 Creation of a New File."""
    directory = target.directory
    if request.disposition not in CREATES or directory is None:
        raise StatusError(Status.OBJECT_NAME_NOT_FOUND, f"no {request.path!r}")
    is_directory = bool(request.options & fscc.FILE_DIRECTORY_FILE) or (
        parsed.type == INDEX and not request.options & fscc.FILE_NON_DIRECTORY_FILE
    )
    if parsed.is_directory_wanted and not is_directory:
        raise StatusError(Status.OBJECT_NAME_INVALID, "a file's name ends without a backslash")
    if is_directory and (parsed.stream or parsed.type == DATA):
        raise StatusError(Status.NOT_A_DIRECTORY if parsed.stream else Status.OBJECT_NAME_INVALID)
    if request.options & fscc.FILE_DELETE_ON_CLOSE and request.attributes & fscc.FILE_ATTRIBUTE_READONLY:
        raise StatusError(Status.CANNOT_DELETE, "a read-only file cannot be deleted on close")
    granted = _new_access(volume, request, directory, is_directory)
    _lease_for(volume, request, None)
    above = state_of(directory)
    if any(link.delete_pending for link in above.links):
        raise StatusError(Status.DELETE_PENDING, "the directory is being deleted")
    eas = metadata.merge_eas((), request.eas) if request.eas else []
    token = request.token
    if request.security:
        descriptor = access.new_descriptor(
            volume.descriptor(directory), request.security, is_directory, token
        )
    else:
        descriptor = volume.inherited(directory, token, is_directory)
    attributes = request.attributes & SETTABLE
    if not is_directory:
        attributes |= fscc.FILE_ATTRIBUTE_ARCHIVE
    fs = volume.fs
    now = volume.runtime.filetime()
    node = fs.make(
        directory, target.name, is_directory=is_directory, attributes=attributes, now=now, security=descriptor
    )
    if eas:
        fs.set_eas(node, eas)
    stream = fs.make_stream(node, parsed.stream) if parsed.stream else node.data
    node_state = state_of(node)
    node_state.security = descriptor
    if request.desired_access & dtyp.MAXIMUM_ALLOWED:
        granted |= (
            volume.maximal_access(node, directory, token, 0) & dtyp.FILE_ALL_ACCESS & request.access_limit
        )
    file = _enter(volume, request, target, node_state, node_state.of(stream), None, granted)
    volume.report_in(directory, target.name, naming.name_notice(node), fscc.FILE_ACTION_ADDED)
    if parsed.stream:
        volume.report(file, fscc.FILE_NOTIFY_CHANGE_STREAM_NAME, fscc.FILE_ACTION_ADDED_STREAM)
    volume.content_changed(directory, file.parent_key)
    _grant_caching(volume, request, file, None)
    return Opened(file, fscc.FILE_CREATED, False)


def _new_access(volume: ObjectStoreVolume, request: OpenRequest, directory: Node, is_directory: bool) -> int:
    """The directory decides whether; the creator gets what he asks for, within what the share allows."""
    needed = dtyp.FILE_ADD_SUBDIRECTORY if is_directory else dtyp.FILE_ADD_FILE
    options = request.options
    above = volume.maximal_access(directory, None, request.token, options) & request.access_limit
    if request.is_read_only or not above & needed:
        raise StatusError(Status.ACCESS_DENIED, "no name may be added to the directory")
    granted = map_generic(request.desired_access) & ~dtyp.MAXIMUM_ALLOWED
    if granted & dtyp.ACCESS_SYSTEM_SECURITY and "SeSecurityPrivilege" not in request.token.privileges:
        raise StatusError(Status.PRIVILEGE_NOT_HELD, "the system ACL needs SeSecurityPrivilege")
    if granted & ~(request.access_limit | dtyp.ACCESS_SYSTEM_SECURITY):
        raise StatusError(Status.ACCESS_DENIED, f"the share allows {request.access_limit:#x}")
    return granted


# caching and keeping


def _grant_caching(
    volume: ObjectStoreVolume, request: OpenRequest, file: OpenFile, holder: Holder | None
) -> None:
    """[MS-FSA] 2.1.5.18 Server Requests an Oplock, as far as the other opens let it."""
    asked = request.caching
    state = file.state
    if asked.lease_key:
        if file.is_directory and asked.version != 2:
            return
        wanted = asked.state
        if holder is None:
            if state.caching is None:
                state.caching = Caching(state)
            holder = Holder(
                state.caching,
                asked.client_guid,
                asked.lease_key,
                asked.version,
                asked.epoch,
                asked.parent_key,
            )
            volume.leases[asked.client_guid, asked.lease_key] = holder
    elif asked.level in caching.STATE_OF_LEVEL and not file.is_directory:
        wanted = caching.STATE_OF_LEVEL[asked.level]
        if state.caching is None:
            state.caching = Caching(state)
        holder = Holder(state.caching)
    else:
        return
    others = len(state.opens) > 1 and any(
        one is not file and one.granted_access & ~STAT and one.holder is not holder for one in state.opens
    )
    got = holder.caching.request(
        holder, file, wanted, others=others, is_directory=file.is_directory,
        has_locks=state.locks is not None and state.locks.are_of_others(holder),
    )  # fmt: skip
    if not got and not holder.is_lease:
        holder.caching.leave(holder, file)
        return
    file.holder = holder
    if request.durable is not None and may_grant(holder, file.is_directory):
        file.keeping = Keeping(timeout_of(request.durable))
