"""Documents that were made to harm, in this process: each is read, or refused with its cause and the fix."""

# ruff: noqa: PT017 - what is refused is as good as what is read

import contextlib
import io
import random
import struct
import zipfile
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.retrieval.parse.source import Refused
from tests.unit.retrieval import made
from tests.unit.retrieval.read import read

BODY = made.paragraph("Some text of a document.")
ENDINGS = (
    "txt", "md", "html", "pdf", "docx", "pptx", "xlsx", "csv", "tsv", "json", "jsonl", "py", "js", "ts", "java", "go",
    "c", "cpp", "cs", "rb", "php", "sh", "css", "tex", "rs", "yaml", "toml", "xml", "", "odd",
)  # fmt: skip
WHOLE: dict[str, Callable[[], bytes]] = {
    "pdf": lambda: made.pdf(["One\nTwo", "Three"], [("One", 0)]),
    "docx": lambda: made.docx(BODY + made.word_table([["a", "b"], ["c", "d"]])),
    "xlsx": lambda: made.xlsx({"A": '<row><c t="s"><v>0</v></c></row>'}, ["text"]),
    "pptx": lambda: made.pptx([made.shape("Title", "title")], {1: made.shape("note")}),
    "html": lambda: b"<table><tr><th>a<th>b<tr><td>c<td>d</table><pre>x</pre><h1>t</h1>",
    "json": lambda: b'{"a": [1, "two", {"b": null}], "c": 1e5}',
    "csv": lambda: b'a,b\n"1\n2",3\n',
    "md": lambda: b"---\na: 1\n---\n# T\n```\nx\n```\nU\n===\n",
}


@given(st.binary(max_size=2000), st.sampled_from(ENDINGS))
@settings(max_examples=400, deadline=None)
def test_random_bytes_are_read_or_refused(content: bytes, ending: str) -> None:
    try:
        read(content, f"a.{ending}")
    except Refused as refused:
        assert refused.code in ("invalid_file", "unsupported_file")
        assert refused.message


@pytest.mark.parametrize("ending", sorted(WHOLE))
def test_damaged_documents_are_read_or_refused(ending: str) -> None:
    """Bytes changed, cut out, doubled. What else is raised is caught where the process ends, and here tolerated only if
    it is no error of memory."""
    seeded = random.Random(1)
    whole = WHOLE[ending]()
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(seeded.randint(1, 8)):
            at = seeded.randrange(len(content))
            choice = seeded.randrange(4)
            if choice == 0:
                content[at] = seeded.randrange(256)
            elif choice == 1:
                del content[at : at + seeded.randint(1, 40)]
            elif choice == 2:
                content[at:at] = content[at : at + seeded.randint(1, 40)]
            else:
                content[at : at + 4] = struct.pack("<I", 0xFFFFFFFF)
            if not content:
                break
        try:
            read(bytes(content), f"a.{ending}")
        except Refused:
            continue


def refused(content: bytes, name: str, **limits: int) -> Refused:
    with pytest.raises(Refused) as caught:
        read(content, name, **limits)
    assert caught.value.message.rstrip().endswith((".", ").")), "a sentence"
    return caught.value


@pytest.mark.parametrize("ending", ENDINGS)
def test_empty_and_blank_files(ending: str) -> None:
    assert "is empty" in refused(b"", f"a.{ending}").message
    refused(b" \n\n ", f"a.{ending}")


def test_a_zip_bomb_is_not_inflated() -> None:
    bomb = made.docx(BODY + " " * (64 << 20))
    assert len(bomb) < 1 << 17
    assert "inflates to more than" in refused(bomb, "a.docx").message
    assert "inflates to more than" in refused(bomb, "a.docx", ratio=10**9, inflated_bytes=32 << 20).message


def test_many_members_that_inflate_are_counted_together() -> None:
    sheet = "<row/>" * 200_000
    book = made.xlsx({f"s{number}": sheet for number in range(20)})
    assert "inflates to more than" in refused(book, "a.xlsx", inflated_bytes=8 << 20).message


def test_a_lie_about_a_size_is_found_out() -> None:
    content = made.docx(BODY)
    at = content.index(b"PK\x01\x02")
    lies = bytearray(content)
    lies[at + 24 : at + 28] = struct.pack("<I", 10)
    try:
        read(bytes(lies), "a.docx")
    except Refused as error:
        assert "broken" in error.message


