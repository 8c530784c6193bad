"""Mutation testing of scoop-core: how many small changes of its functions the tests notice.

``python bench/core_mutation.py [PATTERN ...]`` in an unpacked sdist of scoop-core, whose modules it overwrites, runs
all mutants, or those whose names match, and prints the survivors. mutmut makes them. Its own runner takes hours,
because it collects the tests again for each mutant; here one process collects them and is forked for each mutant:

- A run without mutants notes the time of each test and the functions that it calls. Only tests that call the function
  of a mutant run for it: first those that found other mutants of it, then the shortest.
- The fork puts the code of the mutant into the function, and ends with the first test that fails or takes much longer
  than without mutants, in processor time, because the machine may be busy.
"""

import collections
import difflib
import functools
import gc
import inspect
import os
import pickle
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import IO, Any, Final, NamedTuple, TypeVar

import pytest
from _pytest.runner import runtestprotocol
from mutmut.mutation import trampoline
from mutmut.mutation.file_mutation import mutate_file_contents

PYTEST_ARGUMENTS: Final = (
    *("-q", "-s", "--import-mode=importlib", "--doctest-modules", "--assert=plain", "--tb=no"),
    *("-p", "no:cacheprovider", "-p", "no:logging", "-m", "not campaign", "tests", "src"),
)
PROCESSES: Final = os.cpu_count() or 1
MEMORY_MAX: Final = 1 << 31
TEST_SECONDS_MAX: Final = 1.0
"""Longer tests are left out, because a mutant that survives runs all tests that call its function."""

Function = TypeVar("Function", bound=Callable[..., object])


class Mutant(NamedTuple):
    """A function, and another one whose code takes its place."""

    name: str
    function: Any  # FunctionType, which mypy takes for a descriptor here, as that of a method
    changed: Any

    def activate(self) -> None:
        """Let the function behave as changed, also where another module has imported it."""
        try:
            self.function.__code__ = self.changed.__code__
        except ValueError:  # code without super() fits no method that has it: replace the method
            *path, name = self.function.__qualname__.split(".")
            owner: object = functools.reduce(getattr, path, sys.modules[self.function.__module__])
            kind = type(vars(owner)[name])
            setattr(owner, name, self.changed if kind is FunctionType else kind(self.changed))
            return
        self.function.__defaults__ = self.changed.__defaults__
        self.function.__kwdefaults__ = self.changed.__kwdefaults__

    def diff(self) -> str:
        """Return the lines that differ."""
        before, after = (inspect.getsource(each).splitlines() for each in (self.function, self.changed))
        return "\n".join(line for line in difflib.ndiff(before, after) if line[0] in "-+")


class Registry:
    """The functions of the modules and their mutants, which register themselves while they are imported."""

    def __init__(self) -> None:
        self._registered: list[tuple[object, dict[str, Any]]] = []  # mutmut fills the dictionaries later

    def register(self, mutants: dict[str, Any], **_: bool) -> Callable[[Function], Function]:
        """Note a function and its mutants: the decorator that takes the place of mutmut's trampoline."""

        def note(function: Function) -> Function:
            self._registered.append((function, mutants))
            return function

        return note

    def mutants(self) -> Iterator[Mutant]:
        """Yield all mutants."""
        for function, mutants in self._registered:
            for name, changed in mutants.items():
                if name != "_mutmut_orig":
                    yield Mutant(f"{function.__module__}.{name}", function, getattr(changed, "__func__", changed))


