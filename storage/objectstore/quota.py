"""Quotas of a volume, as opens of it ask for and change them: who may, and what is allowed.

Sources: [MS-FSA] 2.1.5.21 Server Requests Querying Quota Information; 2.1.5.22 Server Requests Setting Quota
Information; 2.1.5.16.2 FileFsControlInformation; [MS-SMB2] 3.3.5.20.4, 3.3.5.21.4 Handling SMB2_0_INFO_QUOTA;
[MS-FSCC] 2.5.8 FileFsSizeInformation (a user with a quota sees what is left of it).
Administrators see and change all; anybody else sees their own entry. The quota file of NTFS, by which
clients ask, opens as the volume's root, for no more than to write quotas and be asked. Bytes; -1 is no
limit; SIDs in binary form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from smbproto import dtyp, fscc
from smbproto.dtyp import Sid
from smbproto.status import Status, StatusError
from storage.errors import StorageError
from storage.fs.port import QuotaBook, QuotaControl, QuotaRecord, VolumeUsage
from storage.objectstore.errors import status_error
from storage.volume import NO_LEASE, OpenRequest, Token

if TYPE_CHECKING:
    from storage.objectstore.file import OpenFile
    from storage.objectstore.volume import ObjectStoreVolume

QUOTA_FILE: Final = "$EXTEND\\$QUOTA:$Q:$INDEX_ALLOCATION"
ADMINISTRATORS: Final = "S-1-5-32-544"
_ADMINISTRATORS_SID: Final = Sid.parse(ADMINISTRATORS).encode()
UNLIMITED: Final = -1
DELETE: Final = -2
"""[MS-FSCC] 2.4.41 FileQuotaInformation: as a limit, "this entry goes"."""


def quota_file(volume: ObjectStoreVolume, request: OpenRequest) -> OpenRequest | None:
    """What an open of the quota file comes to; None for any other path."""
    if request.path.upper() != QUOTA_FILE or volume.fs.quotas is None:
        return None
    if not _is_administrator(request.token):
        raise StatusError(Status.ACCESS_DENIED, "the quota file is the administrators'")
    if request.disposition not in (fscc.FILE_OPEN, fscc.FILE_OPEN_IF):
        raise StatusError(Status.ACCESS_DENIED, "the quota file is always there")
    options = request.options & ~(
        fscc.FILE_NON_DIRECTORY_FILE | fscc.FILE_DIRECTORY_FILE | fscc.FILE_DELETE_ON_CLOSE
    )
    access = dtyp.FILE_READ_ATTRIBUTES | dtyp.map_generic(request.desired_access) & dtyp.FILE_WRITE_DATA
    return replace(
        request, path="", root="", disposition=fscc.FILE_OPEN, options=options, share_access=7,
        caching=NO_LEASE, durable=None, desired_access=access,
    )  # fmt: skip


def _is_administrator(token: Token) -> bool:
    return ADMINISTRATORS in token.sids


def _own(token: Token) -> bytes:
    return Sid.parse(token.owner).encode()


def _book(file: OpenFile) -> QuotaBook:
    book = file.volume.fs.quotas
    if book is None:
        raise StatusError(
            Status.NOT_SUPPORTED, f"volume {file.volume.identity.label!r} keeps no quotas"
        )
    return book


def _to_change(file: OpenFile) -> QuotaBook:
    book = _book(file)
    if not _is_administrator(file.token):
        raise StatusError(Status.ACCESS_DENIED, "only administrators change quotas")
    if not file.granted_access & dtyp.FILE_WRITE_DATA:
        raise StatusError(Status.ACCESS_DENIED, "the open may not write")
    return book


def control(file: OpenFile) -> QuotaControl | None:
    book = file.volume.fs.quotas
    return None if book is None else book.control


def set_control(file: OpenFile, new: QuotaControl) -> None:
    book = _to_change(file)
    if min(new.threshold_bytes, new.limit_bytes) < UNLIMITED:
        raise StatusError(
            Status.INVALID_PARAMETER, f"a threshold of {new.threshold_bytes}, a limit of {new.limit_bytes}"
        )
    try:
        book.set_control(new)
    except StorageError as error:
        raise status_error(error) from error


def records(file: OpenFile) -> list[QuotaRecord]:
    """Every entry that the user may see, in the order of their SIDs' bytes."""
    book = _book(file)
    if _is_administrator(file.token):
        return book.records()
    own = book.record(_own(file.token))
    return [] if own is None else [own]


def record(file: OpenFile, sid: bytes) -> QuotaRecord:
    """An owner of nothing has the volume's limits. Raises: ACCESS_DENIED for another's."""
    book = _book(file)
    if not _is_administrator(file.token) and sid != _own(file.token):
        raise StatusError(Status.ACCESS_DENIED, "only administrators see others' quotas")
    found = book.record(sid)
    if found is None:
        _, threshold, limit = book.control
        found = QuotaRecord(sid, 0, threshold, limit, 0)
    return found


def set_records(file: OpenFile, new: Sequence[QuotaRecord]) -> None:
    """[MS-FSA] 2.1.5.22: one after the other; those before one that is refused stay."""
    book = _to_change(file)
    if not new:
        raise StatusError(Status.INVALID_PARAMETER, "an empty list of quotas")
    for sid, _, threshold, limit, _ in new:
        if sid == _ADMINISTRATORS_SID and limit != UNLIMITED:
            raise StatusError(Status.ACCESS_DENIED, "administrators have no limit")
        if limit < DELETE or threshold < DELETE:
            raise StatusError(Status.INVALID_PARAMETER, f"a threshold of {threshold}, a limit of {limit}")
        try:
            if limit != DELETE:
                book.set_limits(sid, max(threshold, UNLIMITED), limit, file.volume.runtime.filetime())
            elif not book.forget(sid):
                raise StatusError(Status.NO_MATCH, "there is no such quota")
        except StorageError as error:
            raise status_error(error) from error


def usage(file: OpenFile) -> VolumeUsage:
    """The volume as this user sees it: no larger, no emptier than an enforced quota lets it be."""
    whole = file.volume.fs.usage()
    book = file.volume.fs.quotas
    if book is None or not book.control.flags & fscc.FILE_VC_QUOTA_ENFORCE:
        return whole
    _, used, _, limit, _ = record(file, _own(file.token))
    if limit == UNLIMITED:
        return whole
    total, free = min(whole.total_bytes, limit), min(whole.free_bytes, max(limit - used, 0))
    return replace(whole, total_bytes=total, free_bytes=free)
