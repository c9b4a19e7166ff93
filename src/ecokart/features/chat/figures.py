"""What the chat counts."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class Figures:
    """Connections, rooms, sends, deliveries, drops, resumes, and how long a message takes to a process.

    `registry` is None where several processes share their counts in files.
    """

    def __init__(self, registry: CollectorRegistry | None) -> None:
        def gauge(name: str, about: str) -> Gauge:
            return Gauge(name, about, registry=registry, multiprocess_mode="livesum")

        def counter(name: str, about: str) -> Counter:
            return Counter(name, about, registry=registry)

        self.connections = gauge("chat_connections", "Connections that are open.")
        self.rooms = gauge("chat_rooms", "Rooms that somebody here listens to.")
        self.sends = counter("chat_sends", "Messages that were stored.")
        self.duplicates = counter("chat_duplicates", "Messages that had been stored before.")
        self.deliveries = counter("chat_deliveries", "Frames of rooms handed to connections.")
        self.resumes = counter("chat_resumes", "Rooms gone on with behind a number.")
        self.gaps = counter("chat_gaps", "Resumes that missed more than is sent at once.")
        self.caught_up = counter("chat_caught_up", "Entries that came from the records, not live.")
        self.lag = Histogram(
            "chat_lag_seconds",
            "From storing a message to having it in a process with listeners.",
            buckets=LAG_BUCKETS,
            registry=registry,
        )
        drops = Counter("chat_drops", "Connections closed by us.", ("reason",), registry=registry)
        self._drops = drops
        self._by_reason: dict[str, Counter] = {}

    def dropped(self, reason: str) -> None:
        if reason not in self._by_reason:
            self._by_reason[reason] = self._drops.labels(reason)
        self._by_reason[reason].inc()
