"""What the API calls for receipts: they are read from what is kept, and made anew at each call."""

import msgspec

from mainspring.core.clock import Clock
from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.core.seams import Generate
from mainspring.responses.meter import ResponseContext, context_of
from mainspring.responses.receipt import Parts, Receipt, parts_of, receipt_of
from mainspring.responses.rerun import Check, Rerun, Wanted, rerun, unchecked
from mainspring.store.db import Database
from mainspring.store.receipts import traces_of
from mainspring.store.responses import Entry, Kept, find_response, items_of

__all__ = ["Receipts"]


class Receipts:
    """The receipts of one installation.

    All methods raise NotFound if `owner` (a principal's `person`) may see no such response of the project.

    Args:
        check: whether a model is still what it was.
    """

    def __init__(self, database: Database, clock: Clock, check: Check = unchecked) -> None:
        self._database, self._clock, self._check = database, clock, check

    async def receipt(self, project: str, id: str, owner: str) -> Receipt:  # noqa: A002 - what the API calls it
        """How a response was made.

        Raises:
            InvalidRequest: it is not over.
        """
        kept, parts, outputs = await self._over(project, id, owner)
        return receipt_of(kept, parts, outputs)

    async def context(self, project: str, id: str, owner: str) -> ResponseContext:  # noqa: A002
        """What the model was shown, also while it answers. What nobody knows is null."""
        kept, traces, outputs = await self._find(project, id, owner)
        found = context_of(kept, parts_of(traces, outputs).generations)
        return found or ResponseContext(
            id=kept.id, status=kept.status, context_length=None, prompt_tokens=None, template_tokens=None,
            cached_tokens=None, answer_tokens=None, left_out=0, is_exact=False, messages=[],
        )  # fmt: skip

    async def rerun(self, wanted: Wanted, owner: str, generate: Generate) -> Rerun:
        """Make it again.

        Raises:
            InvalidRequest: it is not over.
        """
        kept, parts, outputs = await self._over(wanted.project, wanted.id, owner)
        receipt = msgspec.json.decode(msgspec.json.encode(receipt_of(kept, parts, outputs)))
        return await rerun(wanted, parts, receipt, generate, self._check)

    async def _over(self, project: str, id: str, owner: str) -> tuple[Kept, Parts, list[Entry]]:  # noqa: A002
        kept, traces, outputs = await self._find(project, id, owner)
        if kept.status in ("queued", "in_progress"):
            raise InvalidRequest(
                f"The response '{kept.id}' is {kept.status}: its receipt is written when it ends.",
                code="response_not_completed", param="response_id",
            )  # fmt: skip
        return kept, parts_of(traces, outputs), outputs

    async def _find(
        self, project: str, id: str, owner: str  # noqa: A002
    ) -> tuple[Kept, dict[int, bytes], list[Entry]]:  # fmt: skip
        async with self._database.read() as connection:
            kept = await find_response(connection, project, id, self._clock.now(), owner)
            if kept is None:
                raise NotFound(f"Response with id '{id[:100]}' not found.", param="response_id")
            traces = await traces_of(connection, kept.id)
            return kept, traces, await items_of(connection, kept.id, is_output=True)
