"""Metrics in the Prometheus text format. Label children are made once and kept."""

from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from ecokart.core.ports import Ports

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
FRESH_SECONDS = 1.0


class Metrics:
    """What a process counts: requests by route and status, and what its worker has before it."""

    def __init__(self, *, several: bool = False) -> None:
        """`several`: processes behind one port, each of which shows what all of them counted together.

        They keep their counts in files that they share, which is prometheus_client's own way.
        """
        self._exposed = CollectorRegistry()
        registry = None if several else self._exposed
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

        def of_lanes(name: str, about: str) -> Gauge:
            # The queue is everybody's: who looked last knows best.
            return Gauge(name, about, ("lane",), registry=registry, multiprocess_mode="mostrecent")

        self._waiting = of_lanes("jobs_waiting", "Jobs not finished.")
        self._oldest = of_lanes("jobs_oldest_seconds", "Age of the oldest job.")
        self._dead = of_lanes("jobs_dead", "Dead letters.")
        self._children: dict[tuple[str, str, int], Histogram] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        child = self._children.get((method, route, status))
        if child is None:
            child = self._requests.labels(method, route, str(status))
            self._children[method, route, status] = child
        child.observe(seconds)

    async def keep_fresh(self, ports: Ports) -> None:
        """Until cancelled, keep what other processes show of this one at most a second old."""
        while True:
            self._events.set(len(ports.handoff.entries))
            await asyncio.sleep(FRESH_SECONDS)

    async def exposition(self, ports: Ports, lanes: list[str]) -> tuple[bytes, str]:
        """The page that Prometheus reads, and its content type."""
        self._events.set(len(ports.handoff.entries))
        for lane in lanes:
            depth = await ports.queue.depth(lane)
            self._waiting.labels(lane).set(depth.waiting)
            self._oldest.labels(lane).set(depth.oldest_seconds)
            self._dead.labels(lane).set(depth.dead)
        return generate_latest(self._exposed), CONTENT_TYPE_LATEST
