"""Readers of what is text: plain, Markdown, source code, CSV, JSON, HTML; and encodings."""

# ruff: noqa: E501, PT017 - a table of programs; documents without text are refused

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.retrieval.parse.html import page
from mainspring.retrieval.parse.source import Refused
from tests.unit.retrieval.read import read, texts, under

ANY_TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=3000)
SHOWN_AS_THEY_STAND = ("a.txt", "a.md", "a.py", "a.java", "a.sh", "a.tex", "a.toml", "a.rs", "a.unknown", "a")


@given(content=ANY_TEXT, name=st.sampled_from(SHOWN_AS_THEY_STAND))
@settings(max_examples=300, deadline=None)
def test_a_passage_is_the_text_at_its_offset(content: str, name: str) -> None:
    whole = content.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")
    try:
        passages = read(content, name)
    except Refused as refused:
        assert not whole.strip() or "binary" in refused.message or "is a " in refused.message
        return
    covered = [False] * len(whole)
    for passage in passages:
        end = passage.start + len(passage.text)
        assert whole[passage.start : end] == passage.text
        covered[passage.start : end] = [True] * len(passage.text)
    assert all(each or whole[at].isspace() for at, each in enumerate(covered))


def test_long_texts_are_cut_between_words() -> None:
    words = " ".join(f"word{number}" for number in range(100_000))
    passages = read(words, "a.txt")
    assert len(passages) > 50
    assert "".join(passage.text for passage in passages) == words
    assert all(passage.text.endswith(" ") for passage in passages[:-1])


def test_a_line_of_ten_million_characters() -> None:
    passages = read(b"x" * 10_000_000, "a.txt")
    assert sum(len(passage.text) for passage in passages) == 10_000_000


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("utf-8", "Größe: straße, 中文, Ελληνικά"),
        ("utf-8-sig", "Größe: straße, 中文"),
        ("utf-16", "Größe: straße, 中文"),
        ("utf-16-le", "Plain words, but for Größe"),
        ("utf-16-be", "Plain words, but for Größe"),
        ("utf-32", "Größe: straße, 中文"),
        ("cp1252", "Die Größe der Straße überrascht – „schön“, und noch ein längerer Satz für die Schätzung."),
        ("cp1251", "Съешь же ещё этих мягких французских булок, да выпей чаю. " * 5),
        ("shift_jis", "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。" * 5),
    ],
)
def test_encodings(encoding: str, text: str) -> None:
    assert "".join(texts(text.encode(encoding), "a.txt")) == text


def test_broken_bytes_cost_themselves_and_nothing_else() -> None:
    body = "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. ".encode() * 50
    (text,) = texts(body[:40] + b"\xff\xfe" + body[40:], "a.txt")
    assert "\ufffd" in text
    assert text.count("Boxkämpfer") >= 49


def test_nul_never_leaves() -> None:
    passages = read("# a\0b\n\n" + "text " * 20 + "\0", "a.md")
    assert "\0" not in "".join(passage.text + "".join(passage.heading) for passage in passages)


MARKDOWN = """---
title: settings # not a heading
---
Intro.

# First `code` [link](http://x)

Text one.

```python
# no heading
```

## Second ##

Text two.

Underlined
==========

Text three.

- item
---
after
"""


def test_markdown_headings() -> None:
    found = under(MARKDOWN, "a.md")
    assert "Intro." in found[()]
    assert "# no heading" in found[("First code link",)]
    assert found[("First code link", "Second")] == "## Second ##\n\nText two.\n\n"
    assert found[("Underlined",)].startswith("Underlined\n==========\n\nText three.")
    assert len(found) == 4


PYTHON = '''import os


class Car:
    """Drives."""

    def drive(self) -> None:
        if self:
            go()

    async def stop(self):
        pass


def free(x):
    return x


LAST = 1
'''


def test_python_classes_and_functions_are_headings() -> None:
    found = under(PYTHON, "a.py")
    assert "if self" in found[("Car", "drive")]
    assert "pass" in found[("Car", "stop")]
    assert "return x" in found[("free",)]
    assert "LAST = 1" in found[()]
    assert "Drives" in found[("Car",)]


