"""Which deployments are loaded: as many as the memory holds, the least recently used ones first to go.

A deployment asks for its place when a request comes for it. If memory is short, others are unloaded for it: those that
do nothing at once, and if that does not suffice, busy ones as soon as their streams have ended, while new requests for
them wait. Loads happen one after the other, in the order in which they were asked for, so that nobody starves.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mainspring.core import log
from mainspring.core.clock import Clock
from mainspring.core.errors import Unavailable

__all__ = ["Fleet", "Member", "Seat", "choose"]

SWEEP_S = 5.0
"""How often it is looked for deployments that have been idle for long enough."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A loaded deployment: the bytes it takes, whether it has something to do, and when it last had (monotonic s)."""

    name: str
    num_bytes: int
    busy: bool
    last_used: float


def choose(needed: int, budget: int, seats: Sequence[Seat]) -> list[str] | None:
    """Whom to unload so that `needed` more bytes fit into `budget`; None if even all together do not suffice.

    Idle ones before busy ones, least recently used first; none whose bytes are not needed.
    """
    missing = needed + sum(seat.num_bytes for seat in seats) - budget
    chosen: list[Seat] = []
    for seat in sorted(seats, key=lambda each: (each.busy, each.last_used)):
        if missing <= 0:
            break
        chosen.append(seat)
        missing -= seat.num_bytes
    if missing > 0:
        return None
    for seat in reversed(chosen):  # what a later, larger one has made superfluous stays
        if missing + seat.num_bytes <= 0:
            chosen.remove(seat)
            missing += seat.num_bytes
    return [seat.name for seat in chosen]


class Member(Protocol):
    """A deployment, as the fleet sees it."""

    @property
    def name(self) -> str:
        """Unique among the members."""
        ...

    @property
    def loaded(self) -> bool:
        """Whether it takes memory: its replica runs, starts or restarts."""
        ...

    @property
    def seat(self) -> Seat:
        """What it takes while it is loaded."""
        ...

    async def estimate(self) -> int:
        """Bytes that it will take."""
        ...

    def start(self) -> None:
        """Load it, in the background."""
        ...

    async def unload(self) -> None:
        """Wait until its streams have ended, then free its memory. Cancelled, it stays loaded."""
        ...


class Fleet:
    """The deployments that share a machine's memory.

    Args:
        budget_bytes: what they may take together.
        idle_s: seconds without a request after which one is unloaded; 0 never does.
    """

    def __init__(self, budget_bytes: int, idle_s: float, clock: Clock) -> None:
        self._budget = budget_bytes
        self._idle_s = idle_s
        self._clock = clock
        self._members: dict[str, Member] = {}
        self._loading = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def add(self, member: Member) -> None:
        """One more; it is not loaded yet."""
        self._members[member.name] = member

    def remove(self, member: Member) -> None:
        """It is not ours to load or unload any more; what it holds until it ends no longer counts."""
        if self._members.get(member.name) is member:
            del self._members[member.name]

    def start(self) -> None:
        """Begin to look for idle ones."""
        self._task = asyncio.create_task(self._sweep(), name="unload idle deployments")

    async def stop(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def load(self, member: Member) -> None:
        """See to it that a member is loaded, or at least loading; waits for its turn and for memory.

        Raises:
            Unavailable: it needs more than there is altogether.
        """
        async with self._loading:
            if member.loaded:
                return
            needed = await member.estimate()
            others = [each for each in self._members.values() if each.loaded and each is not member]
            names = choose(needed, self._budget, [each.seat for each in others])
            if names is None:
                raise Unavailable(
                    f"The model {member.name} needs about {_gb(needed)}, and all models together may take "
                    f"{_gb(self._budget)}: raise serving.memory_bytes, or lower engine.kv_tokens.",
                    code="insufficient_memory",
                )
            if names:
                log.get().info("unloading for another", unloaded=names, loading=member.name, needed=_gb(needed))
                async with asyncio.TaskGroup() as group:  # if we are cancelled, so are they, and nobody is unloaded
                    for each in others:
                        if each.name in names:
                            group.create_task(each.unload())
            member.start()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(min(SWEEP_S, self._idle_s / 4) if self._idle_s else SWEEP_S)
            await self.tidy()

    async def tidy(self) -> None:
        """Unload whoever has had nothing to do for long enough, and, if what is loaded has grown beyond the budget, the
        least recently used of those that do nothing; the last one may stay."""
        async with self._loading:
            loaded = {name: member for name, member in self._members.items() if member.loaded}
            seats = [member.seat for member in loaded.values()]
            oldest = self._clock.monotonic() - self._idle_s
            leaving = [seat.name for seat in seats if self._idle_s and not seat.busy and seat.last_used <= oldest]
            if len(loaded) > 1:
                leaving += [seat.name for seat in seats if not seat.busy and seat.name in self._superfluous(seats)]
            for name in dict.fromkeys(leaving):
                log.get().info("unloading an idle deployment", deployment=name)
                await loaded[name].unload()

    def _superfluous(self, seats: Sequence[Seat]) -> list[str]:
        return choose(0, self._budget, seats) or []


def _gb(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB"
