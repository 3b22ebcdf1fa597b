"""An SMB 2 and 3 client: asynchronous on Trio, with a blocking facade and a command line.

    async with smbclient.connect("host", user="ana", password=secret) as session:
        tree = await session.tree("share")
        data = await tree.read_bytes("folder/file")

    with smbclient.connect_blocking("host", user="ana", password=secret) as session:
        with session.tree("share").open("folder/file") as file: ...

Errors of the asynchronous side are `StatusError`; the blocking side raises the `OSError` that says the same.
Source: [MS-SMB2] 3.2 Client Details.
"""

from smbclient.file import File
from smbclient.io.blocking import BlockingFile, BlockingSession, BlockingTree, connect_blocking
from smbclient.io.connect import connect
from smbclient.names import Location
from smbclient.path import SmbPath
from smbclient.session import Session
from smbclient.stat import DirEntry, StatResult, VolumeStat
from smbclient.tree import Tree
from smbclient.watch import Change
from smbproto.status import Status, StatusError

__all__ = [
    "BlockingFile",
    "BlockingSession",
    "BlockingTree",
    "Change",
    "DirEntry",
    "File",
    "Location",
    "Session",
    "SmbPath",
    "StatResult",
    "Status",
    "StatusError",
    "Tree",
    "VolumeStat",
    "connect",
    "connect_blocking",
]
