"""Orders at a steady rate for a minute, each followed from the moment it was due until it is COMPLETED."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bench import processes
from bench.crowd import crowd
from bench.load import UnexpectedAnswers, percentile
from bench.partners import joined
from bench.processes import free_port
from bench.progress import Backlog, backlog, completed_at, until_completed
from bench.stand import Bench, share
from bench.steady import Reply, at_rate

WANTED_PER_SECOND = 1000.0
LONGEST_WAY_SECONDS = 5.0
# So many times the seconds of a round: a minute of them by default, and looks beforehand of nine seconds.
SUSTAINED_ROUNDS, LOOK_ROUNDS = 20, 3
WARM_ORDERS = 500
LOOKS, TRIES = 6, 2


@dataclass(frozen=True)
class Way:
    """How orders went at a rate: seconds until they were answered, and until they were COMPLETED."""

    per_second: float
    seconds: float
    answered: list[float]
    completed: list[float]
    at_the_end: Backlog

    def holds(self, for_seconds: float) -> bool:
        """Whether it would go on like this for so long: a pipeline that falls behind does so steadily."""
        allowed = LONGEST_WAY_SECONDS * min(self.seconds / for_seconds, 1)
        return self.slowest < allowed

    @property
    def slowest(self) -> float:
        """Seconds within which all but one in a hundred were COMPLETED."""
        return percentile(self.completed, 99)

    @property
    def lower(self) -> float:
        """The rate to try if this one was too much: what it brought to an end in all the time it took."""
        managed = len(self.completed) / (self.seconds + max(self.completed))
        return min(0.9 * self.per_second, max(managed, self.per_second / 2))


async def sustained(bench: Bench) -> None:
    """A partner's orders: a thousand a second, or the highest rate at which the pipeline keeps up.

    A few short looks tell the rate; what is noted is the long run, and a lower one where that didn't hold.
    """
    seconds = bench.seconds * SUSTAINED_ROUNDS
    rate = await _rate_that_holds(bench, seconds)
    for _ in range(TRIES):
        way = await _at(bench, rate, seconds)
        if way.holds(seconds):
            break
        rate = way.lower
    bench.note(f"sustained for {seconds:.0f} s: orders", way.per_second, "/s")
    for percent in (50, 99):
        answered = percentile(way.answered, percent) * 1000
        bench.note_cost(f"sustained: answered, p{percent}", answered, "ms")
    bench.note_cost("sustained: due to COMPLETED, p50", percentile(way.completed, 50), "s")
    bench.note_cost(
        "sustained: due to COMPLETED, p99", way.slowest, "s", at_most=LONGEST_WAY_SECONDS
    )
    bench.note_cost("sustained: mails not yet written at the end", way.at_the_end.mails, "")


async def _rate_that_holds(bench: Bench, for_seconds: float) -> float:
    rate = WANTED_PER_SECOND
    for _ in range(LOOKS):
        way = await _at(bench, rate, bench.seconds * LOOK_ROUNDS)
        if way.holds(for_seconds):
            break
        rate = way.lower
    return rate


async def _at(bench: Bench, per_second: float, seconds: float) -> Way:
    """Run a shop of its own at that rate, with no mail of another run left to write."""
    folder = bench.folder / "sustained"
    folder.mkdir()
    shop = processes.shop(folder, free_port())
    try:
        async with crowd(folder) as buyers:
            await buyers.stock_up()
            program = await joined(buyers.ports)
            warm = [program.orders(bench.random) for _ in range(WARM_ORDERS)]
            (await share(shop.port, warm, bench.clients)).all_are(201)
            await until_completed(folder)
            asked = [program.orders(bench.random) for _ in range(int(per_second * seconds))]
            replies = await at_rate(shop.port, asked, per_second)
            at_the_end = backlog(folder)
            await until_completed(folder)
        answered = [reply.seconds for reply in replies]
        way = Way(per_second, seconds, answered, _ways(folder, replies), at_the_end)
        print(
            f"    {per_second:,.0f} orders/s for {seconds:.0f} s: {way.slowest:.2f} s to COMPLETED, p99"
        )
        return way
    finally:
        shop.stop()
        shutil.rmtree(folder)


class _Placed(msgspec.Struct, rename="camel"):
    order_id: str


def _ways(folder: Path, replies: Sequence[Reply]) -> list[float]:
    """Seconds from when each order was due until it was COMPLETED; for ever, where it isn't yet."""
    statuses = Counter(reply.answer.status for reply in replies)
    if set(statuses) != {201}:
        raise UnexpectedAnswers(f"expected only 201, and got {dict(statuses)}")
    completed, placed = completed_at(folder), msgspec.json.Decoder(_Placed)
    return [
        completed.get(placed.decode(reply.answer.body).order_id, math.inf) - reply.due
        for reply in replies
    ]
