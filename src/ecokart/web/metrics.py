"""Metrics in the Prometheus text format. Label children are made once and kept."""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress

from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from ecokart.core.errors import Unavailable
from ecokart.core.ports import Depth, Ports, Queue
from ecokart.web.pulse import PATIENCE_SECONDS, look

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
FRESH_SECONDS = 1.0


class Metrics:
    """What a process counts: requests by route and status, and what its worker has before it."""

    def __init__(self, *, several: bool = False) -> None:
        """`several`: processes behind one port, each of which shows what all of them counted together.

        They keep their counts in files that they share, which is prometheus_client's own way.
        """
        self._exposed = CollectorRegistry()
        # Where a room that counts things of its own keeps them.
        self.registry = registry = None if several else self._exposed
        if several:
            MultiProcessCollector(self._exposed)  # type: ignore[no-untyped-call]
        self._requests = Histogram(
            "http_request_duration_seconds",
            "Time to answer a request.",
            ("method", "route", "status"),
            buckets=BUCKETS,
            registry=registry,
        )
        self._events = Gauge(
            "events_waiting",
            "Events that nobody has reacted to yet.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._streams = Gauge(
            "streams_open",
            "Pages that are being kept up to date.",
            registry=registry,
            multiprocess_mode="livesum",
        )

        def shared(name: str, about: str, label: str) -> Gauge:
            # What it tells of is everybody's: who looked last knows best.
            return Gauge(name, about, (label,), registry=registry, multiprocess_mode="mostrecent")

        self._up = shared("port_up", "1 if the engine behind the port answers, else 0.", "port")
        self._waiting = shared("jobs_waiting", "Jobs not finished.", "lane")
        self._oldest = shared("jobs_oldest_seconds", "Age of the oldest job.", "lane")
        self._dead = shared("jobs_dead", "Dead letters.", "lane")
        self._children: dict[tuple[str, str, int], Histogram] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        child = self._children.get((method, route, status))
        if child is None:
            child = self._requests.labels(method, route, str(status))
            self._children[method, route, status] = child
        child.observe(seconds)

    def streams(self, count: int) -> None:
        """So many streams are open in this process now."""
        self._streams.set(count)

    async def keep_fresh(self, ports: Ports) -> None:
        """Until cancelled, keep what other processes show of this one at most a second old."""
        while True:
            self._events.set(len(ports.handoff.entries))
            await asyncio.sleep(FRESH_SECONDS)

    async def exposition(self, ports: Ports, lanes: list[str]) -> tuple[bytes, str]:
        """The page that Prometheus reads, and its content type. What can't be known is not a number."""
        self._events.set(len(ports.handoff.entries))
        matters = await look(ports)
        for port, matter in matters.items():
            self._up.labels(port).set(not matter)
        depths = {} if matters["queue"] else await _depths(ports.queue, lanes)
        for lane in lanes:
            depth = depths.get(lane)
            oldest_seconds = depth.oldest_seconds if depth else None
            self._waiting.labels(lane).set(depth.waiting if depth else math.nan)
            self._oldest.labels(lane).set(math.nan if oldest_seconds is None else oldest_seconds)
            self._dead.labels(lane).set(depth.dead if depth else math.nan)
        return generate_latest(self._exposed), CONTENT_TYPE_LATEST


async def _depths(queue: Queue, lanes: list[str]) -> dict[str, Depth]:
    """What waits in each lane, as far as that can be known in time."""
    depths = {}
    with suppress(TimeoutError, Unavailable):
        async with asyncio.timeout(PATIENCE_SECONDS):
            for lane in lanes:
                depths[lane] = await queue.depth(lane)
    return depths
