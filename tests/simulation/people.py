"""What everybody has in common who asks something of a shop that fails and dies under them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from ecokart.core.errors import Problem, Unavailable
from ecokart.core.ports import Ports
from ecokart.core.transaction import transact
from tests.simulation.world import Killed, World

LONGEST_PAUSE_SECONDS = 1.0
PAUSE_AFTER_FAILURE_SECONDS = 0.3

Act = Callable[[Any], Awaitable[None]]


class Broken(Exception):
    """No answer came, or one that says to try again: it isn't known whether anything was done."""


class Person:
    """Somebody who does one thing after the other. `acts` says which, and how often."""

    acts: ClassVar[dict[Act, int]]

    def __init__(self, world: World, name: str) -> None:
        self.world, self.random, self.name = world, world.random, name

    @property
    def ports(self) -> Ports:
        """Whatever process lives now."""
        return self.world.life.ports

    async def live(self, actions: int) -> None:
        """So many things one after the other, with pauses."""
        for _ in range(actions):
            await asyncio.sleep(self.random.random() * LONGEST_PAUSE_SECONDS)
            act = self.random.choices(list(self.acts), list(self.acts.values()))[0]
            self.world.story.happened.append(
                f"{asyncio.get_running_loop().time():.3f} {self.name} {act.__name__}"
            )
            try:
                await act(self)
            except (Problem, Broken):
                continue  # refused, or nobody knows: people go on

    async def ask(self, service: Callable[..., Awaitable[Any]], *args: Any, **named: Any) -> Any:
        """A change. Raises `Broken`, or the problem that is the answer."""
        return await self.call(transact, self.ports, service, *args, **named)

    async def call(self, function: Callable[..., Awaitable[Any]], *args: Any, **named: Any) -> Any:
        """Whatever a request does. Raises `Broken`, or the problem that is the answer."""
        try:
            return await function(*args, **named)
        except (Unavailable, Killed):
            self.world.story.lost_answers += 1
            raise Broken from None

    async def until_answered(self, service: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """A change, asked for again and again."""
        while True:
            try:
                return await self.ask(service, *args)
            except Broken:
                await asyncio.sleep(self.random.random() * PAUSE_AFTER_FAILURE_SECONDS)
