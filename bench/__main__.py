"""`python -m bench`: measure what we claim, each figure beside its floor in the same run."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import uvloop

from bench import figures
from bench.load import percentile
from bench.measures import MEASURES
from bench.processes import load_core, server_core, stay_on
from bench.stand import Bench

LONGEST_MEASURE_SECONDS = 300  # a server that hangs ends the bench, and isn't waited for


def main() -> None:
    options = _options()
    stay_on(load_core())
    before = figures.latest()
    with tempfile.TemporaryDirectory(prefix="ecokart-bench-", dir=options.folder) as folder:
        bench = Bench(Path(folder), options.seconds, options.clients, options.rounds)
        notes = {
            "sync of the disk": f"{sync_ms(Path(folder)):.2f} ms",
            "cores": f"server {server_core()}, load {load_core()}",
            "clients": options.clients,
            "rounds": options.rounds,
            "seconds": options.seconds,
        }
        print(figures.machine(), *(f"{name}: {value}" for name, value in notes.items()), sep=", ")
        uvloop.run(_measure(bench, options.only or list(MEASURES)))
    shown = figures.table(bench.figures, before)
    print(f"\n{shown}\n")
    for line in bench.skipped:
        print(f"skipped: {line}")
    if not options.only:
        print(f"kept as {figures.keep(bench.figures, shown, notes).name} in bench/results")
    sys.exit(0 if all(figure.kept for figure in bench.figures) else 1)


async def _measure(bench: Bench, names: list[str]) -> None:
    try:
        for name in names:
            started, already = perf_counter(), len(bench.figures)
            async with asyncio.timeout(LONGEST_MEASURE_SECONDS):
                await MEASURES[name](bench)
            print(f"{name}: {perf_counter() - started:.0f} s")
            for figure in bench.figures[already:]:
                print(f"    {figure.name}: {figure.value:,.4g} {figure.unit}")
    finally:
        await bench.close()


def sync_ms(folder: Path) -> float:
    """How long this disk takes to make 4 KB durable: what every order has to wait for."""
    times = []
    with (folder / "sync").open("wb") as file:
        for _ in range(100):
            file.write(bytes(4096))
            started = perf_counter()
            file.flush()
            os.fsync(file.fileno())
            times.append(perf_counter() - started)
    return percentile(times, 50) * 1000


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(MEASURES), help="some measures alone")
    parser.add_argument("--seconds", type=float, default=3.0, help="of a round (default 3)")
    parser.add_argument("--clients", type=int, default=64, help="at once (default 64)")
    parser.add_argument("--rounds", type=int, default=3, help="floor and shop in turn (default 3)")
    parser.add_argument("--folder", help="where the data lies while it is measured")
    return parser.parse_args()


if __name__ == "__main__":
    main()
