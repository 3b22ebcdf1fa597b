"""Limits of RPC over pipes. Sources: [C706] 12.6 Connection-oriented RPC PDUs; fragments as Windows has them;
the rest is ours."""

from __future__ import annotations

from typing import Final

FRAGMENT_BYTES_MAX: Final = 4280
"""What Windows offers as the longest fragment over named pipes, both ways."""
FRAGMENT_BYTES_MIN: Final = 1432
"""[C706] 12.6.3.1: MustRecvFragSize; no peer may ask for less."""
REQUEST_BYTES_MAX: Final = 256 * 1024
"""A request's stub data, all fragments together."""
RESPONSE_BYTES_MAX: Final = 4 * 1024 * 1024
CONTEXTS_MAX: Final = 16
"""Presentation contexts of one association."""
SYNTAXES_MAX: Final = 16
HANDLES_MAX: Final = 1024
"""Context handles of one association."""
LOOKUPS_MAX: Final = 1000
"""[MS-LSAT] 3.1.4.5: names or SIDs in one call."""
ENTRIES_MAX: Final = 10000
"""Entries that one enumeration gives."""

assert FRAGMENT_BYTES_MIN <= FRAGMENT_BYTES_MAX <= 0xFFFF
