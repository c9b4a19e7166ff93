"""Find, or install, what the tests need from outside. `make test` runs this before pytest.

It costs nothing when everything is there. What is missing is installed where nobody has to be asked
(apt-get, as root or with a sudo that wants no password); else the tests that need it skip with one
line that says so, and fail under `CI=true`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

UPDATE_SECONDS = 60
DOWNLOAD_SECONDS = 180
UNPACK_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Engine:
    """A program from outside: any one of `commands` will do, and Debian's `package` brings one."""

    name: str
    commands: tuple[str, ...]
    package: str

    def find(self) -> str | None:
        """Where it is, or None."""
        return next((path for command in self.commands if (path := shutil.which(command))), None)


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
ENGINES = (CHROMIUM,)


def require(engine: Engine) -> str:
    """Where the engine is, for a fixture. Without it the test skips, or fails under `CI=true`."""
    if found := engine.find():
        return found
    missing = f"{engine.name} is missing: install {engine.package} to run this test"
    if os.environ.get("CI") == "true":
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing)


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
        try:
            done = subprocess.run(
                [*apt, *arguments], capture_output=True, timeout=timeout_seconds, check=False
            )
        except subprocess.TimeoutExpired:
            print(f"apt-get {arguments[0]} took longer than {timeout_seconds} s: going on without.")
            return
        if done.returncode:
            last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no reason"])[-1]
            print(f"apt-get {arguments[0]} failed ({last}): going on without.")
            return


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


def main() -> None:
    """Install what is missing, then name what still is."""
    if missing := [engine for engine in ENGINES if engine.find() is None]:
        install([engine.package for engine in missing])
    for engine in ENGINES:
        if engine.find() is None:
            what = "fail" if os.environ.get("CI") == "true" else "skip"
            print(f"{engine.name} is missing: the tests that need it will {what}.")


if __name__ == "__main__":
    main()
