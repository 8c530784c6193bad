"""Where the settings come from: flags over environment variables over a configuration file over defaults."""

import difflib
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from scoop_core import Response, encode_response

from scoop_server import __version__
from scoop_server.cli.stdio import print_all
from scoop_server.config.addresses import Address, InternetAddress, are_sockets_handed_over
from scoop_server.config.limits import Limits
from scoop_server.config.options import OPTIONS, Option, Settings, build_parser
from scoop_server.config.toml_file import format_value, read_configuration

CONFIG_VARIABLE: Final = "SCOOP_CONFIG"
"""The environment variable for ``--config``."""

_ANSWER_BYTES_MAX: Final = max(len(encode_response(response)) for response in Response)
"""An empty line, which is one byte, has the longest answer."""

_TAKES_THE_PLACE_OF: Final = {"listen": ("host", "port"), "memory": ("data_dir", "fsync")}
"""Settings that leave others without effect. A flag without effect is refused, because someone has just typed it;
a variable or a file may say what holds at another time."""


@dataclass(frozen=True, slots=True)
class _Given:
    """What an option is set to, and by what."""

    value: Any
    source: str
    """As a person calls it: ``flag --port``, ``variable SCOOP_PORT``, ``scoop.toml line 3`` or ``default``."""


def read_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Return the settings that a command line, an environment and a configuration file spell.

    Exits with status 2 and one line on stderr where they spell none, and with 0 after what only prints.
    """
    parser = build_parser()
    flags = vars(parser.parse_args(arguments))
    try:
        given = _from_all(flags, environment)
    except ValueError as error:
        parser.error(str(error))
    if "show_config" in flags:
        sys.exit(print_all(_show(given)))
    certificate = given["tls_cert"]
    # Not where settings are only shown: a service may get its sockets, and whoever looks at its settings does not.
    if certificate.value and not _tls_addresses(given) and not are_sockets_handed_over(environment):
        parser.error(
            f"tls_cert ({certificate.source}) is set, and no address has TLS; name one with --listen tls:HOST:PORT"
        )
    return _settings(given)


def reread_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Return what :func:`read_settings`, which has read the same arguments before, would return now.

    Raises ValueError with one line where the configuration file, which may have changed, cannot be read any more.
    """
    return _settings(_from_all(vars(build_parser().parse_args(arguments)), environment))


def _from_all(flags: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, _Given]:
    """Return what each option is set to. Raises ValueError with one line for the operator."""
    given = _from_file(flags["config"] if "config" in flags else environment.get(CONFIG_VARIABLE) or None)
    for option in OPTIONS:
        if option.name in flags:
            given[option.name] = _read_given(option, flags[option.name], option.flag, f"flag {option.flag}")
        elif option.variable in environment:
            text, variable = environment[option.variable], option.variable
            given[option.name] = _read_given(option, text, variable, f"variable {variable}")
        else:
            given.setdefault(option.name, _Given(option.default, "default"))
    _check_together(given, flags)
    return given


def _settings(given: Mapping[str, _Given]) -> Settings:
    return Settings(
        **{option.name: given[option.name].value for option in OPTIONS if not option.limit},
        limits=Limits(**{option.limit: given[option.name].value for option in OPTIONS if option.limit}),
    )


def _read_given(option: Option, given: str | bool | list[str], place: str, source: str) -> _Given:
    """Return what a flag, a variable or a file gives. Raises ValueError with one line that begins with ``place``."""
    if isinstance(given, str) and option.is_repeatable:
        given = [text for text in re.split(r"[,\s]+", given) if text]
    try:
        match given:
            case bool(value):
                return _Given(value, source)
            case str(text):
                return _Given(option.read(text), source)
            case texts:
                return _Given(tuple(map(option.read, texts)), source)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error


def _from_file(path: str | None) -> dict[str, _Given]:
    """Return what a configuration file sets, by option. Raises ValueError with one line for the operator."""
    by_name = {option.name: option for option in OPTIONS}
    given: dict[str, _Given] = {}
    for entry in () if path is None else read_configuration(path):
        place = f"{path} line {entry.line}"
        option = by_name.get(entry.key.replace("-", "_"))
        if option is None:
            similar = difflib.get_close_matches(entry.key.replace("-", "_").lower(), by_name, 1)
            way_out = f"did you mean {similar[0]}?" if similar else "leave it out"
            raise ValueError(f"{place}: there is no setting {entry.key!r}; {way_out}")
        if option.name in given:
            raise ValueError(f"{place}: {entry.key} is set in line {given[option.name].source.split()[-1]} as well")
        place += f": {entry.key}"
        given[option.name] = _read_given(
            option, _given_in_file(option, entry.value, place), place, f"{path} line {entry.line}"
        )
    return given


