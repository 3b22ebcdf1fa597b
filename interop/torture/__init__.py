"""Samba's smbtorture against a server: every leaf test of smb2.* in a process of its own, compared with
what is expected.

    python -m interop.torture [--server serve|pool|samba] [--version 4.17|4.22] [--only GLOB] [--jobs N]
"""
