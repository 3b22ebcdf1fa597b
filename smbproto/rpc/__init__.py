"""DCE/RPC over named pipes: the connection-oriented protocol (`pdu`, `association`), and the services of
IPC$.

`port` is what the services ask of the server that they describe. NDR is impacket's.
Sources: [C706] chapter 12, [MS-RPCE], [MS-SRVS], [MS-WKST], [MS-LSAT], [MS-LSAD], [MS-SAMR].
"""
