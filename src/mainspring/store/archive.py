"""The archive of a backup: a tar file in gzip, its members in a fixed layout, a manifest with their hashes at the end.

    mainspring.toml  admin.key  ...             files of the data directory
    ledger/000001.journal                       lines that were not in the database yet
    tables/<table>/000001.jsonl                 rows, a JSON array each, in the order of the manifest's columns
    blobs/<sha256>                              what files hold
    models/<name>/<version>/<file>              weights, if they were asked for
    manifest.json

`tar xzf` opens it. Writing and reading are streams: nothing larger than a chunk of rows is ever in memory. Reading is
stricter than any tar: plain files only, under these names only, each once, each with the size and SHA-256 that the
manifest says, the end where the end must be, and no more than `MAX_RATIO` times what was packed. A hash tells damage,
not forgery: whoever can write the archive can write another manifest.
"""

import gzip
import hashlib
import re
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import IO, BinaryIO

import msgspec

from mainspring.core.errors import UserMistake

__all__ = [
    "CONFIGURATION",
    "FILES",
    "MANIFEST",
    "SECRETS",
    "Contents",
    "Entry",
    "Manifest",
    "Member",
    "Model",
    "Progress",
    "TableRows",
    "Writer",
    "entries",
    "verify",
]

FORMAT = 1
MANIFEST = "manifest.json"
CONFIGURATION = "mainspring.toml"
SECRETS = ("admin.key", "secret")
FILES = (CONFIGURATION, *SECRETS)
"""What is kept of the data directory as it lies there."""

BLOCK = 512
PIECE = 2**18
LEVEL = 3
"""Of gzip: rows come out about as small as with 9, in a quarter of the time; weights do not shrink with any."""
MAX_RATIO = 250
"""Bytes unpacked for one that is packed, after `SLACK`: JSON reaches 30, a bomb 1,000."""
SLACK = 64 * 2**20
MAX_FILE = 2**20
MAX_CHUNK = 64 * 2**20
MAX_SIZE = 2**53

_PART = r"[A-Za-z0-9_][A-Za-z0-9._+~%-]{0,254}"
_LIMITS = (
    (re.compile("|".join(map(re.escape, FILES))), MAX_FILE),
    (re.compile(r"ledger/\d{6,9}\.journal"), MAX_CHUNK),
    (re.compile(r"tables/[a-z_][a-z0-9_]{0,62}/\d{6,9}\.jsonl"), MAX_CHUNK),
    (re.compile(r"blobs/[0-9a-f]{64}"), MAX_SIZE),
    (re.compile(rf"models/{_PART}/{_PART}/{_PART}"), MAX_SIZE),
    (re.compile(re.escape(MANIFEST)), MAX_CHUNK),
)


Progress = Callable[[str, int, int | None], None]
"""Told how far it is: what is being done, the bytes that are done, and how many there are if that is known."""


class Member(msgspec.Struct, frozen=True):
    """A file in the archive, `bytes` long."""

    name: str
    bytes: int
    sha256: str


class TableRows(msgspec.Struct, frozen=True):
    """What was kept of a table."""

    columns: tuple[str, ...]
    rows: int


