"""The checks of Scoop, as nox sessions.

``nox`` without arguments runs the checks of every commit. The campaigns search for rare faults or measure speed;
they take minutes to hours, and each runs on request: ``nox -s soak``. ``nox --list`` prints one line per session.

Every session has an environment of its own under .nox, made by uv if it is installed and by pip otherwise.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import nox

# The first release that skips a pythonX.Y on the PATH that cannot be started, instead of failing.
nox.needs_version = ">=2026.8"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
# A missing Python is skipped, and the summary says so. With CI set in the environment, nox would fail by default.
nox.options.error_on_missing_interpreters = False
nox.options.download_python = "never"

SUPPORTED_PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
RUNNING_PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"

# Many tests wait for a process or a socket, so two workers per processor finish sooner than one. Work stealing saves a
# third of the time, because a handful of tests take seconds and thousands take milliseconds.
IN_PARALLEL: Final = ("-n", str(2 * (os.cpu_count() or 1)), "--dist", "worksteal")

EVERY_PYTHON: Final = ("-m", "not campaign and not any_python")
SHORT_SEARCH: Final = "--hypothesis-profile=short"

UNMEASURED_TESTS: Final = (
    *("tests/test_*.py", "tests/*/test_*_page.py", "tests/*/test_tour.py", "tests/*/test_howtos.py"),
    *("tests/*/test_bench*.py", "tests/contrib/*", "tests/server/*/test_alert_rules.py"),
)
"""Tests of documents, and of programs around the packages. Other tests cover the packages better and faster."""

# Each build has an environment of its own, which pip would take seconds to make.
BUILD: Final = ("python", "-m", "build", "--installer", "uv")

PYPY_TESTS: Final = ("tests/core", "tests/library", "tests/end_to_end")

CORE: Final = Path("packages/scoop-core")
SERVER: Final = Path("packages/scoop-server")
ETCD: Final = Path("packages/scoop-etcd")
CLIENT: Final = Path("packages/scoop-client")
EXPLORER: Final = Path("packages/scoop-explorer")
PACKAGES: Final = (CORE, SERVER, ETCD, CLIENT, EXPLORER)


def _enable_pyenv_versions() -> None:
    """Set PYENV_VERSION, if pyenv is installed, so that each Python that it has installed can be started.

    pyenv puts all of them on the PATH, but starts only the selected ones.
    """
    pyenv = shutil.which("pyenv")
    if pyenv is None or "PYENV_VERSION" in os.environ:
        return
    installed = subprocess.run([pyenv, "versions", "--bare"], capture_output=True, text=True, check=True).stdout.split()
    supported = [version for version in installed if re.fullmatch(r"3\.1[1-4]\.[0-9]+", version)]
    os.environ["PYENV_VERSION"] = ":".join([*supported, "system"])


_enable_pyenv_versions()


def _configure_uv() -> None:
    """Let uv trust the certificates of the system, and use the package indexes that pip is configured for, as pip does.

    An index that uv itself is configured for is left.
    """
    os.environ.setdefault("UV_SYSTEM_CERTS", "1")
    pip = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    for line in pip.stdout.splitlines():  # such as: global.index-url='https://index.example/simple'
        key, _, value = line.partition("=")
        variable = {"index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX"}.get(key.rpartition(".")[2])
        if variable:
            os.environ.setdefault(variable, value.strip("'"))


_configure_uv()

# Hundreds of tests start a Python process, which compiles every module again if none may write bytecode. That takes
# most of the time of the tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def _group(name: str) -> tuple[str, ...]:
    """Return the requirements of a dependency group of pyproject.toml."""
    return nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), name)


def _install(session: nox.Session, *groups: str, packages: Sequence[Path] = PACKAGES) -> None:
    """Install packages of this repository, editable, and the tools of these dependency groups.

    A build environment for each package would take half of the time, and the bytecode of unused modules a quarter.
    """
    session.install("--no-compile", *(tool for group in ("backend", *groups) for tool in _group(group)))
    editable = [word for package in packages for word in ("-e", str(package))]
    session.install("--no-compile", "--no-build-isolation", *editable)


# The checks of every commit. CI selects all of them but the tests by the tag.


# The Python that runs nox is always among them, so that at least one runs.
@nox.session(python=sorted({*SUPPORTED_PYTHONS, RUNNING_PYTHON}))
def tests(session: nox.Session) -> None:
    """Run the tests on every supported Python that is installed; arguments after ``--`` go to pytest.

    The tests marked ``any_python`` run only on the Python that runs nox. The search for counterexamples is short,
    because the session coverage searches the same properties longer.
    """
    _install(session, "test")
    # Compile all modules once. Otherwise each worker compiles all of them at the same time.
    session.run("pytest", "--collect-only", "-q", silent=True)
    selection = () if session.python == RUNNING_PYTHON else EVERY_PYTHON
    session.run("pytest", *IN_PARALLEL, SHORT_SEARCH, *selection, *session.posargs)


@nox.session(tags=["check"])
def coverage(session: nox.Session) -> None:
    """Run the tests and check which branches they cover: 95% of all, and every branch of scoop-core."""
    _install(session, "test")
    session.run("coverage", "erase")
    ignored = [f"--ignore-glob={each}" for each in UNMEASURED_TESTS]
    session.run("coverage", "run", "--parallel-mode", "-m", "pytest", *IN_PARALLEL, *ignored)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report", "--fail-under=95")
    session.run("coverage", "report", "--fail-under=100", "--include=packages/scoop-core/*")


@nox.session(tags=["check"])
def types(session: nox.Session) -> None:
    """Check all types with mypy, for the oldest and the newest Python, and those of the tour of scoop-core."""
    session.install(*_group("types"))
    for version in (SUPPORTED_PYTHONS[0], SUPPORTED_PYTHONS[-1]):
        session.run("mypy", "--python-version", version)
    session.run("python", "-m", "tests.library.tour_types", env={"MYPYPATH": f"{CORE / 'src'}:{SERVER / 'src'}"})


@nox.session(tags=["check"])
def lint(session: nox.Session) -> None:
    """Check style, format and the import contracts."""
    _install(session, "lint")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")


@nox.session(tags=["check"], python="pypy3")
def pypy(session: nox.Session) -> None:
    """Run the tests of the protocol, the library and the real process on PyPy; skipped if it is not installed."""
    _install(session, "pypy", packages=[each for each in PACKAGES if each != ETCD])  # grpcio has no wheel for PyPy
    session.run("pytest", *IN_PARALLEL, *(session.posargs or PYPY_TESTS))


@nox.session(tags=["check"])
def build(session: nox.Session) -> None:
    """Build the wheels and sdists, check their contents, and run server, client and explorer from their wheels."""
    session.install(*_group("build"))
    work = Path(session.create_tmp()).resolve()
    dist, clean = work / "dist", work / "clean"
    shutil.rmtree(dist, ignore_errors=True)
    for package in PACKAGES:
        name = package.name.replace("-", "_")
        # Without further options this builds the sdist, and the wheel from the sdist.
        session.run(*BUILD, "--outdir", str(dist), str(package))
        [wheel] = dist.glob(f"{name}-*.whl")
        session.run("check-wheel-contents", "--package", str(package / "src" / name), str(wheel))
    session.run("twine", "check", "--strict", *map(str, sorted(dist.iterdir())))

    session.run("python", "-m", "venv", "--clear", str(clean))
    # Without an index, so that a dependency beyond the three wheels fails.
    offline = ("--no-index", "--find-links", str(dist))
    session.run(str(clean / "bin" / "pip"), "install", *offline, "scoop-server", "scoop-client", external=True)
    for shipped in (
        "man/man1/scoop-server.1",
        "man/man1/scoop.1",
        "bash-completion/completions/scoop-server",
        "bash-completion/completions/scoop",
    ):
        if not (clean / "share" / shipped).is_file():
            session.error(f"the wheel does not install share/{shipped}")
    session.run(str(clean / "bin" / "scoop-server"), "--version", external=True)
    session.run(str(clean / "bin" / "scoop"), "--version", external=True)
    session.run("python", "-m", "tests.smoke", str(clean / "bin" / "scoop-server"))
    # What these need beyond the wheels comes from the index.
    wheels = [str(wheel) for name in ("scoop_etcd", "scoop_explorer") for wheel in dist.glob(f"{name}-*.whl")]
    session.run(str(clean / "bin" / "pip"), "install", *wheels, external=True)
    session.run(str(clean / "bin" / "scoop-server"), "nodes", "--help", external=True, silent=True)
    session.run(str(clean / "bin" / "python"), "-m", "tests.explorer_smoke", external=True)


@nox.session(default=False)
def release(session: nox.Session) -> None:
    """Build a release into dist: reproducible wheels and sdists, an SBOM, checksums. ``-- --tag`` tags the commit."""
    session.install(*_group("backend"), *_group("release"), *_group("compiled"))
    session.run("python", "contrib/release/build_release.py", *session.posargs)


@nox.session(default=False)
def pins(session: nox.Session) -> None:
    """Pin what the container image installs to the newest releases, with their hashes."""
    session.install("uv")
    session.run("python", "contrib/container/pins.py")


@nox.session(default=False, tags=["campaign"])
def release_trial(session: nox.Session) -> None:
    """Build and tag a release in a clone of the checkout, and check the tag, the files and their checksums."""
    _install(session, "test", "release", "compiled")
    session.run("pytest", "-m", "campaign", "tests/contrib/test_release.py", *session.posargs)


@nox.session(tags=["check"])
def core_alone(session: nox.Session) -> None:
    """Run the tests of scoop-core in an environment without the server."""
    _install(session, "test", packages=[CORE])
    is_server_missing = "import importlib.util, sys; sys.exit(importlib.util.find_spec('scoop_server') is not None)"
    session.run("python", "-c", is_server_missing)
    selection = (*EVERY_PYTHON, SHORT_SEARCH)  # the search is that of the other sessions
    session.run("pytest", *IN_PARALLEL, *selection, "tests/core", "tests/property", str(CORE / "src"), *session.posargs)


@nox.session(default=False, tags=["campaign"], python=sorted({*SUPPORTED_PYTHONS, RUNNING_PYTHON}))
def compiled(session: nox.Session) -> None:
    """Compile scoop-core and scoop-server, run the tests on that, and compare both forms by random calls and streams.

    With arguments, which go to pytest, the comparison is shorter. Skipped where no C compiler or no header of this
    Python is installed.
    """
    include = session.run("python", "-c", "import sysconfig; print(sysconfig.get_path('include'))", silent=True)
    if shutil.which(os.environ.get("CC", "cc")) is None or not (Path(str(include).strip()) / "Python.h").is_file():
        session.skip(f"needs a C compiler and the headers of Python {session.python} (on Debian: gcc, python3-dev)")
    _install(session, "test", "compiled")
    work = Path(session.create_tmp()).resolve()
    del session.env["TMPDIR"]  # set by create_tmp: too long for the paths of Unix sockets of the tests
    shutil.rmtree(work, ignore_errors=True)
    for package in (CORE, SERVER):
        # From a copy, because the compiled modules are written beside their sources.
        copy = shutil.copytree(package, work / package.name, ignore=shutil.ignore_patterns("__pycache__"))
        build = ("python", "-m", "build", "--wheel", "--no-isolation", "--outdir", str(work), str(copy))
        session.run(*build, silent=True, env={"HATCH_BUILD_HOOK_ENABLE_MYPYC": "1"})
        [wheel] = work.glob(f"{package.name.replace('-', '_')}-*.whl")
        session.install("--no-deps", "--force-reinstall", str(wheel))
    session.run("python", "-c", "import scoop_server, sys; sys.exit(scoop_server.form() != 'compiled')")
    # Without the doctests of the packages, because compiled functions have no docstrings.
    selection = () if session.python == RUNNING_PYTHON else EVERY_PYTHON
    session.run("pytest", *IN_PARALLEL, SHORT_SEARCH, *selection, *(session.posargs or ("tests",)))
    session.run("python", "-m", "tests.forms.run", "--seeds", "300" if session.posargs else "3000")


SDIST_TESTS: Final = ("--import-mode=importlib", "--doctest-modules", "-q", "tests", "src")

SDIST_CONFTEST: Final = """
from hypothesis import HealthCheck, Phase, settings
settings.register_profile(
    "short", max_examples=10, stateful_step_count=20, deadline=None, derandomize=True, database=None,
    phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck),
)
settings.load_profile("short")
"""


@nox.session(tags=["check"])
def core_sdist(session: nox.Session) -> None:
    """Run the tests that the sdist of scoop-core contains, where it is unpacked, with a short search."""
    session.install("build[uv]", *_group("test"))
    _unpack_core_sdist(session)
    session.install(".")
    session.run("python", "-m", "pytest", *IN_PARALLEL, *SDIST_TESTS, *session.posargs)


def _unpack_core_sdist(session: nox.Session) -> None:
    """Build the sdist of scoop-core, unpack it, enter its directory and set a short search."""
    work = Path(session.create_tmp()).resolve()
    shutil.rmtree(work, ignore_errors=True)
    session.run(*BUILD, "--sdist", "--outdir", str(work), str(CORE), silent=True)
    [archive] = work.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(work, filter="data")
    session.chdir(work / archive.name.removesuffix(".tar.gz"))
    Path("tests/conftest.py").write_text(SDIST_CONFTEST, "utf-8")


@nox.session(tags=["check"])
def core_types(session: nox.Session) -> None:
    """Check with pyright that every public type of the installed scoop-core is known, and its samples and examples."""
    session.install(str(CORE), *_group("typing"))
    session.run("pyright", "--verifytypes", "scoop_core", "--ignoreexternal")
    session.run("pyright", "tests/library/api_samples.py", "examples")


@nox.session(tags=["check"])
def core_docs(session: nox.Session) -> None:
    """Build the reference pages of scoop-core from its docstrings; a warning is an error."""
    _install(session, "docs", packages=[CORE])
    pages = Path(session.create_tmp()).resolve() / "reference"
    session.run("sphinx-build", "-q", "-E", "-W", "--keep-going", "-n", "-b", "html", "docs/reference", str(pages))
    session.log(f"{pages / 'index.html'}")


CORE_WHEEL_BYTES_MAX: Final = 99_000
CORE_IMPORT_MS_MAX: Final = 30.0

TIME_IMPORT: Final = """
import subprocess, sys
program = "import time; start = time.process_time(); import scoop_core; print(time.process_time() - start)"
# The minimum of many, because other load only adds to it; of more while that is high. The first writes the bytecode.
runs = []
while len(runs) < 20 or (min(runs) > float(sys.argv[1]) and len(runs) < 200):
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    runs.append(float(run.stdout) * 1_000)
print(min(runs))
"""


@nox.session(tags=["check"])
def core_size(session: nox.Session) -> None:
    """Check the size of the wheel of scoop-core and the time of its import against their limits."""
    session.install("build[uv]")
    dist = Path(session.create_tmp()).resolve()
    shutil.rmtree(dist, ignore_errors=True)
    session.run(*BUILD, "--wheel", "--outdir", str(dist), str(CORE), silent=True)
    [wheel] = dist.glob("*.whl")
    session.install("--force-reinstall", str(wheel))
    program = ("python", "-c", TIME_IMPORT, str(CORE_IMPORT_MS_MAX))
    printed = session.run(*program, silent=True, env={"PYTHONDONTWRITEBYTECODE": None})
    wheel_bytes, import_ms = wheel.stat().st_size, float(str(printed))
    session.log(f"wheel: {wheel_bytes:,} bytes (limit {CORE_WHEEL_BYTES_MAX:,})")
    session.log(f"import: {import_ms:.1f} ms of processor time (limit {CORE_IMPORT_MS_MAX})")
    if wheel_bytes > CORE_WHEEL_BYTES_MAX or import_ms > CORE_IMPORT_MS_MAX:
        session.error("over the limit")


# The campaigns. CI runs a share of them.


@nox.session(default=False, tags=["campaign"])
def campaign_tests(session: nox.Session) -> None:
    """Run the tests marked as campaigns: a short run of each campaign, which must also find planted faults."""
    _install(session, "test")
    # Three kinds are sessions of their own: only one systemd can run at a time, and two install programs.
    session.run(
        "pytest",
        *IN_PARALLEL,
        "-m",
        "campaign",
        "--ignore=tests/contrib",
        "--ignore=tests/explorer",
        "--ignore=tests/registries",
        "tests",
        *session.posargs,
    )


@nox.session(default=False, tags=["campaign"])
def browser(session: nox.Session) -> None:
    """Use the explorer with Chromium and axe, and on Debian's archive. SCOOP_PICTURES=1 takes the pictures in docs."""
    _install(session, "test", "browser")
    session.run("pytest", "-m", "campaign", "tests/explorer", *session.posargs)


