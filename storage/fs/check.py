"""Does a catalog agree with itself? And what of it can be rebuilt from the rest. For a volume that is not
mounted.

Looked at: SQLite's own integrity check; names lead to nodes, nodes know their names and the number of their
links, directories hang below the root; streams belong to nodes; runs lie inside the data space, do not
overlap in their stream, agree with the stream's sizes; no cluster belongs to two streams unless the table
of shared clusters says so; the allocation bitmaps hold what the runs hold; owners are charged what they
have; segments lie inside their tiers, pins belong to files; flags, descriptors and ids are there.

Derived, and so rebuilt by `repair`: link counts and known names, allocation bitmaps, shared clusters,
allocated sizes, flags, what owners are charged. A name that leads nowhere is removed; a node without a name
gets one in the root, `found.<id>`. Anything else is only told.

Nothing is written without `repair`. Files without a name that somebody held at a crash are no fault:
mounting frees them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import apsw

from storage.errors import CatalogCorrupt
from storage.fs import limits, schema, segments
from storage.fs.allocator import pack, unpack
from storage.fs.catalog import load_overlay, write_queue
from storage.fs.core import ROOT_ID
from storage.fs.extents import DATA, UNWRITTEN
from storage.fs.limits import CLUSTER_SHIFT, GROUP_CLUSTERS
from storage.fs.state import (
    ATTRIBUTE_DIRECTORY,
    HAS_EAS,
    HAS_HARDLINKS,
    HAS_OBJECT_ID,
    HAS_REPARSE,
    HAS_STREAMS,
)
from storage.fs.upcase import upcase
from storage.fs.vfs import SpaceVfs
from storage.runtime import Runtime
from storage.space.port import Space
from storage.tier.heat import Heat
from storage.tier.space import Tier

PROBLEMS_MAX = 1000
"""How many problems are listed; a catalog with more is not read further by an operator."""


@dataclass(slots=True)
class CheckReport:
    """`problems`: one line each, as found; `repaired`: what `repair` did about them."""

    files: int = 0
    directories: int = 0
    allocated_bytes: int = 0
    problems: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)

    def problem(self, text: str) -> None:
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(text)


async def check_catalog(
    metadata: Space, data: Space, runtime: Runtime, *, repair: bool = False
) -> CheckReport:
    """Check the catalog of an unmounted volume. Raises: CatalogCorrupt if there is none that can be
    opened."""
    overlay = await load_overlay(metadata)
    vfs = SpaceVfs(f"sofs-check-{runtime.random_bytes(8).hex()}", overlay, metadata)
    try:
        connection = schema.connect(vfs.name, overlay.layout)
        try:
            checker = _Checker(connection)
            meta = schema.read_meta(connection, overlay.layout)
            checker.lay_out(data, int(meta["data_bytes"]))
            checker.run()
            if repair and checker.report.problems:
                with connection:
                    checker.repair()
                connection.execute("pragma wal_checkpoint(truncate)").fetchall()
                await write_queue(overlay, metadata)
            return checker.report
        finally:
            connection.close()
    except apsw.Error as error:
        raise CatalogCorrupt(f"the catalog cannot be read: {error}") from error
    finally:
        vfs.unregister()


def sweep(runs: list[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """(first, count, references) of the clusters covered by any of (first, count), in order."""
    events = sorted([(first, 1) for first, _ in runs] + [(first + count, -1) for first, count in runs])
    depth, at = 0, 0
    for cluster, step in events:
        if depth and cluster > at:
            yield at, cluster - at, depth
        depth, at = depth + step, cluster


def joined(runs: Iterator[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Neighbours with the same number of references as one run."""
    out: list[tuple[int, int, int]] = []
    for first, count, references in runs:
        if out and out[-1][0] + out[-1][1] == first and out[-1][2] == references:
            out[-1] = (out[-1][0], out[-1][1] + count, references)
        else:
            out.append((first, count, references))
    return out


