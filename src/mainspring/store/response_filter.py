"""Which of the stored responses of a project are meant: those that an evaluation is about."""

from collections.abc import Sequence
from typing import Any, cast

import msgspec
from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.store.responses import Kept, kept_of
from mainspring.store.tables import responses as table

__all__ = ["ResponseFilter", "responses_wanted"]

PAGE = 100
"""Rows read at a time; most of them may not be wanted."""
OVER = ("completed", "incomplete")
"""Statuses of those that have an answer."""


class ResponseFilter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which responses. Times are Unix seconds, and both ends belong to it; what is None or empty does not matter.

    Args:
        instructions: words that the instructions contain, in capitals or not.
        users: any of them is who it was made for.
        tools: names; any of them could be called.
    """

    model: str | None = None
    labels: dict[str, str] = {}
    instructions: str = ""
    since: float | None = None
    until: float | None = None
    effort: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    users: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()

    def wants(self, kept: Kept) -> bool:
        """Whether a response is one of them."""
        body = kept.body
        exact: tuple[tuple[Any, Any], ...] = (
            (self.model, body.get("model")),
            (self.temperature, body.get("temperature")),
            (self.top_p, body.get("top_p")),
            (self.effort, _object(body, "reasoning").get("effort")),
        )
        if any(wanted is not None and wanted != found for wanted, found in exact):
            return False
        if self.users and body.get("user") not in self.users and body.get("safety_identifier") not in self.users:
            return False
        if self.tools and not _names(body.get("tools") or ()) & {*self.tools}:
            return False
        if self.instructions.casefold() not in str(body.get("instructions") or "").casefold():
            return False
        return self.labels.items() <= _object(body, "metadata").items()


def _object(body: dict[str, Any], name: str) -> dict[str, Any]:
    return cast("dict[str, Any]", body.get(name) or {})


def _names(tools: Sequence[Any]) -> set[str]:
    """What tools are called: those of the server by their kinds."""
    named = (cast("dict[str, Any]", tool) for tool in tools)
    return {str(tool.get("name") or tool.get("type")) for tool in named}


async def responses_wanted(
    connection: AsyncConnection, project: str, wanted: ResponseFilter, *, after: tuple[float, str] | None, limit: int,
    now_s: float,
) -> list[Kept]:  # fmt: skip
    """At most `limit` of them, the oldest first, behind (created, id) of another one. Turns of chats, which are their
    owner's alone, are none of them."""
    c, found = table.c, list[Kept]()
    query = select(table).where(c.project == project, c.chat.is_(None), c.expires > now_s, c.status.in_(OVER))
    if wanted.since is not None:
        query = query.where(c.created >= wanted.since)
    if wanted.until is not None:
        query = query.where(c.created <= wanted.until)
    query = query.order_by(c.created, c.id).limit(PAGE)
    while True:
        page = query if after is None else query.where(
            or_(c.created > after[0], and_(c.created == after[0], c.id > after[1]))
        )  # fmt: skip
        rows = (await connection.execute(page)).mappings().all()
        for row in rows:
            if wanted.wants(kept := kept_of(row)):
                found.append(kept)
            if len(found) == limit:
                return found
        if len(rows) < PAGE:
            return found
        after = rows[-1]["created"], rows[-1]["id"]
