"""The Scoop package index server: sockets, signals and files around :mod:`scoop_core`.

:mod:`~scoop_server.command_line` reads the settings, :mod:`~scoop_server.service` puts the parts together,
:mod:`~scoop_server.event_loop` is the server, :mod:`~scoop_server.client` one client of it, and
:mod:`~scoop_server.data_directory` keeps the index on disk.
"""

__version__ = "0.1.0"
