"""Commits on their way: gathered into groups, sent on lanes, and told how they ended.

A group is sent on a lane, and the function notes in the lane's row how it ended. If the connection breaks
before the answer, that row tells whether the group is committed; if it isn't, asking also makes sure that it
never will be, even if its backend still works on it. So a group is sent again only when nothing of it was done,
and `OutcomeUnknown` is raised only where the database stays away.
"""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections import deque
from collections.abc import Sequence
from typing import Any

import asyncpg

from ecokart.core.clock import Clock
from ecokart.core.errors import Invalid, Unavailable
from ecokart.core.records import OutcomeUnknown, microseconds
from ecokart.engines.records_postgres_connections import ERRORS, Connections, broken, sentence
from ecokart.engines.records_postgres_function import ADJUST, CommitFunction
from ecokart.engines.records_postgres_group import Commit, arguments
from ecokart.engines.records_postgres_sql import LANES, quoted

GROUP = 256  # commits that go together at the most
IN_FLIGHT = 3  # groups at once
SEARCHED = 4 * GROUP  # how many that wait are looked through for a group
ATTEMPTS = 5
PAUSE_SECONDS = 0.02
RESOLVE_SECONDS = 10.0
ASK_SECONDS = 2.0
RESOLVE_PAUSE_SECONDS = 0.1
GIVEN_UP = -1  # in place of outcomes, in the row of a group that wasn't committed
# Rolled back for the others' sake: a serialisation failure, a deadlock, a plan older than the tables.
AGAIN = ("40001", "40P01", "0A000")
# Classes of errors that are about the values of one commit, not about the server's own state.
NOT_TAKEN = ("22", "23", "54")

Locks = dict[tuple[int, str], bool]  # what is locked, and whether others may adjust it too

log = logging.getLogger("ecokart.records")


class Lane:
    """On which groups go one after the other. `turn` is the number of the last whose end is known."""

    def __init__(self) -> None:
        self.id = uuid.uuid4()
        self.turn = 0


