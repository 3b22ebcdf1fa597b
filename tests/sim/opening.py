"""Parts of the CREATE requests of simulated clients, and of their answers."""

from __future__ import annotations

from smbproto.smb2 import contexts as ctx
from smbproto.smb2.create import CreateContext
from tests.sim.model import ModelFile


def wire_name(path: str, stream: str = "") -> str:
    return path.replace("/", "\\") + (f":{stream}" if stream else "")


def durable_contexts(durable: bool, guid: bytes) -> list[CreateContext]:
    """What asks for a durable open: version 2 where there is a create GUID."""
    if not durable:
        return []
    if guid:
        asked = ctx.DurableHandleRequestV2(create_guid=guid).encode()
        return [CreateContext(ctx.SMB2_CREATE_DURABLE_HANDLE_REQUEST_V2, asked)]
    return [CreateContext(ctx.SMB2_CREATE_DURABLE_HANDLE_REQUEST, ctx.DurableHandleRequest().encode())]


def durable_version(found: dict[bytes, bytes]) -> int:
    """The version of durability that was granted; 0: none."""
    if ctx.SMB2_CREATE_DURABLE_HANDLE_REQUEST_V2 in found:
        return 2
    return int(ctx.SMB2_CREATE_DURABLE_HANDLE_REQUEST in found)


def check_node(file: ModelFile, found: dict[bytes, bytes], path: str) -> None:
    """A file keeps its id."""
    node_id = ctx.OnDiskId.decode_untrusted(found[ctx.SMB2_CREATE_QUERY_ON_DISK_ID]).disk_file_id
    if file.node_id is None:
        file.node_id = node_id
    assert node_id == file.node_id, f"{path} is node {node_id}, not {file.node_id}"