@pytest.mark.parametrize(
    ("name", "content", "headings"),
    [
        ("a.js", "export class A {\n  run() {\n    x();\n  }\n}\n\nasync function go() {\n  return 1;\n}\n", {("A",), ("go",)}),
        ("a.ts", "export interface I {\n  a: string;\n}\nexport default function f(): void {\n}\n", {("I",), ("f",)}),
        ("a.java", "public class A {\n    public static void main(String[] a) {\n        f();\n    }\n}\n", {("A",), ("A", "main")}),
        ("a.go", "package a\n\nfunc (r *R) Get(x int) int {\n\treturn 1\n}\n\ntype T struct {\n}\n", {("Get",), ("T",), ()}),
        ("a.c", "#include <a.h>\n\nstatic int\nf(int a)\n{\n    return g(a);\n}\n", {(), ("f",)}),
        ("a.cpp", "namespace n {\nclass A {\n  void b() {\n    if (x) {\n    }\n  }\n};\n}\n", {("n",), ("A",), ("A", "b")}),
        ("a.cs", "namespace N\n{\n    public sealed class A\n    {\n        int F(int x)\n        {\n        }\n    }\n}\n", {("N",), ("N", "A"), ("N", "A", "F")}),
        ("a.rb", "module M\n  class A\n    def b\n      1\n    end\n  end\nend\n", {("M",), ("M", "A"), ("M", "A", "b"), ()}),
        ("a.php", "<?php\nclass A {\n    public function b() {\n    }\n}\n", {(), ("A",), ("A", "b")}),
        ("a.rs", "pub struct S {\n    a: u8,\n}\nimpl S {\n    pub fn new() -> S {\n    }\n}\n", {("S",), ("S", "new")}),
        ("a.sh", "set -e\nbuild() {\n  make\n}\n", {(), ("build",)}),
        ("a.toml", "a = 1\n[tool.x]\nb = 2\n", {(), ("tool.x",)}),
        ("a.tex", "\\section{One}\ntext\n\\subsection*{Two}\nmore\n", {("One",), ("One", "Two")}),
    ],
)  # fmt: skip
def test_definitions_are_headings(name: str, content: str, headings: set[tuple[str, ...]]) -> None:
    assert set(under(content, name)) == headings


def test_csv_lines_say_what_their_cells_are() -> None:
    (text,) = texts('name,age,town\nAnna,33,"Paris, 5e"\nBob,,Rome\n', "a.csv")
    assert text == "name | age | town\n\nname: Anna; age: 33; town: Paris, 5e\nname: Bob; town: Rome".replace(
        "\n\n", "\n"
    )


@pytest.mark.parametrize(("name", "delimiter"), [("a.csv", ";"), ("a.csv", "|"), ("a.tsv", "\t")])
def test_delimiters(name: str, delimiter: str) -> None:
    (text,) = texts(f"a{delimiter}b\n1{delimiter}2, 3\n", name)
    assert text.splitlines()[-1] == "a: 1; b: 2, 3"


def test_csv_without_names_is_values() -> None:
    assert texts("1,2,3\n4,5,6\n", "a.csv") == ["1 | 2 | 3\n4 | 5 | 6"]


def test_a_hundred_thousand_columns_do_not_multiply() -> None:
    header, row = ",".join(f"column{at}" for at in range(100_000)), ",".join("1" for _ in range(100_000))
    found = texts(f"{header}\n{row}\n{row}\n", "a.csv")
    assert sum(map(len, found)) < 2_500_000


def test_an_open_quotation_mark_is_refused_with_its_line() -> None:
    with pytest.raises(Refused, match="quotation mark"):
        read(b'a,b\n1,"2\n' + b"x" * 17_000_000, "a.csv")


def test_json_values_say_their_path() -> None:
    content = {"users": [{"name": "Anna", "tags": ["a", "b"]}, {"name": "Bob"}], "total": 2, "none": None}
    found = under(json.dumps(content), "a.json")
    assert found == {
        ("users",): "users.name: Anna\nusers.tags: a\nusers.tags: b\n\nusers.name: Bob",
        (): "total: 2\nnone: null",
    } or found[("users",)].startswith("users.name: Anna")


def test_json_lines_are_paragraphs() -> None:
    (text,) = texts('{"a": 1, "b": {"c": "x\\ny"}}\n{"a": 2}\n', "a.jsonl")
    assert text == "a: 1\nb.c: x\ny\n\na: 2"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=30,
    )
)
@settings(max_examples=200, deadline=None)
def test_every_json_is_read(value: object) -> None:
    try:
        found = "".join(texts(json.dumps(value), "a.json"))
    except Refused as refused:
        assert "no text" in refused.message
        return
    for leaf in _strings(value):
        words = leaf.replace("\0", "\ufffd").split()
        assert all(word in found for word in words)


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else []
    return [leaf for each in inner for leaf in _strings(each)]


