"""What the answers of a response may cite: the passages that its tools found, numbered in one row for all of them.

Each tool has a place of its own for its items, but there is one text, and one row of markers in it. So the tools of a
response share one `Sources`, and the first of them reads the text for all.
"""

from collections.abc import Callable, Sequence
from weakref import WeakValueDictionary

from mainspring.models.cited import MAX_NUMBER
from mainspring.responses.citations import Citer, Source
from mainspring.responses.items import ContainerFileCitation
from mainspring.responses.tools import Annotated, Annotator, Caller

__all__ = ["HOW_TO_CITE", "NOTHING", "Shelf", "Sources", "shortened"]

HOW_TO_CITE = (
    "Answer from these passages only. After each sentence put the number of the passage that it rests on in brackets, "
    "such as [{}]. If they do not answer the question, say so."
)
NOTHING = "Nothing was found. Say that nothing was found, and do not answer from memory as if it had been."
NOT_FOUND = "I found nothing about this in {}.\n\n"
"""What an answer begins with if nothing at all was found: models do not say so reliably by themselves."""
MAX_CHARS = 12_000
"""Of passages that a model is shown of one call: about 3,000 tokens."""


class Sources:
    """See the module. `caller` is held so that no other object can have its place in memory."""

    def __init__(self, caller: Caller | None = None) -> None:
        self._caller = caller
        self.found: dict[int, Source] = {}
        self.files: list[tuple[str, Callable[[int, int], ContainerFileCitation]]] = []
        """Made by code and not cited yet: name, and (start, end) -> the annotation."""
        self._empty: dict[str, None] = {}  # where nothing was found
        self._has_reader = False

    def join(self) -> bool:
        """Whether the tool that asks is the first, which reads for all."""
        is_first, self._has_reader = not self._has_reader, True
        return is_first

    def add(self, source: Source, number: int | None = None) -> int:
        """One more; its number, which is new unless it had one in an earlier turn."""
        number = number or max(self.found, default=0) + 1
        self.found[number] = source
        return number

    def numbers(self) -> tuple[int, ...]:
        """What markers may be of."""
        return tuple(each for each in self.found if each <= MAX_NUMBER)

    def nothing(self, where: str) -> None:
        """A search of `where` ("the files", "the web") has found nothing."""
        self._empty[where] = None

    def annotator(self, begun: str) -> Annotator | None:
        """What reads the next message; see `Cites`."""
        nothing = self._empty and not self.found and not begun
        first = NOT_FOUND.format(" or ".join(self._empty)) if nothing else ""
        if not self.found and not self.files and not first:
            return None
        return _Reader(Citer(self.found, first=first, begun=begun), self.files, begun)


class _Reader:
    """Resolves markers, and cites files where they are named, or at the end."""

    def __init__(
        self, citer: Citer, files: list[tuple[str, Callable[[int, int], ContainerFileCitation]]], begun: str
    ) -> None:
        self._citer, self._files, self._text = citer, files, begun

    def feed(self, text: str) -> Sequence[str | Annotated]:
        """See `Annotator`."""
        return self._kept(self._citer.feed(text))

    def end(self) -> Sequence[str | Annotated]:
        """See `Annotator`."""
        found = list(self._kept(self._citer.end()))
        if not self._text.strip():  # nothing was said: the next message may
            return found
        for name, annotation in self._files:
            at = self._text.rfind(name)
            start, end = (at, at + len(name)) if at >= 0 else (len(self._text), len(self._text))
            found.append(Annotated(annotation(start, end)))
        self._files.clear()
        return found

    def _kept(self, pieces: Sequence[str | Annotated]) -> Sequence[str | Annotated]:
        if self._files:
            self._text += "".join(each for each in pieces if isinstance(each, str))
        return pieces


class Shelf:
    """The sources of the responses that are being made."""

    def __init__(self) -> None:
        self._held: WeakValueDictionary[int, Sources] = WeakValueDictionary()

    def of(self, caller: Caller) -> Sources:
        """Those of a response: the same for each of its tools, for as long as there is one of them. They are told apart
        by the object and not by its id: a response that is taken up again is another one."""
        found = self._held.get(id(caller))
        if found is None:
            found = self._held[id(caller)] = Sources(caller)
        return found


def shortened(texts: Sequence[str], most: int = MAX_CHARS) -> list[str]:
    """The first texts, of `most` characters together; the last one cut if there is room for a good part of it."""
    kept: list[str] = []
    for text in texts:
        if len(text) > most:
            return [*kept, text[:most]] if most > 400 or not kept else kept
        kept.append(text)
        most -= len(text)
    return kept
