"""The event loop: turns, clients, accepting, handshakes, deadlines and shutdown."""
