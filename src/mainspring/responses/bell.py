"""Who waits for more of a log is woken when this server has written to it; what others write is found by looking."""

import asyncio
import contextlib

__all__ = ["Bell"]


class Bell:
    """One for each thing that is waited for, by its id. Owned by one event loop."""

    def __init__(self) -> None:
        self._waited: dict[str, asyncio.Event] = {}

    def ring(self, id: str) -> None:  # noqa: A002
        """There is more."""
        event = self._waited.pop(id, None)
        if event is not None:
            event.set()

    async def wait(self, id: str, most_s: float) -> None:  # noqa: A002
        """Until there is, or for as long as that."""
        event = self._waited.setdefault(id, asyncio.Event())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), most_s)
        if not event.is_set() and self._waited.get(id) is event:
            self.ring(id)  # so that nothing is kept of what nobody waits for any more
