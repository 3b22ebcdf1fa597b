"""A server of one small file in memory, over a memory stream: for what no real server can be made to do on
demand.

`handlers[command](server, header, message)` returns the frame's messages, or None to stay silent.
"""

from __future__ import annotations

from contextlib import asynccontextmanager

import trio

from smbclient.io.connect import connect
from smbproto.codec import FileId
from smbproto.fscc.file_info import FileAllInformation
from smbproto.io.memory import memory_stream_pair
from smbproto.smb2.close import CloseResponse
from smbproto.smb2.create import CreateResponse
from smbproto.smb2.error import ERROR_RESPONSE_EMPTY
from smbproto.smb2.header import Command
from smbproto.smb2.logoff import LogoffResponse
from smbproto.smb2.query_info import QueryInfoResponse
from smbproto.smb2.read import ReadRequest, ReadResponse
from smbproto.smb2.tree_connect import TreeConnectResponse
from smbproto.smb2.write import WriteRequest, WriteResponse
from smbproto.status import Status
from tests.smbproto.endpoint.peer import PASSWORD, Peer


class ScriptedServer:
    """`grant`: credits of each response; None grants what is asked. `read_max`: bytes a READ gives at
    most."""

    def __init__(self, *, grant=None, read_max=None, dialect=0x0311):
        self.peer = Peer(dialect)
        self.peer.grant_max = grant or 0xFFFF
        self.read_max = read_max
        self.file = bytearray()
        self.log = []
        self.handlers = {
            Command.TREE_CONNECT: lambda s, h, m: s.reply(
                h, TreeConnectResponse(share_type=1, maximal_access=0x1FF)
            ),
            Command.CREATE: lambda s, h, m: s.reply(
                h, CreateResponse(create_action=1, file_id=FileId(1, 2), end_of_file=len(s.file))
            ),
            Command.CLOSE: lambda s, h, m: s.reply(h, CloseResponse()),
            Command.LOGOFF: lambda s, h, m: s.reply(h, LogoffResponse()),
            Command.READ: ScriptedServer.read,
            Command.WRITE: ScriptedServer.write,
            Command.CANCEL: lambda s, h, m: None,
            Command.QUERY_INFO: lambda s, h, m: s.reply(h, QueryInfoResponse(output=s.all_information())),
        }

    def reply(self, header, body, status=Status.SUCCESS):
        return [self.peer.message(header, body.encode(), status)]

    def refuse(self, header, status):
        return [self.peer.message(header, ERROR_RESPONSE_EMPTY, status)]

    def all_information(self):
        return FileAllInformation(
            creation_time=0, last_access_time=0, last_write_time=0, change_time=0, file_attributes=0x20,
            allocation_size=0, end_of_file=len(self.file), number_of_links=1, delete_pending=0, directory=0,
            index_number=1, ea_size=0, access_flags=0, current_byte_offset=0, mode=0, alignment_requirement=0,
            file_name="file",
        ).encode()  # fmt: skip

    def read(self, header, message):
        request = ReadRequest.decode_untrusted(message)
        length = min(request.length, self.read_max or request.length)
        data = bytes(self.file[request.offset : request.offset + length])
        return (
            self.reply(header, ReadResponse(data=data)) if data else self.refuse(header, Status.END_OF_FILE)
        )

    def write(self, header, message):
        request = WriteRequest.decode_untrusted(message)
        data = bytes(request.data)
        self.file[len(self.file) : request.offset] = bytes(max(0, request.offset - len(self.file)))
        self.file[request.offset : request.offset + len(data)] = data
        return self.reply(header, WriteResponse(count=len(data)))

    async def serve(self, stream):
        buffer, stage = b"", 0
        while data := await stream.receive_some():
            buffer += data
            while len(buffer) >= 4 and len(buffer) >= 4 + int.from_bytes(buffer[:4], "big"):
                end = 4 + int.from_bytes(buffer[:4], "big")
                frame, buffer = buffer[:end], buffer[end:]
                if stage == 0:
                    out = self.peer.negotiate([frame])[1]
                elif stage in (1, 2):
                    out = self.peer.setup([frame])
                else:
                    out = self.answer(frame)
                stage += 1
                if out:
                    await stream.send_all(out)

    def answer(self, frame):
        out = b""
        for header, message, sealed in self.peer.requests([frame]):
            self.log.append(Command(header.command))
            messages = self.handlers[header.command](self, header, message)
            if messages:
                out += self.peer.frame(*messages, sealed=sealed)
        return out


@asynccontextmanager
async def scripted_session(server, **options):
    """A session with `server`, whose connection is also given."""
    client, other = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve, other)
        options = {"user": "ana", "password": PASSWORD, "stream": client} | options
        async with connect("scripted", **options) as session:
            yield session
        nursery.cancel_scope.cancel()
