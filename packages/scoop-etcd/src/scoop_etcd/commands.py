"""``check``, ``dump``, ``log``, ``restore`` and ``nodes`` with ``--etcd``: the commands for an index in etcd."""

import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import BinaryIO, Final, TextIO
from zlib import crc32

from scoop_core import encode_dump, encode_snapshot

from scoop_etcd.client.api import Delete, Put, Range, Txn, is_missing
from scoop_etcd.errors import FormatVersionError, ReplicationError
from scoop_etcd.formats.records import Config, Pointer, decode_chunk, encode_chunks
from scoop_etcd.options import EtcdSettings
from scoop_etcd.replication.replica import digest_of
from scoop_etcd.session import EtcdSession
from scoop_server.cli.directory import EXIT_DAMAGED, EXIT_INTACT, EXIT_NEWER, read_index
from scoop_server.config.settings import Settings
from scoop_server.history import parse_moment, print_log
from scoop_server.text import counted

_HEADINGS: Final = ("NODE", "ADDRESSES", "VERSION", "REVISION", "LAG", "DIGEST", "ACCESS", "ROLE")


class EtcdSource:
    """An index in etcd as the commands use it; satisfies :class:`~scoop_server.app.plugin.IndexSource`.

    ``revision`` is the one that a dump reads; 0 is the current one. ``arguments`` are those of the command.
    """

    def __init__(
        self, settings: Settings, revision: int = 0, arguments: Mapping[str, object] = MappingProxyType({})
    ) -> None:
        self._etcd = settings.part(EtcdSettings)
        self._config = Config(settings.reject_cycles, settings.limits.line_bytes_max)
        self._revision = revision
        self._arguments = arguments

    def check(self, out: TextIO) -> int:
        """Read the whole index, verify it, report on ``out``, and return the exit status. It changes nothing.

        Raises ReplicationError if something is damaged or cannot be read.
        """
        with EtcdSession.open(self._etcd) as session:
            try:
                index, records = session.load(), session.read_nodes()
            except FormatVersionError as error:
                print(f"NEWER FORMAT: {error}", file=out)
                return EXIT_NEWER
        packages, entries = (
            counted(len(index.replica.graph), "package"),
            counted(len(index.entries), "entry", "entries"),
        )
        print(
            f"{session.name}: {packages} at revision {index.revision}, in the snapshot at revision "
            f"{index.snapshot_revision} and {entries} after it",
            file=out,
        )
        if index.replica.digest != (expected := digest_of(index.replica.graph)):
            print(f"DAMAGED: the digest is {index.replica.digest:016x}, expected {expected:016x}", file=out)
            return EXIT_DAMAGED
        for node, record in records.items():
            expected = index.digests.get(record.revision, record.digest)
            if record.digest != expected:
                found = f"the digest at revision {record.revision} is {record.digest:016x}, expected {expected:016x}"
                print(f"DAMAGED: node {node}: {found}; restart it, and check again", file=out)
                return EXIT_DAMAGED
        return EXIT_INTACT

    def dump(self, out: BinaryIO) -> int:
        """Write the index to ``out``, dependencies first, and return the exit status 0.

        Raises ReplicationError if it cannot be read, for instance because etcd has compacted the revision.
        """
        at = parse_moment(str(self._arguments["at"])) if "at" in self._arguments else None
        with EtcdSession.open(self._etcd) as session:
            index = session.load(self._revision, at)
        out.writelines(encode_dump(index.replica.graph))
        out.flush()
        print(f"dumped {session.name} at revision {index.revision}", file=sys.stderr)
        return 0

    def log(self, out: TextIO) -> int:
        """Print the changes that the entry log has on ``out``, with their authors, and return the exit status 0.

        Raises ReplicationError if it cannot be read, HistoryGoneError if changes that were asked for are compacted.
        """
        with EtcdSession.open(self._etcd) as session:
            return print_log(session.batches, self._arguments, out)

    def restore(self, lines: BinaryIO) -> int:
        """Create the index with the packages that ``lines`` lead to, and return the exit status 0.

        Nodes cannot see it before it is complete, because its configuration and its pointer are written last, together.
        Raises ReplicationError if the prefix is not empty, DataDirectoryError if a line is rejected.
        """
        graph = read_index(lines, reject_cycles=self._config.reject_cycles)
        with EtcdSession.open(self._etcd) as session:
            keys = session.keys
            found = session.range(Range(*keys.everything, limit=1, keys_only=True))
            if found.kvs:
                raise ReplicationError(
                    f"cannot restore into {session.name}: it is not empty; choose another --etcd-prefix"
                )
            no_index = is_missing(keys.config)
            # The put makes the revision, which is in the keys of the chunks, different from that of any other restore.
            begun = session.txn(Txn((no_index,), (Put(keys.head, b"restore"),)))
            if not begun.succeeded:  # then the revision may be that of the snapshot of another
                raise _was_slower(session)
            revision = begun.revision
            chunks = size = checksum = 0
            for value in encode_chunks(encode_snapshot(graph)):
                data = decode_chunk(chunks, value)
                size, checksum = size + len(data), crc32(data, checksum)
                session.txn(Txn((no_index,), (Put(keys.chunk(revision, chunks), value),)))
                chunks += 1
            pointer = Pointer(revision, chunks, size, checksum, digest_of(graph), revision, {})
            puts = Put(keys.config, self._config.encode()), Put(keys.pointer, pointer.encode())
            written = session.txn(Txn((no_index,), puts, (Range(keys.pointer),)))
            # The first attempt may have taken effect, and its result been lost.
            if not written.succeeded and [kv.value for kv in written.ranges[0].kvs] != [pointer.encode()]:
                session.txn(Txn((), (Delete(*keys.chunks(revision, 0, chunks)),)))
                raise _was_slower(session)
        print(f"restored {counted(len(graph), 'package')} into {session.name}", file=sys.stderr)
        return 0


def _was_slower(session: EtcdSession) -> ReplicationError:
    return ReplicationError(
        f"cannot restore into {session.name}: another restore or node was faster; choose another --etcd-prefix"
    )


def print_nodes(settings: Settings, out: TextIO) -> int:
    """Print a table of the nodes that run, and return the exit status: 1 if two of them differ at one revision."""
    with EtcdSession.open(settings.part(EtcdSettings)) as session:
        keys = session.keys
        reads = (Range(keys.config), Range(keys.head), Range(keys.compactor), Range(*keys.nodes))
        config, head, compactor, nodes = session.txn(Txn((), reads)).ranges
        records = session.decode_nodes(nodes)
        if not config.kvs:
            raise session.no_index()
    last = head.kvs[0].mod_revision if head.kvs else 0
    compacting = compactor.kvs[0].value.decode() if compactor.kvs else ""
    digests: dict[int, set[int]] = {}
    for record in records.values():
        digests.setdefault(record.revision, set()).add(record.digest)
    rows = [
        (
            node,
            ",".join(record.addresses),
            record.version,
            str(record.revision),
            str(max(0, last - record.revision)),
            f"{record.digest:016x}",
            record.access or "-",
            "compactor" if node == compacting else "",
        )
        for node, record in records.items()
    ]
    _print_table([_HEADINGS, *rows], out)
    if differing := [revision for revision, found in digests.items() if len(found) > 1]:
        print(f"DIVERGED: different digests at revision {max(differing)}; restart these nodes", file=out)
        return EXIT_DAMAGED
    return EXIT_INTACT


def _print_table(rows: Sequence[Sequence[str]], out: TextIO) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip(), file=out)
