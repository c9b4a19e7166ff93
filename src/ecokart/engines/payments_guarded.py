"""A circuit breaker around a provider of payments: while it is away nobody waits for it.

After a few failures in a row it isn't asked any more for a while: every call is `Unavailable` at
once. Then one call at a time is let through, and the first that succeeds ends it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pybreaker import (
    STATE_CLOSED,
    STATE_OPEN,
    CircuitBreaker,
    CircuitBreakerError,
    CircuitBreakerListener,
)

from ecokart.core.errors import Problem, Unavailable
from ecokart.core.money import Money
from ecokart.core.payments import Charge, Notice, Payment, Payments
from ecokart.core.rehearsal import Rehearsal

FAILURES = 5
AWAY_SECONDS = 30.0

log = logging.getLogger("ecokart.engines")


class GuardedPayments:
    """`Payments` over another one. A refusal is an answer; only `Unavailable` counts as a failure."""

    def __init__(
        self, payments: Payments, *, failures: int = FAILURES, away_seconds: float = AWAY_SECONDS
    ) -> None:
        self._payments = payments
        self._why = ""
        self._probing = False
        self._breaker = CircuitBreaker(
            fail_max=failures,
            reset_timeout=away_seconds,
            exclude=[_is_an_answer],
            listeners=[_Told()],
            throw_new_error_on_trip=False,
        )

    @property
    def methods(self) -> tuple[str, ...]:
        return self._payments.methods

    @property
    def rehearsal(self) -> Rehearsal | None:
        return self._payments.rehearsal

    async def begin(self, charge: Charge, *, key: str) -> Payment:
        with self._guarded():
            return await self._payments.begin(charge, key=key)

    async def look(self, reference: str) -> Payment:
        with self._guarded():
            return await self._payments.look(reference)

    async def capture(self, reference: str, amount: Money, *, key: str) -> Payment:
        with self._guarded():
            return await self._payments.capture(reference, amount, key=key)

    async def cancel(self, reference: str, *, key: str) -> Payment:
        with self._guarded():
            return await self._payments.cancel(reference, key=key)

    async def refund(self, reference: str, amount: Money, *, key: str) -> Payment:
        with self._guarded():
            return await self._payments.refund(reference, amount, key=key)

    def read_notice(self, headers: Mapping[str, str], body: bytes) -> Notice | None:
        return self._payments.read_notice(headers, body)

    async def ping(self) -> str:
        with self._guarded():
            return await self._payments.ping()

    async def close(self) -> None:
        await self._payments.close()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """One call of the provider. Raises `Unavailable` without one while it is set aside."""
        probe = self._breaker.current_state != STATE_CLOSED
        if probe and self._probing:  # the library lets all of them through at once
            raise self._set_aside()
        self._probing = probe
        try:
            with self._breaker.calling():
                yield
        except CircuitBreakerError:
            raise self._set_aside() from None
        except Unavailable as error:
            self._why = str(error)
            raise
        finally:
            if probe:
                self._probing = False

    def _set_aside(self) -> Unavailable:
        return Unavailable(f"The provider of payments is set aside for a while: {self._why}")


class _Told(CircuitBreakerListener):
    """Tells people when the provider goes and comes."""

    def state_change(self, cb: CircuitBreaker, old_state: Any, new_state: Any) -> None:
        if new_state.name == STATE_OPEN:
            log.warning("payments: set aside for %g s", cb.reset_timeout)
        elif new_state.name == STATE_CLOSED:
            log.info("payments: the provider is back")


def _is_an_answer(error: BaseException) -> bool:
    return isinstance(error, Problem) and not isinstance(error, Unavailable)