VERDACCIO: Final = "verdaccio@~6.2.0"  # later ones need Node.js 22


@nox.session(default=False, tags=["campaign"])
def registries(session: nox.Session) -> None:
    """Follow the how-tos with a real reprepro, devpi-server and Verdaccio; one that cannot be installed is skipped."""
    _install(session, "test", packages=[CORE, SERVER, CLIENT])
    programs = Path(session.create_tmp()).resolve()
    any_status = range(256)
    if shutil.which("reprepro") is None and shutil.which("apt-get") and os.geteuid() == 0:
        apt = ("apt-get", "install", "-y", "-qq", "--no-install-recommends")
        session.run(*apt, "reprepro", external=True, success_codes=any_status)
    session.run("python", "-m", "venv", str(programs))
    pip = str(programs / "bin" / "pip")
    session.run(pip, "install", "-q", *_group("registries"), external=True, success_codes=any_status)
    if shutil.which("npm"):
        npm = ("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(programs))
        session.run(*npm, VERDACCIO, external=True, success_codes=any_status)
    path = f"{programs / 'bin'}:{programs / 'node_modules' / '.bin'}:{os.environ['PATH']}"
    session.run("pytest", "-m", "campaign", "tests/registries", *session.posargs, env={"PATH": path})


@nox.session(default=False, tags=["campaign"])
def search(session: nox.Session) -> None:
    """Run the property tests with a hundred times as many examples; arguments go to pytest."""
    _install(session, "test", packages=[CORE])
    session.env["HYPOTHESIS_PROFILE"] = "thorough"
    tests = session.posargs or ("tests/property", "tests/library/test_networkx.py")
    session.run("pytest", *IN_PARALLEL, "-m", "campaign or not campaign", *tests)


@nox.session(default=False, tags=["campaign"])
def systemd(session: nox.Session) -> None:
    """Run the commands of the operations page on a booted systemd in a container; needs root and systemd-nspawn."""
    _install(session, "test")
    session.run("pytest", "-m", "campaign", "tests/contrib/test_booted_systemd.py", *session.posargs)


@nox.session(default=False, tags=["campaign"])
def image(session: nox.Session) -> None:
    """Build the image definition with buildah, on a base made of this machine's packages, and run its server."""
    _install(session, "test")
    session.run("pytest", "-m", "campaign", "tests/contrib/test_image.py", *session.posargs)


@nox.session(default=False, tags=["campaign"])
def simulate(session: nox.Session) -> None:
    """Run 10,000 simulated lives of a data directory; arguments after ``--`` replace the number."""
    _install(session, "test")
    session.run("python", "-m", "tests.simulation.run", *(session.posargs or ("--seeds", "10000")))


@nox.session(default=False, tags=["campaign"])
def simulate_replication(session: nox.Session) -> None:
    """Run 10,000 simulated lives of several nodes over etcd; arguments after ``--`` replace the number."""
    _install(session, "test")
    session.run("python", "-m", "tests.simulation.replicated.run", *(session.posargs or ("--seeds", "10000")))


@nox.session(default=False, tags=["campaign"])
def replication_mutants(session: nox.Session) -> None:
    """Check that the simulation of several nodes fails without each rule; arguments go to the program."""
    _install(session, "test")
    session.run("python", "-m", "tests.simulation.replicated.mutants", *session.posargs)


@nox.session(default=False, tags=["campaign"])
def mutants(session: nox.Session) -> None:
    """Check that the simulation fails without each rule of durability; arguments go to the program."""
    _install(session, "test")
    session.run("python", "-m", "tests.simulation.mutants", *session.posargs)


@nox.session(default=False, tags=["campaign"])
def kills(session: nox.Session) -> None:
    """Kill 100 real servers under load and check their data; arguments after ``--`` replace the number."""
    _install(session, "test")
    session.run("python", "-m", "tests.crash.run", *(session.posargs or ("--kills", "100")))


@nox.session(default=False, tags=["campaign"])
def faults(session: nox.Session) -> None:
    """Let each system call on files of a real server fail, if strace is installed; arguments go to the program."""
    _install(session, "test")
    session.run("python", "-m", "tests.faults.run", *session.posargs)


@nox.session(default=False, tags=["campaign"])
def latency(session: nox.Session) -> None:
    """Measure how long a healthy client waits beside each kind of hostile clients; arguments go to the program."""
    _install(session, "test")
    session.run("python", "-m", "tests.latency.run", *session.posargs)


@nox.session(default=False, tags=["campaign"])
def replication(session: nox.Session) -> None:
    """Kill and pause nodes and members of a real etcd for five minutes, and check every answer."""
    _install(session, "test")
    session.run("python", "-m", "tests.replication.run", *(session.posargs or ("--seconds", "300")))


@nox.session(default=False, tags=["campaign"])
def soak(session: nox.Session) -> None:
    """Load a server with clients of all kinds for ten minutes and check that memory, descriptors and speed stay."""
    _install(session, "test")
    session.run("python", "-m", "tests.soak.run", *(session.posargs or ("--seconds", "600")))


@nox.session(default=False, tags=["campaign"])
def fuzz(session: nox.Session) -> None:
    """Send arbitrary bytes to a real server for five minutes; arguments after ``--`` replace the time."""
    _install(session, "test")
    session.run("python", "-m", "tests.fuzz.run", *(session.posargs or ("--seconds", "300")))


@nox.session(default=False, tags=["campaign"])
def bench(session: nox.Session) -> None:
    """Measure the server beside a lower bound, and Redis if installed; arguments go to ``python -m bench``."""
    _install(session)
    session.run("python", "-m", "bench", *session.posargs)


@nox.session(default=False, tags=["campaign"])
def bench_client(session: nox.Session) -> None:
    """Measure scoop-client beside a load generator in C, if gcc is installed; arguments go to the program."""
    _install(session, packages=[CORE, SERVER, CLIENT])
    session.run("python", "-m", "bench.client", *session.posargs)


@nox.session(default=False, tags=["campaign"])
def bench_replication(session: nox.Session) -> None:
    """Measure nodes over a real etcd, if installed; arguments go to ``python -m bench.replication``."""
    _install(session, packages=[CORE, SERVER, ETCD])
    session.run("python", "-m", "bench.replication", *session.posargs)


@nox.session(default=False, tags=["campaign"])
def explorer_load(session: nox.Session) -> None:
    """Measure the explorer of a million packages beside a loaded server; arguments go to the program."""
    _install(session)
    session.run("python", "-m", "bench.explorer_load", *session.posargs)


@nox.session(default=False, tags=["campaign"])
def bench_core(session: nox.Session) -> None:
    """Measure scoop-core beside networkx, then by kind of message; arguments go to pytest, and then only that runs."""
    _install(session, "bench", packages=[CORE])
    if not session.posargs:
        session.run("python", "-m", "bench.core_ratios")
    storage = "--benchmark-storage=file://build/bench/core"
    session.run("pytest", "bench/test_core_speed.py", storage, *session.posargs)


@nox.session(default=False, tags=["campaign"])
def core_mutation(session: nox.Session) -> None:
    """Change scoop-core in every small way that mutmut knows, and print the changes that no test notices.

    Arguments after ``--`` are patterns for the names of mutants, such as ``scoop_core.graph*``.
    """
    session.install("build[uv]", *_group("test"), *_group("mutation"))
    campaign = Path("bench/core_mutation.py").resolve()
    _unpack_core_sdist(session)
    session.run("python", str(campaign), *session.posargs)
