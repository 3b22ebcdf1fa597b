"""Many clients, few resources: memory of a thousand that watch and wait, and a process without descriptors."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import trio

from interop import server
from smbclient import SmbError
from smbclient.io.connect import connect

WATCHERS = 1000
MEMORY_BYTES_MAX = 200 << 20
DESCRIPTORS = 64
