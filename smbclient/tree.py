"""A share: names and what can be done by name. Files that are open: `file.py`.

Whatever can be done in one round trip is one related compound: CREATE, what is wanted, CLOSE.

Source: [MS-SMB2] 3.2.4.1.4 Sending Compounded Requests; 3.2.4.3 Application Requests Opening a File; 3.2.4.8
Application Requests Querying File Attributes; 3.2.4.9 Application Requests Applying File Attributes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from smbclient.errors import error_of
from smbclient.names import SYMLINKS_MAX, normalize, parent_of, resolve_symlink, wire_path
from smbclient.pipeline import CHUNK_BYTES
from smbclient.port import Channel
from smbclient.stat import DirEntry, StatResult, VolumeStat
from smbproto import dtyp, fscc
from smbproto.codec import RELATED_FILE_ID, Message
from smbproto.dtyp import filetime_from_unix_ns
from smbproto.endpoint.client_frames import Outgoing
from smbproto.fscc.ea import FullEa, decode_full_eas_untrusted, encode_full_eas, encode_get_eas
from smbproto.fscc.file_info import (
    FileAllInformation,
    FileAttributeTagInformation,
    FileBasicInformation,
    FileEndOfFileInformation,
    FileLinkInformation,
    FileRenameInformation,
    Stream,
    decode_streams_untrusted,
)
from smbproto.fscc.volume import FileFsFullSizeInformation
from smbproto.smb2.close import CloseRequest
from smbproto.smb2.create import CreateRequest, CreateResponse
from smbproto.smb2.header import Command
from smbproto.smb2.query_directory import QueryDirectoryRequest
from smbproto.smb2.query_info import (
    SMB2_0_INFO_FILE,
    SMB2_0_INFO_FILESYSTEM,
    QueryInfoRequest,
    QueryInfoResponse,
)
from smbproto.smb2.set_info import SetInfoRequest
from smbproto.smb2.tree_connect import TreeConnectResponse
from smbproto.smb2.tree_disconnect import TreeDisconnectRequest
from smbproto.status import Status, StatusError, StoppedOnSymlink

if TYPE_CHECKING:
    from smbclient.file import File
    from smbclient.watch import Change

__all__ = ["Tree"]

T = TypeVar("T")
Step: TypeAlias = tuple[int, QueryInfoRequest | SetInfoRequest | QueryDirectoryRequest]

SHARE_ALL = fscc.FILE_SHARE_READ | fscc.FILE_SHARE_WRITE | fscc.FILE_SHARE_DELETE
INFO_BYTES = 65536
TIME_KEEP = 0  # a time of 0 in FileBasicInformation leaves it as it is

MISSING = (Status.OBJECT_NAME_NOT_FOUND, Status.OBJECT_PATH_NOT_FOUND, Status.NO_SUCH_FILE)


class Tree:
    """One share of a session. Paths have slashes and are relative to the share; "" is its root."""

    def __init__(
        self, channel: Channel, share: str, tree_id: int, response: TreeConnectResponse, *, sealed: bool
    ) -> None:
        self.channel = channel
        self.share = share
        self.tree_id = tree_id
        self.sealed = sealed
        self.capabilities = response.capabilities
        self.share_flags = response.share_flags
        self.share_type = response.share_type
        self.maximal_access = response.maximal_access
        self.chunk_bytes = CHUNK_BYTES
        """Largest READ or WRITE of files opened from now on; the server's own limit, 8 MiB at most, holds
        too."""

    # The wire

    async def call(
        self,
        command: int,
        request: Message,
        doing: str,
        *,
        charge: int = 1,
        also: tuple[Status, ...] = (),
    ) -> memoryview:
        """One request; the response's message. Raises: StatusError unless it is SUCCESS or one of `also`."""
        reply = await self.channel.submit(
            command, request.encode(), tree_id=self.tree_id, sealed=self.sealed, charge=self._charge(charge)
        )
        status, message = await reply.wait()
        if status != Status.SUCCESS and status not in also:
            raise error_of(status, message, doing)
        return message

    async def chain(
        self, create: CreateRequest, steps: Sequence[Step], doing: str, *, close: bool = True
    ) -> tuple[CreateResponse, list[tuple[int, memoryview]]]:
        """CREATE, the steps on what it opened, CLOSE: one compound. Status and message of each step.

        Symbolic links on the way are followed. Raises: StatusError of the CREATE; the steps' statuses are the
        caller's to look at.
        """

        async def attempt() -> tuple[CreateResponse, list[tuple[int, memoryview]]]:
            return await self._chain(create, steps, doing, close=close)

        return await self._follow(create, attempt)

    async def _chain(
        self, create: CreateRequest, steps: Sequence[Step], doing: str, *, close: bool
    ) -> tuple[CreateResponse, list[tuple[int, memoryview]]]:
        parts: list[tuple[int, Message]] = [(Command.CREATE, create), *steps]
        if close:
            parts.append((Command.CLOSE, CloseRequest(file_id=RELATED_FILE_ID)))
        if self.channel.credits_owned() < len(parts):
            return await self._one_by_one(create, steps, doing, close=close)
        requests = [Outgoing(command, message.encode(), tree_id=self.tree_id) for command, message in parts]
        replies = await self.channel.submit_related(requests, sealed=self.sealed)
        answers = [await reply.wait() for reply in replies]
        status, message = answers[0]
        if status != Status.SUCCESS:
            raise error_of(status, message, doing)
        return CreateResponse.decode_untrusted(message), answers[1 : 1 + len(steps)]

    async def _one_by_one(
        self, create: CreateRequest, steps: Sequence[Step], doing: str, *, close: bool
    ) -> tuple[CreateResponse, list[tuple[int, memoryview]]]:
        """The same for a server that grants too few credits for a compound."""
        opened = CreateResponse.decode_untrusted(await self.call(Command.CREATE, create, doing))
        answers = []
        try:
            for command, message in steps:
                message.file_id = opened.file_id
                reply = await self.channel.submit(
                    command, message.encode(), tree_id=self.tree_id, sealed=self.sealed
                )
                answers.append(await reply.wait())
        finally:
            if close:
                await self.call(Command.CLOSE, CloseRequest(file_id=opened.file_id), doing)
        return opened, answers

    def _charge(self, charge: int) -> int:
        return charge if self.channel.negotiated.is_large_mtu else 1

    def info_bytes(self, wanted: int) -> int:
        """Room for an answer: no more than the server gives and our credits pay."""
        paid = (
            max(1, self.channel.credits_free()) * INFO_BYTES
            if self.channel.negotiated.is_large_mtu
            else INFO_BYTES
        )
        return min(wanted, self.channel.negotiated.transact_max_bytes, paid)

    async def _follow(self, create: CreateRequest, attempt: Callable[[], Awaitable[T]]) -> T:
        """`attempt()`, again with the name in `create` changed wherever a link on the way leads."""
        for _ in range(SYMLINKS_MAX):
            try:
                return await attempt()
            except StoppedOnSymlink as stop:
                create.name = wire_path(resolve_symlink(create.name, stop))
        raise StatusError(Status.STOPPED_ON_SYMLINK, f"{SYMLINKS_MAX} links on the way to {create.name!r}")

    async def disconnect(self) -> None:
        """Give the share up; its files are closed."""
        await self.call(Command.TREE_DISCONNECT, TreeDisconnectRequest(), f"leaving {self.share!r}")

    # Opening

    async def create(
        self,
        path: str,
        *,
        access: int,
        disposition: int = fscc.FILE_OPEN,
        options: int = 0,
        attributes: int = 0,
        share_access: int = SHARE_ALL,
    ) -> File:
        """CREATE with everything said in the words of the protocol."""
        from smbclient.file import File

        request = CreateRequest(
            desired_access=access,
            file_attributes=attributes,
            share_access=share_access,
            create_disposition=disposition,
            create_options=options,
            name=wire_path(path),
        )

        async def attempt() -> memoryview:
            return await self.call(Command.CREATE, request, f"opening {path!r}")

        message = await self._follow(request, attempt)
        return File(self, normalize(path), CreateResponse.decode_untrusted(message))

    async def open(self, path: str, mode: str = "rb", *, share_access: int = SHARE_ALL) -> File:
        """Open a file as Python's `open` does: r, w, a, x, with +; always bytes. Raises: ValueError."""
        access, disposition = _of_mode(mode)
        file = await self.create(
            path,
            access=access,
            disposition=disposition,
            options=fscc.FILE_NON_DIRECTORY_FILE,
            attributes=fscc.FILE_ATTRIBUTE_NORMAL,
            share_access=share_access,
        )
        if "a" in mode:
            file.seek(0, 2)
        return file

    async def read_bytes(self, path: str) -> bytes:
        """All of a file."""
        async with await self.open(path, "rb") as file:
            return await file.read()

    async def write_bytes(self, path: str, data: bytes | bytearray | memoryview) -> int:
        """Make the file anew, with this in it."""
        async with await self.open(path, "wb") as file:
            return await file.write(data)

    # Asking

    async def stat(self, path: str, *, follow_symlinks: bool = True) -> StatResult:
        """What is known of the file or directory. Raises: StatusError."""
        if not follow_symlinks:
            return await self.lstat(path)

        _, answers = await self.chain(_to_query(path), [_query_all()], f"asking for {path!r}")
        return StatResult.of_all(_decode_all(answers[0], path))

    async def lstat(self, path: str) -> StatResult:
        """Of a symbolic link itself, not of what it leads to."""
        steps = [_query_all(), _query(fscc.FILE_ATTRIBUTE_TAG_INFORMATION, 8)]
        create = _to_query(path, fscc.FILE_OPEN_REPARSE_POINT)
        _, answers = await self.chain(create, steps, f"asking for {path!r}")
        info, tag = _decode_all(answers[0], path), 0
        if info.file_attributes & fscc.FILE_ATTRIBUTE_REPARSE_POINT and answers[1][0] == Status.SUCCESS:
            output = QueryInfoResponse.decode_untrusted(answers[1][1]).output
            tag = FileAttributeTagInformation.decode_untrusted(output).reparse_tag
        return StatResult.of_all(info, tag)

    async def exists(self, path: str) -> bool:
        """Whether there is something by that name. Raises: StatusError if the server does not say."""
        return await self._stat_or_none(path) is not None

    async def is_dir(self, path: str) -> bool:
        found = await self._stat_or_none(path)
        return found is not None and found.is_dir()

    async def is_file(self, path: str) -> bool:
        found = await self._stat_or_none(path)
        return found is not None and found.is_file()

    async def _stat_or_none(self, path: str) -> StatResult | None:
        try:
            return await self.stat(path)
        except StatusError as error:
            if error.status in MISSING:
                return None
            raise

    async def stat_volume(self) -> VolumeStat:
        """Sizes of the volume."""
        step = _query(fscc.FILE_FS_FULL_SIZE_INFORMATION, 32, SMB2_0_INFO_FILESYSTEM)
        _, answers = await self.chain(_to_query(""), [step], "asking for the volume's size")
        info = FileFsFullSizeInformation.decode_untrusted(_output(answers[0], "asking for the volume's size"))
        unit = info.sectors_per_allocation_unit * info.bytes_per_sector
        return VolumeStat(
            total_bytes=info.total_allocation_units * unit,
            free_bytes=info.caller_available_allocation_units * unit,
            actual_free_bytes=info.actual_available_allocation_units * unit,
            allocation_unit_bytes=unit,
        )

    async def list_streams(self, path: str) -> list[Stream]:
        """The data streams of a file; the unnamed one is `::$DATA`."""
        step = _query(fscc.FILE_STREAM_INFORMATION, INFO_BYTES)
        doing = f"asking for the streams of {path!r}"
        _, answers = await self.chain(_to_query(path), [step], doing)
        return decode_streams_untrusted(_output(answers[0], doing))

    # Directories

    def scandir(self, path: str = "", pattern: str = "*") -> AsyncGenerator[DirEntry, None]:
        """The entries but `.` and `..`, unsorted. Who stops early should close it (`aclosing`)."""
        from smbclient.scan import scan

        return scan(self, path, pattern)

    async def listdir(self, path: str = "", pattern: str = "*") -> list[str]:
        """The names, sorted."""
        return sorted([entry.name async for entry in self.scandir(path, pattern)])

    async def walk(
        self, top: str = "", *, topdown: bool = True
    ) -> AsyncGenerator[tuple[str, list[DirEntry], list[DirEntry]], None]:
        """As `os.walk`: (path, directories, other entries); links to directories are not entered."""
        entries = sorted([entry async for entry in self.scandir(top)], key=lambda entry: entry.name)
        directories = [entry for entry in entries if entry.is_dir()]
        others = [entry for entry in entries if not entry.is_dir()]
        if topdown:
            yield normalize(top), directories, others
        for entry in directories:
            async with aclosing(self.walk(entry.path, topdown=topdown)) as below:
                async for found in below:
                    yield found
        if not topdown:
            yield normalize(top), directories, others

    async def mkdir(self, path: str) -> None:
        """Raises: StatusError OBJECT_NAME_COLLISION if it exists."""
        create = CreateRequest(
            desired_access=dtyp.FILE_READ_ATTRIBUTES | dtyp.SYNCHRONIZE,
            file_attributes=fscc.FILE_ATTRIBUTE_DIRECTORY,
            share_access=SHARE_ALL,
            create_disposition=fscc.FILE_CREATE,
            create_options=fscc.FILE_DIRECTORY_FILE,
            name=wire_path(path),
        )
        await self.chain(create, [], f"making the directory {path!r}")

    async def makedirs(self, path: str, *, exist_ok: bool = True) -> None:
        """The directory and all above it that are missing."""
        path = normalize(path)
        try:
            await self.mkdir(path)
        except StatusError as error:
            if error.status == Status.OBJECT_PATH_NOT_FOUND and parent_of(path):
                await self.makedirs(parent_of(path))
                await self.makedirs(path, exist_ok=exist_ok)
            elif error.status != Status.OBJECT_NAME_COLLISION or not exist_ok or not await self.is_dir(path):
                raise

    async def rmdir(self, path: str) -> None:
        """Raises: StatusError DIRECTORY_NOT_EMPTY."""
        await self._delete(path, fscc.FILE_DIRECTORY_FILE, f"removing the directory {path!r}")

    async def remove(self, path: str) -> None:
        """Remove a file or a symbolic link."""
        await self._delete(path, fscc.FILE_NON_DIRECTORY_FILE, f"removing {path!r}")

    async def _delete(self, path: str, kind: int, doing: str) -> None:
        create = CreateRequest(
            desired_access=dtyp.DELETE | dtyp.FILE_READ_ATTRIBUTES,
            share_access=SHARE_ALL,
            create_disposition=fscc.FILE_OPEN,
            create_options=kind | fscc.FILE_OPEN_REPARSE_POINT,
            name=wire_path(path),
        )
        disposition = SetInfoRequest(
            info_type=SMB2_0_INFO_FILE,
            file_info_class=fscc.FILE_DISPOSITION_INFORMATION,
            buffer=b"\1",
            file_id=RELATED_FILE_ID,
        )
        _, answers = await self.chain(create, [(Command.SET_INFO, disposition)], doing)
        _check(answers[0], doing)

    async def rmtree(self, path: str) -> None:
        """Remove a directory with everything in it; links are removed, not followed."""
        async with aclosing(self.walk(path, topdown=False)) as directories_upwards:
            async for directory, directories, others in directories_upwards:
                for entry in others:
                    await self.remove(entry.path)
                for entry in directories:
                    await self.rmdir(entry.path)
                if directory == normalize(path) and directory:
                    await self.rmdir(directory)

    # Links

    async def symlink(self, target: str, path: str, *, directory: bool = False) -> None:
        """Make `path` a symbolic link to `target`: relative to it, or absolute as a Windows machine sees it.

        `directory`: what it leads to is one; Windows wants to know.
        """
        from smbclient.links import make_symlink

        await make_symlink(self, target, path, directory=directory)

    async def readlink(self, path: str) -> str:
        """Where a symbolic link leads, with slashes. Raises: StatusError NOT_A_REPARSE_POINT."""
        from smbclient.links import read_link

        return await read_link(self, path)

    # Copying and watching

    async def copyfile(self, source: str, target: str, *, replace: bool = True) -> int:
        """Copy within the share; the server does it, if it can. How many bytes it was."""
        from smbclient.copy import copy_data

        async with (
            await self.open(source, "rb") as reader,
            await self.open(target, "wb+" if replace else "xb+") as writer,
        ):
            return await copy_data(reader, writer)

    def watch(self, path: str = "", *, recursive: bool = False) -> AsyncGenerator[list[Change], None]:
        """What changes in the directory, as it happens; close it (`aclosing`) to end it."""
        from smbclient.watch import watch

        return watch(self, path, recursive=recursive)

    # Changing

    async def rename(self, source: str, target: str, *, replace: bool = False) -> None:
        """Within the share. Raises: StatusError OBJECT_NAME_COLLISION if `target` is there and stays."""
        info = FileRenameInformation(replace_if_exists=int(replace), file_name=wire_path(target)).encode()
        await self._set(
            source, fscc.FILE_RENAME_INFORMATION, info, dtyp.DELETE, f"renaming {source!r} to {target!r}"
        )

    async def replace(self, source: str, target: str) -> None:
        """Rename; an existing `target` is replaced in the same instant."""
        await self.rename(source, target, replace=True)

    async def link(self, source: str, target: str) -> None:
        """Give a file a second name."""
        info = FileLinkInformation(file_name=wire_path(target)).encode()
        access = dtyp.FILE_READ_ATTRIBUTES
        await self._set(source, fscc.FILE_LINK_INFORMATION, info, access, f"linking {source!r} to {target!r}")

    async def truncate(self, path: str, size: int) -> None:
        info = FileEndOfFileInformation(end_of_file=size).encode()
        access = dtyp.FILE_WRITE_DATA
        await self._set(path, fscc.FILE_END_OF_FILE_INFORMATION, info, access, f"truncating {path!r}")

    async def utime(
        self,
        path: str,
        *,
        atime_ns: int | None = None,
        mtime_ns: int | None = None,
        birthtime_ns: int | None = None,
    ) -> None:
        """Set times, in nanoseconds since 1970; None leaves a time as it is."""
        created, read, written = (
            TIME_KEEP if ns is None else filetime_from_unix_ns(ns)
            for ns in (birthtime_ns, atime_ns, mtime_ns)
        )
        info = FileBasicInformation(creation_time=created, last_access_time=read, last_write_time=written)
        access = dtyp.FILE_WRITE_ATTRIBUTES
        await self._set(
            path, fscc.FILE_BASIC_INFORMATION, info.encode(), access, f"setting the times of {path!r}"
        )

    async def set_attributes(self, path: str, attributes: int) -> None:
        """Set the FILE_ATTRIBUTE_ flags."""
        info = FileBasicInformation(file_attributes=attributes or fscc.FILE_ATTRIBUTE_NORMAL)
        access = dtyp.FILE_WRITE_ATTRIBUTES
        doing = f"setting the attributes of {path!r}"
        await self._set(path, fscc.FILE_BASIC_INFORMATION, info.encode(), access, doing)

    async def _set(self, path: str, info_class: int, info: bytes, access: int, doing: str) -> None:
        create = CreateRequest(
            desired_access=access | dtyp.SYNCHRONIZE,
            share_access=SHARE_ALL,
            create_disposition=fscc.FILE_OPEN,
            name=wire_path(path),
        )
        request = SetInfoRequest(
            info_type=SMB2_0_INFO_FILE, file_info_class=info_class, buffer=info, file_id=RELATED_FILE_ID
        )
        _, answers = await self.chain(create, [(Command.SET_INFO, request)], doing)
        _check(answers[0], doing)

    # Extended attributes

    async def listxattr(self, path: str) -> list[str]:
        """Names of the extended attributes."""
        return [name for name, _ in await self._eas(path, b"")]

    async def getxattr(self, path: str, name: str) -> bytes:
        """Raises: StatusError NONEXISTENT_EA_ENTRY."""
        asked = encode_get_eas([name.encode("latin-1")])
        for found, value in await self._eas(path, asked):
            if found.lower() == name.lower() and value:
                return value
        raise StatusError(Status.NONEXISTENT_EA_ENTRY, f"{path!r} has no extended attribute {name!r}")

    async def setxattr(self, path: str, name: str, value: bytes) -> None:
        """An empty value removes it."""
        info = encode_full_eas([FullEa(name.encode("latin-1"), value)])
        doing = f"setting the extended attribute {name!r} of {path!r}"
        await self._set(path, fscc.FILE_FULL_EA_INFORMATION, info, dtyp.FILE_WRITE_EA, doing)

    async def removexattr(self, path: str, name: str) -> None:
        await self.setxattr(path, name, b"")

    async def _eas(self, path: str, asked: bytes) -> list[tuple[str, bytes]]:
        doing = f"asking for the extended attributes of {path!r}"
        step = _query(fscc.FILE_FULL_EA_INFORMATION, INFO_BYTES, input=asked)
        create = _to_query(path, access=dtyp.FILE_READ_EA)
        _, answers = await self.chain(create, [step], doing)
        if answers[0][0] == Status.NO_EAS_ON_FILE:
            return []
        eas = decode_full_eas_untrusted(_output(answers[0], doing))
        return [(ea.name.decode("latin-1"), ea.value) for ea in eas]

    def __repr__(self) -> str:
        return f"Tree({self.share!r})"


