"""Endpoints, what was or is to be delivered to them, and when it is tried again."""

from __future__ import annotations

import random
import secrets
from base64 import b64encode
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from ecokart.core.errors import Conflict, NotFound
from ecokart.core.records import Table
from ecokart.core.targets import Answer, Failure

MAX_ENDPOINTS = 10
SECRET_BYTES = 32  # Standard Webhooks takes 24 to 64
OVERLAP = timedelta(hours=24)  # in which a secret and the one before it both sign
# When an attempt failed: the next one after so long, as Standard Webhooks proposes.
DELAYS = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
JITTER = (
    0.2  # a part of the delay, at most, so that what failed together doesn't come back together
)
LONGEST_DELAY = timedelta(hours=24)  # however much patience a target asks for
# Whoever attempts a delivery has it to himself so long; a post is over within a fifth of that.
CLAIM = timedelta(seconds=60)
# What nobody attempted by then is brought up again: its job was lost with a process, or waits long.
OVERDUE = timedelta(minutes=2)
FIRST_POSTPONEMENT = timedelta(seconds=5)
LONGEST_POSTPONEMENT = timedelta(minutes=5)
# An endpoint that has taken nothing for so long, and failed all that time, is disabled.
FAILING = timedelta(days=5)
ATTEMPTS_KEPT = 30


class NoSuchEndpoint(NotFound):
    """This webhook endpoint doesn't exist."""


class NoSuchDelivery(NotFound):
    """This delivery doesn't exist, or is no longer kept."""


class TooManyEndpoints(Conflict):
    """There are as many webhook endpoints as one partner can have."""


class EndpointOff(Conflict):
    """This webhook endpoint is disabled. Please enable it first."""


class Topic(StrEnum):
    """What a partner can be told of."""

    ORDER_PLACED = "order.placed"
    ORDER_PROCESSING = "order.processing"
    ORDER_SHIPPED = "order.shipped"
    ORDER_COMPLETED = "order.completed"
    ORDER_CANCELLED = "order.cancelled"
    ORDER_FAILED = "order.failed"
    ORDER_REFUNDED = "order.refunded"
    STOCK_LOW = "stock.low"


# Sent when somebody asks for it, whatever the endpoint subscribes to.
PING = "endpoint.ping"


class Off(StrEnum):
    """Why an endpoint is disabled."""

    BY_HAND = "by_hand"
    GONE = "gone"  # it answered 410
    FAILING = "failing"


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An address of a partner's, and what it is to be told of.

    The secrets are kept as they are, since every message is signed with them. While a secret is
    being replaced the one before it signs too. `failing_since` is when the first of all attempts
    failed that have failed since it last took something.
    """

    id: str
    partner_id: str
    url: str
    topics: frozenset[Topic]
    secret: str
    previous_secret: str = ""
    previous_until: datetime | None = None
    created_at: datetime
    disabled_at: datetime | None = None
    disabled_because: Off | None = None
    failing_since: datetime | None = None
    listed: str = "all"

    def secrets(self, now: datetime) -> list[str]:
        """Those that sign: the current one, and the one before while that still holds."""
        overlap = self.previous_until is not None and now < self.previous_until
        return [self.secret, *([self.previous_secret] if overlap else [])]

    def off(self, because: Off, now: datetime) -> Endpoint:
        return replace(self, disabled_at=now, disabled_because=because)

    def on(self) -> Endpoint:
        """Enabled, its past failures forgotten."""
        return replace(self, disabled_at=None, disabled_because=None, failing_since=None)

    def after(self, answer: Answer, now: datetime) -> Endpoint:
        """What an attempt's outcome makes of the endpoint: failing, well again, or disabled."""
        if answer.failure is None:
            return replace(self, failing_since=None) if self.failing_since else self
        since = self.failing_since or now
        failing = self if self.failing_since else replace(self, failing_since=since)
        if answer.status == 410:
            return failing.off(Off.GONE, now)
        return failing.off(Off.FAILING, now) if now - since >= FAILING else failing


