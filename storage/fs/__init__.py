"""Files on a space: names, nodes, streams, extents, kept in a catalog; and the port that the object store
uses."""
