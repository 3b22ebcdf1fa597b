"""What both ends of the SMB 2 and 3 wire share: values, messages, security, endpoints, transports.

Nothing here knows paths, opens or shares. Sources: docs/SPECS.md.
"""
