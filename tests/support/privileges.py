"""A process without the privileges of the superuser."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65_534


@contextmanager
def unprivileged(path: Path) -> Iterator[Path]:
    """Give a relative path to ``path``, and drop the privileges of the superuser meanwhile.

    Relative, because the directories above are open to the superuser alone.
    """
    before = Path.cwd()
    os.chdir(path.parent)
    is_superuser = os.geteuid() == 0
    try:
        if is_superuser:
            for each in (path.parent, path, *path.iterdir()):
                os.chown(each, NOBODY, -1)
            os.seteuid(NOBODY)
        yield Path(path.name)
    finally:
        if is_superuser:
            os.seteuid(0)
        os.chdir(before)