def test_archives_within_are_not_opened() -> None:
    inner = made.archive({"x": b"0" * (32 << 20)})
    content = made.docx(BODY, **{"word/embeddings/inner.zip": inner, "inner.docx": made.docx(BODY)})
    assert [each.text for each in read(content, "a.docx")] == ["Some text of a document."]


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/../../b", "C:\\x", "..\\x"])
def test_names_that_lead_out_are_refused(name: str) -> None:
    assert "leads out of it" in refused(made.docx(BODY, **{name: "x"}), "a.docx").message


def test_relations_lead_nowhere_else() -> None:
    content = made.pptx([made.shape("Title", "title")])
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        members = {name: file.read(name) for name in file.namelist()}
    members["ppt/_rels/presentation.xml.rels"] = made.relations({"r1": "../../../../etc/passwd"}).encode()
    assert "no text" in refused(made.archive(members), "a.pptx").message


ENTITIES = """<?xml version="1.0"?><!DOCTYPE d [<!ENTITY a "aaaaaaaaaa">{more}]>
<w:document xmlns:w="x"><w:body><w:p><w:r><w:t>&z;</w:t></w:r></w:p></w:body></w:document>"""


@pytest.mark.parametrize(
    "more",
    [
        "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghz", strict=True)),
        '<!ENTITY z SYSTEM "file:///etc/passwd">',
        '<!ENTITY z SYSTEM "http://127.0.0.1:9/">',
        '<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;',
    ],
)
def test_entities_are_refused(more: str) -> None:
    document = made.archive({**made.main_part("word/document.xml"), "word/document.xml": ENTITIES.format(more=more)})
    assert "document type" in refused(document, "a.docx").message


def test_entities_of_html_are_not_fetched() -> None:
    content = b'<!DOCTYPE html [<!ENTITY x SYSTEM "file:///etc/passwd">]><p>a&x;b</p>'
    assert "root:" not in "".join(each.text for each in read(content, "a.html"))


def test_deep_xml_is_refused() -> None:
    assert "nested more than" in refused(made.docx("<w:r>" * 5000 + "</w:r>" * 5000), "a.docx").message


def test_passwords() -> None:
    sealed = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2000) + "EncryptedPackage".encode("utf-16-le") + bytes(500)
    assert "password" in refused(sealed, "a.docx").message
    locked = bytearray(made.docx(BODY))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := locked.find(mark, at + 1)) >= 0:
            locked[at + place] |= 1
    assert "password" in refused(bytes(locked), "a.docx").message
    assert "password" in refused(made.pdf(["x"], trailer=made.LOCKED), "a.pdf").message


def test_old_and_other_formats_are_named() -> None:
    old = refused(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2000), "a.doc")
    assert (old.code, "old format" in old.message) == ("unsupported_file", True)
    picture = refused(b"\x89PNG\r\n\x1a\n" + bytes(100), "a.png")
    assert (picture.code, "PNG image" in picture.message) == ("unsupported_file", True)
    assert refused(bytes(range(256)) * 10, "a.bin").code == "unsupported_file"
    assert "zip archive" in refused(made.archive({"a": "b"}), "a.zip").message


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        (b"just text", "a.pdf", ".txt"),
        (made.pdf(["x"]), "a.txt", ".pdf"),
        (made.pdf(["x"]), "a.docx", ".pdf"),
        (made.docx(BODY), "a.xlsx", ".docx"),
        (made.docx(BODY), "a.md", ".docx"),
        (b"text", "a.pptx", ".txt"),
    ],
)
def test_a_name_that_lies_is_refused(content: bytes, name: str, says: str) -> None:
    message = refused(content, name).message
    assert "is not what its name says" in message
    assert message.endswith(f"such as {says}.")


def test_pdfs_made_to_harm() -> None:
    content = made.pdf(["Hello"], more="/OpenAction << /S /JavaScript /JS (app.alert\\(1\\)) >>")
    assert [each.text for each in read(content, "a.pdf")] == ["Hello"]
    start = content.rindex(b"startxref")
    assert [each.text for each in read(content[:start] + b"startxref\n99999999\n%%EOF", "a.pdf")] == ["Hello"]
    assert "broken" in refused(b"%PDF-1.7\n" + b"\0\xff" * 5000, "a.pdf").message
    endless = content.replace(b"endstream", b"endstreax").replace(b"endobj", b"endobx")
    with contextlib.suppress(Refused):
        read(endless, "a.pdf")


def test_pages_that_lead_in_a_circle() -> None:
    content = made.pdf(["Hello"]).replace(b"/Kids [3 0 R]", b"/Kids [5 0 R]")
    refused(content, "a.pdf")


def test_too_much_text_is_refused() -> None:
    assert "more than 1,000 characters" in refused(b"word " * 1000, "a.txt", text_chars=1000).message
