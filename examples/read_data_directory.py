"""Print the index in a data directory: ``python read_data_directory.py scoop-data``.

It imports nothing from Scoop; scoop_core/transcript.py describes the files. It stops at the first batch that is not
intact. A server also checks whether a later intact seal proves that this batch was on disk, and then refuses to start.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

HEADER = re.compile(rb"#scoop journal 2 generation \d+ batch (\d+) time \d+ after [0-9a-f]{8} crc32 ([0-9a-f]{8})\n")
SEAL = re.compile(rb"#seal (\d+) lines \d+ bytes \d+ synced \d+ time \d+ after ([0-9a-f]{8}) crc32 ([0-9a-f]{8})\n")


def batches(journal: bytes) -> Iterator[bytes]:
    """Yield the requests of each intact batch."""
    header = HEADER.match(journal)
    if header is None or header[2] != b"%08x" % crc32(journal[: header.start(2)]):
        sys.exit("the header of a journal is damaged")
    start, number, after = header.end(), int(header[1]), header[2]
    while seal := SEAL.match(journal, max(journal.find(b"#seal ", start), start)):
        checksum = b"%08x" % crc32(journal[start : seal.start(3)], int(header[2], 16))
        if (int(seal[1]), seal[2], seal[3]) != (number + 1, after, checksum):
            break
        yield journal[start : seal.start()]
        start, number, after = seal.end(), int(seal[1]), seal[3]


def apply(index: dict[str, str], requests: bytes) -> None:
    for line in requests.decode("ascii").splitlines():
        if not line.startswith("#"):
            command, package, dependencies = line.split("|")
            if command == "INDEX":
                index[package] = dependencies
            else:
                del index[package]


def read(directory: Path) -> dict[str, str]:
    number = max(int(path.name[9:]) for path in directory.iterdir() if re.fullmatch(r"snapshot-\d+", path.name))
    snapshot = (directory / f"snapshot-{number}").read_bytes()
    if snapshot[-9:-1] != b"%08x" % crc32(snapshot[:-9]):
        sys.exit("the snapshot is damaged")
    index: dict[str, str] = {}
    apply(index, snapshot)
    while (journal := directory / f"journal-{number}").exists():
        for requests in batches(journal.read_bytes()):
            apply(index, requests)
        number += 1
    return index


if __name__ == "__main__":
    for package, dependencies in sorted(read(Path(sys.argv[1])).items()):
        print(f"{package}: {' '.join(sorted(filter(None, dependencies.split(','))))}".rstrip())
