"""Files on a space: names, nodes, streams, extents, kept in a catalog; and the port to all that."""
