"""Limits of the wire, each with its source, and how they relate.

What a peer can make grow is bounded here; limits of tables (sessions, opens) belong to the server.
"""

from __future__ import annotations

from typing import Final

# Framing: [MS-SMB2] 2.1 Transport: a 24-bit length on TCP
TRANSPORT_MESSAGE_BYTES_MAX: Final = 0xFFFFFF

# [MS-SMB2] 3.3.5.4 Receiving an SMB2 NEGOTIATE Request, note on MaxTransactSize, MaxReadSize, MaxWriteSize: 8
# MiB
TRANSACT_BYTES_MAX: Final = 8 * 1024 * 1024
READ_BYTES_MAX: Final = TRANSACT_BYTES_MAX
WRITE_BYTES_MAX: Final = TRANSACT_BYTES_MAX
SMALL_MTU_BYTES_MAX: Final = 65536  # without multi-credit requests (SMB 2.0.2)

# [MS-SMB2] 3.1.5.2 Calculating the CreditCharge: one credit for each 64 KiB
CREDIT_BYTES: Final = 65536
CREDITS_MAX: Final = 8192  # [MS-SMB2] 3.3.1.2 Per Transport Connection... Windows: 512 to 8192
CREDITS_GRANTED_INITIALLY: Final = 1

# [MS-SMB2] 3.3.5.2.7 Handling Compounded Requests: ours; Windows has none but the message's length
COMPOUND_ELEMENTS_MAX: Final = 64
COMPOUND_ALIGNMENT_BYTES: Final = 8

# [MS-SMB2] 2.2.3 SMB2 NEGOTIATE Request
DIALECTS_MAX: Final = 64
NEGOTIATE_CONTEXTS_MAX: Final = 16
NEGOTIATE_CONTEXT_ALGORITHMS_MAX: Final = 64
PREAUTH_SALT_BYTES_MAX: Final = 1024
SMB1_NEGOTIATE_BYTES_MAX: Final = 4096

# [MS-SMB2] 2.2.5 SMB2 SESSION_SETUP Request: ours; a Kerberos ticket with a large PAC fits
SECURITY_TOKEN_BYTES_MAX: Final = 65535

# [MS-SMB2] 2.2.13 SMB2 CREATE Request
CREATE_CONTEXTS_MAX: Final = 32
CREATE_CONTEXT_BYTES_MAX: Final = 256 * 1024  # a security descriptor with two full ACLs fits
CREATE_CONTEXT_NAME_BYTES_MAX: Final = 256
NAME_COMPONENT_CHARS_MAX: Final = 255  # [MS-FSCC] 2.1.5 Pathname
PATH_CHARS_MAX: Final = 32760  # [MS-FSCC] 2.1.5 Pathname; NameLength has 16 bits

# [MS-SMB2] 2.2.9 SMB2 TREE_CONNECT Request
TREE_CONNECT_CONTEXTS_MAX: Final = 8
SHARE_NAME_CHARS_MAX: Final = 80  # [MS-SMB2] 2.2.9: PathName's share name

# [MS-SMB2] 2.2.26 SMB2 LOCK Request; 3.3.5.14: ours
LOCKS_PER_REQUEST_MAX: Final = 4096

# [MS-FSCC] 2.4.16 FileFullEaInformation: one-byte name length, two-byte value length
EA_NAME_BYTES_MAX: Final = 254
EA_VALUE_BYTES_MAX: Final = 65535
EA_LIST_BYTES_MAX: Final = 65536  # NTFS: all EAs of a file, packed
EA_LIST_ENTRIES_MAX: Final = 4096

# [MS-FSCC] 2.1.2.2 REPARSE_DATA_BUFFER: MAXIMUM_REPARSE_DATA_BUFFER_SIZE
REPARSE_BUFFER_BYTES_MAX: Final = 16384

# [MS-SMB2] 3.3.3 Initialization: ServerSideCopyMaxNumberofChunks, MaxChunkSize, MaxDataSize
COPYCHUNKS_MAX: Final = 256
COPYCHUNKS_READ_MAX: Final = 16 * COPYCHUNKS_MAX  # read, so that the answer can name the limits
COPYCHUNK_BYTES_MAX: Final = 1024 * 1024
COPYCHUNK_TOTAL_BYTES_MAX: Final = 16 * 1024 * 1024

# FSCTL lists: ours
TRIM_EXTENTS_MAX: Final = 4096
ALLOCATED_RANGES_MAX: Final = 65536
QUOTA_ENTRIES_MAX: Final = 4096
ERROR_CONTEXTS_MAX: Final = 16
LISTING_ENTRIES_MAX: Final = TRANSACT_BYTES_MAX // 16  # the shortest entry: 12 bytes and one letter
STREAM_ENTRIES_MAX: Final = 65536
NOTIFY_ENTRIES_MAX: Final = 65536
INTERFACES_MAX: Final = 1024

assert max(READ_BYTES_MAX, WRITE_BYTES_MAX, TRANSACT_BYTES_MAX) + 4096 < TRANSPORT_MESSAGE_BYTES_MAX
assert TRANSACT_BYTES_MAX % CREDIT_BYTES == 0
assert TRANSACT_BYTES_MAX // CREDIT_BYTES <= CREDITS_MAX
assert 2 * PATH_CHARS_MAX <= 0xFFFF
assert NAME_COMPONENT_CHARS_MAX <= PATH_CHARS_MAX
assert CREATE_CONTEXT_BYTES_MAX < TRANSACT_BYTES_MAX
assert EA_LIST_BYTES_MAX < CREATE_CONTEXT_BYTES_MAX
assert COPYCHUNKS_MAX * COPYCHUNK_BYTES_MAX >= COPYCHUNK_TOTAL_BYTES_MAX
assert SECURITY_TOKEN_BYTES_MAX <= 0xFFFF
