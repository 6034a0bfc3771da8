"""The tables as a revision of the schema had them, and their rows as lines: what a backup reads and fills."""

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import Boolean, Column, Float, Integer, LargeBinary, MetaData, String, Table, create_engine, text
from sqlalchemy.engine import Connection

from mainspring.store.db import HEAD, upgrade
from mainspring.store.tables import metadata

__all__ = ["Codec", "reset_sequences", "tables_at"]


def tables_at(revision: str) -> MetaData:
    """The tables of a revision. Those of an older one are read from an empty database that is brought to it.

    Raises:
        UserMistake: only a newer Mainspring knows it.
    """
    if revision == HEAD:
        return metadata
    found = MetaData()
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        upgrade(connection, revision)
        found.reflect(connection)
    engine.dispose()
    found.remove(found.tables["alembic_version"])
    return found


class Codec:
    """Turns rows of a table into lines of JSON, and back. Integers, floats, text, truth values and bytes.

    Args:
        columns: in which order; by default the table's own.
    """

    def __init__(self, table: Table, columns: Sequence[str] = ()) -> None:
        self.columns = tuple(map(str, columns or table.columns.keys()))
        ordered = [table.columns[name] for name in self.columns]
        self._floats = [at for at, column in enumerate(ordered) if isinstance(column.type, Float)]
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(tuple[tuple(map(_type, ordered))])  # type: ignore[misc]
        self._encoder = msgspec.json.Encoder()

    def encode(self, row: Sequence[Any]) -> bytes:
        """A row as a line, without its end."""
        values = list(row)
        for at in self._floats:  # JSON has no name for what is not finite
            if values[at] is not None and not math.isfinite(values[at]):
                values[at] = str(values[at])
        return self._encoder.encode(values)  # bytes become base64

    def decode(self, line: bytes) -> dict[str, Any]:
        """A line as a row by column.

        Raises:
            ValueError: it is none of this table.
        """
        values = list[Any](self._decoder.decode(line))
        for at in self._floats:
            values[at] = None if values[at] is None else float(values[at])
        return dict(zip(self.columns, values, strict=True))


_INTEGER = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_TYPES: tuple[tuple[type[Any], Any], ...] = (
    (Boolean, bool), (Integer, _INTEGER), (Float, float | Literal["inf", "-inf", "nan"]), (String, str),
    (LargeBinary, bytes),
)  # fmt: skip


def _type(column: Column[Any]) -> Any:
    """What a value of the column is in a line."""
    kind = next(kind for of, kind in _TYPES if isinstance(column.type, of))
    return kind | None if column.nullable else kind


def reset_sequences(connection: Connection, tables: MetaData) -> None:
    """Let PostgreSQL count on where the rows that were put in end."""
    for table in tables.sorted_tables:
        for column in table.primary_key.columns:
            if isinstance(column.type, Integer):
                of = {"table": f'"{table.name}"', "column": column.name}
                query = text("SELECT pg_get_serial_sequence(:table, :column)")
                if name := connection.execute(query, of).scalar():
                    newest = f'SELECT setval(:name, max("{column.name}")) FROM "{table.name}" HAVING count(*) > 0'  # noqa: S608 - names of ours
                    connection.execute(text(newest), {"name": name})
