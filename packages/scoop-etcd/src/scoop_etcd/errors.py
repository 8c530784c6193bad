"""The exceptions of a replicated index. Each message is one line for the operator, as those of the server are."""

from scoop_server.errors import ServerError


class ReplicationError(ServerError):
    """The replicated index cannot be read, or this node may not or must not take part in it."""


class FormatVersionError(ReplicationError):
    """Something in etcd has a format that this version does not know."""
