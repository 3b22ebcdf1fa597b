"""The node's state directory on the host's file system. Files are replaced atomically and synced; secrets
are mode 0600."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

from cluster import config
from cluster.errors import ConfigError

T = TypeVar("T")
FILE_MAX_BYTES = 64 << 20


class StateDirectory:
    """Reads and writes the files of `cluster/config.py`. Raises: ConfigError."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def create(self) -> None:
        """Make the directory (mode 0700) if it is not there."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot make the state directory {self.path}: {error.strerror}") from None

    def exists(self, name: str) -> bool:
        return (self.path / name).exists()

    def read(self, name: str) -> str:
        path = self.path / name
        try:
            if path.stat().st_size > FILE_MAX_BYTES:
                raise ConfigError(f"{path} is larger than {FILE_MAX_BYTES} bytes")
            return path.read_text("utf-8")
        except FileNotFoundError:
            raise ConfigError(f"{path} is not there: is {self.path} the state directory of a node?") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read {path}: {error}") from None

    def write(self, name: str, text: str, secret: bool = False) -> None:
        path = self.path / name
        partial = path.with_suffix(".new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        try:
            descriptor = os.open(partial, flags, 0o600 if secret else 0o644)
            with open(descriptor, "w", encoding="utf-8") as stream:
                if secret:
                    os.fchmod(descriptor, 0o600)
                stream.write(text)
                stream.flush()
                os.fsync(descriptor)
            os.replace(partial, path)
            directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}") from None

    def load_one(self, kind: type[T], name: str) -> T:
        return config.load_one(kind, self.read(name), str(self.path / name))

    def load_many(self, kind: type[T], name: str) -> list[T]:
        """Empty if the file is not there."""
        if not self.exists(name):
            return []
        return config.load_many(kind, self.read(name), str(self.path / name))
