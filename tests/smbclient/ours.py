"""Our own server in this process: a file system in memory, reached over a memory stream. Share "sealed" is
encrypted."""

from __future__ import annotations

from contextlib import asynccontextmanager

import trio

import smbclient
from cluster.io.runtime import TrioRuntime
from smbproto.io.memory import memory_stream_pair
from smbsrv.io.stream import serve_stream
from smbsrv.server import Server, ServerConfig
from smbsrv.share import Share
from storage.objectstore.volume import ObjectStoreVolume
from tests.smbsrv.wire import PASSWORD, USER, Accounts
from tests.suites.memoryfs import MemoryFileSystem


class Ours:
    """Each session has a server of its own."""

    user, password = USER, PASSWORD

    @asynccontextmanager
    async def session(self, **options):
        try:
            async with self._serving(options) as session:
                yield session
        except BaseExceptionGroup as group:
            [error] = group.exceptions  # the caller's own
            raise error from None

    @asynccontextmanager
    async def _serving(self, options):
        async with trio.open_nursery() as nursery:
            runtime = TrioRuntime(nursery)
            server = Server(ServerConfig(guid=b"G" * 16), runtime, Accounts())
            volume = ObjectStoreVolume(MemoryFileSystem(), runtime)
            server.add_share(Share("data", volume))
            server.add_share(Share("sealed", volume, encrypt_data=True))
            client, other = memory_stream_pair()
            nursery.start_soon(serve_stream, server, other)
            options = {"user": USER, "password": PASSWORD, "stream": client} | options
            try:
                async with smbclient.connect("ours", **options) as session:
                    yield session
            finally:
                nursery.cancel_scope.cancel()
