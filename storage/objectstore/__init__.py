"""The object store: the only arbiter of opens, in [MS-FSA] terms. `volume.ObjectStoreVolume` is the way
in."""
