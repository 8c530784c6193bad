"""A package index as a library: the protocol and the dependency graph of Scoop, without any I/O.

The rooms, in the order in which a message meets them: :mod:`~scoop_core.messages` is the vocabulary,
:mod:`~scoop_core.connection` cuts bytes into lines, :mod:`~scoop_core.graph` decides,
:mod:`~scoop_core.transcript` writes a graph down, and :mod:`~scoop_core.errors` holds what can be raised.
Everything public is exported here; the modules' own names may move.
"""

from scoop_core.connection import (
    MAX_UNANSWERED,
    ClientConnection,
    ClientConnectionState,
    Connection,
    ConnectionState,
)
from scoop_core.errors import (
    InvalidName,
    LimitExceeded,
    MalformedRequest,
    MalformedResponse,
    PeerViolation,
    ProtocolError,
    RequestRefused,
    ScoopError,
    TranscriptError,
    UnknownPackage,
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
from scoop_core.refusals import BlockedByDependents, ClosesCycle, MissingDependencies, NotIndexed, Refusal
from scoop_core.tally import Tally
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
    "MAX_UNANSWERED",
    "NAME_CHARACTERS",
    "NO_BATCH",
    "SNAPSHOT_VERSION",
    "BlockedByDependents",
    "Changes",
    "ClientConnection",
    "ClientConnectionState",
    "ClosesCycle",
    "Command",
    "Connection",
    "ConnectionState",
    "DependencyGraph",
    "InvalidName",
    "JournalReader",
    "LimitExceeded",
    "MalformedRequest",
    "MalformedResponse",
    "MissingDependencies",
    "NotIndexed",
    "PackageName",
    "PeerViolation",
    "ProtocolError",
    "Refusal",
    "Request",
    "RequestRefused",
    "Response",
    "ScoopError",
    "Seal",
    "Tally",
    "TranscriptError",
    "UnknownPackage",
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
