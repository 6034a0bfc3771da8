"""What the answers of a response may cite, beside passages: files that code has made."""

from mainspring.responses.items import ContainerFileCitation
from mainspring.responses.sources import Sources
from mainspring.responses.tools import Annotated


def made(*names: str) -> Sources:
    sources = Sources()
    for name in names:
        sources.files.append(
            (name, lambda start, end, name=name: ContainerFileCitation("cntr_1", f"cfile_{name}", name, start, end))
        )
    return sources


def read(sources: Sources, *pieces: str, begun: str = "") -> list[tuple[str, int, int]]:
    reader = sources.annotator(begun)
    assert reader is not None
    out = [each for piece in pieces for each in reader.feed(piece)] + list(reader.end())
    found = [each.annotation for each in out if isinstance(each, Annotated)]
    assert all(isinstance(each, ContainerFileCitation) for each in found)
    return [(each.filename, each.start_index, each.end_index) for each in found]  # type: ignore[union-attr]


def test_files_are_cited_where_they_are_named_or_at_the_end() -> None:
    assert read(made("a.csv", "b.png"), "See a.c", "sv.") == [("a.csv", 4, 9), ("b.png", 10, 10)]
    assert read(made("a.csv"), " it.", begun="See a.csv:") == [("a.csv", 4, 9)]


def test_each_is_cited_once_and_never_where_nothing_is_said() -> None:
    sources = made("a.csv")
    assert read(sources, " \n") == [], "a turn that only calls has no message"
    assert read(sources, "Done.") == [("a.csv", 5, 5)]
    assert sources.annotator("") is None
