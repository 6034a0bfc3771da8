"""Somebody who wants to hear of events: without, none is written down."""

from sqlalchemy import insert

from mainspring.store.db import Database
from mainspring.store.tables import webhook_endpoints


async def listen(database: Database, project: str) -> None:
    """Have the project's events kept and delivered to nobody."""
    row = {
        "id": f"we_{project}", "project": project, "name": "ear", "url": "https://ear.invalid/", "event_types": "[]",
        "enabled": False, "generation": 0, "digest": "", "hint": "", "old_until": 0.0, "created": 0.0, "updated": 0.0,
    }  # fmt: skip
    async with database.write() as connection:
        await connection.execute(insert(webhook_endpoints).values(row))
