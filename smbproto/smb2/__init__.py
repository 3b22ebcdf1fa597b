"""The messages of [MS-SMB2] 2.2 Message Syntax, a file per command.

`X.decode_untrusted(message)`: `message` starts at the SMB2 header and ends where this message (or the next
element of the compound) does. `x.encode()`: the body, with offsets for the 64-byte header before it.
"""
