"""How a response ends: what is written then, in one transaction, whoever ends it."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core.errors import Conflict, InvalidRequest, MainspringError, Overloaded
from mainspring.responses.ask import Ask
from mainspring.responses.draft import Draft
from mainspring.responses.fold import Folded, fold
from mainspring.responses.items import Response, ResponseError
from mainspring.responses.prompt import text_of
from mainspring.responses.state import State
from mainspring.responses.trace import ended, files_in
from mainspring.store.chat_changes import note_change
from mainspring.store.conversations import append, find_conversation, free
from mainspring.store.jobs import Job, change_job
from mainspring.store.outbox import announce
from mainspring.store.receipts import END, add_traces, hashes_of, traces_of
from mainspring.store.responses import (
    Entry,
    Kept,
    add_events,
    add_items,
    change_response,
    events_after,
    items_of,
    note_words,
)

__all__ = ["conclude", "end_from_log", "error_of", "folded_log", "note_said"]

MAX_WORDS = 100_000
"""Characters of what was said in a turn that a search looks at."""


def error_of(error: MainspringError) -> ResponseError:
    """In the words of OpenAI's `response.error`."""
    if isinstance(error, Overloaded):
        return ResponseError("rate_limit_exceeded", error.message)
    return ResponseError("invalid_prompt" if isinstance(error, InvalidRequest) else "server_error", error.message)


async def conclude(
    connection: AsyncConnection, ask: Ask, made: Response, *, given: Sequence[Entry], outputs: Sequence[Entry],
    now_s: float,
) -> None:  # fmt: skip
    """A response is over: keep it, add it to its conversation if it has answered, and say so if nobody waits.

    Raises:
        Conflict: the conversation was taken over by another response, since this one's server was thought dead.
        NotFound: it is gone.
    """
    if ask.stores:
        body = msgspec.to_builtins(made)
        del body["output"]
        await change_response(connection, ask.id, status=made.status, body=body)
        await add_items(connection, ask.id, outputs, is_output=True, start=len(given))
        await _seal(connection, ask.id, outputs)
        if ask.chat:
            await note_said(connection, ask.id, [*given, *outputs])
            await note_change(connection, ask.chat)
    if ask.conversation is not None:
        if made.status in ("completed", "incomplete"):
            found = await find_conversation(connection, ask.project, ask.conversation)
            if found.busy != ask.id:
                raise Conflict(
                    f"Another response was made of the conversation '{found.id}' meanwhile.",
                    code="conversation_locked",
                )
            await append(connection, found, [*given, *outputs])
        await free(connection, ask.conversation, ask.id)
    if ask.background:
        await announce(connection, project=ask.project, type=f"response.{made.status}", object=ask.id, now_s=now_s)


async def _seal(connection: AsyncConnection, response: str, outputs: Sequence[Entry]) -> None:
    """What came of it is held together with how it was made, for its receipt."""
    traces = await traces_of(connection, response)
    hashes = await hashes_of(connection, files_in(outputs))
    await add_traces(connection, response, {END: ended(outputs, traces, hashes)})


async def note_said(connection: AsyncConnection, response: str, entries: Sequence[Entry]) -> None:
    """What was said in a turn of a chat, for those who search."""
    texts = [text_of(entry.item["content"]) for entry in entries if entry.item["type"] == "message"]
    words = "\n".join(texts).casefold().replace("\0", " ")  # PostgreSQL keeps no NUL
    await note_words(connection, response, words[:MAX_WORDS])


async def folded_log(connection: AsyncConnection, response: str) -> Folded:
    """What was told of a response so far."""
    return fold([body for _, body in await events_after(connection, response, -1, limit=1_000_000)])


async def end_from_log(
    connection: AsyncConnection, kept: Kept, job: Job, now_s: float, **fields: Any
) -> None:  # fmt: skip
    """End a response in the background as it stands, from outside of the work on it, which finds its lease gone."""
    ask, state = msgspec.convert(job.spec, Ask), msgspec.convert(job.state, State)
    draft = Draft(msgspec.convert(kept.body, Response))
    draft.resume(await folded_log(connection, kept.id))
    made = draft.finish(**fields, **state.findings())
    told = draft.take()
    if told:
        await add_events(connection, kept.id, told[0].seq, [each.body for each in told])
    items: list[dict[str, Any]] = msgspec.to_builtins(made.output)
    outputs = [Entry(item, state.kept.get(item["id"], {})) for item in items]
    given = await items_of(connection, kept.id, is_output=False)
    await conclude(connection, ask, made, given=given, outputs=outputs, now_s=now_s)
    wanted = "cancel" if made.status == "cancelled" else job.wanted
    await change_job(connection, job, status=made.status, finished=now_s, wanted=wanted, until=0.0)
