"""The processes that are measured, each on a core that the load doesn't use."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter

from ecokart.settings import Settings, load

# The tests' own speed mustn't be what is limited.
UNLIMITED = {"ECOKART_RATE_LIMIT": "1000000000"}
START_SECONDS = 30


class NotStarted(Exception):
    """The process ended, or didn't answer in time."""


class Server:
    """A process that answers on a port of 127.0.0.1. It is started on making one."""

    def __init__(
        self,
        command: list[str],
        port: int,
        log: Path,
        *,
        environ: Mapping[str, str] | None = None,
        ready: str = "/",
        cores: Iterable[int] = (),
    ) -> None:
        self.port, self.log = port, log
        started = perf_counter()
        with log.open("ab") as output, on_cores(cores or [server_core()]):
            self._process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env=_environment(environ or {})
            )
        self.seconds_to_first_answer = self._wait(ready, started)

    def memory_mb(self) -> float:
        """The resident memory, as the kernel counts it."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    @property
    def process_id(self) -> int:
        return self._process.pid

    def workers(self) -> list[int]:
        """The processes that it has started, by their ids."""
        own = f"/proc/{self.process_id}/task/{self.process_id}/children"
        return [int(child) for child in Path(own).read_text().split()]

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """As a power cut would, for it and for its workers: nothing is finished, nothing is told."""
        workers = self.workers()
        self._process.send_signal(signal.SIGKILL)
        for worker in workers:
            kill(worker)
        self._process.wait()

    def _wait(self, path: str, started: float) -> float:
        asked = f"GET {path} HTTP/1.0\r\nhost: 127.0.0.1\r\n\r\n".encode()
        while perf_counter() - started < START_SECONDS:
            if self._process.poll() is not None:
                break
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                    connection.sendall(asked)
                    if connection.recv(12)[9:12] == b"200":
                        return perf_counter() - started
            except OSError:
                pass
            time.sleep(0.003)
        self._process.kill()
        raise NotStarted(self.log.read_text(errors="replace")[-2000:])


def settings_of(folder: Path, port: int, **more: str) -> tuple[Settings, dict[str, str]]:
    """The settings of a shop in that folder, and the environment that says them to a process."""
    environ = UNLIMITED | {"ECOKART_DATA_DIR": str(folder), "ECOKART_PORT": str(port)} | more
    return load(environ), environ


def shop(folder: Path, port: int, **more: str) -> Server:
    """`ecokart serve` over that folder, answering."""
    return _shop(folder, port, ["serve"], more, cores=[server_core()])


def shop_of(processes: int, folder: Path, port: int, **more: str) -> Server:
    """The same with several processes behind the port, on all cores."""
    return _shop(folder, port, ["serve", "--workers", str(processes)], more, cores=_ALL_CORES)


def service(name: str, folder: Path, port: int, **more: str) -> Server:
    """A service of the shop over that folder, answering for its own rooms."""
    return _shop(
        folder, port, ["serve", "--service", name], more, cores=_ALL_CORES, ready="/health/ready"
    )


def _shop(
    folder: Path,
    port: int,
    command: list[str],
    more: Mapping[str, str],
    *,
    cores: Iterable[int],
    ready: str = "/api/products?limit=1",
) -> Server:
    _, environ = settings_of(folder, port, **more)
    return Server(
        [sys.executable, "-c", "from ecokart.cli import main; main()", *command],
        port,
        folder / "server.log",
        environ=environ,
        ready=ready,
        cores=cores,
    )


def kill(process: int) -> None:
    """SIGKILL, if it is still there; returns when it is gone."""
    with suppress(ProcessLookupError):
        while True:
            os.kill(process, signal.SIGKILL)
            if _is_dead(process):
                return
            time.sleep(0.001)


def _is_dead(process: int) -> bool:
    """Gone, or what is left of it until its parent looks."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def server_core() -> int:
    return max(all_cores())


def load_core() -> int:
    """Where the load runs; on a machine of one core it shares that with the server."""
    return min(all_cores())


def stay_on(core: int) -> None:
    """Keep this process, and what it starts, on one core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


_ALL_CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]


def all_cores() -> list[int]:
    return _ALL_CORES


@contextmanager
def on_cores(cores: Iterable[int]) -> Iterator[None]:
    """What is started in here inherits the cores, and this process goes back to its own."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    """Ours without settings of the shop that happen to be set, and those given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ECOKART_")}
    return kept | dict(given)
