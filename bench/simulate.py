"""`python -m bench.simulate`: seeded shoppers over engines that fail, on a process that dies.

Every story is checked at random moments and at its end (tests/simulation says against what). A story
that goes wrong prints its seed; the same seed tells the same story again.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from time import perf_counter

from tests.simulation.run import again, simulate


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.simulate")
    parser.add_argument("--seeds", type=int, default=100, help="how many stories")
    parser.add_argument("--first", type=int, default=1, help="the first story's seed")
    parser.add_argument("--tell", action="store_true", help="say what happened in each")
    options = parser.parse_args()
    started, totals, failed = perf_counter(), Counter[str](), 0
    for seed in range(options.first, options.first + options.seeds):
        story = simulate(seed)
        totals.update(
            orders=len(story.acknowledged),
            refunds=len(story.refunds),
            kills=story.kills,
            lost_answers=story.lost_answers,
            dead_letters=story.dead_letters,
            actions=len(story.happened),
        )
        totals.update({end.lower(): count for end, count in story.ends.items()})
        if options.tell:
            print("\n".join(story.happened))
        if story.wrong:
            failed += 1
            print("\n  ".join([f"seed {seed}:", *story.wrong]), f"\n  again: {again(seed)}")
    said = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in totals.items())
    print(
        f"{options.seeds} stories in {perf_counter() - started:.1f} s, {failed} went wrong: {said}"
    )
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
