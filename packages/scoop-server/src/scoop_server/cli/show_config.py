"""The output of ``--show-config``."""

from scoop_server import __version__
from scoop_server.config.settings import OPTIONS
from scoop_server.config.sources import ResolvedSettings
from scoop_server.config.toml_file import format_value


def format_configuration(resolved: ResolvedSettings) -> str:
    """Return a configuration file with these settings, each with its source in a comment."""
    lines = [f"# scoop-server {__version__}"]
    for option in OPTIONS:
        match option.value_in(resolved.settings):
            case None | ():
                line = f"# {option.name} is not set"
            case (bool() | int() | float() | str()) as value:
                line = f"{option.name} = {format_value(value)}"
            case tuple(values):
                line = f"{option.name} = {format_value([str(each) for each in values])}"
            case value:
                line = f"{option.name} = {format_value(str(value))}"
        source = resolved.sources[option.name].encode("unicode_escape").decode("ascii")
        lines.append(f"{line}  # {source}")
    return "\n".join(lines) + "\n"
