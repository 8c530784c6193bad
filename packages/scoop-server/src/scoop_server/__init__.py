"""The Scoop package index server: sockets, signals and files around :mod:`scoop_core`.

:mod:`~scoop_server.cli.main` reads the settings, :mod:`~scoop_server.app.application` puts the parts together,
:mod:`~scoop_server.loop.server` is the server, :mod:`~scoop_server.loop.client` one client of it, and
:mod:`~scoop_server.storage.directory` keeps the index on disk.
"""

__version__ = "0.1.0"
