"""The command line: `python -m smbclient --help`."""

from smbclient.io.cli import main

raise SystemExit(main())
