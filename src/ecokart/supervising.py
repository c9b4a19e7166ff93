"""Several processes of the shop behind one port.

The supervisor opens the socket, serves nothing itself, and starts workers: processes of their own that
all accept from that socket, so that whoever is free takes the next connection, and one that waits when
a worker dies is another's. A worker that ends is followed by another one, after a pause that grows while
they don't live long. Told to end, the supervisor tells its workers, and waits until they are through.
Should it die itself, the workers notice the end of their standard input, which it holds, and end too.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic

from prometheus_client.multiprocess import mark_process_dead

from ecokart.settings import inherited

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
STEADY_SECONDS = 10.0  # who lives that long was no failed start
# What a worker may take for its last requests and jobs, and a little more.
PATIENCE_SECONDS = 80.0
REFUSED = 2  # how a worker ends that doesn't like its settings; the next wouldn't either

log = logging.getLogger("ecokart.supervisor")


class Supervisor:
    """Keeps `count` workers running. `arguments` are what `ecokart` is started with for each."""

    def __init__(self, arguments: Sequence[str], count: int, listener: socket.socket) -> None:
        self._count, self._listener = count, listener
        self._command = [sys.executable, "-P", "-m", "ecokart", *arguments]
        self._command += ["--socket", str(listener.fileno())]
        self._workers: set[Process] = set()
        self._stopping = asyncio.Event()
        self._exit_code = 0

    async def run(self) -> int:
        """Until told to stop, or until a worker is refused for its settings. The exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._end, number)
        with tempfile.TemporaryDirectory(prefix="ecokart-") as counted:
            places = [asyncio.create_task(self._fill(Path(counted))) for _ in range(self._count)]
            await self._stopping.wait()
            await asyncio.wait(places, timeout=PATIENCE_SECONDS)
            self._signal(signal.SIGKILL)
            await asyncio.gather(*places)
        return self._exit_code

    def _end(self, number: signal.Signals = signal.SIGTERM) -> None:
        self._stopping.set()
        self._signal(number)

    def _signal(self, number: signal.Signals) -> None:
        for worker in self._workers:
            with suppress(ProcessLookupError):  # it ended at this moment
                worker.send_signal(number)

    async def _fill(self, counted: Path) -> None:
        """Have one worker after the other in this place."""
        pause = FIRST_PAUSE_SECONDS
        while not self._stopping.is_set():
            began = monotonic()
            worker = await self._start(counted)
            code = await worker.wait()
            self._workers.discard(worker)
            mark_process_dead(worker.pid, str(counted))  # type: ignore[no-untyped-call]
            if self._stopping.is_set():
                return
            if code == REFUSED:
                self._exit_code = code
                self._end()
                return
            pause = pause * 2 if monotonic() - began < STEADY_SECONDS else FIRST_PAUSE_SECONDS
            pause = min(pause, LONGEST_PAUSE_SECONDS)
            log.error("worker %d ended with %d, the next starts in %.1f s", worker.pid, code, pause)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def _start(self, counted: Path) -> Process:
        worker = await asyncio.create_subprocess_exec(
            *self._command,
            pass_fds=[self._listener.fileno()],
            stdin=PIPE,
            # Ctrl-C in a terminal reaches the supervisor alone, which passes it on once.
            start_new_session=True,
            # Where prometheus_client keeps the counts that all workers show together.
            env=inherited(PROMETHEUS_MULTIPROC_DIR=str(counted)),
        )
        self._workers.add(worker)
        if self._stopping.is_set():
            worker.terminate()
        return worker