class State(StrEnum):
    """Where a delivery stands."""

    WAITING = "WAITING"
    DELIVERED = "DELIVERED"
    DEAD = "DEAD"  # given up; it can be sent again


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try: what the target answered, and how long it took. `status` is 0 where nothing came."""

    at: datetime
    status: int
    seconds: float
    failure: Failure | None = None
    excerpt: str = ""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A message to an endpoint. `id` is its `webhook-id` and `body` its bytes, the same however often
    it is sent.

    `tries` counts the attempts since it was last asked for, `attempts` are the newest of all. `about`
    names the order or the SKU. While it waits it is due at `next_at`; `claimed_until` says that
    somebody is attempting it right now.
    """

    id: str
    endpoint_id: str
    partner_id: str
    topic: str
    about: str
    body: str
    state: State = State.WAITING
    attempts: tuple[Attempt, ...] = ()
    tries: int = 0
    postponed: int = 0
    created_at: datetime
    asked_at: datetime
    waiting: str | None = "yes"
    next_at: datetime | None = None
    claimed_until: datetime | None = None
    expires_at: datetime

    def claimed(self, now: datetime) -> Delivery:
        """In the hands of whoever attempts it now."""
        return replace(self, claimed_until=now + CLAIM, next_at=now + OVERDUE)

    def postponed_from(self, now: datetime) -> Delivery:
        """To be attempted later, since its target is too busy with others just now."""
        ceiling = min(FIRST_POSTPONEMENT * 2 ** min(self.postponed, 10), LONGEST_POSTPONEMENT)
        delay = ceiling * (0.5 + random.random() / 2)  # noqa: S311 (jitter, not a secret)
        return replace(self, postponed=self.postponed + 1, claimed_until=None, next_at=now + delay)

    def after(self, answer: Answer, now: datetime) -> Delivery:
        """What an attempt's outcome makes of it: delivered, to be tried again, or dead."""
        attempt = Attempt(
            at=now,
            status=answer.status,
            seconds=answer.seconds,
            failure=answer.failure,
            excerpt=answer.excerpt,
        )
        tried = replace(
            self,
            attempts=(*self.attempts, attempt)[-ATTEMPTS_KEPT:],
            tries=self.tries + 1,
            postponed=0,
            claimed_until=None,
        )
        if answer.failure is None:
            return tried.ended(State.DELIVERED)
        if answer.status == 410 or self.tries >= len(DELAYS):
            return tried.ended(State.DEAD)
        return replace(tried, next_at=now + delay_after(self.tries, answer))

    def ended(self, state: State) -> Delivery:
        return replace(self, state=state, waiting=None, next_at=None, claimed_until=None)

    def again(self, now: datetime) -> Delivery:
        """To be sent once more, with all attempts before it."""
        return replace(
            self,
            state=State.WAITING,
            tries=0,
            postponed=0,
            asked_at=now,
            waiting="yes",
            next_at=now,
            claimed_until=None,
        )


def delay_after(tries: int, answer: Answer) -> timedelta:
    """How long to wait after the failure of an attempt that so many others went before.

    A target that is overloaded may ask for more patience, up to a day (429 and 503 with Retry-After).
    """
    delay = DELAYS[tries] * (1 + random.random() * JITTER)  # noqa: S311 (jitter, not a secret)
    if answer.status in (429, 503) and answer.retry_after_seconds:
        asked = min(answer.retry_after_seconds, LONGEST_DELAY.total_seconds())
        return max(delay, timedelta(seconds=asked))
    return delay


def new_signing_secret() -> str:
    return f"whsec_{b64encode(secrets.token_bytes(SECRET_BYTES)).decode()}"


ENDPOINTS = Table(
    "webhook_endpoints",
    Endpoint,
    key="id",
    indexes={"by_partner": ("partner_id", "created_at"), "all": ("listed", "-created_at")},
)
DELIVERIES = Table(
    "webhook_deliveries",
    Delivery,
    key="id",
    indexes={
        "by_endpoint": ("endpoint_id", "-created_at"),
        "by_due": ("waiting", "next_at"),
    },
    expires="expires_at",
)
