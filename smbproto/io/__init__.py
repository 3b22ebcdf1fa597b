"""What touches the world, for both ends: transports, and the running of eager handlers."""

from smbproto.io.memory import MemoryStream, memory_stream_pair
from smbproto.io.tcp import PORT, TcpStream, open_tcp

__all__ = ["PORT", "MemoryStream", "TcpStream", "memory_stream_pair", "open_tcp"]
