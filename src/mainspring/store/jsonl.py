"""Whether a file is JSON Lines, looked at as it arrives: UTF-8, and a JSON object on every line that is not empty.

What the objects have to hold is not looked at here: that is known to whoever uses the file.
"""

import msgspec

from mainspring.core.errors import InvalidRequest

__all__ = ["MAX_LINE", "Lines"]

MAX_LINE = 16 * 2**20
"""Bytes of one line. It is in memory while it is looked at."""
BOM = b"\xef\xbb\xbf"  # Azure's own instructions ask for one
SHOWN = 20

_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Lines:
    """Is shown the bytes piece by piece. `fault` is what is wrong, as soon as something is; `num_lines` how many lines
    there were that hold something."""

    def __init__(self) -> None:
        self.fault: InvalidRequest | None = None
        self.num_lines = 0
        self._number = 0
        self._held = bytearray()

    def feed(self, data: bytes) -> None:
        """The next piece."""
        if self.fault is not None:
            return
        *whole, rest = data.split(b"\n")
        for line in whole:
            self._line(bytes(self._held) + line)
            self._held.clear()
            if self.fault is not None:
                return
        self._held += rest
        # What begins like no object is seen at once: a picture without line breaks is not gathered up to the limit.
        start = bytes(self._held[:64]).removeprefix(BOM if self._number == 0 else b"").lstrip(b" \t\r")
        if start and start[:1] not in (b"{", BOM[:1]):
            self._fail("is not a JSON object", bytes(self._held))
        elif len(self._held) > MAX_LINE:
            self._fail(f"has more than {MAX_LINE:,} bytes", b"")

    def end(self) -> None:
        """There is no more."""
        if self.fault is None and self._held:
            self._line(bytes(self._held))
        self._held.clear()
        if self.fault is None and not self.num_lines:
            self.fault = InvalidRequest(
                "The file is empty: it must have a JSON object on every line.", code="empty_file"
            )

    def _line(self, line: bytes) -> None:
        self._number += 1
        if self._number == 1:
            line = line.removeprefix(BOM)
        if not line.strip(b" \t\r"):
            return
        self.num_lines += 1
        try:
            line.decode()
            _decoder.decode(line)
        except UnicodeDecodeError as error:
            self._fail(f"is not UTF-8 (at its byte {error.start + 1})", line, is_counted=True)
        except msgspec.ValidationError:
            self._fail("is not a JSON object", line, is_counted=True)
        except RecursionError:
            self._fail("is nested too deeply", line, is_counted=True)
        except msgspec.DecodeError as error:
            self._fail(f"is not valid JSON ({error})", line, is_counted=True)

    def _fail(self, why: str, line: bytes, *, is_counted: bool = False) -> None:
        number = self._number + (not is_counted)
        shown = line[:SHOWN].decode(errors="replace").strip()
        hint = f" It starts with {shown!r}." if shown else ""
        self.fault = InvalidRequest(
            "Expected the file to have the JSONL format, where every line is a JSON object: "
            f"line {number} {why}.{hint}",
            code="invalid_jsonl",
            param="file",
        )
        self._held.clear()
