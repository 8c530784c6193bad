"""The supervisor of compactions: it starts one when it is due, ends one that hangs, and adopts its snapshot."""

from collections.abc import Callable

from scoop_server.storage import compaction
from scoop_server.storage.backlog import Backlog
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.generations import Generations
from scoop_server.telemetry.logs import log
from scoop_server.telemetry.workers import Task

StartCompaction = Callable[[DataDirectory, int, int], Task]
"""Starts the compaction of a directory into the snapshot of a generation, with a niceness."""


class CompactionSupervisor:
    """Keeps the journals of ``files`` short, as ``backlog`` decides. ``clock`` returns seconds."""

    def __init__(
        self, files: Generations, backlog: Backlog, clock: Callable[[], float], start: StartCompaction
    ) -> None:
        self._files = files
        self._backlog = backlog
        self._clock = clock
        self._start = start
        self._is_requested = False
        self._task: Task | None = None
        self._ends_by = 0.0
        """The time at which the compaction counts as hanging."""
        backlog.snapshot_written(files.snapshot_bytes)

    @property
    def is_running(self) -> bool:
        """Return whether a compaction runs, which uses the space that was reserved for it."""
        return self._task is not None

    def request(self) -> None:
        """Compact the journals soon, however small they are."""
        self._is_requested = True

    def is_due(self) -> bool:
        """Return whether a compaction should begin. A request without a change is answered in the log."""
        if self._task is not None:
            return False
        is_requested, self._is_requested = self._is_requested, False
        if self._files.is_unchanged:
            if is_requested:
                log.info("nothing to compact: %(file)s holds everything", {"file": self._files.snapshot_path})
            return False
        return is_requested or self._backlog.is_compaction_due(self._files.journal_bytes, self._clock())

    def begin(self) -> None:
        """Rotate the journal, and start the compaction of the ones before it. Raises :exc:`ReadOnlyError`."""
        size = self._files.journal_bytes
        seconds = compaction.seconds_max(self._files.snapshot_bytes + size)
        directory = self._files.directory
        try:
            # A retry without changes needs no journal of its own: a nearly full disk would fill with empty ones.
            if not self._files.has_just_rotated:
                self._files.rotate()
            generation = self._files.journal.generation
            self._task = self._start(directory, generation, self._backlog.niceness(size))
        except OSError as error:
            self._postpone(f"cannot begin: {error.filename or directory.path}: {error.strerror}")
            return
        self._ends_by = self._clock() + seconds
        log.info("compaction into %(file)s has begun", {"file": directory.file("snapshot", generation)})

    def check(self) -> bool:
        """Look after a running compaction; return whether it has ended. Raises :exc:`ReadOnlyError`."""
        if self._task is None:
            return False
        status = self._task.poll()
        if status is None and self._clock() < self._ends_by:
            return False
        if status is None:
            self.stop()
            self._postpone("took too long and was ended")
            return True
        self._task = None
        if status:
            self._postpone(f"ended with status {status}")
            return True
        try:
            self._files.adopt_snapshot()
        except OSError as error:
            self._postpone(f"left no readable {error.filename}: {error.strerror}")
        else:
            self._backlog.snapshot_written(self._files.snapshot_bytes)
            log.info("compaction into %(file)s is complete", {"file": self._files.snapshot_path})
        return True

    def _postpone(self, reason: str) -> None:
        when = self._backlog.compaction_failed(self._files.journal_bytes, self._clock())
        log.error(
            "compaction %(problem)s; the journals continue, and the next attempt follows %(when)s",
            {"problem": reason, "when": when},
        )

    def stop(self) -> None:
        """End a compaction that runs."""
        if self._task is not None:
            self._task.kill()
            self._task = None
