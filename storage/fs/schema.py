"""The catalog's tables, and how a connection to them is opened.

Format, versions and invariants: docs/formats/catalog.md. Names and folds are UTF-8 blobs (lone surrogates
pass), so their order is that of code points. Times are FILETIME. Clusters are numbers of
`limits.CLUSTER_BYTES` in the data space."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import apsw

from storage.errors import CatalogCorrupt
from storage.fs.layout import Layout
from storage.fs.limits import CHECKPOINT_PAGES, PAGE_BYTES, SQLITE_CACHE_KIB
from storage.fs.quotas import owner_of
from storage.fs.vfs import DATABASE

APPLICATION_ID: Final = 0x534F4653  # "SOFS"
USER_VERSION: Final = 2

TABLES: Final = """
create table meta(key text primary key, value) without rowid;
create table nodes(
    id integer primary key,
    attributes integer not null, created integer not null, accessed integer not null,
    written integer not null, changed integer not null,
    links integer not null, reparse_tag integer not null, ea_bytes integer not null,
    security integer not null, has integer not null,
    parent integer not null, fold blob not null,
    size integer not null, valid integer not null, allocated integer not null);
create index orphans on nodes(id) where links = 0;
create table dirents(
    parent integer not null, fold blob not null, name blob not null, child integer not null,
    primary key(parent, fold)) without rowid;
create table hardlinks(
    child integer not null, parent integer not null, fold blob not null,
    primary key(child, parent, fold)) without rowid;
create table streams(
    id integer primary key, node integer not null, fold blob not null, name blob not null,
    size integer not null, valid integer not null, allocated integer not null);
create unique index stream_names on streams(node, fold);
create table extents(
    stream integer not null, first integer not null, count integer not null,
    cluster integer not null, state integer not null,
    primary key(stream, first)) without rowid;
create table shared(first integer primary key, count integer not null, refs integer not null);
create table groups(id integer primary key, used integer not null, bitmap blob);
create table securities(id integer primary key, hash blob not null, descriptor blob not null);
create index security_hashes on securities(hash);
create table eas(node integer primary key, list blob not null);
create table reparse(node integer primary key, buffer blob not null);
create table object_ids(node integer primary key, key blob not null unique, object_id blob not null);
"""
QUOTAS: Final = """
create table quotas(
    sid blob primary key, used integer not null, threshold integer not null, "limit" integer not null,
    own integer not null, changed integer not null) without rowid;
"""
TIERS: Final = """
create table segments(
    id integer primary key, tier integer not null, at integer not null, length integer not null);
