"""Fixtures: a server, and its clients."""

from __future__ import annotations

import pytest

from tests.conformance.harness import Client, World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def client(world: World) -> Client:
    return world.client()


@pytest.fixture
def other(world: World) -> Client:
    """Another client, of another ClientGuid."""
    return world.client(2)