class Campaign:
    """A plugin of pytest that runs the mutants in place of the tests."""

    def __init__(self, registry: Registry, patterns: list[str]) -> None:
        self._registry = registry
        self._patterns = patterns or ["*"]
        self._running: dict[int, tuple[Mutant, IO[bytes]]] = {}
        self._finders: dict[object, list[str]] = collections.defaultdict(list)
        """The tests that found mutants of a function, the last one first."""
        self._survivors: list[Mutant] = []
        self._ended = 0
        """The number of mutants whose process took too long, or ended otherwise than by a failed test."""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Drop the examples in the docstrings of the mutants."""
        items[:] = [item for item in items if "__mutmut_" not in item.nodeid]

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the mutants in random order, and print the survivors."""
        items = {item.nodeid: item for item in session.items}
        mutants = [each for each in self._registry.mutants() if any(fnmatch(each.name, p) for p in self._patterns)]
        random.Random(0).shuffle(mutants)
        codes = {mutant.function.__code__ for mutant in mutants}
        pid, pipe = _fork(lambda: pickle.dumps(_observe(items, codes)))
        with pipe:
            seconds, callers = pickle.load(pipe)
        os.waitpid(pid, 0)
        gc.freeze()  # so that a fork copies less
        for mutant in mutants:
            while len(self._running) >= PROCESSES:
                self._wait()
            finders = self._finders[mutant.function]
            others = set(callers.get(_key(mutant.function.__code__), ())).difference(finders)
            tests = [*finders, *sorted(others, key=seconds.__getitem__)]
            action = functools.partial(_first_failure, mutant, {items[name]: seconds[name] for name in tests})
            pid, pipe = _fork(action)
            self._running[pid] = mutant, pipe
        while self._running:
            self._wait()
        for mutant in sorted(self._survivors, key=lambda mutant: mutant.name):
            print(mutant.name, mutant.diff(), sep="\n")
        found = len(mutants) - len(self._survivors)
        print(
            f"{found:,} of {len(mutants):,} mutants are noticed: {found / len(mutants):.1%};"
            f" {self._ended:,} of them took too long or ended the process"
        )
        return True

    def _wait(self) -> None:
        """Wait for the end of a fork, and note its result."""
        pid, status = os.wait()
        mutant, pipe = self._running.pop(pid)
        with pipe:
            finder = pipe.read().decode()
        finders = self._finders[mutant.function]
        if finder:
            self._finders[mutant.function] = [finder, *(each for each in finders if each != finder)]
        elif status == 0:
            self._survivors.append(mutant)
        else:
            self._ended += 1


def _key(code: CodeType) -> tuple[str, int]:
    return code.co_filename, code.co_firstlineno


def _fork(action: Callable[[], bytes]) -> tuple[int, IO[bytes]]:
    """Carry out ``action`` in a fork of this process; return the id of the fork, and its result in a pipe."""
    reader, writer = os.pipe()
    if pid := os.fork():
        os.close(writer)
        return pid, os.fdopen(reader, "rb")
    try:
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(action())
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _observe(
    items: Mapping[str, pytest.Item], codes: set[CodeType]
) -> tuple[dict[str, float], dict[tuple[str, int], list[str]]]:
    """Return the processor time of each test in seconds, and the tests that call each function, without mutants."""
    seconds: dict[str, float] = {}
    callers: dict[tuple[str, int], list[str]] = collections.defaultdict(list)
    for name, item in items.items():
        called: set[CodeType] = set()

        def trace(frame: FrameType, _event: str, _argument: object, called: set[CodeType] = called) -> None:
            called.add(frame.f_code)

        sys.settrace(trace)
        start = time.process_time()
        has_failed = _has_failed(item)
        seconds[name] = time.process_time() - start
        sys.settrace(None)
        if has_failed:
            print(f"left out, because it fails without mutants: {name}")
        elif seconds[name] <= TEST_SECONDS_MAX:
            for code in codes & called:
                callers[_key(code)].append(name)
    return seconds, callers


def _first_failure(mutant: Mutant, tests: Mapping[pytest.Item, float]) -> bytes:
    """Return the name of the first test that notices the mutant, empty if none does."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
    mutant.activate()
    for item, seconds in tests.items():
        signal.setitimer(signal.ITIMER_PROF, 2 + 10 * seconds)  # the signal ends this process
        if _has_failed(item):
            return item.nodeid.encode()
    return b""


def _has_failed(item: pytest.Item) -> bool:
    return any(report.failed for report in runtestprotocol(item, log=False, nextitem=None))


def main() -> None:
    """Write the mutants, and run those of the command line."""
    registry = Registry()
    vars(trampoline)["wrap_in_trampoline"] = registry.register
    for path in Path("src", "scoop_core").glob("*.py"):
        path.write_text(mutate_file_contents(str(path), path.read_text("utf-8")).code, "utf-8")
    sys.path[:0] = ["src", "."]
    pytest.main([*PYTEST_ARGUMENTS], plugins=[Campaign(registry, sys.argv[1:])])


if __name__ == "__main__":
    main()
