"""The plain functions that answer a READ or WRITE without a Request, a Job or a coroutine.

Each gets a message whose id was consumed and whose signature is right, on a VALID session, and either builds
the whole response in the arena or says False and leaves no trace: then the handler does it, refusals
included.
"""

from __future__ import annotations

from smbproto.smb2.header import Command
from smbsrv.commands.read import read_now
from smbsrv.commands.write import write_now

__all__ = ["FAST"]

FAST = {int(Command.READ): read_now, int(Command.WRITE): write_now}
