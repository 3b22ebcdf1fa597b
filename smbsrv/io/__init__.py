"""What drives the server: the pump for TCP, a thin driver for any Trio stream, the listener, the timers."""
