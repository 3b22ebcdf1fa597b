"""A real Linux kernel's SMB client: Debian's own kernel under qemu, mounting a share of a server on this
host.

    python -m interop.vm fetch                          get kernel and tools now (1 minute, 190 MB in the
    cache)
    python -m interop.vm mount-test --port P --user U --password-file F --share S [--options vers=3.1.1,seal]

No root and no KVM is needed. The guest reaches the host's 127.0.0.1 as 10.0.2.2.
"""
