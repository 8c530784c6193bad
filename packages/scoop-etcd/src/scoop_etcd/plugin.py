"""The plug-in of scoop-server: ``--etcd`` selects the replicated index.

Everything that imports gRPC is imported where it is needed: a server without ``--etcd`` also finds this module.
"""

from argparse import ArgumentTypeError, _ArgumentGroup
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import partial
from os import environ
from time import monotonic
from typing import Final

from scoop_etcd.options import PASSWORD_VARIABLE, EtcdSettings, contradictions
from scoop_server.app.plugin import Command, IndexSource, Invocation, Resources
from scoop_server.app.sources import resolve
from scoop_server.cli import stdio
from scoop_server.config.settings import Settings
from scoop_server.errors import ConfigurationError
from scoop_server.ports import ClientT, FollowedIndex, OpenIndex

_REVISION_DIGITS: Final = 19
"""A revision has 63 bits."""


class EtcdPlugin:
    """The replicated index; satisfies :class:`~scoop_server.app.plugin.IndexPlugin`."""

    options: Final = EtcdSettings
    variables: Final = frozenset({PASSWORD_VARIABLE})
    selector: Final = "--etcd URLS"
    place: Final = "etcd"

    @property
    def commands(self) -> Mapping[str, Command]:
        """The command ``nodes``."""
        return {
            "nodes": Command(
                _print_nodes,
                "List the nodes of an index in etcd: addresses, version, applied revision, lag and digest. Exit "
                "status: 0, or 1 if nodes differ at the same revision.",
            )
        }

    def is_selected(self, settings: Settings) -> bool:
        """Return whether there are URLs of etcd."""
        return settings.part(EtcdSettings).urls is not None

    def contradictions(self, settings: Settings) -> Iterator[str]:
        """See :func:`.options.contradictions`."""
        return contradictions(settings)

    def add_arguments(self, command: str, group: _ArgumentGroup) -> None:
        """Let ``dump`` read an earlier revision."""
        if command == "dump":
            group.add_argument(
                "--revision", metavar="N", type=_revision, help="a revision of etcd that it has not compacted"
            )

    def check(self, settings: Settings) -> None:
        """Make a client, and connect to nothing: etcd may be started later. Raises ConfigurationError."""
        from scoop_etcd.connection import connect  # noqa: PLC0415  # of gRPC

        with closing(connect(settings.part(EtcdSettings), environ)):
            pass

    def open(self, resources: Resources) -> OpenIndex[ClientT]:
        """Join the index as a node. Raises ConfigurationError or ReplicationError."""
        from scoop_etcd.node import join  # noqa: PLC0415  # of gRPC

        return join(resources)

    def source(self, settings: Settings, arguments: Mapping[str, object]) -> IndexSource:
        """Return the index for a command."""
        from scoop_etcd.commands import EtcdSource  # noqa: PLC0415  # of gRPC

        revision = arguments.get("revision", 0)
        if "at" in arguments and revision:
            raise ConfigurationError("expected --at or --revision, got both")
        return EtcdSource(settings, revision if isinstance(revision, int) else 0, arguments)

    def follow(self, settings: Settings) -> FollowedIndex:
        """Return a follower of the entry log. Raises ConfigurationError."""
        from scoop_etcd.connection import open_client, read_connection_settings  # noqa: PLC0415  # of gRPC
        from scoop_etcd.formats.entries import Keys  # noqa: PLC0415  # as above
        from scoop_etcd.replication.index_follower import IndexFollower  # noqa: PLC0415  # as above
        from scoop_etcd.session import read_trail  # noqa: PLC0415  # as above

        etcd = settings.part(EtcdSettings)
        connect = partial(open_client, read_connection_settings(etcd, environ), etcd.commit_seconds_max)
        return IndexFollower(connect, monotonic, Keys(etcd.prefix), etcd.place, partial(read_trail, etcd))


def _print_nodes(given: Invocation) -> int:
    from scoop_etcd.commands import print_nodes  # noqa: PLC0415  # of gRPC

    settings = resolve(given.flags, environ, given.table)
    if settings.part(EtcdSettings).urls is None:
        raise ConfigurationError(f"expected --etcd URLS (see scoop-server {given.command} --help)")
    return print_nodes(settings, stdio.standard_output_text())


def _revision(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < _REVISION_DIGITS and int(text)):
        raise ArgumentTypeError(f"expected a revision above 0, got {text!r}")
    return int(text)


PLUGIN: Final = EtcdPlugin()
