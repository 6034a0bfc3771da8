"""Spillover: what a deployment cannot take goes to another one of its project.

Source: reference, section 2. A request is sent on if it failed with one of `STATUSES` before anything was said, for a
deployment that names another one or for a client that does.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import msgspec

from mainspring.core.errors import BudgetSpent, ContextLengthExceeded, MainspringError
from mainspring.core.seams import Generate
from mainspring.core.types import Event, GenerateRequest, Spilled
from mainspring.governance.directory import Target

__all__ = ["spilling"]

STATUSES = frozenset({400, 429, 500, 503})


def spilling(inner: Generate, find: Callable[[str, str], Target]) -> Generate:
    """`inner`, with a second try elsewhere."""

    def run(request: GenerateRequest) -> AsyncGenerator[Event]:
        target = find(request.project, request.model)
        own = target.deployment.spillover if target.deployment else ""
        to = own if request.spillover is None else request.spillover
        return _spilling(inner, request, to) if to and to != request.model else inner(request)

    return run


async def _spilling(inner: Generate, request: GenerateRequest, to: str) -> AsyncGenerator[Event]:
    said = False
    try:
        async with aclosing(inner(request)) as events:
            async for event in events:
                said = True
                yield event
    except MainspringError as error:
        if said or not _is_for_another(error):
            raise
        status = error.status
    else:
        return
    # The ledger has a row for each try.
    again = msgspec.structs.replace(request, model=to, id=f"{request.id}-s")
    first = True
    async with aclosing(inner(again)) as events:
        async for event in events:
            if first:
                yield Spilled(request.model, to, status)
                first = False
            yield event


def _is_for_another(error: MainspringError) -> bool:
    """Of what is wrong with the request itself, only its length: another model may have a longer context. A budget is
    that of the key or the project: it is spent wherever the request goes."""
    if isinstance(error, BudgetSpent):
        return False
    return error.status in STATUSES and (error.status != 400 or isinstance(error, ContextLengthExceeded))
