"""Imports point down: the table of packages and what each may import, held by reading every file's imports.

| package       | may import of ours                                                                         |
|---------------|--------------------------------------------------------------------------------------------|
| `smbproto/`   | nothing                                                                                    |
| `storage/`    | `smbproto.{dtyp,fscc,status}` in `objectstore/` and `volume.py`; `smbproto.{dtyp,fscc}` in |
|               | `fs/`, `hostfs/` and `io/hostfs/`                                                          |
| `smbsrv/`     | `smbproto`, `storage.volume`, `storage.runtime` (ports)                                    |
| `smbclient/`  | `smbproto`                                                                                 |
| `cluster/`    | all of the above                                                                           |
| `interop/`    | `smbclient`; servers are started as processes                                              |

Only folders `io/` (and `__main__.py`) import what touches the world; `impacket` stays in security and RPC.
Imports under `if TYPE_CHECKING:` count for the table, not for the I/O rule: a type performs no I/O.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("smbproto", "storage", "smbsrv", "smbclient", "cluster")

WORLD = frozenset({
    "trio", "socket", "os", "threading", "time", "random", "secrets", "select", "selectors", "asyncio",
    "signal", "subprocess", "multiprocessing", "concurrent", "tempfile", "shutil", "mmap", "fcntl", "ssl",
    "glob",
})
WORLD_CALLS = frozenset({("uuid", "uuid1"), ("uuid", "uuid4"), ("datetime", "now"), ("datetime", "utcnow"),
                         ("date", "today")})


@dataclass(frozen=True)
class Import:
    """One imported name: `from a import b` is both `a.b` and, should `b` be no module, `a`."""

    name: str
    line: int
    typing_only: bool


def imports_of(tree: ast.Module, path: PurePosixPath) -> Iterator[Import]:
    """Every import of a file, relative ones resolved, wherever in the file it stands."""
    guarded = {id(child) for node in ast.walk(tree) if _is_type_checking(node)
               for statement in node.body for child in ast.walk(statement)}
    package = path.parent.parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, id(node) in guarded)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            for alias in node.names:
                yield Import(f"{module}.{alias.name}", node.lineno, id(node) in guarded)


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def within(name: str, *modules: str) -> bool:
    """Whether `name` is one of `modules` or something inside one."""
    return any(name == module or name.startswith(module + ".") for module in modules)


def may_import(path: PurePosixPath, name: str) -> bool:
    """The table above. `name` begins with one of our packages, or with `tests` or `interop`."""
    top, where = path.parts[0], str(path)
    if within(name, top):
        return True
    if top == "storage":
        if where.startswith("storage/objectstore/") or where == "storage/volume.py":
            return within(name, "smbproto.dtyp", "smbproto.fscc", "smbproto.status")
        if where.startswith(("storage/fs/", "storage/hostfs/", "storage/io/hostfs/")):
            return within(name, "smbproto.dtyp", "smbproto.fscc")
        return False
    if top == "smbsrv":
        return within(name, "smbproto", "storage.volume", "storage.runtime")
    if top == "smbclient":
        return within(name, "smbproto")
    if top == "cluster":
        return within(name, *PACKAGES)
    if top == "interop":
        return within(name, "smbclient")
    return False


def touches_world(path: PurePosixPath) -> bool:
    return "io" in path.parts[:-1] or path.name == "__main__.py"


def sources(*tops: str) -> list[PurePosixPath]:
    return [PurePosixPath(path.relative_to(ROOT).as_posix())
            for top in tops for path in sorted((ROOT / top).rglob("*.py"))]


def parse(path: PurePosixPath) -> ast.Module:
    return ast.parse((ROOT / path).read_text(), str(path))


def layering_faults(path: PurePosixPath, tree: ast.Module) -> list[str]:
    return [f"{path}:{found.line} imports {found.name}" for found in imports_of(tree, path)
            if within(found.name, *PACKAGES, "tests", "interop") and not may_import(path, found.name)]


def world_faults(path: PurePosixPath, tree: ast.Module) -> list[str]:
    if touches_world(path):
        return []
    faults = [f"{path}:{found.line} imports {found.name}" for found in imports_of(tree, path)
              if found.name.partition(".")[0] in WORLD and not found.typing_only]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
            if (owner, node.attr) in WORLD_CALLS:
                faults.append(f"{path}:{node.lineno} uses {owner}.{node.attr}")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open":
            faults.append(f"{path}:{node.lineno} opens a file")
    return faults


def impacket_faults(path: PurePosixPath, tree: ast.Module) -> list[str]:
    if str(path).startswith(("smbproto/security/", "smbproto/rpc/")):
        return []
    return [f"{path}:{found.line} imports {found.name}" for found in imports_of(tree, path)
            if within(found.name, "impacket")]


@pytest.mark.parametrize("top", [*PACKAGES, "interop"])
def test_imports_point_down(top):
    """Imports point down. A lower layer calls up only through a port that it declares itself."""
    faults = [fault for path in sources(top) for fault in layering_faults(path, parse(path))]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("top", PACKAGES)
def test_only_io_folders_touch_the_world(top):
    """Only the folder `io/` (and `__main__.py`) may import trio, sockets, files, clocks or chance."""
    faults = [fault for path in sources(top) for fault in world_faults(path, parse(path))]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("top", PACKAGES)
def test_impacket_stays_in_security_and_rpc(top):
    """impacket appears in smbproto/security/ and smbproto/rpc/, in tests and interop, nowhere else."""
    faults = [fault for path in sources(top) for fault in impacket_faults(path, parse(path))]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(("path", "text", "faults"), [
    ("smbproto/smb2/read.py", "import storage.volume", 1),
    ("smbproto/smb2/read.py", "from ..codec import message", 0),
    ("smbproto/smb2/read.py", "from ...storage import volume", 1),
    ("storage/objectstore/store.py", "from smbproto import status", 0),
    ("storage/objectstore/store.py", "from smbproto import smb2", 1),
    ("storage/fs/names.py", "from smbproto.fscc import FileAttributes", 0),
    ("storage/fs/names.py", "from smbproto.status import Status", 1),
    ("storage/pool/pool.py", "from smbproto.dtyp import Guid", 1),
    ("smbsrv/open.py", "from storage.volume import File", 0),
    ("smbsrv/open.py", "if True:\n    from storage.objectstore import x", 1),
    ("smbclient/api.py", "import smbsrv", 1),
    ("cluster/node.py", "import smbsrv, storage, smbclient, smbproto.codec", 0),
    ("cluster/node.py", "import tests.suites", 1),
    ("interop/peers.py", "import smbclient", 0),
    ("interop/peers.py", "import smbproto", 1),
])
def test_the_table_itself(path, text, faults):
    """The rule is tried on imports known to be right and wrong, so that it cannot pass by seeing nothing."""
    assert len(layering_faults(PurePosixPath(path), ast.parse(text))) == faults


@pytest.mark.parametrize(("path", "text", "faults"), [
    ("smbsrv/open.py", "import trio", 1),
    ("smbsrv/open.py", "def f():\n    from os import urandom", 1),
    ("smbsrv/open.py", "import uuid\nuuid.UUID(int=0)", 0),
    ("smbsrv/open.py", "import uuid\nuuid.uuid4()", 1),
    ("smbsrv/open.py", "import datetime\ndatetime.datetime.now()", 1),
    ("smbsrv/open.py", "open('x')", 1),
    ("smbsrv/open.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import random", 0),
    ("smbsrv/io/listener.py", "import trio, socket", 0),
    ("smbclient/__main__.py", "import trio", 0),
])
def test_the_io_rule_itself(path, text, faults):
    """As above, for what touches the world."""
    assert len(world_faults(PurePosixPath(path), ast.parse(text))) == faults
