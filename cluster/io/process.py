"""A node as a process in the foreground: it opens, says where it listens, serves until SIGINT or SIGTERM,
and closes cleanly."""

from __future__ import annotations

import gc
import json
import logging
import os
import resource
import secrets
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from cluster import config
from cluster.accounts import Accounts
from cluster.config import NODE_FILE, SHARES_FILE, NodeConfig, ShareConfig
from cluster.io.command import ADMIN_FILE, RUN_FILE, run
from cluster.io.disks import create_disk
from cluster.io.listening import serve_node
from cluster.io.runtime import TrioRuntime
from cluster.io.state import StateDirectory
from cluster.node import Node
from cluster.volumes import VolumeSpec

log = logging.getLogger("sofs.process")

ADMIN_USER = "sofs-admin"
DEMO_USER = "demo"
DEMO_PASSWORD_FILE = "demo-password"
DEMO_DISKS = 6
DEMO_DISK_BYTES = 4 << 30
DEMO_SLAB_BYTES = 16 << 20
DEMO_VOLUME_BYTES = 64 << 30
PASSWORD_LETTERS = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
CLOSE_TIMEOUT_S = 60.0
GC_THRESHOLDS = (2000, 20, 10)
"""Nodes and streams are cycles, so there is garbage to collect; but a full collection stops the server for
about half a microsecond an object in memory. Three times rarer than by default."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What `sofs up` was told."""

    state: StateDirectory
    port: int
    bind: list[str]
    banner: bool


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What `sofs serve` was told. `password` "": generate one."""

    settings: NodeConfig
    shares: list[ShareConfig]
    user: str
    password: str
    user2: str
    banner: bool
    state: str = ""


def new_password(length: int = 16) -> str:
    """Letters and digits that cannot be mistaken for each other; 16 of them are 93 bits."""
    return "".join(secrets.choice(PASSWORD_LETTERS) for _ in range(length))


async def _until_signal(ready: Callable[[], None], node: Node) -> None:
    """Serve until SIGINT or SIGTERM."""
    _allow_descriptors()
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            await nursery.start(serve_node, node)
            ready()
            async for _ in signals:
                break
            nursery.cancel_scope.cancel()


def _allow_descriptors() -> None:
    """A connection takes a descriptor, and so does an open file of a host directory: as many as we may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _serve(
    state: StateDirectory, prepare: Callable[[Node], Awaitable[None]], ready: Callable[[Node], None]
) -> None:
    async with trio.open_nursery() as nursery:
        runtime = TrioRuntime(nursery)
        node = await Node.open(state, runtime)
        try:
            _admin_credential(node)
            await prepare(node)
            gc.collect()
            gc.freeze()  # 90,000 objects of the modules stay for ever; no collection needs to look at them
            gc.set_threshold(*GC_THRESHOLDS)

            def announce() -> None:
                where = {"pid": os.getpid(), "address": node.serving.address(), "port": node.serving.port()}
                state.write(RUN_FILE, json.dumps(where))
                ready(node)

            await _until_signal(announce, node)
        finally:
            with trio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
                await node.close()
            (state.path / RUN_FILE).unlink(missing_ok=True)
            nursery.cancel_scope.cancel()


def _admin_credential(node: Node) -> None:
    """The local command line's own account: a new password at every start."""
    password = new_password(32)
    if node.accounts.find(ADMIN_USER) is None:
        node.accounts.add(ADMIN_USER, password, is_admin=True, full_name="local administration")
    else:
        node.accounts.set_password(ADMIN_USER, password)
    node.save_accounts()
    node.state.write(ADMIN_FILE, json.dumps({"user": ADMIN_USER, "password": password}), secret=True)


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


async def _nothing(node: Node) -> None:
    """Nothing to prepare."""


def run_state(state: StateDirectory) -> None:
    """`sofs run`. Raises: OperatorError, StorageError."""
    run(_serve, state, _nothing, lambda node: _say(f"ready {node.serving.port()}\n"))


def run_directories(options: ServeOptions) -> None:
    """`sofs serve`: a node in a temporary state directory, or in the one given; it forgets its shares.

    Raises: OperatorError, StorageError.
    """
    with tempfile.TemporaryDirectory(prefix="sofs-") as scratch:
        state = StateDirectory(options.state or scratch)
        if state.exists(NODE_FILE):
            state.write(NODE_FILE, config.dump(options.settings))
        else:
            Node.initialise(state, options.settings, os.urandom(16))
        state.write(SHARES_FILE, config.dump([]))
        _run_directories(state, options)


def _run_directories(state: StateDirectory, options: ServeOptions) -> None:
    password = options.password or new_password()

    async def prepare(node: Node) -> None:
        _set_user(node.accounts, options.user, password, is_admin=True)
        if options.user2:
            _set_user(node.accounts, options.user2, password, is_admin=False)
        node.save_accounts()
        for share in options.shares:
            await node.add_share(share)

    def ready(node: Node) -> None:
        if options.banner:
            shown = "(from the password file)" if options.password else password
            _say(_instructions(node, options.shares[0].name, options.user, shown))
        _say(f"ready {node.serving.port()}\n")

    run(_serve, state, prepare, ready)


def run_demo(options: DemoOptions) -> None:
    """`sofs up`. Raises: OperatorError, StorageError."""
    state = options.state
    if not state.exists(NODE_FILE):
        Node.initialise(state, NodeConfig(bind=options.bind, port=options.port), os.urandom(16))
    else:
        settings = state.load_one(NodeConfig, NODE_FILE)
        settings.bind, settings.port = options.bind, options.port
        state.write(NODE_FILE, config.dump(settings))

    async def prepare(node: Node) -> None:
        await _prepare_demo(node)

    def ready(node: Node) -> None:
        if options.banner:
            _say(_instructions(node, "demo", DEMO_USER, state.read(DEMO_PASSWORD_FILE).strip()))
        _say(f"ready {node.serving.port()}\n")

    run(_serve, state, prepare, ready)


async def _prepare_demo(node: Node) -> None:
    """Make what is missing of the demo; what is there stays as it is."""
    if node.pool is None:
        root = node.state.path.absolute() / "disks"
        disks = [
            create_disk(str(root / f"disk{i}.img"), DEMO_DISK_BYTES, node.runtime) for i in range(DEMO_DISKS)
        ]
        await node.create_pool("demo", disks, DEMO_SLAB_BYTES)
    if "demo" not in node.volume_names():
        await node.create_volume(VolumeSpec("demo", DEMO_VOLUME_BYTES))
    if not any(share.name == "demo" for share in node.shares):
        await node.add_share(ShareConfig("demo", volume="demo", remark="a mirrored thin volume"))
    if node.accounts.find(DEMO_USER) is None:
        password = new_password()
        node.state.write(DEMO_PASSWORD_FILE, password + "\n", secret=True)
        _set_user(node.accounts, DEMO_USER, password, is_admin=True)
        node.save_accounts()


def _set_user(accounts: Accounts, name: str, password: str, *, is_admin: bool) -> None:
    if accounts.find(name) is None:
        accounts.add(name, password, is_admin=is_admin)
    else:
        accounts.set_password(name, password)


def _instructions(node: Node, share: str, user: str, password: str) -> str:
    address, port = node.serving.address(), node.serving.port()
    return f"""
sofs serves the share "{share}" at {address}, port {port}.
  user      {user}
  password  {password}

  smbclient //{address}/{share} -p {port} -U {user}
  sudo mount -t cifs //{address}/{share} /mnt -o port={port},username={user},vers=3.1.1
  (both ask for the password)

Ctrl-C stops it.
"""
