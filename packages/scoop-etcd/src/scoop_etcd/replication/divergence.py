"""Detection of divergence: the digests of this node's graph, compared with those of others at equal revisions."""

from typing import Final

from scoop_etcd.errors import ReplicationError

DIGESTS_MAX: Final = 65_536
"""Revisions whose digest is kept, about 10 MB: a minute of a log that grows by 1,000 entries a second, many times the
age of a record that is compared."""


class DigestHistory:
    """The digests of the last revisions."""

    def __init__(self) -> None:
        self._digests: dict[int, int] = {}

    def note(self, revision: int, digest: int) -> None:
        """Note the digest at ``revision``, the newest so far."""
        digests = self._digests
        digests[revision] = digest
        if len(digests) > DIGESTS_MAX:
            del digests[next(iter(digests))]

    def check(self, revision: int, digest: int, name: str) -> None:
        """Compare with the digest of another replica, ``name``. Raises ReplicationError if they differ."""
        own = self._digests.get(revision)
        if own is not None and own != digest:
            raise ReplicationError(
                f"cannot continue: the graph of this node at revision {revision} differs from that of {name}"
                f" (digest {own:016x}, expected {digest:016x}); restart this node, and report this as a defect"
            )
