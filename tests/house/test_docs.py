"""The documents keep up with the code: commands, links, versions, and what a decision page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ecokart

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
DECISIONS = sorted((DOCS / "decisions").glob("[0-9]*.md"))
SECTIONS = ("Context", "Decision", "Consequences", "Test")


def _prose(page: Path) -> str:
    """The page without its code, where brackets mean other things."""
    return re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.DOTALL)


def test_the_readme_names_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert "make run" in readme
    assert "make test" in readme


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.+)$", makefile, flags=re.MULTILINE)
    described = re.findall(r"^([a-z]+):.*## .+$", makefile, flags=re.MULTILINE)
    assert described == phony.split()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    prose = _prose(page)
    targets = re.findall(r"\]\(<?([^)\s>]+)>?(?:\s[^)]*)?\)", prose)
    targets += re.findall(r"^\[[^\]]+\]:\s+(\S+)", prose, flags=re.MULTILINE)
    local = [target for target in targets if not re.match(r"[a-z][a-z0-9+.-]*:|#|//", target)]
    broken = [
        target for target in local if not (page.parent / re.sub(r"[#?].*", "", target)).exists()
    ]
    assert not broken


def test_the_changelog_has_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    version = re.escape(ecokart.__version__)
    assert re.search(rf"^## {version}\b", changelog, flags=re.MULTILINE)


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_says_why_what_and_how_it_is_held(page: Path) -> None:
    assert re.fullmatch(r"\d{4}-[a-z0-9-]+", page.stem), "NNNN-what-was-decided.md"
    headings = re.findall(r"^#{2,} +(\w+)", page.read_text("utf-8"), flags=re.MULTILINE)
    missing = [
        section for section in SECTIONS if not any(name.startswith(section) for name in headings)
    ]
    assert not missing


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = [int(page.stem[:4]) for page in DECISIONS]
    assert numbers == list(range(1, len(numbers) + 1))
