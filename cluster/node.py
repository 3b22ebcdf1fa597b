"""One node: its state, pool, volumes, shares and server, wired together. The only place where all layers
meet.

    Node.open(state)  ->  pool (quorum of its disks)  ->  volumes (catalog over two spaces each)  ->  object
    stores
                      ->  Server with the configured shares  ->  serve()
    Node.close()      in the reverse order; everything acknowledged is durable then.

Which spaces a volume is made of: volumes.py; which disks the pool has, and what becomes of one that goes or
comes back: physical.py.
Owner: the process. Must not decide anything that a lower layer owns; it opens, connects and closes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from cluster import config, volumes
from cluster.accounts import Accounts, AccountsRecord, new_machine_sid
from cluster.config import NODE_FILE, SHARES_FILE, USERS_FILE, NodeConfig, ShareConfig
from cluster.errors import AlreadyExists, NotFound, OperatorError
from cluster.io.disks import close_disks, open_disks
from cluster.io.state import StateDirectory
from cluster.physical import PhysicalDisks
from cluster.serving import Serving
from cluster.volumejobs import VolumeJobs
from cluster.volumes import VolumeSpec
from storage.errors import PoolUnavailable, StorageError
from storage.fs.catalog import CatalogFileSystem
from storage.io.filedisk import FileDisk
from storage.io.hostfs.filesystem import HostFileSystem
from storage.objectstore.volume import ObjectStoreVolume
from storage.pool.pool import SPACES_MAX, Pool
from storage.runtime import Runtime
from storage.space.port import Space

log = logging.getLogger("sofs.node")

VOLUMES_MAX = SPACES_MAX // 2
SHARES_MAX = 1000


@dataclass(slots=True)
class MountedVolume:
    """A volume that is open: its spaces, file system and arbiter. `resiliency` and `provisioning` as the
    pool tells them."""

    name: str
    volume: ObjectStoreVolume
    filesystem: CatalogFileSystem | HostFileSystem
    metadata: Space | None = None
    data: Space | None = None


class Node:
    """See the module. Made by `Node.open`; `close` ends it."""

    def __init__(
        self, state: StateDirectory, runtime: Runtime, settings: NodeConfig, accounts: Accounts
    ) -> None:
        self.state = state
        self.runtime = runtime
        self.settings = settings
        self.accounts = accounts
        self.shares: list[ShareConfig] = []
        self.disks: list[FileDisk] = []
        self.physical = PhysicalDisks(self)
        self.pool: Pool | None = None
        self.volume_jobs = VolumeJobs(runtime)
        self.upkeep = True
        self._under_way: set[str] = set()
        self.volumes: dict[str, MountedVolume] = {}
        self.detached: dict[str, str] = {}
        """Volumes that could not be mounted, and why."""
        self.directories: dict[str, MountedVolume] = {}
        self.serving = Serving(self)

    # configuration
    # ----------------------------------------------------------------------------------------------
    @staticmethod
    def initialise(state: StateDirectory, settings: NodeConfig, entropy: bytes) -> None:
        """Write the first configuration of a node. Raises: AlreadyExists, ConfigError."""
        state.create()
        if state.exists(NODE_FILE):
            raise AlreadyExists(f"{state.path} holds a node already")
        state.write(USERS_FILE, config.dump(Accounts(new_machine_sid(entropy)).to_record()), secret=True)
        state.write(NODE_FILE, config.dump(settings))

    @classmethod
    async def open(cls, state: StateDirectory, runtime: Runtime, *, upkeep: bool = True) -> Node:
        """Open everything the state names; serves nothing yet. `upkeep`: jobs go on, and disks are watched.

        Raises: OperatorError, StorageError; what was opened until then is closed again.
        """
        settings = state.load_one(NodeConfig, NODE_FILE)
        record = state.load_one(AccountsRecord, USERS_FILE)
        node = cls(state, runtime, settings, Accounts.from_record(record, USERS_FILE))
        node.upkeep = upkeep
        node.shares = state.load_many(ShareConfig, SHARES_FILE)
        try:
            if settings.disks:
                node.disks = await open_disks(settings.disks, runtime)
                if not node.disks:
                    raise PoolUnavailable(f"none of the pool's {len(settings.disks)} disks can be opened")
                node.pool = await Pool.open(node.disks, runtime, resync=False)  # the upkeep sees to it
                node.pool_opened(node.disks)
                for name in node.volume_names():
                    await node.mount_or_detach(name)
            for share in node.shares:
                if share.volume not in node.detached:
                    node.serving.add(share, await node.volume_of(share))
        except BaseException:
            await node.close()
            raise
        return node

    def save_accounts(self) -> None:
        self.state.write(USERS_FILE, config.dump(self.accounts.to_record()), secret=True)

    def save_settings(self) -> None:
        self.state.write(NODE_FILE, config.dump(self.settings))

    def save_shares(self) -> None:
        self.state.write(SHARES_FILE, config.dump(self.shares))

    # pool and volumes
    # -------------------------------------------------------------------------------------------
    def require_pool(self) -> Pool:
        """Raises: OperatorError."""
        if self.pool is None:
            raise OperatorError("this node has no pool; `sofs pool create DISK...` makes one")
        return self.pool

    def require_no_pool(self) -> None:
        """Raises: AlreadyExists."""
        if self.pool is not None:
            raise AlreadyExists(f"this node has the pool {self.pool.name!r} already")

    @contextmanager
    def alone(self, what: str) -> Iterator[None]:
        """Nobody else makes or removes the same meanwhile. Raises: OperatorError."""
        if what in self._under_way:
            raise OperatorError(f"{what} is being made, changed or removed already")
        self._under_way.add(what)
        try:
            yield
        finally:
            self._under_way.discard(what)

    def volume_names(self) -> list[str]:
        """Names of the pool's volumes, mounted or not."""
        return volumes.volume_names(self.require_pool())

    async def create_pool(self, name: str, disks: Sequence[FileDisk], slab_bytes: int) -> None:
        """Raises: AlreadyExists, StorageError."""
        self.require_no_pool()
        self.pool = await Pool.create(list(disks), name, slab_bytes=slab_bytes, runtime=self.runtime)
        self.pool_opened(disks)
        self.settings.disks = [disk.name for disk in disks]
        self.save_settings()

    def pool_opened(self, disks: Sequence[FileDisk]) -> None:
        """The disks are the pool's from now on."""
        assert self.pool is not None
        self.disks = []
        self.physical.opened(disks)
        if self.upkeep:
            self.pool.jobs.start()
            self.physical.start()

    async def mount(self, name: str) -> MountedVolume:
        """Open a volume of the pool. Raises: NotFound, StorageError."""
        pool = self.require_pool()
        if name not in self.volume_names():
            raise NotFound(f"there is no volume {name!r}; `sofs volume list` shows those there are")
        metadata, data = volumes.spaces(pool, name)
        filesystem = await CatalogFileSystem.open(metadata, data, self.runtime)
        mounted = MountedVolume(name, ObjectStoreVolume(filesystem, self.runtime), filesystem, metadata, data)
        self.volumes[name] = mounted
        return mounted

    async def mount_or_detach(self, name: str) -> None:
        """A volume that cannot be mounted does not keep the node from serving the others; it is told of."""
        try:
            await self.mount(name)
            self.detached.pop(name, None)
        except StorageError as error:
            log.error("volume %s cannot be mounted: %s", name, error)
            self.detached[name] = str(error)

    async def mount_detached(self) -> None:
        """Something has changed about the disks: try again, and serve what can be. Raises: OperatorError."""
        for name in list(self.detached):
            await self.mount_or_detach(name)
            if name not in self.detached:
                log.warning("volume %s is mounted again", name)
                for share in self.shares:
                    if share.volume == name:
                        self.serving.add(share, await self.volume_of(share))

    async def create_volume(self, spec: VolumeSpec) -> MountedVolume:
        """Make the spaces, format, mount. Raises: OperatorError, StorageError; a half-made volume is removed
        again."""
        pool = self.require_pool()
        volumes.check_spec(spec)
        if spec.name in self.volume_names():
            raise AlreadyExists(f"there is a volume {spec.name!r} already")
        if len(self.volume_names()) >= VOLUMES_MAX:
            raise OperatorError(f"there are {VOLUMES_MAX} volumes, which is the most")
        with self.alone(f"volume {spec.name}"):
            await volumes.make(pool, spec, self.runtime)
            return await self.mount(spec.name)

    async def unmount(self, name: str) -> None:
        mounted = self.volumes.pop(name)
        await self.volume_jobs.stop_volume(name)
        await mounted.volume.close()

    async def remove_volume(self, name: str) -> None:
        """Raises: NotFound, OperatorError if a share serves it."""
        pool = self.require_pool()
        if name not in self.volume_names():
            raise NotFound(f"there is no volume {name!r}")
        users = [share.name for share in self.shares if share.volume == name]
        if users:
            raise OperatorError(
                f"volume {name} is served by share {users[0]}; `sofs share remove {users[0]}` first"
            )
        with self.alone(f"volume {name}"):
            if name in self.volumes:
                await self.unmount(name)
            await volumes.remove(pool, name)
            self.detached.pop(name, None)

    async def resize_volume(self, name: str, part: str, size_bytes: int) -> None:
        """The volume stays in use. Raises: NotFound, OperatorError, StorageError."""
        mounted = self.volumes.get(name)
        if mounted is None or not isinstance(mounted.filesystem, CatalogFileSystem):
            raise NotFound(f"there is no volume {name!r}; `sofs volume list` shows those there are")
        with self.alone(f"volume {name}"):
            await volumes.grow(self.require_pool(), name, part, size_bytes)
            await mounted.filesystem.grow()

    async def volume_of(self, share: ShareConfig) -> ObjectStoreVolume:
        """The volume that a share serves; a directory of the host is opened at its first use. Raises:
        OperatorError."""
        if share.volume:
            mounted = self.volumes.get(share.volume)
            if mounted is None:
                raise NotFound(f"share {share.name}: there is no volume {share.volume!r}")
            return mounted.volume
        mounted = self.directories.get(share.directory)
        if mounted is None:
            try:
                filesystem = HostFileSystem(share.directory, self.runtime)
            except OSError as error:
                raise OperatorError(f"share {share.name}: {share.directory}: {error.strerror}") from None
            mounted = MountedVolume(share.directory, ObjectStoreVolume(filesystem, self.runtime), filesystem)
            self.directories[share.directory] = mounted
        return mounted.volume

    # shares
    # -----------------------------------------------------------------------------------------------------
    async def add_share(self, share: ShareConfig) -> None:
        """Raises: OperatorError."""
        config.check_share(share)
        if any(known.name.casefold() == share.name.casefold() for known in self.shares):
            raise AlreadyExists(f"there is a share {share.name!r} already")
        if len(self.shares) >= SHARES_MAX:
            raise OperatorError(f"there are {SHARES_MAX} shares, which is the most")
        self.serving.add(share, await self.volume_of(share))
        self.shares.append(share)
        self.save_shares()

    async def remove_share(self, name: str) -> None:
        """Connections to it are ended. Raises: NotFound."""
        for share in self.shares:
            if share.name.casefold() == name.casefold():
                await self.serving.remove(share.name)
                self.shares.remove(share)
                self.save_shares()
                return
        raise NotFound(f"there is no share {name!r}; `sofs share list` shows those there are")

    async def close(self) -> None:
        """Make everything durable and let go of it. Each part is closed even if another fails; the first
        error is raised."""
        first: Exception | None = None
        for mounted in [*self.volumes.values(), *self.directories.values()]:
            await self.volume_jobs.stop_volume(mounted.name)
            try:
                await mounted.volume.close()
            except StorageError as error:
                log.error("volume %s did not close cleanly: %s", mounted.name, error)
                first = first or error
        self.volumes.clear()
        self.directories.clear()
        await self.physical.stop()
        if self.pool is not None:
            try:
                await self.pool.close()
            except StorageError as error:
                first = first or error
            self.pool = None
        else:
            await close_disks(self.disks)
        self.disks = []
        if first is not None:
            raise first