create table pins(node integer primary key, tier integer not null);
create table heat(id integer primary key, ranges blob not null);
"""

NODE_COLUMNS: Final = (
    "id, attributes, created, accessed, written, changed, links, reparse_tag, ea_bytes, "
    "security, has, parent, fold, size, valid, allocated"
)
PUT_NODE: Final = f"insert or replace into nodes({NODE_COLUMNS}) values(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
GET_NODE: Final = f"select {NODE_COLUMNS} from nodes where id=?"
LIST_NODES: Final = (
    "select d.name, d.fold, "
    + ", ".join("n." + column.strip() for column in NODE_COLUMNS.split(","))
    + " from dirents d join nodes n on n.id = d.child where d.parent=? and d.fold>? order by d.fold limit ?"
)
PUT_NAME: Final = "insert or replace into dirents(parent, fold, name, child) values(?,?,?,?)"
DROP_NAME: Final = "delete from dirents where parent=? and fold=?"
PUT_EXTENT: Final = "insert or replace into extents(stream, first, count, cluster, state) values(?,?,?,?,?)"
DROP_EXTENT: Final = "delete from extents where stream=? and first=?"
PUT_QUOTA: Final = "insert or replace into quotas values(?,?,?,?,?,?)"
USED: Final = (
    "select descriptor, sum(bytes) from "
    "(select security, sum(allocated) as bytes from nodes group by security "
    "union all select n.security, sum(s.allocated) from streams s join nodes n on n.id = s.node "
    "group by n.security) join securities on securities.id = security group by security"
)
"""How many bytes are allocated to the files of each descriptor."""
PUT_STREAM: Final = (
    "insert or replace into streams(id, node, fold, name, size, valid, allocated) values(?,?,?,?,?,?,?)"
)


def encode_name(name: str) -> bytes:
    try:
        return name.encode()
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogatepass")


def decode_name(blob: bytes) -> str:
    try:
        return blob.decode()
    except UnicodeDecodeError:
        return blob.decode("utf-8", "surrogatepass")


def connect(vfs: str, layout: Layout) -> apsw.Connection:
    """A connection with the pragmas that the design rests on."""
    connection = apsw.Connection(DATABASE, vfs=vfs)
    # Closing (also by the garbage collector) touches no file; who wants a checkpoint asks for it.
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    checkpoint = min(CHECKPOINT_PAGES, layout.wal_bytes // PAGE_BYTES // 4)
    for pragma in (
        "locking_mode=exclusive",
        f"page_size={PAGE_BYTES}",
        "journal_mode=wal",
        "synchronous=full",
        f"cache_size=-{SQLITE_CACHE_KIB}",
        f"wal_autocheckpoint={checkpoint}",
        "temp_store=memory",
        "mmap_size=0",
        f"max_page_count={layout.database_bytes // PAGE_BYTES}",
    ):
        connection.execute("pragma " + pragma).fetchall()
    return connection


def create_tables(connection: apsw.Connection, meta: dict[str, int | str | bytes]) -> None:
    """A new, empty database, in one transaction."""
    connection.execute(f"pragma application_id={APPLICATION_ID}").fetchall()
    with connection:
        connection.execute(TABLES + QUOTAS + TIERS)
        connection.executemany("insert into meta values(?,?)", list(meta.items()))
        connection.execute(f"pragma user_version={USER_VERSION}")


def charges(connection: apsw.Connection) -> dict[bytes, int]:
    """What the files there are cost their owners: SID -> bytes."""
    out: dict[bytes, int] = {}
    rows: list[tuple[Any, ...]] = connection.execute(USED).fetchall()
    for descriptor, used in rows:
        sid = owner_of(descriptor)
        if sid is not None and used:
            out[sid] = out.get(sid, 0) + used
    return out


def _add_quotas_and_tiers(connection: apsw.Connection) -> None:
    """Version 1 -> 2."""
    connection.execute(QUOTAS + TIERS)
    rows = [(sid, used, -1, -1, 0, 0) for sid, used in charges(connection).items()]
    connection.executemany(PUT_QUOTA, rows)


_UPGRADES: Final[dict[int, Callable[[apsw.Connection], None]]] = {1: _add_quotas_and_tiers}
"""From each older version to the next."""


def _version(connection: apsw.Connection) -> int:
    rows: list[tuple[Any, ...]] = connection.execute("pragma user_version").fetchall()
    return int(rows[0][0])


def upgrade(connection: apsw.Connection) -> None:
    """Bring a catalog that `read_meta` accepted to this program's version, in one transaction."""
    version = _version(connection)
    if version == USER_VERSION:
        return
    with connection:
        for older in range(version, USER_VERSION):
            _UPGRADES[older](connection)
        connection.execute(f"pragma user_version={USER_VERSION}")


def read_meta(connection: apsw.Connection, layout: Layout) -> dict[str, Any]:
    """The facts of the volume. Raises: CatalogCorrupt if this is not a catalog of a version that can be
    read."""
    application = connection.execute("pragma application_id").fetchall()[0][0]
    version = _version(connection)
    if application != APPLICATION_ID:
        raise CatalogCorrupt(f"the database is not a catalog: application id {application:#x}")
    if not 1 <= version <= USER_VERSION:
        raise CatalogCorrupt(
            f"the catalog has version {version}; this program reads versions up to {USER_VERSION}"
        )
    rows: list[tuple[Any, ...]] = connection.execute("select key, value from meta").fetchall()
    meta = {str(key): value for key, value in rows}
    if meta.get("volume_id") != layout.volume_id:
        raise CatalogCorrupt("the database and the header of the metadata space are of different volumes")
    return meta
