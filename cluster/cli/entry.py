"""The console script: makes sure that `smbclient` is our package, then runs the command line.

A console script has its own folder first on the module path, and impacket installs a script smbclient.py
into that folder.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """`sofs`."""
    scripts = Path(sys.argv[0]).resolve().parent
    sys.path[:] = [folder for folder in sys.path if not folder or Path(folder).resolve() != scripts]
    from cluster.cli.main import app

    app()
