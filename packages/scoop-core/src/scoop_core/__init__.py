"""The protocol and the dependency graph of Scoop as a library, without I/O.

Modules in processing order: :mod:`~scoop_core.messages` parses and encodes messages, :mod:`~scoop_core.connection`
turns bytes into messages and back, :mod:`~scoop_core.graph` applies requests, :mod:`~scoop_core.transcript` encodes
snapshots and journals, :mod:`~scoop_core.errors` defines the exceptions. Everything public is exported here; the
modules are private.
"""

from scoop_core.connection import (
    MAX_UNANSWERED,
    ClientConnection,
    ClientConnectionState,
    Connection,
    ConnectionState,
    PeerViolation,
)
from scoop_core.errors import (
    BlockedByDependents,
    BlockedSet,
    ClosesCycle,
    FormatError,
    InvalidName,
    LimitExceeded,
    MalformedRequest,
    MalformedResponse,
    MissingDependencies,
    NotIndexed,
    ProtocolError,
    Refusal,
    RequestRefused,
    ScoopError,
    TranscriptError,
    UnknownPackage,
    UnsupportedFormat,
)
from scoop_core.graph import DependencyGraph
from scoop_core.graph_analysis import (
    CriticalPath,
    critical_path,
    elementary_cycles,
    feedback_edges,
    transitive_reduction,
)
from scoop_core.graph_formats import (
    decode_dot,
    decode_graphml,
    decode_node_link,
    encode_dot,
    encode_graphml,
    encode_mermaid,
    encode_node_link,
)
from scoop_core.graph_index import GraphEvent, IndexedGraph, Observer, PackageChange
from scoop_core.graph_order import CycleSearch, PartialAnswers
from scoop_core.graph_schedule import Scheduler
from scoop_core.graph_state import Changes
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
    "BlockedSet",
    "Changes",
    "ClientConnection",
    "ClientConnectionState",
    "ClosesCycle",
    "Command",
    "Connection",
    "ConnectionState",
    "CriticalPath",
    "CycleSearch",
    "DependencyGraph",
    "FormatError",
    "GraphEvent",
    "IndexedGraph",
    "InvalidName",
    "JournalReader",
    "LimitExceeded",
    "MalformedRequest",
    "MalformedResponse",
    "MissingDependencies",
    "NotIndexed",
    "Observer",
    "PackageChange",
    "PackageName",
    "PartialAnswers",
    "PeerViolation",
    "ProtocolError",
    "Refusal",
    "Request",
    "RequestRefused",
    "Response",
    "Scheduler",
    "ScoopError",
    "Seal",
    "Tally",
    "TranscriptError",
    "UnknownPackage",
    "UnsupportedFormat",
    "critical_path",
    "decode_dot",
    "decode_graphml",
    "decode_node_link",
    "decode_snapshot",
    "elementary_cycles",
    "encode_batch",
    "encode_dot",
    "encode_graphml",
    "encode_journal_header",
    "encode_mermaid",
    "encode_node_link",
    "encode_request",
    "encode_response",
    "encode_snapshot",
    "feedback_edges",
    "parse_name",
    "parse_names",
    "parse_request",
    "parse_response",
    "transitive_reduction",
]

__version__ = "0.1.0"
