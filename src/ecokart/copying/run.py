"""A copy from its beginning to its verification, as `ecokart copy` runs it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ecokart.copying.copy import ShopCopy
from ecokart.copying.model import Copy
from ecokart.copying.report import Steps, comparison, sentences

FEW = 20  # differences after which another pass before the last one isn't worth its time
MOST_PASSES = 12

STOP = "Now stop the shop: every `ecokart serve` and `ecokart work` of the source."
AGAIN = f"{STOP} Then run this again with --final: it carries over the rest and verifies."


async def run(
    shop: ShopCopy,
    source_url: str,
    target_url: str,
    *,
    final: bool,
    has_stopped: Callable[[], bool] | None,
) -> bool:
    """Copy as far as can be; says whether nothing is wrong. Raises the refusals of `ShopCopy.begin`.

    `final` says that the source stands still. Otherwise `has_stopped` is asked when little is left,
    and where there is nobody to ask, that is how far it goes.
    """
    steps = Steps()
    copy = await shop.begin(source_url, target_url)
    try:
        return await _run(shop, copy, steps, final=final, has_stopped=has_stopped)
    except asyncio.CancelledError:
        steps.say("Interrupted. Run it again, and it goes on where it was.")
        raise


async def _run(
    shop: ShopCopy,
    copy: Copy,
    steps: Steps,
    *,
    final: bool,
    has_stopped: Callable[[], bool] | None,
) -> bool:
    copy = await _copy_all(shop, copy, steps)
    if not final:
        seconds = await _follow(shop, steps)
        steps.say(
            f"The last pass took {seconds:.1f} s; the shop has to stand still about twice that."
        )
        if has_stopped is None:
            steps.say(AGAIN)
            return True
        steps.say(STOP)
        if not has_stopped():
            steps.say("Nothing is lost: run it again, and it goes on from here.")
            return True
    await _catch_up(shop, steps, "Last pass")
    return await _verify(shop, copy, steps)


async def _copy_all(shop: ShopCopy, copy: Copy, steps: Steps) -> Copy:
    before = sum(place.records for place in copy.tables.values())
    if copy.tables:
        steps.say(f"Going on: {before:,} records were copied before.")
    with steps.step("Copying") as step:
        copy = await shop.copy_all(copy, step)
    records = sum(place.records for place in copy.tables.values()) - before
    if records:
        rate = records / step.seconds
        steps.say(f"Copied {records:,} records in {step.seconds:.1f} s ({rate:,.0f}/s).")
    return copy


async def _follow(shop: ShopCopy, steps: Steps) -> float:
    """Passes until there are few differences, or no fewer than half of before; the last one's seconds."""
    before: float = float("inf")
    for number in range(1, MOST_PASSES + 1):
        carried, seconds = await _catch_up(shop, steps, f"Pass {number}")
        if carried <= FEW or carried > before / 2:
            break
        before = carried
    return seconds


async def _catch_up(shop: ShopCopy, steps: Steps, name: str) -> tuple[int, float]:
    with steps.step(f"{name}:") as step:
        carried = await shop.catch_up(step)
    rate = step.records / step.seconds
    steps.say(
        f"{name}: {carried:,} records differed and were carried over,"
        f" in {step.seconds:.1f} s ({rate:,.0f} compared/s)."
    )
    return carried, step.seconds


async def _verify(shop: ShopCopy, copy: Copy, steps: Steps) -> bool:
    with steps.step("Verifying") as step:
        compared = await shop.verify(step)
    steps.console.print(comparison(compared))
    differing = sum(one.differing for one in compared)
    for sentence in sentences(compared, shop.refused):
        steps.say(sentence)
    if differing:
        compared_records = sum(one.source.count for one in compared)
        steps.say(
            f"Not the same: {differing:,} of {compared_records:,}. Does the source stand still?"
        )
        return False
    await shop.finish(copy)
    steps.say("Both sides hold the same. The target can open now, the source must not any more.")
    return True
