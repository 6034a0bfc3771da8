"""The archive: what is written is a tar that others read; what is read is only what was written, whatever is tried."""

import gzip
import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.core.errors import UserMistake
from mainspring.store import archive
from mainspring.store.archive import Manifest, Member, Writer, entries, verify

NAMES = st.one_of(
    st.sampled_from(["mainspring.toml", "admin.key", "secret"]),
    st.builds("ledger/{:06d}.journal".format, st.integers(1, 999)),
    st.builds("tables/{}/{:06d}.jsonl".format, st.from_regex(r"[a-z_][a-z0-9_]{0,9}", fullmatch=True), st.just(1)),
    st.builds("models/{}/{}/{}".format, *[st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,60}", fullmatch=True)] * 3),
)  # fmt: skip
MEMBERS = st.dictionaries(NAMES, st.binary(max_size=2000), max_size=6)


def manifest(**fields) -> Manifest:
    return Manifest(
        **{"mainspring": "1", "created": 1.0, "database": "sqlite", "revision": "0001", "tables": {}} | fields
    )


def packed(members: dict[str, bytes]) -> io.BytesIO:
    out = io.BytesIO()
    writer = Writer(out)
    for name, data in members.items():
        writer.add(name, data)
    writer.finish(manifest())
    return out


def opened(data: bytes) -> io.BytesIO:
    return io.BytesIO(data)


@given(MEMBERS)
def test_tar_and_we_read_what_was_written(members: dict[str, bytes]) -> None:
    out = packed(members)
    out.seek(0)
    assert {entry.name: entry.read() for entry in entries(out) if entry.name != "manifest.json"} == members
    contents = verify(out)
    assert [member.name for member in contents.manifest.members] == list(members)
    assert contents.files == {name: data for name, data in members.items() if "/" not in name}
    out.seek(0)
    with tarfile.open(fileobj=out, mode="r:gz") as tar:
        assert {info.name: tar.extractfile(info).read() for info in tar} | members == {
            "manifest.json": tar.extractfile("manifest.json").read(), **members,
        }  # fmt: skip
        assert {info.mode for info in tar} == {0o600}


@pytest.mark.parametrize("size", [0, 1, 8**11 - 1, 8**11, 2**40])
def test_a_header_holds_any_size(size: int) -> None:
    name = "models/" + "n" * 90 + "/0123456789ab/" + "f" * 60 + ".gguf"
    block = archive._header(name, size)
    assert archive._parse(block) == (name, size)
    info = tarfile.TarInfo.frombuf(block, "ascii", "strict")
    assert (info.name, info.size, info.isreg()) == (name, size, True)


def test_a_file_is_a_member_as_it_was_when_it_was_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"w" * 600_000)
    out = io.BytesIO()
    writer = Writer(out)
    writer.add_file("models/m/1/weights.gguf", path)
    writer.finish(manifest())
    assert verify(out).bytes == 600_000
    monkeypatch.setattr(archive, "PIECE", 1000)
    shorter = Writer(io.BytesIO())
    begin = shorter._begin

    def begin_and_cut(name: str, size: int) -> None:
        begin(name, size)
        path.write_bytes(b"")

    monkeypatch.setattr(shorter, "_begin", begin_and_cut)
    with pytest.raises(UserMistake, match="changed while it was read"):
        shorter.add_file("models/m/1/weights.gguf", path)


SAMPLE = packed({"mainspring.toml": b"region = 'x'\n", "tables/audit/000001.jsonl": b"[1]\n" * 300}).getvalue()
PLAIN = gzip.decompress(SAMPLE)


@given(st.data())
def test_a_changed_archive_is_refused_or_changes_nothing(data: st.DataObject) -> None:
    """Bytes of the file, or of the tar inside, are changed, cut out or put in."""
    inside = data.draw(st.booleans())
    whole = bytearray(PLAIN if inside else SAMPLE)
    at = data.draw(st.integers(0, len(whole) - 1))
    kind = data.draw(st.sampled_from(["flip", "cut", "truncate", "insert"]))
    if kind == "flip":
        whole[at] ^= data.draw(st.integers(1, 255))
    elif kind == "cut":
        del whole[at : at + data.draw(st.integers(1, 1024))]
    elif kind == "truncate":
        del whole[at:]
    else:
        whole[at:at] = data.draw(st.binary(min_size=1, max_size=1024))
    bad = gzip.compress(whole) if inside else bytes(whole)
    try:
        contents = verify(opened(bad))
    except UserMistake:
        return
    assert contents.files == {"mainspring.toml": b"region = 'x'\n"}
    assert contents.manifest.members == verify(opened(SAMPLE)).manifest.members


