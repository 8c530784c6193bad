"""The entry point of ``scoop``."""

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from scoop_core import Command, InvalidName, Request, ScoopError

from scoop_client.cli import questions
from scoop_client.cli.gate import run_gate
from scoop_client.cli.history import print_log, watch
from scoop_client.cli.importing import ECOSYSTEMS, import_packages
from scoop_client.cli.load import load
from scoop_client.cli.one_shot import ping, run_requests
from scoop_client.cli.output import Output
from scoop_client.cli.parser import parse
from scoop_client.cli.settings import Settings, UsageError, resolve
from scoop_client.cli.shell import run_shell
from scoop_client.cli.status import ExitStatus
from scoop_client.cli.streams import discard, open_closed_streams
from scoop_client.cli.sync import sync
from scoop_client.cli.tree import tree
from scoop_client.forms import parse_list
from scoop_client.inputs import STDIN, read_graph

Run = Callable[[Namespace, Settings, Output], ExitStatus]


def _index(flags: Namespace, settings: Settings, output: Output) -> ExitStatus:
    request = Request.of(Command.INDEX, flags.package, flags.dependencies)
    with settings.new_client() as client:
        return run_requests(client, [request], output)


def _each(command: Command) -> Run:
    def run(flags: Namespace, settings: Settings, output: Output) -> ExitStatus:
        requests = [Request.of(command, name) for name in flags.packages]
        with settings.new_client() as client:
            return run_requests(client, requests, output)

    return run


def _gate(command: Command) -> Run:
    def run(flags: Namespace, settings: Settings, output: Output) -> ExitStatus:
        return run_gate(command, flags.package, flags.needs, flags.artifact, flags.run, settings, output)

    return run


def _ping(_flags: Namespace, settings: Settings, output: Output) -> ExitStatus:
    with settings.new_client(reconnect_timeout=0) as client:  # the question is whether it works now
        return ping(client, output)


def _shell(_flags: Namespace, settings: Settings, output: Output) -> ExitStatus:
    with settings.new_client() as client:
        return run_shell(client, output)


def _load(flags: Namespace, settings: Settings, output: Output) -> ExitStatus:
    return load(
        flags.file,
        settings,
        output,
        form=flags.form,
        dry_run=flags.dry_run,
        failures=flags.failures,
        resend=flags.resend,
    )


def _import(flags: Namespace, settings: Settings, output: Output) -> ExitStatus:
    return import_packages(
        flags.ecosystem,
        flags.paths,
        {name for name in ECOSYSTEMS[flags.ecosystem].switches if getattr(flags, name.replace("-", "_"))},
        settings,
        output,
        into=flags.into,
        since=flags.since,
        failures=flags.failures,
        left_out=flags.left_out,
    )


def _sync(flags: Namespace, settings: Settings, output: Output) -> ExitStatus:
    return sync(
        flags.source,
        flags.paths,
        set(flags.switches),
        settings,
        output,
        record=flags.record,
        dry_run=flags.dry_run,
        strict=flags.strict,
        allow_empty=flags.allow_empty,
        failures=flags.failures,
        left_out=flags.left_out,
    )


def _diff(flags: Namespace, settings: Settings, output: Output) -> ExitStatus:
    *given, new = flags.sources
    if len(given) > 1 or (given and {"--from", "--server"} & {*settings.sources.values()}):
        raise UsageError("diff: expected OLD and NEW, or only NEW and the source of --from or --server")
    if [*(given or [settings.data]), new] == [STDIN, STDIN]:
        raise UsageError("diff: standard input can be read only once")
    old = read_graph(given[0]) if given else settings.read_graph()
    return questions.diff(old, read_graph(new), output)


def _plan(flags: Namespace, settings: Settings, output: Output) -> ExitStatus:
    if not (flags.remove or flags.index or flags.change):
        raise UsageError("plan: expected --remove, --index or --change")
    indexed = parse_list("\n".join(flags.index), "--index")
    return questions.plan(settings.read_graph(), flags.remove, indexed, flags.change, flags.keep, output)


COMMANDS: Final[Mapping[str, Run]] = {
    "index": _index,
    "remove": _each(Command.REMOVE),
    "query": _each(Command.QUERY),
    "publish": _gate(Command.INDEX),
    "withdraw": _gate(Command.REMOVE),
    "ping": _ping,
    "shell": _shell,
    "load": _load,
    "import": _import,
    "sync": _sync,
    "log": print_log,
    "watch": watch,
    "why": lambda flags, settings, output: questions.why(
        settings.read_graph(), flags.package, flags.dependency, output
    ),
    "needs": lambda flags, settings, output: questions.needs(
        settings.read_graph(), flags.packages, output, direct=flags.direct
    ),
    "impact": lambda flags, settings, output: questions.impact(
        settings.read_graph(), flags.packages, output, direct=flags.direct
    ),
    "tree": lambda flags, settings, output: tree(
        settings.read_graph(), flags.package, flags.depth, output, inverted=flags.invert
    ),
    "plan": _plan,
    "cycles": lambda _, settings, output: questions.cycles(settings.read_graph(), output),
    "order": lambda _, settings, output: questions.order(settings.read_graph(), output),
    "layers": lambda _, settings, output: questions.layers(settings.read_graph(), output),
    "stats": lambda _, settings, output: questions.stats(settings.read_graph(), output),
    "diff": _diff,
    "export": lambda flags, settings, output: questions.export(
        settings.read_graph(), flags.format, flags.packages, output
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    open_closed_streams()
    arguments = sys.argv[1:] if arguments is None else arguments
    output = Output(is_json="--json" in arguments)  # for an error of the command line itself
    try:
        try:
            flags = parse(arguments)
            output = Output(is_json=getattr(flags, "json", False))
            return COMMANDS[flags.command](flags, resolve(flags, os.environ), output)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED
    except BrokenPipeError:  # such as scoop order | head
        discard(sys.stdout)
        return ExitStatus.OK
    except ScoopError as error:
        status = ExitStatus.of_error(error)
        output.error(f"cannot use the name: {error}" if isinstance(error, InvalidName) else str(error), status)
        return status
    except OSError as error:  # of output, because the others are ScoopErrors
        if error.filename is None:
            discard(sys.stdout)
        reason = (error.strerror or str(error)).lower()
        output.error(f"cannot write {error.filename or 'standard output'}: {reason}", ExitStatus.ERROR)
        return ExitStatus.ERROR


if __name__ == "__main__":
    sys.exit(main())
