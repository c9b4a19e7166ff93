"""The settings as a page, `docs/settings.md`: what each takes, its default, and what it is for."""

from __future__ import annotations

from typing import get_type_hints

import msgspec

from ecokart.settings import PREFIX, Settings, takes


def describe() -> list[tuple[str, str, str, str]]:
    """Every setting as (variable, what it takes, default, what it is for)."""
    hints = get_type_hints(Settings, include_extras=True)
    return [
        (
            PREFIX + field.name.upper(),
            takes(hints[field.name]),
            str(field.default).lower() if isinstance(field.default, bool) else str(field.default),
            hints[field.name].__metadata__[-1].description,
        )
        for field in msgspec.structs.fields(Settings)
    ]


def page() -> str:
    """`docs/settings.md`."""
    rows = [
        f"| `{variable}` | {takes} | {f'`{default}`' if default else ''} | {purpose} |"
        for variable, takes, default, purpose in describe()
    ]
    return "\n".join([_PAGE, *rows, ""])


_PAGE = """\
# Settings

Environment variables, all of them optional while you try things out. A value that doesn't fit stops
the start with one sentence that names it, and so does a variable that begins with `ECOKART_` and is
none of these. An empty value is as good as none.

This page is what `ecokart settings` prints; a test keeps it so.

| variable | takes | default | for |
|---|---|---|---|"""
