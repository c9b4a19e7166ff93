"""Who is in a room just now, as far as its processes tell each other. Only live, never stored."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

# Each process says again this often who is with it; who isn't mentioned for the time below is gone.
SAID_AGAIN_SECONDS = 15.0
FORGOTTEN_SECONDS = 40.0


class Change(NamedTuple):
    """Somebody came with the first tab, or left with the last."""

    user_id: str
    name: str
    present: bool


class RoomPresence:
    """The people of one room. Own tabs are only counted, for what this process says of them; who is
    present is what the processes say, this one too, each believed for a while.
    """

    def __init__(self) -> None:
        self._tabs: Counter[str] = Counter()
        self._names: dict[str, str] = {}
        self._heard: dict[tuple[str, str], float] = {}  # (process, user) → believed until

    @property
    def present(self) -> list[str]:
        return sorted({*self._tabs, *(user_id for _, user_id in self._heard)})

    @property
    def here(self) -> list[tuple[str, str]]:
        """Those with a tab in this process, with their names."""
        return [(user_id, self._names[user_id]) for user_id in self._tabs]

    def enter(self, user_id: str, name: str) -> bool:
        """One more tab in this process; says whether it is the first one."""
        self._names[user_id] = name
        self._tabs[user_id] += 1
        return self._tabs[user_id] == 1

    def leave(self, user_id: str) -> bool:
        """One tab less in this process; says whether it was the last one."""
        self._tabs[user_id] -= 1
        if self._tabs[user_id] > 0:
            return False
        del self._tabs[user_id]
        return True

    def hear(
        self, process: str, user_id: str, name: str, now: float, *, present: bool
    ) -> Change | None:
        """What a process says of somebody, and what that changes for the room."""
        was = self._is_present(user_id)
        self._names[user_id] = name
        if present:
            self._heard[process, user_id] = now + FORGOTTEN_SECONDS
        else:
            self._heard.pop((process, user_id), None)
        return self._change(user_id, was=was)

    def forget(self, now: float) -> list[Change]:
        """Let go of whom nobody has mentioned for too long."""
        late = [place for place, until in self._heard.items() if until < now]
        changes = []
        for place in late:
            del self._heard[place]
            if change := self._change(place[1], was=True):
                changes.append(change)
        return changes

    def _is_present(self, user_id: str) -> bool:
        return any(known == user_id for _, known in self._heard)

    def _change(self, user_id: str, *, was: bool) -> Change | None:
        present = self._is_present(user_id)
        if present == was:
            return None
        name = self._names[user_id]
        if not present and user_id not in self._tabs:
            del self._names[user_id]
        return Change(user_id, name, present)
