"""Message security and authentication, pure: keys, signing, encryption, preauth integrity, NTLM, SPNEGO.

Nothing here reads a clock, a socket or the system's entropy: time and random bytes come in as arguments.
"""