def _given_in_file(option: Option, value: Any, place: str) -> str | bool | list[str]:
    """Return a value of TOML as a flag would give it. Raises ValueError where its type is another than the option's."""
    match option.default:
        case bool():
            wanted = "true or false"
            if isinstance(value, bool):
                return value
        case int() | float():
            wanted = "a number without quotes"
            if isinstance(value, int | float) and not isinstance(value, bool):
                try:
                    return str(value)
                except ValueError as error:  # Python writes no number of thousands of digits
                    raise ValueError(f"{place}: a number of fewer digits is wanted") from error
        case tuple():
            wanted = "an array of texts in quotes"
            if isinstance(value, list) and all(isinstance(text, str) for text in value):
                return value
        case _:
            wanted = "a text in quotes"
            if isinstance(value, str):
                return value
    raise ValueError(f"{place}: {wanted} is wanted")


def _check_together(given: Mapping[str, _Given], flags: Mapping[str, object]) -> None:
    """Raise ValueError, with one line for the operator, where settings contradict each other."""
    for winner, losers in _TAKES_THE_PLACE_OF.items():
        for loser in losers:
            if given[winner].value and loser in flags:
                raise ValueError(
                    f"{given[loser].source} has no effect beside {winner} ({given[winner].source}); give one of them"
                )
    _check_tls(given)
    _check_addresses(given)
    high_water, read, output = given["output_high_water"], given["max_read"], given["max_output"]
    least = high_water.value + _ANSWER_BYTES_MAX * read.value
    if output.value < least:
        raise ValueError(
            f"max_output ({output.source}) is {output.value}, and must be at least {least}: output_high_water "
            f"({high_water.source}) and the answers to one read, {_ANSWER_BYTES_MAX} times max_read ({read.source})"
        )


def _check_tls(given: Mapping[str, _Given]) -> None:
    """Raise ValueError where something needs a certificate, and there is none."""
    if given["tls_cert"].value is not None:
        return
    for name in ("tls_key", "tls_client_ca"):
        if given[name].value is not None:
            raise ValueError(
                f"{name} ({given[name].source}) is set, and no certificate; name one with --tls-cert as well"
            )
    for address in _tls_addresses(given):
        raise ValueError(
            f"listen ({given['listen'].source}) has {address}, and TLS needs a certificate; "
            "name one with --tls-cert, or use tcp:"
        )


def _tls_addresses(given: Mapping[str, _Given]) -> list[Address]:
    return [each for each in given["listen"].value if isinstance(each, InternetAddress) and each.is_tls]


def _check_addresses(given: Mapping[str, _Given]) -> None:
    """Raise ValueError where one address is given twice. Port 0 is a free one, and another one each time."""
    listen, port, admin = given["listen"], given["port"], given["admin"]
    addresses: list[tuple[Address, str]] = [(each, listen.source) for each in listen.value]
    # The default is not looked at: sockets that are handed over to a service may take its place.
    if not listen.value and port.source != "default":
        addresses.append((InternetAddress(given["host"].value, port.value), port.source))
    if admin.value is not None:
        addresses.append((admin.value, admin.source))
    source_of: dict[Address, str] = {}
    for address, source in addresses:
        place = address
        if isinstance(address, InternetAddress):
            if address.port == 0:
                continue
            place = replace(address, is_tls=False)
        if place in source_of:
            raise ValueError(
                f"{address} is given by {source_of[place]}, and again by {source}; leave one out, or change it"
            )
        source_of[place] = source


def _show(given: Mapping[str, _Given]) -> str:
    """Return a configuration file that says what holds, and in comments where each value comes from."""
    lines = [f"# scoop-server {__version__}"]
    for option in OPTIONS:
        match given[option.name].value:
            case None:
                line = f"# {option.name} is not set"
            case bool() | int() | float() | str() as value:
                line = f"{option.name} = {format_value(value)}"
            case tuple(values):
                line = f"{option.name} = {format_value(list(map(str, values)))}"
            case value:
                line = f"{option.name} = {format_value(str(value))}"
        source = given[option.name].source.encode("unicode_escape").decode("ascii")
        lines.append(f"{line}  # {source}")
    return "\n".join(lines) + "\n"
