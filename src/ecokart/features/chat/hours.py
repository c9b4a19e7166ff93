"""When somebody sits at the inbox, by the shop's own clock."""

from __future__ import annotations

from datetime import datetime, time, timedelta

import msgspec

from ecokart.core.i18n import SHOP_ZONE

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class Span(msgspec.Struct, frozen=True):
    """From `start` to before `end`, on each of these days (0 is Monday)."""

    days: frozenset[int]
    start: time
    end: time


class Hours(msgspec.Struct, frozen=True):
    """No spans: always."""

    spans: tuple[Span, ...] = ()

    def staffed(self, moment: datetime) -> bool:
        """Whether somebody is there at that moment."""
        there = moment.astimezone(SHOP_ZONE)
        return not self.spans or any(
            there.weekday() in span.days and span.start <= there.time() < span.end
            for span in self.spans
        )

    def opening(self, moment: datetime) -> datetime:
        """When somebody is there next; the moment itself where somebody is."""
        if self.staffed(moment):
            return moment
        today = moment.astimezone(SHOP_ZONE).date()
        dates = [today + timedelta(days=ahead) for ahead in range(8)]
        starts = [
            datetime.combine(date, span.start, SHOP_ZONE)
            for date in dates
            for span in self.spans
            if date.weekday() in span.days and span.start < span.end
        ]
        return min((start for start in starts if start > moment), default=moment)


def read(text: str) -> Hours:
    """The hours as the setting states them: `Mon-Fri 09:00-17:00, Sat 10:00-14:00`, or nothing: then always.

    Days may go round the week's end. The settings take no other text.
    """
    spans = []
    for part in filter(None, text.split(", ")):
        days, times = part.split(" ")
        first, last = (DAYS.index(day) for day in (days.split("-") * 2)[:2])
        start, end = map(time.fromisoformat, times.split("-"))
        length = (last - first) % len(DAYS) + 1
        named = frozenset((first + ahead) % len(DAYS) for ahead in range(length))
        spans.append(Span(named, start, end))
    return Hours(tuple(spans))
