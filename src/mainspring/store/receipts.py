"""Traces of responses: for each generation what went into the model, and at the end what came of all of them.

A trace is written in the transactions that write the response, and goes with it. Its content is the business of
`responses/`; here it is bytes, compressed: a prompt is in it twice, as messages and as the model read it.
"""

import lzma
from collections.abc import Mapping, Sequence

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.store.tables import files, response_traces

__all__ = ["END", "add_traces", "hashes_of", "traces_of"]

END = 0
"""The number of what is written at the end. Generations count from 1."""
_PRESET = 1
"""xz's second fastest: its window of 1 MiB holds most prompts whole."""


async def add_traces(connection: AsyncConnection, response: str, traces: Mapping[int, bytes]) -> None:
    """Write traces down; those with the same numbers are replaced."""
    if not traces:
        return
    of = response_traces.c
    await connection.execute(delete(response_traces).where(of.response == response, of.seq.in_(traces)))
    rows = [
        {"response": response, "seq": seq, "body": lzma.compress(body, preset=_PRESET)} for seq, body in traces.items()
    ]
    await connection.execute(insert(response_traces), rows)


async def traces_of(connection: AsyncConnection, response: str) -> dict[int, bytes]:
    """All of a response, by their numbers in order; none of one that was made before there were any. One that cannot
    be read is empty."""
    query = select(response_traces.c.seq, response_traces.c.body).where(response_traces.c.response == response)
    return {row.seq: _read(row.body) for row in await connection.execute(query.order_by(response_traces.c.seq))}


def _read(body: bytes) -> bytes:
    try:
        return lzma.decompress(body)
    except lzma.LZMAError:
        return b""


async def hashes_of(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, str]:
    """The SHA-256 of the content of files, by their ids; those that are gone are left out."""
    if not ids:
        return {}
    query = select(files.c.id, files.c.sha256).where(files.c.id.in_(ids))
    return {row.id: row.sha256 for row in await connection.execute(query)}
