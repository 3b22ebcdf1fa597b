"""What every command shares: which state directory, how to print, how errors end the process."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NoReturn

from cluster.cli.render import show
from cluster.errors import OperatorError
from cluster.io.command import perform_call
from cluster.io.state import StateDirectory
from cluster.text import visible
from smbproto.status import StatusError
from storage.errors import StorageError

DEMO = "demo"


class Settings:
    """Set once by the global options."""

    state: str = ""
    as_json: bool = False


def state_directory() -> StateDirectory:
    """--state, or SOFS_STATE, or ./demo if a node is there, or ~/.local/share/sofs."""
    if Settings.state:
        return StateDirectory(Settings.state)
    if (Path(DEMO) / "node.json").exists():
        return StateDirectory(DEMO)
    return StateDirectory(Path.home() / ".local" / "share" / "sofs")


def fail(message: str) -> NoReturn:
    """One line, status 1."""
    sys.stderr.write(f"sofs: {visible(message)}\n")
    raise SystemExit(1)


def guarded(work: Any, *args: Any) -> Any:
    """Run `work`; what an operator can put right becomes one line."""
    try:
        return work(*args)
    except (OperatorError, StorageError) as error:
        fail(str(error))
    except StatusError as error:
        fail(f"the server answered {error}")
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def call_node(call: str, **args: object) -> Any:
    """Perform an administrative call on the node."""
    return guarded(perform_call, state_directory(), call, args)


def do(call: str, **args: object) -> None:
    """Perform an administrative call on the node and show its result."""
    show(call_node(call, **args), Settings.as_json)
