"""Adapters that turn the packages of real ecosystems into an index."""
