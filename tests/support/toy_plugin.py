"""A plug-in that keeps its index in memory: what the port requires, and no more."""

import sys
from argparse import _ArgumentGroup
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import BinaryIO, TextIO

from scoop_core import DependencyGraph

from scoop_explorer.data_directory import Follower
from scoop_server.app.plugin import Command, IndexPlugin, Resources
from scoop_server.cli import main
from scoop_server.config.options import SERVE, option
from scoop_server.config.settings import Settings
from scoop_server.config.values import Kind
from scoop_server.errors import ConfigurationError
from scoop_server.index.local import LocalIndex, MemoryStore
from scoop_server.ports import ClientT, FollowedIndex
from scoop_server.telemetry.figures import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class ToySettings:
    """The options of the plug-in."""

    name: str | None = option(None, Kind(str, "NAME"), "toys", "name of a toy", name="toy", commands=(SERVE, "check"))


class ToyStore(MemoryStore):
    """A store that is always full."""

    def __init__(self) -> None:  # fields of the class would not replace those of the compiled form
        self.place, self.read_only_reason = "toy box", "the box is full"

    def figures(self) -> Iterable[Figure]:
        return (Figure("scoop_toys", "Toys.", 7),)


class ToySource:
    """What commands see of the index."""

    def __init__(self, *given: object) -> None:
        self.given = given

    def check(self, out: TextIO) -> int:
        print("all toys are there", file=out)
        return 3

    def dump(self, out: BinaryIO) -> int:
        out.write(b"INDEX|toy|\n")
        return 0

    def log(self, out: TextIO) -> int:
        print("the toy bear was bought by CN=a", file=out)
        return 0

    def restore(self, lines: BinaryIO) -> int:
        lines.read()
        return 0


class ToyPlugin:
    """The plug-in."""

    options = ToySettings
    variables = ("SCOOP_TOY_SECRET",)
    selector = "--toy NAME"
    place = "a box"
    commands: Mapping[str, Command] = {}

    def is_selected(self, settings: Settings) -> bool:
        return settings.part(ToySettings).name is not None

    def contradictions(self, settings: Settings) -> Iterator[str]:
        if settings.memory and self.is_selected(settings):
            yield f"{settings.with_source('memory')} contradicts {settings.with_source('toy')}"

    def add_arguments(self, command: str, group: _ArgumentGroup) -> None:
        pass

    def check(self, settings: Settings) -> None:
        if settings.part(ToySettings).name == "broken":
            raise ConfigurationError("cannot use the toy: it is broken; buy another")

    def open(self, resources: Resources) -> LocalIndex[ClientT]:
        return LocalIndex[ClientT](DependencyGraph(), ToyStore(), resources.meter)

    def source(self, settings: Settings, arguments: Mapping[str, object]) -> ToySource:
        return ToySource(settings, arguments)

    def follow(self, settings: Settings) -> FollowedIndex:
        return Follower(str(settings.data_dir))


class _Entry:
    value = "toy"

    def load(self) -> IndexPlugin:
        return ToyPlugin()


if __name__ == "__main__":
    metadata.entry_points = lambda **_: (_Entry(),)  # type: ignore[assignment]  # of this process, which has only this one
    sys.exit(main.main())
