"""Readers of docx, xlsx, pptx and pdf, on documents of which each byte is known."""

import pytest

from mainspring.retrieval.parse.source import Refused
from tests.unit.retrieval import made
from tests.unit.retrieval.read import read, texts, under


def test_docx_paragraphs_headings_and_tables() -> None:
    body = (
        made.paragraph("The title", "Titel")
        + made.paragraph("Before.")
        + made.paragraph("First", "berschrift1")
        + made.paragraph("Text & more.")
        + made.paragraph("Inner", "berschrift2")
        + made.word_table([["Name", "Age", "Town"], ["Anna", "33", "Paris"], ["Bob", "", "Rome"]])
        + made.paragraph("Second", "berschrift1")
        + made.paragraph("Last.")
    )
    found = under(made.docx(body), "a.docx")
    assert found[("The title",)] == "The title\n\nBefore."
    assert found[("The title", "First")] == "First\n\nText & more."
    assert found[("The title", "First", "Inner")].endswith(
        "Name | Age | Town\nName: Anna; Age: 33; Town: Paris\nName: Bob; Town: Rome"
    )
    assert found[("The title", "Second")] == "Second\n\nLast."


def test_docx_leaves_out_what_was_deleted_and_takes_one_of_alternatives() -> None:
    body = (
        "<w:p><w:r><w:t>kept </w:t></w:r><w:del><w:r><w:delText>gone</w:delText></w:r></w:del>"
        "<mc:AlternateContent><mc:Choice><w:r><w:t>once</w:t></w:r></mc:Choice>"
        "<mc:Fallback><w:r><w:t>twice</w:t></w:r></mc:Fallback></mc:AlternateContent>"
        "<w:r><w:tab/><w:t>tab</w:t><w:br/><w:t>line</w:t></w:r></w:p>"
    )
    assert texts(made.docx(body), "a.docx") == ["kept once\ttab\nline"]


def test_docx_lists_and_notes() -> None:
    item = "<w:p><w:pPr><w:numPr/></w:pPr><w:r><w:t>{}</w:t></w:r></w:p>"
    notes = f'<w:footnotes xmlns:w="{made.W}"><w:footnote>{made.paragraph("A note.")}</w:footnote></w:footnotes>'
    content = made.docx(item.format("one") + item.format("two"), **{"word/footnotes.xml": notes})
    assert "".join(texts(content, "a.docx")) == "- one\n- two\n\nA note."


def test_xlsx_rows_dates_and_sheets() -> None:
    styles = (
        '<numFmts><numFmt numFmtId="164" formatCode="[$-409]d\\-mmm;@"/></numFmts>'
        '<cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="164"/></cellXfs>'
    )
    first = (
        '<row><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c><c r="D1" t="inlineStr">'
        "<is><t>Done</t></is></c></row>"
        '<row><c r="A2" t="str"><f>X()</f><v>Anna</v></c><c r="B2" s="1"><v>45000</v></c>'
        '<c r="D2" t="b"><v>1</v></c></row>'
        '<row><c r="A3" t="s"><v>2</v></c><c r="B3" s="2"><v>45000.5</v></c></row>'
    )
    content = made.xlsx(
        {"People": first, "Other": "<row><c><v>1.5</v></c><c><v>2</v></c></row>"}, ["Name", "Born", "Bob"], styles
    )
    assert under(content, "a.xlsx") == {
        (
            "People",
        ): "Name | Born | Done\nName: Anna; Born: 2023-03-15; Done: TRUE\nName: Bob; Born: 2023-03-15 12:00:00",
        ("Other",): "1.5 | 2",
    }


def test_pptx_slides_in_order_with_titles_tables_and_notes() -> None:
    row = "<a:tr>" + "".join(f"<a:tc><a:p><a:r><a:t>{{{at}}}</a:t></a:r></a:p></a:tc>" for at in range(3)) + "</a:tr>"
    table = f"<a:tbl>{row.format('Name', 'Age', 'Town')}{row.format('Anna', '33', 'Paris')}</a:tbl>"
    slides = [
        made.shape("by us") + made.shape("Welcome", "ctrTitle"),
        made.shape("Data", "title") + made.shape("One\nTwo") + table,
    ]
    passages = read(made.pptx(slides, {2: made.shape("Say it.") + made.shape("2", "sldNum")}), "a.pptx")
    assert [(each.page, each.heading) for each in passages] == [(1, ("Welcome",)), (2, ("Data",))]
    assert passages[0].text == "by us\nWelcome"
    assert passages[1].text == ("Data\nOne\nTwo\nName | Age | Town\nName: Anna; Age: 33; Town: Paris\n\nNotes: Say it.")


def test_pdf_pages_and_outline() -> None:
    pages = ["Before\n1 Introduction\nHello (there)", "No heading here", "Chapter two\nEnd\nLast words\nThe end."]
    outline = [("Introduction", 0), ("Chapter two", 2), ("Last words", 2)]
    found = [(each.page, each.heading, each.text) for each in read(made.pdf(pages, outline), "a.pdf")]
    assert found == [
        (1, (), "Before"),
        (1, ("Introduction",), "1 Introduction\nHello (there)"),
        (2, ("Introduction",), "No heading here"),
        (3, ("Chapter two",), "Chapter two\nEnd"),
        (3, ("Last words",), "Last words\nThe end."),
    ]


def test_pdf_without_text_says_so() -> None:
    with pytest.raises(Refused, match="OCR"):
        read(made.pdf([""]), "a.pdf")


def test_a_pdf_of_ten_thousand_pages_is_read_and_the_limit_is_kept() -> None:
    content = made.pdf([f"Page number {number}" for number in range(10_000)])
    passages = read(content, "a.pdf")
    assert len(passages) == 10_000
    assert (passages[-1].page, passages[-1].text) == (10_000, "Page number 9999")
    with pytest.raises(Refused, match="more than 9,999 pages"):
        read(content, "a.pdf", pages=9_999)
