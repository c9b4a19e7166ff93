"""Figures: what was measured, what is demanded of it, and how it compares with the time before."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "bench.md"
MARK = "<!-- figures: written by `make bench` -->\n"
NOISE_PERCENT = 5


@dataclass(frozen=True)
class Figure:
    """One measured number. `at_least` and `at_most` are the demand, where there is one."""

    name: str
    value: float
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    less_is_better: bool = False

    @property
    def kept(self) -> bool:
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    @property
    def demand(self) -> str:
        if self.at_least is not None:
            return f"≥ {_number(self.at_least)}"
        return f"≤ {_number(self.at_most)}" if self.at_most is not None else ""

    def compared_to(self, before: float) -> str:
        """`12 % better`, `8 % worse`, or `same` within the noise of a shared machine."""
        if not before:
            return ""
        percent = 100 * (self.value - before) / before
        if abs(percent) < NOISE_PERCENT:
            return "same"
        better = (percent < 0) == self.less_is_better
        return f"{abs(percent):.0f} % {'better' if better else 'worse'}"


def table(figures: Iterable[Figure], before: dict[str, float]) -> str:
    """A markdown table of the figures, beside those of the run before."""
    lines = [
        "| figure | measured | demanded | kept | since the last run |",
        "|---|--:|--:|---|---|",
    ]
    for figure in figures:
        kept = "" if not figure.demand else "yes" if figure.kept else "**no**"
        change = figure.compared_to(before[figure.name]) if figure.name in before else "new"
        measured = f"{_number(figure.value)} {figure.unit}"
        lines.append(f"| {figure.name} | {measured} | {figure.demand} | {kept} | {change} |")
    return "\n".join(lines)


def latest() -> dict[str, float]:
    """The figures of the last run that was kept, by name; none before the first."""
    kept = sorted(RESULTS.glob("*.json"))
    if not kept:
        return {}
    return {one["name"]: one["value"] for one in json.loads(kept[-1].read_text())["figures"]}


def keep(figures: Sequence[Figure], shown: str, notes: dict[str, Any]) -> Path:
    """Write the figures as JSON and as markdown, named by time and commit, and into docs/bench.md."""
    now, commit = datetime.now(UTC), _commit()
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{now:%Y-%m-%d-%H%M}-{commit}.json"
    head = {"at": now.isoformat(timespec="seconds"), "commit": commit, "machine": machine()} | notes
    path.write_text(
        json.dumps(head | {"figures": [asdict(figure) for figure in figures]}, indent=1) + "\n"
    )
    said = ", ".join(f"{name}: {value}" for name, value in head.items())
    path.with_suffix(".md").write_text(f"# Figures\n\n{said}\n\n{shown}\n")
    page, _, _ = PAGE.read_text("utf-8").partition(MARK)
    PAGE.write_text(f"{page}{MARK}{said}\n\n{shown}\n")
    return path


def machine() -> str:
    return f"{platform.machine()}, Python {platform.python_version()}, {platform.system()}"


def _commit() -> str:
    git = ["git", "-C", str(RESULTS.parent), "describe", "--always", "--dirty"]
    done = subprocess.run(git, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}"