@settings(max_examples=50)
@given(st.binary(max_size=3000), st.booleans())
def test_anything_else_is_refused(data: bytes, is_gzip: bool) -> None:
    with pytest.raises(UserMistake, match="not a whole backup"):
        verify(opened(gzip.compress(data) if is_gzip else data))


def tar_of(*infos: tuple[tarfile.TarInfo, bytes], kind: int = tarfile.GNU_FORMAT) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=kind) as tar:
        for info, data in infos:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


HOSTILE = {
    "traversal": tarfile.TarInfo("models/../../etc/x"),
    "deeper": tarfile.TarInfo("models/a/../b"),
    "absolute": tarfile.TarInfo("/etc/passwd"),
    "elsewhere": tarfile.TarInfo("server.json"),
    "hidden": tarfile.TarInfo("models/.work/a/b"),
    "backslash": tarfile.TarInfo("models/a/b/..\\c"),
    "symlink": special("mainspring.toml", tarfile.SYMTYPE, "/etc/passwd"),
    "hard link": special("mainspring.toml", tarfile.LNKTYPE, "/etc/passwd"),
    "directory": special("ledger", tarfile.DIRTYPE),
    "device": special("admin.key", tarfile.CHRTYPE),
    "pipe": special("admin.key", tarfile.FIFOTYPE),
    "long name": tarfile.TarInfo("models/" + "a" * 300 + "/b/c"),
}


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT])
def test_what_is_no_plain_file_of_ours_is_refused(what: str, kind: int) -> None:
    if what == "long name" and kind == tarfile.USTAR_FORMAT:
        pytest.skip("it has no such names")
    with pytest.raises(UserMistake, match="not a whole backup"):
        verify(tar_of((HOSTILE[what], b"x" if HOSTILE[what].isreg() else b""), kind=kind))


def test_a_link_in_a_pax_header_is_refused() -> None:
    info = tarfile.TarInfo("mainspring.toml")
    info.pax_headers = {"path": "../../etc/passwd", "size": "99999999999"}
    with pytest.raises(UserMistake, match="not a plain file"):
        verify(tar_of((info, b"x"), kind=tarfile.PAX_FORMAT))


def raw(*members: tuple[str, bytes], end: bytes = bytes(1024)) -> io.BytesIO:
    blocks = [archive._header(name, len(data)) + data + bytes(-len(data) % 512) for name, data in members]
    return opened(gzip.compress(b"".join(blocks) + end))


def said(*members: Member, **fields) -> bytes:
    import msgspec

    return msgspec.json.encode(manifest(members=members, **fields))


EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
KEY = ("admin.key", b"")
GOOD = Member("admin.key", 0, EMPTY)


def test_it_is_what_its_manifest_says() -> None:
    assert verify(raw(KEY, ("manifest.json", said(GOOD)))).files == {"admin.key": b""}
    for bad, why in [
        (raw(KEY), "no manifest"),
        (raw(KEY, ("manifest.json", said())), "not what was written"),
        (raw(("manifest.json", said(GOOD))), "not what was written"),
        (raw(KEY, ("manifest.json", said(Member("admin.key", 0, "0" * 64)))), "admin.key is not what"),
        (raw(KEY, KEY, ("manifest.json", said(GOOD, GOOD))), "where it must not be"),
        (raw(("manifest.json", said(GOOD)), KEY), "where it must not be"),
        (raw(("manifest.json", b"[" * 100_000)), "cannot be read"),
        (raw(("manifest.json", b"{}")), "cannot be read"),
        (raw(KEY, ("manifest.json", said(GOOD)), end=bytes(1024) + b"x"), "after its end"),
        (raw(KEY, ("manifest.json", said(GOOD)), end=b""), "ends too early"),
    ]:
        with pytest.raises(UserMistake, match=why):
            verify(bad)
    with pytest.raises(UserMistake, match=r"made by Mainspring 1, which is newer"):
        verify(raw(("manifest.json", said(format=2))))


def test_a_bomb_is_refused_before_it_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "SLACK", 2**20)
    bomb = raw(("tables/audit/000001.jsonl", bytes(32 * 2**20)))
    assert len(bomb.getvalue()) < 2**16
    with pytest.raises(UserMistake, match="unpacks to far more"):
        verify(bomb)
    too_large = archive._header("admin.key", 2**20) + bytes(2**20)
    assert archive._parse(too_large[:512]) == ("admin.key", 2**20)
    with pytest.raises(UserMistake, match="a name or a size"):
        verify(opened(gzip.compress(archive._header("admin.key", 2**20 + 1))))
