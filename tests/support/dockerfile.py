"""The instructions of contrib/container/Dockerfile."""

from typing import Final

from tests.support.pages import ROOT

DOCKERFILE: Final = ROOT / "contrib" / "container" / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile with their arguments, continuation lines joined."""
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(name, " ".join(rest.split())) for name, _, rest in (line.partition(" ") for line in lines)]


def final(name: str) -> list[str]:
    """Return the arguments of an instruction in the last stage."""
    given = instructions()
    last_stage = max(number for number, (each, _) in enumerate(given) if each == "FROM")
    return [rest for each, rest in given[last_stage:] if each == name]


def variables() -> dict[str, str]:
    """Return the environment variables of the container."""
    return dict(assignment.split("=", 1) for line in final("ENV") for assignment in line.split())
