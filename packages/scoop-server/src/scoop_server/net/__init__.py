"""Listeners, TLS and socket activation."""
