"""The sessions that check Scoop: ``nox`` runs them all, ``nox --list`` tells what each is for.

Every session makes its own environment under .nox, with uv where that is installed, else with pip.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Final

import nox

# The first release that passes over a pythonX.Y on the PATH that does not run, instead of failing on it.
nox.needs_version = ">=2026.8"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
# A Python that is not here is skipped, and the summary says so; on a CI machine too, where nox would fail.
nox.options.error_on_missing_interpreters = False
nox.options.download_python = "never"

SUPPORTED_PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
RUNNING_PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"

# Many tests wait for a process or a socket, so more of them at a time than there are processors end sooner. Who is done
# takes over from the others, because a handful of tests take seconds and thousands milliseconds: a third less in all.
IN_PARALLEL: Final = ("-n", str(2 * (os.cpu_count() or 1)), "--dist", "worksteal")

CORE: Final = Path("packages/scoop-core")
SERVER: Final = Path("packages/scoop-server")


def _let_pyenv_run_every_version() -> None:
    """Set PYENV_VERSION, if pyenv is here, so that each Python that it has installed can be started.

    pyenv puts all of them on the PATH, but lets only those run that it is told to use.
    """
    pyenv = shutil.which("pyenv")
    if pyenv is None or "PYENV_VERSION" in os.environ:
        return
    installed = subprocess.run([pyenv, "versions", "--bare"], capture_output=True, text=True, check=True).stdout.split()
    supported = [version for version in installed if re.fullmatch(r"3\.1[1-4]\.[0-9]+", version)]
    os.environ["PYENV_VERSION"] = ":".join([*supported, "system"])


_let_pyenv_run_every_version()


def _group(name: str) -> tuple[str, ...]:
    """Return the requirements of a dependency group of pyproject.toml."""
    return nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), name)


# The Python that runs nox is always among them, so that there is never nothing to run.
@nox.session(python=sorted({*SUPPORTED_PYTHONS, RUNNING_PYTHON}))
def tests(session: nox.Session) -> None:
    """Run the tests on every supported Python that is present, on the one that runs nox as `coverage` does.

    Arguments after ``--`` go to pytest, and then nothing is measured.
    """
    session.install("-e", str(CORE), "-e", str(SERVER), *_group("test"))
    if session.python == RUNNING_PYTHON and not session.posargs:
        _test_and_measure(session)
    else:
        session.run("pytest", *IN_PARALLEL, *session.posargs)


# Not by default, because the tests on the Python that runs nox are run this way anyhow.
@nox.session(default=False)
def coverage(session: nox.Session) -> None:
    """Run the tests, and fail unless every branch of scoop-core and 95% of all branches were taken."""
    session.install("-e", str(CORE), "-e", str(SERVER), *_group("test"))
    _test_and_measure(session)


def _test_and_measure(session: nox.Session) -> None:
    session.run("coverage", "erase")
    session.run("coverage", "run", "--parallel-mode", "-m", "pytest", *IN_PARALLEL, *session.posargs)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report", "--fail-under=95")
    session.run("coverage", "report", "--fail-under=100", "--include=packages/scoop-core/*")


@nox.session
def core_alone(session: nox.Session) -> None:
    """Install scoop-core without anything of the server, and run its tests."""
    session.install("-e", str(CORE), *_group("test"))
    is_server_here = "import importlib.util, sys; sys.exit(importlib.util.find_spec('scoop_server') is not None)"
    session.run("python", "-c", is_server_here)
    session.run("pytest", *IN_PARALLEL, "tests/core", "tests/property", str(CORE / "src"), *session.posargs)


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of everything, as the oldest and as the newest Python sees them."""
    session.install(*_group("types"))
    for version in (SUPPORTED_PYTHONS[0], SUPPORTED_PYTHONS[-1]):
        session.run("mypy", "--python-version", version)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, format, and which module may import which."""
    session.install("-e", str(CORE), "-e", str(SERVER), *_group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")


@nox.session
def build(session: nox.Session) -> None:
    """Build what would be published, look into it, and run the server from its wheel in a clean environment."""
    session.install(*_group("build"))
    work = Path(session.create_tmp()).resolve()
    dist, clean = work / "dist", work / "clean"
    shutil.rmtree(dist, ignore_errors=True)
    for package in (CORE, SERVER):
        # Without further options this makes the sdist, and then the wheel out of the sdist.
        session.run("python", "-m", "build", "--outdir", str(dist), str(package))
        _check_contents(session, package, dist)
    session.run("twine", "check", "--strict", *map(str, sorted(dist.iterdir())))

    session.run("python", "-m", "venv", "--clear", str(clean))
    # No index: what the server needs is in the two wheels, or it is not installed.
    session.run(
        str(clean / "bin" / "pip"), "install", "--no-index", "--find-links", str(dist), "scoop-server", external=True
    )
    session.run(str(clean / "bin" / "scoop-server"), "--version", external=True)
    session.run("python", "-m", "tests.smoke", str(clean / "bin" / "scoop-server"))


def _check_contents(session: nox.Session, package: Path, dist: Path) -> None:
    """Fail where wheel and sdist of ``package`` do not hold what they should: its sources, and its licence."""
    name = package.name.replace("-", "_")
    source_directory = package / "src"
    sources = {
        path.relative_to(source_directory).as_posix()
        for path in source_directory.rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }
    if f"{name}/py.typed" not in sources:
        session.error(f"{package} has no py.typed")
    [wheel_path] = dist.glob(f"{name}-*.whl")
    with zipfile.ZipFile(wheel_path) as wheel:
        metadata, modules = _partition(wheel.namelist(), r"[^/]+\.dist-info/(.+)")
    if modules != sources:
        session.error(f"{wheel_path.name} and {source_directory} differ in {sorted(modules ^ sources)}")
    if "licenses/LICENSE" not in metadata:
        session.error(f"{wheel_path.name} has no licence")
    [sdist_path] = dist.glob(f"{name}-*.tar.gz")
    with tarfile.open(sdist_path) as sdist:
        packed, _ = _partition(sdist.getnames(), r"[^/]+/(.+)")
    # The build backend adds .gitignore: what it names stays out of a wheel built from the sdist too.
    wanted = {".gitignore", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml", *(f"src/{each}" for each in sources)}
    if package == CORE:  # it can be tested where it is unpacked; the session sdist does
        packed = {each for each in packed if not each.startswith("tests/")}
    if packed != wanted:
        session.error(f"{sdist_path.name} differs from what it should hold in {sorted(packed ^ wanted)}")


def _partition(names: list[str], pattern: str) -> tuple[set[str], set[str]]:
    """Return group 1 of ``pattern`` for the names that match it whole, and the names that do not."""
    matches = {name: re.fullmatch(pattern, name) for name in names}
    return (
        {match[1] for match in matches.values() if match},
        {name for name, match in matches.items() if not match},
    )


@nox.session
def mutants(session: nox.Session) -> None:
    """Show that the simulation fails without each rule of the durability contract; arguments go to the program."""
    session.install("-e", str(CORE), "-e", str(SERVER), *_group("test"))
    session.run("python", "-m", "tests.simulation.mutants", *session.posargs)


@nox.session
def simulate(session: nox.Session) -> None:
    """Run 10,000 simulated lives of a data directory; arguments after ``--`` replace the number."""
    session.install("-e", str(CORE), "-e", str(SERVER), *_group("test"))
    session.run("python", "-m", "tests.simulation.run", *(session.posargs or ("--seeds", "10000")))


@nox.session
def crash(session: nox.Session) -> None:
    """Kill 100 real servers, and look at what they leave; arguments after ``--`` replace the number."""
    session.install("-e", str(CORE), "-e", str(SERVER), *_group("test"))
    session.run("python", "-m", "tests.crash.run", *(session.posargs or ("--kills", "100")))


@nox.session
def soak(session: nox.Session) -> None:
    """Have clients of all kinds come and go for ten minutes, and look whether the server stays as it was."""
    session.install("-e", str(CORE), "-e", str(SERVER), *_group("test"))
    session.run("python", "-m", "tests.soak.run", *(session.posargs or ("--seconds", "600")))


@nox.session
def fuzz(session: nox.Session) -> None:
    """Throw bytes of all kinds at a real server for five minutes; arguments after ``--`` replace the time."""
    session.install("-e", str(CORE), "-e", str(SERVER), *_group("test"))
    session.run("python", "-m", "tests.fuzz.run", *(session.posargs or ("--seconds", "300")))


# Figures are for those who ask for them, on a machine that does nothing else; that it all runs is one of the tests.
@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure the server beside a floor, and Redis where it is installed; arguments go to ``python -m bench``."""
    session.install("-e", str(CORE), "-e", str(SERVER))
    session.run("python", "-m", "bench", *session.posargs)


