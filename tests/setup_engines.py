"""Find, or install, what the tests need from outside. `make test` and `make engines` run this first.

It costs nothing when everything is there. What is missing is installed where nobody has to be asked
(apt-get, as root or with a sudo that wants no password; Maven for what runs on Java); else the tests
that need it skip with one line that says so, and fail under `CI=true`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).parents[1]
JARS = ROOT / "data" / "engines" / "jars"
UPDATE_SECONDS = 60
DOWNLOAD_SECONDS = 300
UNPACK_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Engine:
    """A program from outside: any one of `commands` will do, and Debian's `package` brings one.

    A command with a `*` is a path of which the newest version is taken.
    """

    name: str
    commands: tuple[str, ...]
    package: str

    def find(self) -> str | None:
        """Where it is, or None."""
        return next((path for command in self.commands if (path := _newest(command))), None)


@dataclass(frozen=True, slots=True)
class JavaEngine:
    """A program for Java, whose jars Maven fetches as its `pom` says."""

    name: str
    pom: Path

    @property
    def package(self) -> str:
        """What is to be installed to have it."""
        return f"{JAVA.package} and {MAVEN.package}"

    @property
    def folder(self) -> Path:
        return JARS / self.pom.name.partition(".")[0]

    def find(self) -> str | None:
        """The folder with its jars, or None, as well if they are those of an older pom."""
        fetched = self.folder / "pom.xml"
        current = fetched.is_file() and fetched.read_bytes() == self.pom.read_bytes()
        return str(self.folder) if current and JAVA.find() else None


POMS = Path(__file__).parent / "servers"
CHROMIUM = Engine(
    "Chromium",
    (
        "chromium",
        "google-chrome",
        "google-chrome-stable",
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    ),
    "chromium",
)
POSTGRESQL = Engine(
    "PostgreSQL",
    (
        "postgres",
        "/usr/lib/postgresql/*/bin/postgres",
        "/opt/homebrew/opt/postgresql@*/bin/postgres",
        "/usr/local/opt/postgresql@*/bin/postgres",
    ),
    "postgresql",
)
REDIS = Engine("Redis", ("redis-server", "valkey-server"), "redis-server")
JAVA = Engine("Java", ("java",), "default-jre-headless")
MAVEN = Engine("Maven", ("mvn",), "maven")
DYNAMODB = JavaEngine("DynamoDB Local", POMS / "dynamodb.pom.xml")
ELASTICMQ = JavaEngine("ElasticMQ", POMS / "elasticmq.pom.xml")

SERVERS: tuple[Engine | JavaEngine, ...] = (POSTGRESQL, REDIS, DYNAMODB, ELASTICMQ)


def require(engine: Engine) -> str:
    """Where the engine is, for a fixture. Without it the test skips, or fails under `CI=true`."""
    return engine.find() or do_without(
        f"{engine.name} is missing: install {engine.package} to run this test"
    )


def do_without(missing: str) -> NoReturn:
    """Skip the test that needs what is missing, or fail it under `CI=true`."""
    if os.environ.get("CI") == "true":
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing)


def provide(engines: Sequence[Engine | JavaEngine]) -> None:
    """Install which of them are missing, then name those that still are. Never raises."""
    programs = [engine for engine in engines if isinstance(engine, Engine)]
    for_java = [engine for engine in engines if isinstance(engine, JavaEngine)]
    if any(engine.find() is None for engine in for_java):
        programs += [JAVA, MAVEN]
    if packages := [program.package for program in programs if program.find() is None]:
        install(packages)
    for engine in for_java:
        if engine.find() is None and JAVA.find() and (maven := MAVEN.find()):
            fetch(engine, maven)
    for each in engines:
        if each.find() is None:
            what = "fail" if os.environ.get("CI") == "true" else "skip"
            print(f"{each.name} is missing: the tests that need it will {what}.", flush=True)


def install(packages: Sequence[str]) -> None:
    """Install Debian packages if that can be done without asking. Says what it does; never raises."""
    root = without_asking()
    if root is None:
        return
    print(f"Installing for the tests: {', '.join(packages)} …", flush=True)
    install = ["install", "--yes", "--no-install-recommends", *packages]
    # The download alone is cut short: killing apt-get while it unpacks would leave a broken system.
    steps = (
        (["update"], UPDATE_SECONDS),
        ([*install, "--download-only"], DOWNLOAD_SECONDS),
        ([*install, "--no-download"], UNPACK_SECONDS),
    )
    apt = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    for arguments, timeout_seconds in steps:
        if not _done(f"apt-get {arguments[0]}", [*apt, *arguments], timeout_seconds):
            return


def fetch(engine: JavaEngine, maven: str) -> None:
    """Have Maven fetch the jars, from where its own settings say. Says what it does; never raises."""
    print(f"Fetching for the tests: {engine.name} …", flush=True)
    shutil.rmtree(engine.folder, ignore_errors=True)
    command = [
        *(maven, "--batch-mode", "--quiet", "--strict-checksums", "--file", str(engine.pom)),
        *("dependency:copy-dependencies", f"-DoutputDirectory={engine.folder}"),
    ]
    if _done(f"Maven, for {engine.name},", command, DOWNLOAD_SECONDS):
        # Written last: jars without it are a download that was cut short.
        shutil.copyfile(engine.pom, engine.folder / "pom.xml")


def without_asking() -> list[str] | None:
    """What to put before apt-get to be allowed to install: nothing, sudo, or None if we may not."""
    if shutil.which("apt-get") is None:
        return None
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is None:
        return None
    asked = subprocess.run(["sudo", "-n", "true"], capture_output=True, timeout=10, check=False)
    return ["sudo", "-n"] if asked.returncode == 0 else None


def _done(name: str, command: Sequence[str], timeout_seconds: int) -> bool:
    """Run it. Whether it succeeded; if not, one line has said why."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout_seconds, check=False)
    except subprocess.TimeoutExpired:
        print(f"{name} took longer than {timeout_seconds} s: going on without.", flush=True)
        return False
    if done.returncode == 0:
        return True
    output = (done.stderr + done.stdout).decode(errors="replace")
    lines = [line for line in output.splitlines() if re.search(r"\w", line)]
    # Maven says first what went wrong, apt-get last.
    said = next((line for line in lines if "ERROR" in line), (lines or ["no reason"])[-1])
    print(f"{name} failed ({said.strip()}): going on without.", flush=True)
    return False


def _newest(command: str) -> str | None:
    if "*" not in command:
        return shutil.which(command)
    found = [str(path) for path in Path("/").glob(command.lstrip("/"))]
    return max(found, key=lambda path: [int(n) for n in re.findall(r"\d+", path)], default=None)


if __name__ == "__main__":
    provide([CHROMIUM, *SERVERS])
