"""Metrics in the Prometheus text format. Label children are made once and kept."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from ecokart.core.ports import Ports

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """What a process counts: requests by route and status, and what its worker has before it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Histogram(
            "http_request_duration_seconds",
            "Time to answer a request.",
            ("method", "route", "status"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._waiting = Gauge(
            "jobs_waiting", "Jobs not finished.", ("lane",), registry=self.registry
        )
        self._oldest = Gauge(
            "jobs_oldest_seconds", "Age of the oldest job.", ("lane",), registry=self.registry
        )
        self._events = Gauge(
            "events_waiting", "Events this process has yet to react to.", registry=self.registry
        )
        self._dead = Gauge("jobs_dead", "Dead letters.", ("lane",), registry=self.registry)
        self._children: dict[tuple[str, str, int], Histogram] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        child = self._children.get((method, route, status))
        if child is None:
            child = self._requests.labels(method, route, str(status))
            self._children[method, route, status] = child
        child.observe(seconds)

    async def exposition(self, ports: Ports, lanes: list[str]) -> tuple[bytes, str]:
        """The page that Prometheus reads, and its content type."""
        self._events.set(len(ports.handoff.entries))
        for lane in lanes:
            depth = await ports.queue.depth(lane)
            self._waiting.labels(lane).set(depth.waiting)
            self._oldest.labels(lane).set(depth.oldest_seconds)
            self._dead.labels(lane).set(depth.dead)
        return generate_latest(self.registry), CONTENT_TYPE_LATEST