@pytest.mark.parametrize(
    "content", ['{"a": 1', "[1, 2", '{"a" 1}', "[1 2]", '{"a": tru}', '["abc', "{]", '{"\\x": 1}', "]"]
)
def test_broken_json_is_refused_with_its_line(content: str) -> None:
    with pytest.raises(Refused, match="no valid JSON at line 2"):
        read("\n" + content, "a.json")


def test_white_space_of_json_costs_no_more_than_text() -> None:
    blank = " \n" * 2_000_000
    assert texts(f'{blank}{{"a":{blank}"b"{blank}}}{blank}', "a.json") == ["a: b"]


def test_a_long_string_of_json_is_read() -> None:
    assert sum(map(len, texts(json.dumps({"a": "word \n" * 500_000}), "a.json"))) == 3_000_000 + len("a: ")
    with pytest.raises(Refused, match="more than 16 Mi characters"):
        read('["' + "x" * 40_000_000, "a.json")


def test_deep_json_is_refused() -> None:
    with pytest.raises(Refused, match="nested more than"):
        read("[" * 1_000_000, "a.json")


HTML = """<!doctype html><html><head><title>The page</title><style>p { x }</style><script>alert("no")</script></head>
<body><nav><a href="/">Home</a></nav><h1>Top <em>of</em> all</h1><p>One&nbsp;&amp; two<br>three</p>
<ul><li>first<li>second</ul><h2>Data</h2>
<table><tr><th>Name</th><th>Age</th></tr><tr><td>Anna</td><td>33</td></tr></table>
<pre>  kept
    as is</pre></body></html>"""


def test_html() -> None:
    found = under(HTML, "a.html")
    assert found[()] == "The page"
    assert "One & two\nthree" in found[("Top of all",)]
    assert "- first\n- second" in found[("Top of all",)]
    assert "Name: Anna; Age: 33" in found[("Top of all", "Data")]
    assert "  kept\n    as is" in found[("Top of all", "Data")]
    whole = "".join(found.values())
    assert "alert" not in whole
    assert "Home" not in whole


def test_html_declares_its_encoding() -> None:
    body = '<meta charset="iso-8859-2"><p>Zażółć gęślą jaźń</p>'.encode("iso-8859-2")
    assert texts(body, "a.html") == ["Zażółć gęślą jaźń"]


def test_html_in_pieces_is_the_same() -> None:
    whole = list(page([HTML]))
    assert list(page(HTML)) == whole, "one character at a time"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("a < b &lt; c &amp;amp; &#0; &bogus;", "a < b < c &amp; \ufffd &bogus;"),
        ("a<!-- <p>no</p> -- > no -->b<!-->c<!doctype x>d<?pi?>e</ bogus>f", "abcdef"),
        ("""<a title="x > y" alt='>' b=c'd>text</a>""", "text"),
        ("<script>if (a < b) { '</p>' }</script >x<SCRIPT>y</SCRIPT>z", "xz"),
        ("<title>a <b> &amp; c</title>", "a <b> & c"),
        ("<p>one<p>two<h2>three<p>four", "one\n\ntwo|three\n\nfour"),
        ("<h1>a</h1><!-- open", "a"),
        ("x <a href='open>y</a>", "x"),
    ],
)
def test_html_as_browsers_see_it(content: str, text: str) -> None:
    assert "|".join(texts(content, "a.html")) == text


@pytest.mark.parametrize(
    "begun", ["<!--", "<a ", "<a b='", "<", "</", "<!", "<script>", "&", '<a="', "<p>", "<td>", "<li"]
)
def test_html_that_never_closes_is_read_in_linear_time(begun: str) -> None:
    for content in ("word " + begun * (1_000_000 // len(begun)), "word " + begun + "x" * 4_000_000):
        assert texts(content, "a.html")[0].startswith("word")


def test_xhtml_ends_what_has_no_content() -> None:
    assert texts('<?xml version="1.0"?><html><script src="x"/><title/><p>text</p></html>', "a.xhtml") == ["text"]


def test_deep_html_is_read() -> None:
    assert "end" in "".join(texts("<div>" * 50_000 + "end", "a.html"))