def _of_mode(mode: str) -> tuple[int, int]:
    """Access mask and disposition of a mode of Python's `open`. Raises: ValueError."""
    kind = mode.replace("b", "").replace("+", "")
    if kind not in ("r", "w", "a", "x") or len(mode) > 3 or mode.count("b") > 1 or mode.count("+") > 1:
        raise ValueError(
            f"mode {mode!r}: r, w, a or x, perhaps with b and +; text is for the blocking facade"
        )
    access = dtyp.FILE_GENERIC_READ if kind == "r" else dtyp.FILE_GENERIC_WRITE | dtyp.FILE_READ_ATTRIBUTES
    if "+" in mode:
        access |= dtyp.FILE_GENERIC_READ | dtyp.FILE_GENERIC_WRITE
    disposition = {
        "r": fscc.FILE_OPEN,
        "w": fscc.FILE_OVERWRITE_IF,
        "a": fscc.FILE_OPEN_IF,
        "x": fscc.FILE_CREATE,
    }[kind]
    return access, disposition


def _to_query(path: str, options: int = 0, *, access: int = dtyp.FILE_READ_ATTRIBUTES) -> CreateRequest:
    return CreateRequest(
        desired_access=access | dtyp.SYNCHRONIZE,
        share_access=SHARE_ALL,
        create_disposition=fscc.FILE_OPEN,
        create_options=options,
        name=wire_path(path),
    )


def _query(
    info_class: int, room_bytes: int, info_type: int = SMB2_0_INFO_FILE, *, input: bytes = b""
) -> tuple[int, QueryInfoRequest]:
    return Command.QUERY_INFO, QueryInfoRequest(
        info_type=info_type,
        file_info_class=info_class,
        output_buffer_length=room_bytes,
        input=input,
        file_id=RELATED_FILE_ID,
    )


def _query_all() -> tuple[int, QueryInfoRequest]:
    return _query(fscc.FILE_ALL_INFORMATION, INFO_BYTES)


def _decode_all(answer: tuple[int, memoryview], path: str) -> FileAllInformation:
    return FileAllInformation.decode_untrusted(_output(answer, f"asking for {path!r}"))


def _check(answer: tuple[int, memoryview], doing: str) -> None:
    if answer[0] != Status.SUCCESS:
        raise error_of(*answer, doing)


def _output(answer: tuple[int, memoryview], doing: str) -> memoryview:
    _check(answer, doing)
    return memoryview(QueryInfoResponse.decode_untrusted(answer[1]).output)
