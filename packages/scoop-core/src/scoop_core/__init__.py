"""A package index as a library: the protocol and the dependency graph of Scoop, without any I/O.

The rooms, in the order in which a message meets them: :mod:`~scoop_core.messages` is the vocabulary,
:mod:`~scoop_core.connection` cuts bytes into lines, :mod:`~scoop_core.graph` decides,
:mod:`~scoop_core.transcript` writes a graph down, and :mod:`~scoop_core.errors` holds what can be raised.
Everything public is exported here; the modules' own names may move.
"""

from scoop_core.connection import Connection, ConnectionState
from scoop_core.errors import (
    InvalidName,
    MalformedRequest,
    MalformedResponse,
    ProtocolError,
    ScoopError,
    TranscriptError,
    UnsupportedFormat,
)
from scoop_core.graph import Changes, DependencyGraph
from scoop_core.messages import (
    ENCODING,
    MAX_LINE_LENGTH,
    MAX_NAME_LENGTH,
    NAME_CHARACTERS,
    Command,
    PackageName,
    Request,
    Response,
    encode_request,
    encode_response,
    parse_name,
    parse_names,
    parse_request,
    parse_response,
)
from scoop_core.transcript import (
    JOURNAL_VERSION,
    NO_BATCH,
    SNAPSHOT_VERSION,
    JournalReader,
    Seal,
    decode_snapshot,
    encode_batch,
    encode_journal_header,
    encode_snapshot,
)

__all__ = [
    "ENCODING",
    "JOURNAL_VERSION",
    "MAX_LINE_LENGTH",
    "MAX_NAME_LENGTH",
    "NAME_CHARACTERS",
    "NO_BATCH",
    "SNAPSHOT_VERSION",
    "Changes",
    "Command",
    "Connection",
    "ConnectionState",
    "DependencyGraph",
    "InvalidName",
    "JournalReader",
    "MalformedRequest",
    "MalformedResponse",
    "PackageName",
    "ProtocolError",
    "Request",
    "Response",
    "ScoopError",
    "Seal",
    "TranscriptError",
    "UnsupportedFormat",
    "decode_snapshot",
    "encode_batch",
    "encode_journal_header",
    "encode_request",
    "encode_response",
    "encode_snapshot",
    "parse_name",
    "parse_names",
    "parse_request",
    "parse_response",
]

__version__ = "0.1.0"
