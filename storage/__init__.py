"""Software-defined storage: from disks up to files, for one node."""