@nox.session(default=False)
def bench_core(session: nox.Session) -> None:
    """Measure the core by kind of message; arguments go to pytest."""
    session.install("-e", str(CORE), *_group("bench"))
    storage = "--benchmark-storage=file://build/bench/core"
    session.run("pytest", "bench/test_core_speed.py", storage, *session.posargs)


# What a user of scoop-core as a library relies on.


@nox.session
def typing(session: nox.Session) -> None:
    """Ask pyright what a consumer of the installed scoop-core sees: all types known, and the samples of the API."""
    session.install(str(CORE), *_group("typing"))
    session.run("pyright", "--verifytypes", "scoop_core", "--ignoreexternal")
    session.run("pyright", "tests/library/api_samples.py")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the reference pages of scoop-core from its docstrings; a warning is an error."""
    session.install("-e", str(CORE), *_group("docs"))
    pages = Path(session.create_tmp()).resolve() / "reference"
    session.run("sphinx-build", "-q", "-E", "-W", "--keep-going", "-n", "-b", "html", "docs/reference", str(pages))
    session.log(f"{pages / 'index.html'}")


WHEEL_BYTES_MAX: Final = 40_000
IMPORT_MS_MAX: Final = 30.0

_TIME_THE_IMPORT: Final = """
import subprocess, sys
program = "import time; start = time.process_time(); import scoop_core; print(time.process_time() - start)"
# The shortest of many: what else the machine does only ever adds to it. The first run writes the bytecode.
runs = [subprocess.run([sys.executable, "-c", program], capture_output=True, check=True) for _ in range(20)]
print(min(float(run.stdout) for run in runs) * 1_000)
"""


@nox.session
def figures(session: nox.Session) -> None:
    """Fail where the wheel of scoop-core is larger, or importing it takes longer, than is promised."""
    session.install("build")
    dist = Path(session.create_tmp()).resolve()
    shutil.rmtree(dist, ignore_errors=True)
    session.run("python", "-m", "build", "--wheel", "--outdir", str(dist), str(CORE), silent=True)
    [wheel] = dist.glob("*.whl")
    session.install("--force-reinstall", str(wheel))
    printed = session.run("python", "-c", _TIME_THE_IMPORT, silent=True, env={"PYTHONDONTWRITEBYTECODE": None})
    import_ms = float(str(printed))
    session.log(f"the wheel has {wheel.stat().st_size:,} bytes, of {WHEEL_BYTES_MAX:,}")
    session.log(f"importing takes {import_ms:.1f} ms of a processor, of {IMPORT_MS_MAX}")
    if wheel.stat().st_size > WHEEL_BYTES_MAX or import_ms > IMPORT_MS_MAX:
        session.error("that is more than is promised")


_TESTS_OF_THE_SDIST: Final = ("--import-mode=importlib", "--doctest-modules", "-q", "tests", "src")

_SHORT_SEARCH: Final = """
from hypothesis import HealthCheck, settings
settings.register_profile(
    "short", max_examples=10, stateful_step_count=20, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("short")
"""

# Left out are the tests that only show that nothing recurses, because they are slow, and the one that reads the
# sources, because mutmut changes their imports.
_MUTMUT_SETTINGS: Final = """
[mutmut]
source_paths=src
also_copy=
    tests
pytest_add_cli_args_test_selection=tests/core
pytest_add_cli_args=
    --import-mode=importlib
    -k
    not chain and not long_way and not pure
"""


@nox.session
def sdist(session: nox.Session) -> None:
    """Unpack the sdist of scoop-core, install it, and run the tests that it brings along, with a short search."""
    session.install("build", *_group("test"))
    _unpack_sdist(session)
    session.install(".")
    Path("tests/conftest.py").write_text(_SHORT_SEARCH, "utf-8")
    session.run("python", "-m", "pytest", *IN_PARALLEL, *_TESTS_OF_THE_SDIST, *session.posargs)


@nox.session(default=False)
def mutation(session: nox.Session) -> None:
    """Change scoop-core in every small way that mutmut knows, and tell how many changes the tests notice.

    Arguments after ``--`` go to ``mutmut run``: names of mutants, as ``scoop_core.graph*``. Runs for half an hour
    on two cores, so it only runs when it is asked for.
    """
    session.install("build", *_group("test"), *_group("mutation"))
    _unpack_sdist(session)
    # Mutants are found by plain examples first of all, and there are more than a thousand: a short search is enough.
    Path("tests/conftest.py").write_text(_SHORT_SEARCH, "utf-8")
    Path("setup.cfg").write_text(_MUTMUT_SETTINGS, "utf-8")
    session.run("mutmut", "run", *session.posargs, success_codes=[0, 1])
    session.run("mutmut", "results")


def _unpack_sdist(session: nox.Session) -> None:
    """Build the sdist of scoop-core, and go where it is unpacked."""
    work = Path(session.create_tmp()).resolve()
    shutil.rmtree(work, ignore_errors=True)
    session.run("python", "-m", "build", "--sdist", "--outdir", str(work), str(CORE), silent=True)
    [archive] = work.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(work, filter="data")
    session.chdir(work / archive.name.removesuffix(".tar.gz"))
