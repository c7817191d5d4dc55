"""Obtain a service once, without root: ``install(name)`` returns the path of each binary.

A binary already on the path is used when it is new enough. Otherwise the service is put into
``<cache>/<name>-<version>/bin``: built in a temporary folder beside it, checked by running every
binary, then renamed, so that the folder is either absent or complete. A file lock keeps two test
processes from building the same thing. ``ServiceUnavailable`` says why a machine cannot have it;
the answer is remembered, so that a test run asks once.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from .catalog import (
    SERVICES,
    Binary,
    DebianPackage,
    GoModule,
    GoSource,
    MavenJars,
    PythonProgram,
    Service,
    ServiceUnavailable,
)
from .locks import locked

__all__ = [
    "ServiceUnavailable",
    "cache_folder",
    "install",
    "installed",
    "service_folder",
]

_APT_TIMEOUT_SECONDS = 300
# A cold collector takes about two minutes on two idle cores, several times that on busy ones.
_GO_TIMEOUT_SECONDS = 1800
_MAVEN_TIMEOUT_SECONDS = 900
_PIP_TIMEOUT_SECONDS = 900
_MAVEN_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"

_answers: dict[str, Mapping[str, Path] | ServiceUnavailable] = {}


def cache_folder() -> Path:
    """``$GDS_CACHE_DIR``, or ``~/.cache/gds-telemetry``."""
    configured = os.environ.get("GDS_CACHE_DIR")
    if configured:
        return Path(configured).resolve()
    return Path.home() / ".cache" / "gds-telemetry"


def service_folder(service: Service) -> Path:
    """Where the service is, or would be, installed."""
    return cache_folder() / f"{service.name}-{service.version}{_digest(service)}"


def install(name: str) -> Mapping[str, Path]:
    """Return binary name -> path, obtaining the service when it is not there yet.

    Raises ``ServiceUnavailable`` when it cannot be had, ``KeyError`` for a name not in the catalog.
    """
    service = SERVICES[name]
    if name not in _answers:
        try:
            if isinstance(service.recipe, MavenJars):
                _tool(service, "java", "install a java runtime, 17 or later")
            _answers[name] = installed(service) or _install(service)
        except ServiceUnavailable as refusal:
            _answers[name] = refusal
    answer = _answers[name]
    if isinstance(answer, ServiceUnavailable):
        # A new object each time: raising the kept one again would grow its traceback.
        raise ServiceUnavailable(answer.reason)
    return answer


def installed(service: Service) -> Mapping[str, Path] | None:
    """Return binary name -> path when the service is on the path or in the cache."""
    return _on_path(service) or _in_cache(service)


def _on_path(service: Service) -> Mapping[str, Path] | None:
    if not service.use_path:
        return None
    found: dict[str, Path] = {}
    for binary in service.binaries:
        for candidate in filter(None, map(shutil.which, binary.names)):
            if _fault(Path(candidate), binary, service) is None:
                found[binary.name] = Path(candidate)
                break
        else:
            return None
    return MappingProxyType(found)


def _in_cache(service: Service) -> Mapping[str, Path] | None:
    folder = service_folder(service) / "bin"
    if not folder.is_dir():
        return None
    return MappingProxyType({b.name: folder / b.name for b in service.binaries})


def _install(service: Service) -> Mapping[str, Path]:
    target = service_folder(service)
    # Held between processes, so it lies beside the folder rather than in it.
    with locked(target.with_name(f"{target.name}.lock")):
        done = _in_cache(service)
        if done:
            return done
        # What a build that was killed left behind; the lock says nobody is using it.
        for leftover in target.parent.glob(f".{target.name}.*"):
            shutil.rmtree(leftover, ignore_errors=True)
        with tempfile.TemporaryDirectory(
            prefix=f".{target.name}.", dir=target.parent, ignore_cleanup_errors=True
        ) as room:
            work, result = Path(room) / "work", Path(room) / "result"
            work.mkdir()
            (result / "bin").mkdir(parents=True)
            match service.recipe:
                case DebianPackage() as package:
                    _unpack_debian(service, package, work, result)
                case GoModule() | GoSource() as source:
                    _build_go(service, source, result / "bin")
                case MavenJars() as jars:
                    _copy_jars(service, jars, result)
                case PythonProgram() as program:
                    _gather_python(service, program, result)
            for binary in service.binaries:
                fault = _fault(result / "bin" / binary.name, binary, service)
                if fault:
                    raise ServiceUnavailable(f"{service.name}: {fault}")
            result.rename(target)
    done = _in_cache(service)
    assert done is not None, f"{target} was just renamed into place"
    return done


def _digest(service: Service) -> str:
    """A suffix that changes with the sources we own, so that an edit is not served stale."""
    files: tuple[str, ...]
    digest = hashlib.sha256()
    match service.recipe:
        case GoSource(folder=folder):
            files = (*sorted(str(file.relative_to(folder)) for file in folder.rglob("*.go")), "go.mod", "go.sum")
        case MavenJars(folder=folder, script=script):
            files = ("pom.xml", script)
        case PythonProgram(folder=folder):
            files = (*(file.name for file in _programs(folder)), "requirements.txt")
            # What is compiled in the packages belongs to one version of Python.
            digest.update(repr(sys.version_info[:2]).encode())
        case _:
            return ""
    for file in files:
        digest.update((folder / file).read_bytes())
    return f"-{digest.hexdigest()[:8]}"


def _fault(path: Path, binary: Binary, service: Service) -> str | None:
    """Say what is wrong with a binary, or ``None``: it must run, and be new enough."""
    flag = binary.version_flag or "--help"
    command = f"{path} {flag}"
    try:
        answer = subprocess.run(
            [path, flag],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            # Some of these print their version to standard error.
            stderr=subprocess.STDOUT,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command} does not run: {error}"
    text = answer.stdout.decode(errors="replace")
    if binary.version_flag is None:
        # The status of a help text is anything; this one is the loader's, for want of a library.
        return f"{command} printed {text!r}" if answer.returncode == 127 else None
    match = re.search(
        r"(?:\bversion v?|\bv|\(PostgreSQL\) |^(?:PgBouncer |unixODBC |valgrind-))(\d+(?:\.\d+)+)", text, re.IGNORECASE
    )
    if answer.returncode != 0 or match is None:
        return f"{command} exited with {answer.returncode} and printed {text!r}"
    if _numbers(match[1]) < _numbers(service.version):
        return f"{path} is version {match[1]}, expected {service.version} or later"
    return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _unpack_debian(service: Service, recipe: DebianPackage, work: Path, result: Path) -> None:
    apt = _tool(service, "apt-get", f"put {_wanted(service)} on the path")
    dpkg = _tool(service, "dpkg-deb", f"put {_wanted(service)} on the path")
    unpacked = work / "unpacked"
    for package in _download_debian(service, apt, (recipe.package, *recipe.libraries), work):
        _run(
            service,
            [dpkg, "--extract", package, unpacked],
            work,
            timeout_seconds=_APT_TIMEOUT_SECONDS,
        )
    folders = (recipe.home,) if recipe.home else ("usr/bin", "usr/sbin")
    for binary in service.binaries:
        for folder, name in product(folders, binary.names):
            file = unpacked / folder / name
            if file.is_file():
                break
        else:
            raise ServiceUnavailable(
                f"{service.name}: package {recipe.package} holds none of {folders[0]}/"
                f"{{{','.join(binary.names)}}}; put {_wanted(service)} on the path"
            )
        if recipe.libraries or recipe.home:
            _wrap(file, binary, unpacked, result, recipe)
        else:
            file.rename(result / "bin" / binary.name)
    if recipe.home:
        (unpacked / "usr").rename(result / "usr")


def _wrap(file: Path, binary: Binary, unpacked: Path, result: Path, recipe: DebianPackage) -> None:
    """Put a script into ``bin`` that shows the executable where the shared libraries are, and its other parts.

    It lies beside those, unless it has to stay where its own files are.
    """
    libraries = result / "lib"
    if not libraries.exists():
        # One folder per architecture, and it is the one of this machine; not all packages know of /usr.
        for found in {path.parent for lib in ("usr/lib", "lib") for path in (unpacked / lib).glob("*/*.so.*")}:
            shutil.copytree(found, libraries, symlinks=True, dirs_exist_ok=True)
    home = recipe.home
    if not home:
        file.rename(libraries / binary.name)
    shown = "".join(f'{name}="$root/{folder}" ' for name, folder in recipe.folders)
    script = result / "bin" / binary.name
    script.write_text(
        "#!/bin/sh\n"
        'root="$(dirname "$(dirname "$(readlink -f "$0")")")"\n'
        f'{shown}LD_LIBRARY_PATH="$root/lib" exec "$root/{home or "lib"}/{file.name if home else binary.name}" "$@"\n'
    )
    script.chmod(0o755)


def _download_debian(service: Service, apt: str, packages: Sequence[str], work: Path) -> list[Path]:
    cache, state, download = work / "cache", work / "state", work / "download"
    for folder in (cache / "archives" / "partial", state / "lists" / "partial", download):
        folder.mkdir(parents=True)
    # Everything apt would write goes into the work folder, which it keeps as the user we are.
    private_cache = ["-o", f"Dir::Cache={cache}", "-o", "APT::Sandbox::User="]
    # The lists of the machine first, which costs no network. They may be missing or name a
    # version that is gone; then lists of our own, less the parts that only people read.
    private_state = [
        "-o",
        f"Dir::State={state}",
        # By name too: a configuration that sets it absolutely would win over the line above.
        "-o",
        f"Dir::State::lists={state / 'lists'}/",
        "-o",
        "Acquire::Languages=none",
        "-o",
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
    ]
    fetch = [apt, "--quiet", *private_cache, "download", *packages]
    try:
        _run(service, fetch, download, timeout_seconds=_APT_TIMEOUT_SECONDS)
    except ServiceUnavailable:
        update = [apt, "--quiet", *private_cache, *private_state, "update"]
        _run(service, update, work, timeout_seconds=_APT_TIMEOUT_SECONDS)
        fetch = [apt, "--quiet", *private_cache, *private_state, "download", *packages]
        _run(service, fetch, download, timeout_seconds=_APT_TIMEOUT_SECONDS)
    files = list(download.glob("*.deb"))
    if len(files) != len(packages):
        names = " ".join(packages)
        raise ServiceUnavailable(
            f"{service.name}: apt-get download {names} left {len(files)} packages, expected {len(packages)}"
        )
    return files


def _build_go(service: Service, recipe: GoModule | GoSource, bin_folder: Path) -> None:
    go = _tool(service, "go", "install go 1.25 or later")
    nice = shutil.which("nice")
    link = f"-s -w -X {recipe.version_variable}={service.version}"
    options = [
        "-trimpath",
        "-buildvcs=false",
        # Leave out golang.org/x/net/trace, which keeps the linker from dropping dead code, and the one of FerretDB's
        # two places to keep things in that takes longest to compile.
        "-tags=grpcnotrace,ferretdb_no_sqlite",
        # Unoptimised: a third less time to build, and nothing here is timed against them.
        "-gcflags=all=-N -l",
        f"-ldflags={link}",
    ]
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOBIN": str(bin_folder),
        # What the shell sets for other work must not change what is built here.
        "GOFLAGS": "",
        "GOWORK": "off",
    }
    if isinstance(recipe, GoModule):
        package = "/".join(filter(None, (recipe.module, recipe.package)))
        what = ["install", *options, f"{package}@v{service.version}"]
        # A folder without a go.mod of its own.
        folder = bin_folder
    else:
        output = bin_folder / service.binaries[0].name
        what = ["build", "-mod=readonly", *options, "-o", str(output), "."]
        folder = recipe.folder
    command = [*([nice, "-n", "10"] if nice else []), go, *what]
    _run(service, command, folder, _GO_TIMEOUT_SECONDS, environment)
    if isinstance(recipe, GoModule) and recipe.package:
        # Go names the binary after the folder of the package.
        (bin_folder / PurePosixPath(recipe.package).name).rename(bin_folder / service.binaries[0].name)


def _copy_jars(service: Service, recipe: MavenJars, result: Path) -> None:
    mvn = _tool(service, "mvn", "install maven 3.6 or later")
    goal = [
        f"{_MAVEN_PLUGIN}:{'unpack' if recipe.unpacked else 'copy'}-dependencies",
        "-DincludeScope=runtime",
        f"-DoutputDirectory={result / 'jars'}",
        # What it notes of what it has unpacked, which otherwise lands beside the pom.xml.
        f"-DmarkersDirectory={result / 'unpacked'}",
    ]
    command = [mvn, "--batch-mode", "--quiet", "--strict-checksums", f"--file={recipe.folder / 'pom.xml'}", *goal]
    _run(service, command, result, _MAVEN_TIMEOUT_SECONDS)
    script = result / "bin" / service.binaries[0].name
    shutil.copyfile(recipe.folder / recipe.script, script)
    script.chmod(0o755)


def _programs(folder: Path) -> list[Path]:
    """The files of the program; what tests import is in ``__init__.py``."""
    return sorted(file for file in folder.glob("*.py") if file.name != "__init__.py")


def _gather_python(service: Service, recipe: PythonProgram, result: Path) -> None:
    pip = [sys.executable, "-m", "uv", "pip", "install", "--quiet", f"--python={sys.executable}", "--no-deps"]
    pinned = ["--require-hashes", "--only-binary=:all:", f"--requirement={recipe.folder / 'requirements.txt'}"]
    _run(service, [*pip, *pinned, f"--target={result / 'lib'}"], result, _PIP_TIMEOUT_SECONDS)
    for file in _programs(recipe.folder):
        shutil.copyfile(file, result / file.name)
    script = result / "bin" / service.binaries[0].name
    # Without the packages of any environment, and by an interpreter that outlives this one.
    python = Path(sys.executable).resolve()
    script.write_text(f'#!/bin/sh\nexec {python} -I -S "$(dirname "$0")/../server.py" "$@"\n', "utf-8")
    script.chmod(0o755)


def _tool(service: Service, name: str, remedy: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise ServiceUnavailable(f"{service.name}: no {name} on the path; {remedy}")
    return path


def _wanted(service: Service) -> str:
    names = " and ".join(binary.name for binary in service.binaries)
    return f"{names} {service.version} or later"


def _run(
    service: Service,
    command: Sequence[str | Path],
    folder: Path,
    timeout_seconds: float,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run to the end, or raise ``ServiceUnavailable`` with the last lines of what it printed."""
    words = " ".join(map(str, command))
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # A group of its own, so that compilers are stopped together with the go command.
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=timeout_seconds)
        except BaseException as error:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise ServiceUnavailable(f"{service.name}: {words} did not end in {timeout_seconds} seconds") from None
            raise
    if process.returncode != 0:
        lines = output.decode(errors="replace").strip().splitlines()
        tail = "\n".join(lines[-15:])
        raise ServiceUnavailable(f"{service.name}: {words} exited with {process.returncode}:\n{tail}")
