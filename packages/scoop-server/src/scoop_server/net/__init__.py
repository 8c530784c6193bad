"""Sockets: listeners, TLS, and sockets inherited from a service manager."""
