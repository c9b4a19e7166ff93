"""The real servers as processes of ours: each in a folder and on a port of its own, and ended with us."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from random import randrange

from tests.setup_engines import DYNAMODB, ELASTICMQ, JAVA, POSTGRESQL, REDIS, Engine, JavaEngine

HOST = "127.0.0.1"
START_SECONDS = 60.0
STOP_SECONDS = 15.0
REGION = "eu-central-1"
# Below what systems hand out by themselves, so that no connection takes the port in between.
PORTS = (20_000, 32_000)


class NotStarted(Exception):
    """The server ended, or didn't answer in time; the message says which and its last words."""


def free_port() -> int:
    """A port on which nobody listens."""
    while True:
        port = randrange(*PORTS)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port


class Server(ABC):
    """A server of our own. `begin` and `wait`, or both as `start`; then `stop`, or `kill` and `start`.

    It ends with the thread that began it where the system can see to that (Linux).
    """

    engine: Engine | JavaEngine
    stop_signal = signal.SIGTERM
    owner: int | None = None  # the user it runs as, if not ours

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder, self.port = folder, port or free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """What the tests' servers are found by: see `tests.servers`."""

    @abstractmethod
    def command(self) -> list[str]:
        """What to run."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it is ready for work."""

    def prepare(self) -> None:
        """Make the folder, and in it what the first start needs."""
        self.folder.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        """Begin, and return when it answers. Raises `NotStarted`."""
        self.begin()
        self.wait()

    def begin(self) -> None:
        """Start the process, and don't wait for it."""
        self.prepare()
        self._begin()

    def wait(self, timeout_seconds: float = START_SECONDS) -> None:
        """Return when it answers. Raises `NotStarted`, and has stopped it then."""
        deadline = time.monotonic() + timeout_seconds
        while not self.answers():
            ended = self._process is not None and self._process.poll() is not None
            if ended and time.monotonic() < deadline:
                # What a kill left behind (a port, shared memory) is gone in a moment.
                time.sleep(0.2)
                self._begin()
            elif time.monotonic() > deadline:
                self.kill()
                raise NotStarted(f"{self.engine.name} doesn't start: {self._last_words()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Have it end orderly, whatever its clients say. Nothing happens if it doesn't run."""
        if self._process is None:
            return
        self._process.send_signal(self.stop_signal)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """SIGKILL, for it and for all of its own: as a power cut would, nothing is finished."""
        if self._process is None:
            return
        children = _children(self._process.pid)
        self._process.kill()
        for child in children:
            _kill(child)
        self._process.wait()
        self._process = None

    def _begin(self) -> None:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*_ends_with_us(self.stop_signal), *self.command()],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A terminal's Ctrl-C is for us: we stop the servers in order.
                start_new_session=True,
                user=self.owner,
                group=_group(self.owner),
                extra_groups=None if self.owner is None else [],
            )

    @property
    def _log(self) -> Path:
        return self.folder / "server.log"

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