class _Checker:
    def __init__(self, connection: apsw.Connection) -> None:
        self._db = connection
        self._clusters = 0
        self.report = CheckReport()
        self._runs: list[tuple[int, int]] = []
        """(first cluster, count) of every run of every stream."""
        self._allocated: dict[int, int] = {}
        self._bad_heat: list[int] = []

    def _query(self, sql: str) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = self._db.execute(sql).fetchall()
        return rows

    def lay_out(self, data: Space, data_bytes: int) -> None:
        """The segments of the data space, if it has tiers; how many clusters there are."""
        sql = "select tier, at, length from segments order by id"
        try:
            segments.settle(data, self._query(sql) if self._has("segments") else [], data_bytes)
        except CatalogCorrupt as error:
            self.report.problem(str(error))
        self._clusters = data.size_bytes >> CLUSTER_SHIFT

    def run(self) -> None:
        for (line,) in self._query("pragma integrity_check"):
            if line != "ok":
                self.report.problem(f"SQLite: {line}")
        self.report.files, self.report.directories = self._query(
            f"select coalesce(sum(attributes & {ATTRIBUTE_DIRECTORY} = 0), 0), "
            f"coalesce(sum(attributes & {ATTRIBUTE_DIRECTORY} != 0), 0) from nodes"
        )[0]
        self._db.execute("create temp table linked(child integer primary key, names integer, parent, fold)")
        self._count_names()
        self._names()
        self._directories()
        self._owned()
        self._extents()
        self._sizes()
        self._shared()
        self._groups()
        self._quotas()
        self._tiers()

    def _count_names(self) -> None:
        """How many entries lead to each node, and one of them."""
        self._db.execute("delete from linked")
        self._db.execute(
            "insert into linked select child, count(*), parent, fold from dirents group by child"
        )

    def _each(self, text: str, sql: str) -> None:
        """A problem for each row; the columns fill the text."""
        for row in self._query(sql + f" limit {PROBLEMS_MAX}"):
            self.report.problem(text.format(*row))

    # names
    def _names(self) -> None:
        self._each(
            "entry {1!r} of directory {0} leads to node {2}, which is not there",
            "select parent, name, child from dirents where child not in (select id from nodes)",
        )
        self._each(
            "entry {1!r} is in directory {0}, which is no directory",
            "select parent, name from dirents where parent not in "
            f"(select id from nodes where attributes & {ATTRIBUTE_DIRECTORY})",
        )
        self._each(
            "node {0} has {1} links and {2} names",
            "select id, links, coalesce(names, 0) from nodes left join linked on child = id "
            f"where links != coalesce(names, 0) and id != {ROOT_ID}",
        )
        self._each(
            "node {0} says it is {2!r} in directory {1}, which does not know it",
            "select id, parent, fold from nodes where parent != 0 and not exists (select 1 from dirents d "
            "where d.parent = nodes.parent and d.fold = nodes.fold and d.child = nodes.id)",
        )
        self._each(
            "node {0} has names and knows none",
            f"select id from nodes where parent = 0 and links > 0 and id != {ROOT_ID}",
        )
        self._each(
            "the other names of node {0} are not those that lead to it",
            "select id from nodes where links > 1 and links != 1 + (select count(*) from hardlinks h "
            "join dirents d on d.parent = h.parent and d.fold = h.fold and d.child = h.child "
            "where h.child = nodes.id)",
        )
        for parent, fold, name in self._db.execute("select parent, fold, name from dirents"):
            text = schema.decode_name(name)
            if schema.encode_name(upcase(text)) != fold:
                self.report.problem(f"entry {text!r} of directory {parent} is filed as {fold!r}")

    def _directories(self) -> None:
        above = dict(
            self._query(
                f"select id, parent from nodes where attributes & {ATTRIBUTE_DIRECTORY}"
            )
        )
        if ROOT_ID not in above:
            self.report.problem("the root directory is not there")
            return
        safe: set[int] = {ROOT_ID, 0}
        for directory in above:
            path: list[int] = []
            at = directory
            while at not in safe and at in above and len(path) <= len(above):
                path.append(at)
                at = above[at]
            if at in safe:
                safe.update(path)
            else:
                self.report.problem(f"directory {directory} does not hang below the root")
        self._each(
            "directory {0} has {1} links",
            f"select id, links from nodes where attributes & {ATTRIBUTE_DIRECTORY} and links > 1",
        )

    def _owned(self) -> None:
        for table, bit in (("eas", HAS_EAS), ("reparse", HAS_REPARSE), ("object_ids", HAS_OBJECT_ID),
                           ("streams", HAS_STREAMS)):  # fmt: skip
            self._each(
                f"{table} has a row for node {{0}}, which is not there",
                f"select distinct node from {table} where node not in (select id from nodes)",
            )
            self._each(
                f"the flags of node {{0}} do not agree with {table}",
                f"select id from nodes where ((has & {bit}) != 0) != (id in (select node from {table}))",
            )
        self._each(
            "node {0} has security descriptor {1}, which is not there",
            "select id, security from nodes where security not in (select id from securities)",
        )
        self._each(
            "node {0} has an id that was not given out yet",
            "select id from nodes where id >= (select value from meta where key = 'next_id')",
        )

    # clusters
    def _extents(self) -> None:
        at, end = -1, 0
        sql = "select stream, first, count, cluster, state from extents order by stream, first"
        for stream, first, count, cluster, state in self._db.execute(sql):
            if stream != at:
                at, end = stream, 0
            if (
                count <= 0
                or cluster < 0
                or cluster + count > self._clusters
                or state not in (DATA, UNWRITTEN)
            ):
                self.report.problem(
                    f"stream {stream} has an impossible run: {first}+{count} at {cluster}, {state}"
                )
                continue
            if first < end:
                self.report.problem(f"stream {stream} has two runs at its cluster {first}")
            end = first + count
            self._allocated[stream] = self._allocated.get(stream, 0) + count
            self._runs.append((cluster, count))

    def _sizes(self) -> None:
        known: set[int] = set()
        for table, where in (("nodes", f" where not attributes & {ATTRIBUTE_DIRECTORY}"), ("streams", "")):
            for stream, size, valid, allocated in self._db.execute(
                f"select id, size, valid, allocated from {table}{where}"
            ):
                known.add(stream)
                if not 0 <= valid <= size:
                    self.report.problem(f"stream {stream} has {valid} valid bytes and a size of {size}")
                if allocated != self._allocated.get(stream, 0) << CLUSTER_SHIFT:
                    held = self._allocated.get(stream, 0) << CLUSTER_SHIFT
                    self.report.problem(
                        f"stream {stream} says {allocated} bytes are allocated; its runs have {held}"
                    )
        for stream in self._allocated:
            if stream not in known:
                self.report.problem(f"runs belong to stream {stream}, which is not there")
        self._each(
            "stream {0} has data past its {2} valid bytes, at cluster {1}",
            "select e.stream, e.first + e.count, s.valid from extents e join "
            "(select id, valid from nodes union all select id, valid from streams) s on s.id = e.stream "
            f"where e.state = {DATA} and (e.first + e.count - 1) << {CLUSTER_SHIFT} >= s.valid",
        )

    def _shared(self) -> None:
        stored = joined(
            iter(self._query("select first, count, refs from shared order by first"))
        )
        real = joined((f, n, r) for f, n, r in sweep(self._runs) if r > 1)
        if stored == real:
            return
        for run in sorted(set(stored) ^ set(real)):
            where = "in the table, not in the runs" if run in set(stored) else "in the runs, not in the table"
            self.report.problem(f"clusters {run[0]}+{run[1]} with {run[2]} references are {where}")

    def _expected_groups(self) -> dict[int, bytearray]:
        maps: dict[int, bytearray] = {}
        for first, count, _ in sweep(self._runs):
            self.report.allocated_bytes += count << CLUSTER_SHIFT
            while count:
                group, at = divmod(first, GROUP_CLUSTERS)
                part = min(count, GROUP_CLUSTERS - at)
                states = maps.setdefault(group, bytearray(self._group_size(group)))
                states[at : at + part] = b"\x01" * part
                first, count = first + part, count - part
        return maps

    def _group_size(self, group: int) -> int:
        return min(GROUP_CLUSTERS, self._clusters - group * GROUP_CLUSTERS)

    def _groups(self) -> None:
        expected = self._expected_groups()
        for group, used, bitmap in self._db.execute("select id, used, bitmap from groups"):
            size = self._group_size(group)
            if size <= 0 or (bitmap is None and used not in (0, GROUP_CLUSTERS)):
                self.report.problem(f"allocation group {group} with {used} clusters in use has no bitmap")
                continue
            states = (
                bytearray(b"\x01" * used + bytes(size - used)) if bitmap is None else unpack(bitmap)[:size]
            )
            real = expected.pop(group, None) or bytearray(size)
            if states.count(1) != used:
                self.report.problem(
                    f"allocation group {group} says {used} clusters are in use, its bitmap {states.count(1)}"
                )
            lost = sum(a > b for a, b in zip(states, real, strict=True)) if states != real else 0
            double = sum(a < b for a, b in zip(states, real, strict=True)) if states != real else 0
            if lost:
                self.report.problem(
                    f"allocation group {group}: {lost} clusters are marked used and belong to nothing"
                )
            if double:
                self.report.problem(
                    f"allocation group {group}: {double} clusters are marked free and belong to a stream"
                )
        for group, states in expected.items():
            self.report.problem(
                f"allocation group {group}: {states.count(1)} clusters are in use, the group is not there"
            )

    # quotas
    def _has(self, table: str) -> bool:
        """Since version 2: `quotas`, `segments`, `pins`, `heat`."""
        return bool(self._query(f"select 1 from sqlite_master where name = '{table}'"))

    def _quotas(self) -> None:
        if not self._has("quotas"):
            return  # a catalog of version 1; mounting it makes them
        stored = {bytes(sid): used for sid, used in self._query("select sid, used from quotas")}
        real = schema.charges(self._db)
        for sid in sorted(stored.keys() | real.keys()):
            if stored.get(sid, 0) != real.get(sid, 0):
                self.report.problem(
                    f"owner {sid.hex()} is charged {stored.get(sid, 0)} bytes and has {real.get(sid, 0)}"
                )

    def _tiers(self) -> None:
        if not self._has("pins"):
            return
        self._each(
            "node {0} is pinned to a tier and is not there",
            "select node from pins where node not in (select id from nodes)",
        )
        known = ", ".join(str(int(tier)) for tier in Tier)
        self._each(
            "node {0} is pinned to tier {1}, which there is not",
            f"select node, tier from pins where tier not in ({known})",
        )
        for piece, ranges in self._query("select id, ranges from heat"):
            try:
                Heat(0.0).load([bytes(ranges)], 0.0)
            except CatalogCorrupt as error:
                self.report.problem(str(error))
                self._bad_heat.append(piece)

    # repair
    def repair(self) -> None:
        """Rebuild what is derived, inside the caller's transaction."""
        run, done = self._db.execute, self.report.repaired.append
        run("delete from dirents where child not in (select id from nodes)")
        self._count_names()
        lost = (
            "select id from nodes where links > 0 and id not in (select child from linked) "
            f"and id != {ROOT_ID}"
        )
        for (node,) in self._query(lost):
            name = f"found.{node}"
            run(schema.PUT_NAME, (ROOT_ID, name.upper().encode(), name.encode(), node))
            done(f"node {node} is {name} in the root directory now")
        self._count_names()
        run(
            f"update nodes set parent = 0, fold = x'' where id != {ROOT_ID} and not exists "
            "(select 1 from dirents d where d.parent = nodes.parent and d.fold = nodes.fold "
            "and d.child = nodes.id)"
        )
        run(
            "update nodes set (parent, fold) = (select l.parent, l.fold from linked l where l.child = id) "
            "where parent = 0 and id in (select child from linked)"
        )
        run("delete from hardlinks")
        run(
            "insert into hardlinks(child, parent, fold) select d.child, d.parent, d.fold from dirents d "
            "join nodes n on n.id = d.child where n.parent != d.parent or n.fold != d.fold"
        )
        run(
            "update nodes set links = coalesce((select names from linked where child = id), 0) "
            f"where id != {ROOT_ID}"
        )
        for table, bit in (("eas", HAS_EAS), ("reparse", HAS_REPARSE), ("object_ids", HAS_OBJECT_ID),
                           ("streams", HAS_STREAMS)):  # fmt: skip
            run(f"delete from {table} where node not in (select id from nodes)")
            run(f"update nodes set has = (has & ~{bit}) | (id in (select node from {table})) * {bit}")
        in_hardlinks = f"(id in (select child from hardlinks)) * {HAS_HARDLINKS}"
        run(f"update nodes set has = (has & ~{HAS_HARDLINKS}) | {in_hardlinks}")
        done("names, links and flags are rebuilt")
        self._repair_clusters()

    def _repair_clusters(self) -> None:
        run = self._db.execute
        run("delete from extents where stream not in (select id from nodes union all select id from streams)")
        for table in ("nodes", "streams"):
            run(
                f"update {table} set allocated = coalesce("
                f"(select sum(count) from extents where stream = id), 0) << {CLUSTER_SHIFT}"
            )
        self._runs = [(first, count) for first, count in self._query("select cluster, count from extents")]
        run("delete from shared")
        self._db.executemany(
            "insert into shared(first, count, refs) values(?,?,?)",
            joined((f, n, r) for f, n, r in sweep(self._runs) if r > 1),
        )
        run("delete from groups")
        self.report.allocated_bytes = 0
        for group, states in self._expected_groups().items():
            used = states.count(1)
            bitmap = None if used == GROUP_CLUSTERS else pack(states)
            run("insert into groups(id, used, bitmap) values(?,?,?)", (group, used, bitmap))
        self.report.repaired.append("allocation bitmaps and shared clusters are rebuilt from the runs")
        if self._has("pins"):
            run("delete from pins where node not in (select id from nodes) or tier not in (0, 1)")
            self._db.executemany("delete from heat where id = ?", [(piece,) for piece in self._bad_heat])
        if self._has("quotas"):
            run("update quotas set used = 0")
            for sid, used in schema.charges(self._db).items():
                run("insert or ignore into quotas values(?, 0, -1, -1, 0, 0)", (sid,))
                run("update quotas set used = ? where sid = ?", (used, sid))


assert limits.GROUP_CLUSTERS == GROUP_CLUSTERS