class Model(msgspec.Struct, frozen=True):
    """A version of the catalog; `included` says whether its files are in the archive, `folder` what the folder of the
    name is called if it is not the name."""

    name: str
    version: str
    source: str
    files: tuple[str, ...]
    bytes: int
    included: bool
    folder: str = ""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What an archive holds. `created` is in Unix seconds, `revision` the schema of the tables.

    Args:
        gone: hashes of blobs that were missing; their files were deleted meanwhile, and do not come back.
    """

    format: int = FORMAT
    mainspring: str
    created: float
    database: str
    revision: str
    tables: dict[str, TableRows]
    models: tuple[Model, ...] = ()
    gone: tuple[str, ...] = ()
    members: tuple[Member, ...] = ()


class Writer:
    """Writes an archive. It is none before `finish` has returned."""

    def __init__(self, out: BinaryIO) -> None:
        self._gzip = gzip.GzipFile(filename="", fileobj=out, mode="wb", compresslevel=LEVEL)
        self._members: list[Member] = []
        self.written = 0

    def add(self, name: str, data: bytes) -> None:
        """A member that is in memory."""
        self._begin(name, len(data))
        self._gzip.write(data)
        self._end(name, len(data), hashlib.sha256(data).hexdigest())

    def add_file(self, name: str, path: Path) -> None:
        """A member that is a file.

        Raises:
            UserMistake: it became shorter while it was read.
        """
        digest = hashlib.sha256()
        with path.open("rb") as file:
            left = size = path.stat().st_size
            self._begin(name, size)
            while left:
                piece = file.read(min(PIECE, left))
                if not piece:
                    raise UserMistake(f"{name} changed while it was read: run the backup again.")
                digest.update(piece)
                self._gzip.write(piece)
                left -= len(piece)
        self._end(name, size, digest.hexdigest())

    async def add_stream(self, name: str, size: int, pieces: AsyncIterator[bytes]) -> None:
        """A member that is `size` bytes of a stream. Nothing of it is written if the first piece does not come.

        Raises:
            UserMistake: it has another size.
        """
        digest, left = hashlib.sha256(), size
        piece = await anext(pieces, b"")
        self._begin(name, size)
        while piece and len(piece) <= left:
            digest.update(piece)
            self._gzip.write(piece)
            left -= len(piece)
            piece = await anext(pieces, b"")
        if piece or left:
            raise UserMistake(f"{name} has not the size that it should have: run the backup again.")
        self._end(name, size, digest.hexdigest())

    def finish(self, manifest: Manifest) -> Manifest:
        """Write the manifest, with the members, and the end."""
        whole = msgspec.structs.replace(manifest, members=tuple(self._members))
        self.add(MANIFEST, msgspec.json.format(msgspec.json.encode(whole)))
        self._gzip.write(bytes(2 * BLOCK))
        self._gzip.close()
        return whole

    def _begin(self, name: str, size: int) -> None:
        assert _limit(name) >= size, name
        self._gzip.write(_header(name, size))

    def _end(self, name: str, size: int, digest: str) -> None:
        self._gzip.write(bytes(-size % BLOCK))
        self._members.append(Member(name, size, digest))
        self.written += size


class Entry:
    """A member while it is read: the stream stands at its first byte."""

    def __init__(self, stream: "_Unpacked", name: str, size: int) -> None:
        self._stream, self.name, self.size = stream, name, size
        self._left = size
        self._digest = hashlib.sha256()

    def pieces(self) -> Iterator[bytes]:
        """What is left of it, in pieces."""
        while self._left:
            piece = self._stream.exactly(min(PIECE, self._left))
            self._left -= len(piece)
            self._digest.update(piece)
            yield piece

    def read(self) -> bytes:
        """What is left of it."""
        return b"".join(self.pieces())

    def member(self) -> Member:
        """What it was, once it has been read."""
        for _ in self.pieces():
            pass
        return Member(self.name, self.size, self._digest.hexdigest())


class Contents(msgspec.Struct, frozen=True):
    """A verified archive: its manifest, its small files, and the bytes of all members together."""

    manifest: Manifest
    files: dict[str, bytes]
    bytes: int


def entries(packed: IO[bytes], progress: Progress | None = None, phase: str = "") -> Iterator[Entry]:
    """The members, in their order; one is over when the next is asked for.

    Raises:
        UserMistake: this is no such archive, or not a whole one.
    """
    stream = _Unpacked(packed)
    seen = set[str]()
    while (head := stream.exactly(BLOCK)) != bytes(BLOCK):
        name, size = _parse(head)
        if name in seen or MANIFEST in seen:
            raise _damaged(f"{name} is where it must not be")
        seen.add(name)
        entry = Entry(stream, name, size)
        yield entry
        entry.member()
        if any(stream.exactly(-size % BLOCK)):
            raise _damaged("there is something between its members")
        if progress is not None:
            progress(phase, stream.num_packed, None)
    if stream.exactly(BLOCK) != bytes(BLOCK) or not stream.is_at_end():
        raise _damaged("there is something after its end")


def verify(packed: IO[bytes], progress: Progress | None = None) -> Contents:
    """Read an archive from its beginning to its end, and hold every member against the manifest. Writes nothing.

    Raises:
        UserMistake: it is damaged, not whole, made by a newer Mainspring, or not an archive of ours.
    """
    packed.seek(0)
    members, files, manifest = list[Member](), dict[str, bytes](), None
    for entry in entries(packed, progress, "verifying"):
        if entry.name == MANIFEST:
            manifest = _manifest(entry.read())
            continue
        if entry.name in FILES:
            files[entry.name] = entry.read()
        members.append(entry.member())
        if entry.name.startswith("blobs/") and entry.name != f"blobs/{members[-1].sha256}":
            raise _damaged("a blob has the name of another")
    if manifest is None:
        raise _damaged("it has no manifest")
    if tuple(members) != manifest.members:
        said = {member.name: member for member in manifest.members}
        wrong = next((member.name for member in members if said.get(member.name) != member), "a member that is missing")
        raise _damaged(f"{wrong} is not what was written")
    return Contents(manifest, files, sum(member.bytes for member in members))


def _manifest(data: bytes) -> Manifest:
    class _Format(msgspec.Struct):
        format: int
        mainspring: str

    try:
        about = msgspec.json.decode(data, type=_Format)
        if about.format > FORMAT:
            raise UserMistake(
                f"This archive was made by Mainspring {about.mainspring}, which is newer: upgrade, then restore it."
            )
        return msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _damaged("its manifest cannot be read") from error


class _Unpacked:
    """What is in the gzip file, as far as it was asked for."""

    def __init__(self, packed: IO[bytes]) -> None:
        self._packed = packed
        self._gzip = gzip.GzipFile(fileobj=packed, mode="rb")
        self._num_read = 0

    @property
    def num_packed(self) -> int:
        return self._packed.tell()

    def exactly(self, size: int) -> bytes:
        data = self._read(size)
        if len(data) < size:
            raise _damaged("it ends too early")
        return data

    def is_at_end(self) -> bool:
        """Whether nothing but zeros follows. gzip holds its own sum against what was read only here."""
        while data := self._read(PIECE):
            if any(data):
                return False
        return True

    def _read(self, size: int) -> bytes:
        try:
            data = self._gzip.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise _damaged("it is not gzip, or not all of it") from error
        self._num_read += len(data)
        if self._num_read > SLACK + MAX_RATIO * self.num_packed:
            raise _damaged("it unpacks to far more than any backup would")
        return data


def _header(name: str, size: int) -> bytes:
    """The block before a member (POSIX.1-1988 "ustar"); a size that is too large for it as GNU tar writes it."""
    prefix, base = "", name
    if len(base) > 100:
        prefix, base = name.rsplit("/", 1)
    if len(base) > 100 or len(prefix) > 155:
        raise UserMistake(f"{name[:300]} has a name that is too long for the archive.")
    octal = size < 8**11
    shown = b"%011o\0" % size if octal else b"\x80" + size.to_bytes(11, "big")
    before = base.encode().ljust(100, b"\0") + b"0000600\0" + b"0000000\0" * 2 + shown + b"%011o\0" % 0
    after = b"0" + bytes(100) + b"ustar\x0000" + bytes(64) + bytes(16) + prefix.encode().ljust(155, b"\0") + bytes(12)
    return before + b"%06o\0 " % _sum(before + b" " * 8 + after) + after


def _parse(head: bytes) -> tuple[str, int]:
    """Name and size, if the block is one that `_header` would write (owner, mode and times may differ)."""
    try:
        total = int(head[148:156].strip(b" \0"), 8)
        size = int.from_bytes(head[125:136], "big") if head[124] == 0x80 else int(head[124:136].strip(b" \0"), 8)
        base, prefix = (
            head[at : at + length].partition(b"\0")[0].decode("ascii") for at, length in ((0, 100), (345, 155))
        )
    except ValueError as error:
        raise _damaged("a member has no header") from error
    name = f"{prefix}/{base}" if prefix else base
    if total != _sum(head[:148] + b" " * 8 + head[156:]) or head[257:262] != b"ustar" or head[156:157] != b"0":
        raise _damaged("a member is not a plain file")
    if not 0 <= size <= _limit(name):
        raise _damaged("a member has a name or a size that none of ours has")
    return name, size


def _limit(name: str) -> int:
    """How large a member of this name may be; -1 if there is none."""
    return next((limit for pattern, limit in _LIMITS if pattern.fullmatch(name)), -1)


def _sum(head: bytes) -> int:
    return sum(head)


def _damaged(why: str) -> UserMistake:
    return UserMistake(f"This is not a whole backup of Mainspring ({why}): nothing was changed. Use another one.")