class PostgreSQL(Server):
    """PostgreSQL as it comes, fsync on, with a database `shop` and another one `tests`.

    It refuses to be run by root: then it runs as another user, in a folder that this one can reach.
    Its databases sort as people do, not by bytes: whoever needs bytes has to say so.
    """

    engine = POSTGRESQL
    stop_signal = signal.SIGINT  # doesn't wait for the clients to leave

    def __init__(self, folder: Path, port: int | None = None) -> None:
        super().__init__(folder, port)
        self._temporary: Path | None = None
        if os.geteuid() == 0:
            self.owner = _unprivileged()
            if not _reachable(folder):
                self._temporary = self.folder = Path(tempfile.mkdtemp(prefix="postgresql-"))

    @property
    def url(self) -> str:
        return self.database("tests")

    def database(self, name: str) -> str:
        """The URL of `shop` or `tests`."""
        return f"postgresql://ecokart@{HOST}:{self.port}/{name}"

    def prepare(self) -> None:
        super().prepare()
        if self.owner is not None:
            os.chown(self.folder, self.owner, -1)
        if not (self._data / "PG_VERSION").exists():
            self._initialise()

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": HOST,
            "port": self.port,
            "unix_socket_directories": "",  # a folder's name may be too long for a socket's
            "max_connections": 300,
            "fsync": "on",
        }
        given = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [self._program("postgres"), "-D", str(self._data), *given]

    def answers(self) -> bool:
        asked = [self._program("pg_isready"), "-q", "-h", HOST, "-p", str(self.port)]
        return subprocess.run(asked, capture_output=True, timeout=10, check=False).returncode == 0

    def wait(self, timeout_seconds: float = START_SECONDS) -> None:
        super().wait(timeout_seconds)
        if not (made := self.folder / "databases-made").exists():
            for name in ("shop", "tests"):
                self._run("createdb", "-h", HOST, "-p", str(self.port), "-U", "ecokart", name)
            made.touch()

    def forget_tests(self) -> None:
        """Empty the database `tests`, as it was before the first test."""
        reach = ("-h", HOST, "-p", str(self.port), "-U", "ecokart")
        self._run("dropdb", *reach, "--force", "tests")
        self._run("createdb", *reach, "tests")

    def stop(self) -> None:
        super().stop()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _initialise(self) -> None:
        # One that was cut short is begun again.
        shutil.rmtree(self._data, ignore_errors=True)
        options = ["-D", str(self._data), "-U", "ecokart", "--auth=trust", "--encoding=UTF8"]
        options += ["--no-sync", "--locale=C"]
        if "--locale-provider" in self._run("initdb", "--help"):
            options += ["--locale-provider=icu", "--icu-locale=en-US"]
        self._run("initdb", *options)

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [self._program(program), *arguments],
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
            cwd=self.folder,
            user=self.owner,
            group=_group(self.owner),
            extra_groups=None if self.owner is None else [],
        )
        if done.returncode:
            raise NotStarted(f"{program} failed: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def _program(self, name: str) -> str:
        return str(Path(self.engine.find() or "").resolve().with_name(name))


class Redis(Server):
    """Redis without anything kept on disk."""

    engine = REDIS

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/1"

    def command(self) -> list[str]:
        reach = ("--bind", HOST, "--port", str(self.port), "--dir", str(self.folder))
        return [self.engine.find() or "", *reach, "--save", "", "--appendonly", "no"]

    def answers(self) -> bool:
        return _asked(self.port, b"PING\r\n").startswith(b"+PONG")


class Java(Server):
    """A server that speaks HTTP and runs on Java, keeping everything in memory."""

    engine: JavaEngine
    memory = "256m"

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def command(self) -> list[str]:
        jars = self.engine.folder
        # Quick to start is worth more here than quick in the long run.
        java = [JAVA.find() or "", f"-Xmx{self.memory}", "-XX:TieredStopAtLevel=1"]
        return [*java, f"-Djava.library.path={jars}", "-cp", f"{jars}/*"]

    def answers(self) -> bool:
        return bool(_asked(self.port, b"GET / HTTP/1.0\r\nhost: localhost\r\n\r\n"))


class DynamoDB(Java):
    """Amazon's DynamoDB Local. One for all regions and keys (`-sharedDb`)."""

    engine = DYNAMODB
    memory = "768m"

    def command(self) -> list[str]:
        options = ("-inMemory", "-sharedDb", "-disableTelemetry", "-port", str(self.port))
        main = "software.amazon.dynamodb.services.local.main.ServerRunner"
        return [*super().command(), main, *options]


class ElasticMQ(Java):
    """ElasticMQ, which speaks SQS."""

    engine = ELASTICMQ

    def command(self) -> list[str]:
        settings = {
            "rest-sqs.bind-hostname": HOST,
            "rest-sqs.bind-port": self.port,
            "rest-stats.enabled": "false",
            "node-address.host": HOST,
            "node-address.port": self.port,
            "aws.region": REGION,
        }
        *java, option, jars = super().command()
        given = [f"-D{name}={value}" for name, value in settings.items()]
        return [*java, *given, option, jars, "org.elasticmq.server.Main"]


def _asked(port: int, question: bytes) -> bytes:
    """The beginning of the answer, or nothing."""
    try:
        with socket.create_connection((HOST, port), 1) as connection:
            connection.settimeout(2)
            connection.sendall(question)
            return connection.recv(64)
    except OSError:
        return b""


def _ends_with_us(how: signal.Signals) -> list[str]:
    """What to put before a command so that the system ends it when we are killed."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", how.name.removeprefix("SIG"), "--"] if setpriv else []


def _unprivileged() -> int:
    known = {user.pw_name: user.pw_uid for user in pwd.getpwall()}
    return known.get("postgres", known.get("nobody", 65_534))


def _group(user: int | None) -> int | None:
    return None if user is None else pwd.getpwuid(user).pw_gid


def _reachable(folder: Path) -> bool:
    """Whether every user may go through the folders above, as far as they exist."""
    return all(parent.stat().st_mode & 0o001 for parent in folder.parents if parent.exists())


def _children(pid: int) -> list[int]:
    try:
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
    except OSError:
        return []


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
