"""Which replicas are loaded: as many as the memory holds, the least recently used ones first to go.

A replica asks for its place when a request comes for its model. If memory is short, others are unloaded for it: those
that do nothing at once, and if that does not suffice, busy ones as soon as their streams have ended, while new requests
for them wait. What somebody has reserved stays. Loads happen one after the other, in the order in which they were asked
for, so that nobody starves. How many replicas a model should have is not decided here, but in `autoscale`.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mainspring.core import log
from mainspring.core.errors import Unavailable

__all__ = ["Fleet", "Member", "Seat", "choose"]

SWEEP_S = 5.0
"""How often it is looked whether what is loaded has outgrown the memory."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A loaded replica: the bytes it takes, whether it has something to do, and when it last had (monotonic s); whether
    it stays whatever others need, and whether its model has another one."""

    name: str
    num_bytes: int
    busy: bool
    last_used: float
    kept: bool = False
    spare: bool = False


def choose(needed: int, budget: int, seats: Sequence[Seat]) -> list[str] | None:
    """Whom to unload so that `needed` more bytes fit into `budget`; None if even all together do not suffice.

    Idle ones before busy ones, of the busy ones those whose model has another first, least recently used first; none
    that is kept, and none whose bytes are not needed.
    """
    missing = needed + sum(seat.num_bytes for seat in seats) - budget
    chosen: list[Seat] = []
    movable = (seat for seat in seats if not seat.kept)
    for seat in sorted(movable, key=lambda each: (each.busy, each.busy and not each.spare, each.last_used)):
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
    """A replica, as the fleet sees it."""

    @property
    def name(self) -> str:
        """Unique among the members."""
        ...

    @property
    def loaded(self) -> bool:
        """Whether it takes memory: its process runs, starts or restarts."""
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
    """The replicas that share a machine's memory.

    Args:
        budget_bytes: what they may take together.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget = budget_bytes
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
        """Begin to look after the memory."""
        self._task = asyncio.create_task(self._sweep(), name="look after the memory")

    async def stop(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def load(self, member: Member, *, spare: bool = False) -> None:
        """See to it that a member is loaded, or at least loading; waits for its turn and for memory.

        Args:
            spare: only with memory that is free: nobody is unloaded for it.

        Raises:
            Unavailable: it needs more than there is altogether, or, if `spare`, more than is free.
        """
        async with self._loading:
            if member.loaded:
                return
            needed = await member.estimate()
            others = [each for each in self._members.values() if each.loaded and each is not member]
            names = self._leaving(member.name, needed, [each.seat for each in others], spare=spare)
            if names:
                log.get().info("unloading for another", unloaded=names, loading=member.name, needed=_gb(needed))
                async with asyncio.TaskGroup() as group:  # if we are cancelled, so are they, and nobody is unloaded
                    for each in others:
                        if each.name in names:
                            group.create_task(each.unload())
            member.start()

    def _leaving(self, name: str, needed: int, seats: Sequence[Seat], *, spare: bool) -> list[str]:
        """Who has to go for `name`."""
        names = choose(needed, self._budget, seats)
        if spare and names != []:
            raise Unavailable(f"There is no memory for one more replica: {name} needs about {_gb(needed)} more.")
        if names is None:
            kept = sum(seat.num_bytes for seat in seats if seat.kept)
            reserved = f", of which {_gb(kept)} are reserved" if kept else ""
            raise Unavailable(
                f"The model {name} needs about {_gb(needed)}, and all models together may take "
                f"{_gb(self._budget)}{reserved}: raise serving.memory_bytes, or lower engine.kv_tokens.",
                code="insufficient_memory",
            )
        return names

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            await self.tidy()

    async def tidy(self) -> None:
        """If what is loaded has grown beyond the budget, unload the least recently used of those that do nothing; the
        last one may stay."""
        async with self._loading:
            loaded = {name: member for name, member in self._members.items() if member.loaded}
            seats = [member.seat for member in loaded.values()]
            if len(loaded) < 2:
                return
            superfluous = self._superfluous(seats)
            for seat in seats:
                if not seat.busy and seat.name in superfluous:
                    log.get().info("unloading an idle replica, the memory is full", replica=seat.name)
                    await loaded[seat.name].unload()

    def _superfluous(self, seats: Sequence[Seat]) -> list[str]:
        return choose(0, self._budget, seats) or []


def _gb(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB"
