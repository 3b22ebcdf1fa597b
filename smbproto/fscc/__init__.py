"""[MS-FSCC] File System Control Codes: constants here, layouts in the modules.

    from smbproto import fscc
    attributes & fscc.FILE_ATTRIBUTE_DIRECTORY

`file_info` (2.4), `directory` (2.4, lists of a directory's entries), `volume` (2.5), `fsctl` (2.3), `reparse`
(2.1.2), `ea` (2.4.16), `quota` (2.4.41), `notify` (2.7).
"""

from smbproto.fscc.constants import *  # noqa: F403
from smbproto.fscc.fsctl_codes import *  # noqa: F403
