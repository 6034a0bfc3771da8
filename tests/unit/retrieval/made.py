"""Small documents of every kind, made for tests by hand so that each byte of them is known."""

import io
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from xml.sax.saxutils import escape, quoteattr

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
S = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
P = "http://schemas.openxmlformats.org/presentationml/2006/main"
A = "http://schemas.openxmlformats.org/drawingml/2006/main"
R = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"


def archive(members: Mapping[str, str | bytes], level: int = 6) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return made.getvalue()


def relations(targets: Mapping[str, str], kind: str = "x") -> str:
    rows = "".join(
        f'<Relationship Id={quoteattr(each)} Type="{R}/{kind}" Target={quoteattr(target)}/>'
        for each, target in targets.items()
    )
    return f'<Relationships xmlns="{RELATIONS}">{rows}</Relationships>'


def main_part(target: str) -> dict[str, str]:
    return {"_rels/.rels": relations({"r1": target}, "officeDocument")}


def paragraph(text: str, style: str = "") -> str:
    chosen = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f'<w:p>{chosen}<w:r><w:t xml:space="preserve">{escape(text)}</w:t></w:r></w:p>'


def word_table(rows: Iterable[Sequence[str]]) -> str:
    made = "".join("<w:tr>" + "".join(f"<w:tc>{paragraph(cell)}</w:tc>" for cell in row) + "</w:tr>" for row in rows)
    return f"<w:tbl>{made}</w:tbl>"


def docx(body: str, **more: str | bytes) -> bytes:
    styles = (
        f'<w:styles xmlns:w="{W}"><w:style w:styleId="Titel"><w:name w:val="Title"/></w:style>'
        '<w:style w:styleId="berschrift1"><w:name w:val="heading 1"/></w:style>'
        '<w:style w:styleId="berschrift2"><w:name w:val="heading 2"/></w:style></w:styles>'
    )
    document = f'<?xml version="1.0"?><w:document xmlns:w="{W}" xmlns:mc="mc"><w:body>{body}</w:body></w:document>'
    return archive({**main_part("word/document.xml"), "word/document.xml": document, "word/styles.xml": styles, **more})


def xlsx(sheets: Mapping[str, str], shared: Sequence[str] = (), styles: str = "") -> bytes:
    names = list(sheets)
    listed = "".join(f'<sheet name={quoteattr(n)} sheetId="{i}" r:id="r{i}"/>' for i, n in enumerate(names, 1))
    strings = "".join(f"<si><t>{escape(each)}</t></si>" for each in shared)
    return archive({
        **main_part("/xl/workbook.xml"),
        "xl/workbook.xml": f'<workbook xmlns="{S}" xmlns:r="{R}"><sheets>{listed}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": relations({f"r{i}": f"worksheets/s{i}.xml" for i in range(1, len(names) + 1)}),
        "xl/sharedStrings.xml": f'<sst xmlns="{S}">{strings}</sst>',
        "xl/styles.xml": f'<styleSheet xmlns="{S}">{styles}</styleSheet>',
        **{
            f"xl/worksheets/s{i}.xml": f'<worksheet xmlns="{S}"><sheetData>{sheets[n]}</sheetData></worksheet>'
            for i, n in enumerate(names, 1)
        },
    })  # fmt: skip


def shape(text: str, kind: str = "body") -> str:
    lines = "".join(f"<a:p><a:r><a:t>{escape(line)}</a:t></a:r></a:p>" for line in text.split("\n"))
    return f'<p:sp><p:nvSpPr><p:nvPr><p:ph type="{kind}"/></p:nvPr></p:nvSpPr><p:txBody>{lines}</p:txBody></p:sp>'


def pptx(slides: Sequence[str], notes: Mapping[int, str] = {}) -> bytes:
    numbers = range(1, len(slides) + 1)
    listed = "".join(f'<p:sldId id="{255 + n}" r:id="r{n}"/>' for n in numbers)
    # Their names say another order than the one in which they are shown.
    files = {n: f"slides/slide{len(slides) + 1 - n}.xml" for n in numbers}
    members: dict[str, str | bytes] = {
        **main_part("ppt/presentation.xml"),
        "ppt/presentation.xml": f'<p:presentation xmlns:p="{P}" xmlns:r="{R}"><p:sldIdLst>{listed}</p:sldIdLst>'
        "</p:presentation>",
        "ppt/_rels/presentation.xml.rels": relations({f"r{n}": files[n] for n in numbers}),
    }
    for number, slide in zip(numbers, slides, strict=True):
        members[f"ppt/{files[number]}"] = f'<p:sld xmlns:p="{P}" xmlns:a="{A}">{slide}</p:sld>'
    for number, said in notes.items():
        base = files[number].rpartition("/")[2]
        members[f"ppt/slides/_rels/{base}.rels"] = relations({"r1": f"../notesSlides/notesSlide{number}.xml"})
        members[f"ppt/notesSlides/notesSlide{number}.xml"] = f'<p:notes xmlns:p="{P}" xmlns:a="{A}">{said}</p:notes>'
    return archive(members)


LOCKED = f"/Encrypt << /Filter /Standard /V 1 /R 2 /O <{'41' * 32}> /U <{'42' * 32}> /P -4 >> /ID [<00> <00>]"
"""Of a trailer: a PDF that opens with no password."""


def pdf(pages: Sequence[str], outline: Sequence[tuple[str, int]] = (), *, more: str = "", trailer: str = "") -> bytes:
    """A PDF with a line of text for each line of each page; `outline` is (title, index of a page). `more` goes into its
    catalogue."""
    objects: list[bytes] = [b"", b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    first = 3
    for at, page in enumerate(pages):
        shown = "".join(f"({_quoted(line)}) Tj T* " for line in page.split("\n"))
        stream = zlib.compress(f"BT /F1 12 Tf 14 TL 72 720 Td {shown}ET".encode("latin-1"))
        objects.append(
            b"<< /Type /Page /Parent %d 0 R /MediaBox [0 0 612 792] /Contents %d 0 R /Resources << /Font << /F1 2 0 R "
            b">> >> >>" % (first + 2 * len(pages), first + 2 * at + 1)
        )
        objects.append(b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(stream), stream))
    kids = " ".join(f"{first + 2 * at} 0 R" for at in range(len(pages)))
    objects.append(f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode())
    tree = len(objects)
    items = tree + 2
    listed = f"/Outlines {tree + 1} 0 R" if outline else ""
    objects[0] = f"<< /Type /Catalog /Pages {tree} 0 R {listed} {more} >>".encode()
    if outline:
        last = items + len(outline) - 1
        objects.append(f"<< /Type /Outlines /First {items} 0 R /Last {last} 0 R /Count {len(outline)} >>".encode())
        for at, (title, page) in enumerate(outline):
            following = f"/Next {items + at + 1} 0 R" if at + 1 < len(outline) else ""
            objects.append(
                f"<< /Title ({_quoted(title)}) /Parent {tree + 1} 0 R {following} "
                f"/Dest [{first + 2 * page} 0 R /Fit] >>".encode("latin-1")
            )
    return _written(objects, trailer)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")


def _written(objects: Sequence[bytes], trailer: str) -> bytes:
    made = bytearray(b"%PDF-1.4\n")
    places: list[int] = []
    for number, body in enumerate(objects, 1):
        places.append(len(made))
        made += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(made)
    made += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    made += b"".join(b"%010d 00000 n \n" % place for place in places)
    made += b"trailer\n<< /Size %d /Root 1 0 R %s >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1, trailer.encode(), start,
    )  # fmt: skip
    return bytes(made)
