"""The SMB 3.1.1 server of [MS-SMB2] 3.3: sessions, trees, opens, delivery of breaks, pipes. Serves any
`storage.volume.Volume`."""