class Committing:
    """Takes commits and settles each."""

    def __init__(
        self, connections: Connections, schema: str, function: CommitFunction, clock: Clock
    ) -> None:
        self._connections, self._clock = connections, clock
        self._call = function.call
        lanes = f"{quoted(schema)}.{LANES}"
        # The row of a group that isn't committed is taken in its place, so that the group can't have it any more.
        self._give_up = (
            f"INSERT INTO {lanes} AS l (lane, turn, outcomes, ended) VALUES ($1, $2, '{{{GIVEN_UP}}}', now())"
            " ON CONFLICT (lane) DO UPDATE SET turn = excluded.turn, outcomes = excluded.outcomes,"
            " ended = excluded.ended WHERE l.turn < excluded.turn"
        )
        self._ended = f"SELECT outcomes FROM {lanes} WHERE lane = $1 AND turn = $2"
        self._waiting: deque[Commit] = deque()
        self._busy: Locks = {}
        self._lanes = [Lane() for _ in range(IN_FLIGHT)]
        self._running: set[asyncio.Task[None]] = set()
        self._called = False

    def add(self, commit: Commit) -> None:
        """Send it with the next group. What comes within one turn of the loop goes together."""
        self._waiting.append(commit)
        if not self._called:
            self._called = True
            asyncio.get_running_loop().call_soon(self._start)

    async def finish(self) -> None:
        """Return once everything that was added is settled."""
        while self._waiting or self._running:
            await asyncio.wait(self._running) if self._running else await asyncio.sleep(0)

    def _start(self) -> None:
        self._called = False
        while self._lanes and self._waiting:
            group = self._take()
            if not group:
                return  # all wait for records that are in flight
            task = asyncio.create_task(self._run(self._lanes.pop(), group))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    def _take(self) -> list[Commit]:
        """The next group: commits that neither share a record, unless to adjust it, nor one in flight.

        Whoever has to wait for a record keeps his place: nobody who came later takes it first.
        """
        group: list[Commit] = []
        kept: list[Commit] = []
        blocked: set[tuple[int, str]] = set()
        locks: Locks = {}
        for _ in range(min(len(self._waiting), SEARCHED)):
            commit = self._waiting.popleft()
            if self._fits(commit, locks, blocked):
                locks.update({step.place: step.kind == ADJUST for step in commit.steps})
                group.append(commit)
                if len(group) == GROUP:
                    break
            else:
                blocked.update([step.place for step in commit.steps])
                kept.append(commit)
        self._waiting.extendleft(reversed(kept))
        self._busy.update(locks)
        return group

    def _fits(self, commit: Commit, locks: Locks, blocked: set[tuple[int, str]]) -> bool:
        for place, kind, *_ in commit.steps:
            if place in self._busy or place in blocked:
                return False
            if place in locks and not (locks[place] and kind == ADJUST):
                return False
        return True

    async def _run(self, lane: Lane, group: list[Commit]) -> None:
        """Settle every commit of the group, whatever happens."""
        try:
            await self._settle(lane, group)
        except Unavailable as problem:
            for commit in group:
                commit.fail(problem)
            if isinstance(problem, OutcomeUnknown):
                lane = Lane()  # where it may still come to its end, nobody waits for it
        except BaseException as error:
            for commit in group:
                commit.fail(OutcomeUnknown(sentence(error)))
            log.exception("a group of commits ended unexpectedly")
            lane = Lane()
            raise
        finally:
            for commit in group:
                for step in commit.steps:
                    self._busy.pop(step.place, None)
            self._lanes.append(lane)
            self._start()

    async def _settle(self, lane: Lane, group: Sequence[Commit]) -> None:
        """Raises `Unavailable` with nothing of the group applied, and `OutcomeUnknown`."""
        try:
            outcomes = await self._outcomes(lane, arguments(group))
        except asyncpg.PostgresError as error:
            if str(error.sqlstate)[:2] not in NOT_TAKEN:
                raise Unavailable(f"This can't be written: {sentence(error)}.") from error
            if len(group) == 1:
                group[0].fail(Invalid(f"No record can have that: {sentence(error)}."))
                return
            # The server can't take one of them: each goes for itself, so that only that one fails.
            for commit in group:
                await self._settle(lane, [commit])
        else:
            for commit, outcome in zip(group, outcomes or [0] * len(group), strict=True):
                commit.settle(outcome)

    async def _outcomes(self, lane: Lane, group: Sequence[Any]) -> Sequence[int] | None:
        """How each commit of the group ended; None: all hold. Sent again where it's sure that nothing was done.

        Raises `Unavailable`, `OutcomeUnknown`, and the server's own error where that is no reason to try again.
        """
        for attempt in range(ATTEMPTS):
            parameters = (lane.id, lane.turn + 1, microseconds(self._clock.now()), *group)
            try:
                async with self._connections.use() as connection:
                    outcomes: Sequence[int] | None = await connection.fetchval(
                        self._call, *parameters
                    )
            except ERRORS as error:
                if broken(error):
                    held, outcomes = await self._resolve(lane)
                    if held:
                        return outcomes
                elif str(error.sqlstate) not in AGAIN:  # type: ignore[union-attr]
                    raise
                log.warning("a group of commits is sent again: %s", sentence(error))
            except Unavailable:
                if attempt == 0:
                    raise  # at once: whoever waits can be told now
            else:
                lane.turn += 1
                return outcomes
            await asyncio.sleep(PAUSE_SECONDS * 2**attempt * random.random())  # noqa: S311 (jitter, not a secret)
        raise Unavailable("PostgreSQL gave up this commit again and again.")

    async def _resolve(self, lane: Lane) -> tuple[bool, Sequence[int] | None]:
        """Whether the group whose answer was lost is committed, and how its commits ended.

        If it isn't, it never will be: its turn is taken. Raises `OutcomeUnknown` if the database stays away.
        """
        turn = lane.turn + 1
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                while True:
                    try:
                        async with self._connections.use() as connection:
                            await connection.execute(
                                self._give_up, lane.id, turn, timeout=ASK_SECONDS
                            )
                            row = await connection.fetchrow(
                                self._ended, lane.id, turn, timeout=ASK_SECONDS
                            )
                        break
                    except (*ERRORS, Unavailable):
                        await asyncio.sleep(RESOLVE_PAUSE_SECONDS)
        except TimeoutError:
            why = f"The connection broke, and PostgreSQL was away for {RESOLVE_SECONDS:g} seconds."
            raise OutcomeUnknown(why) from None
        lane.turn = turn
        outcomes = row["outcomes"] if row else [GIVEN_UP]
        return outcomes != [GIVEN_UP], outcomes
