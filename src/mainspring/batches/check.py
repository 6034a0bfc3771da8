"""Whether a file is a batch: looked at line by line, as its bytes come. Pure, but for the question which models exist.

The codes are those that Azure documents for failed batches; OpenAI's are the same, and finer for a line that lacks
something (`missing_required_parameter`, `unknown_parameter`), where Azure says `invalid_request`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from mainspring.batches.order import key_of
from mainspring.batches.spec import Fault
from mainspring.core.errors import MainspringError, ModelNotFound
from mainspring.store.batches import Placed
from mainspring.store.jsonl import BOM, MAX_LINE

__all__ = ["MAX_BYTES", "MAX_FAULTS", "MAX_REQUESTS", "Check", "Input", "path_of"]

MAX_REQUESTS = 50_000
MAX_BYTES = 200 * 2**20
MAX_FAULTS = 100
"""Told of one file; it is not read any further."""
MAX_CUSTOM_ID = 512
MAX_INPUTS = 50_000
"""Texts to embed, of all requests together."""
BYTES_PER_TOKEN = 4
FIELDS = ("custom_id", "method", "url", "body")

_line = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text = msgspec.json.Decoder(str)


def path_of(endpoint: str) -> str:
    """An endpoint without the /v1 that Azure leaves out."""
    return endpoint.removeprefix("/v1")


class Input(NamedTuple):
    """A request in the file; see `Placed`. `key` is `order.key_of`."""

    placed: Placed
    key: bytes


class _Wrong(Exception):
    """What is wrong with a line."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.param = code, message, param


class Check:
    """Is shown the bytes piece by piece. `faults` is what is wrong, `inputs` the requests, `num_tokens` an estimate.

    Args:
        path: what every request must be for.
        model: what requests that name none are for; empty if they must name one.
        find: raises what a request for this model would be refused with.
        finer: with OpenAI's codes where Azure has only `invalid_request`.
    """

    def __init__(self, *, path: str, model: str, find: Callable[[str], object], finer: bool) -> None:
        self._path, self._default, self._find, self._finer = path, model, find, finer
        self._names: set[str] = set()
        self._held = bytearray()
        self._line_start = self._number = 0
        self._num_embedded = 0
        self._is_hopeless = False
        self.model: str | None = None
        self.inputs: list[Input] = []
        self.faults: list[Fault] = []
        self.num_tokens = 0

    @property
    def is_over(self) -> bool:
        """Whether there is no need to go on."""
        return self._is_hopeless or len(self.faults) >= MAX_FAULTS

    def feed(self, data: bytes) -> None:
        """The next piece."""
        *whole, rest = data.split(b"\n")
        for line in whole:
            self._held += line
            self._take(ended=True)
        self._held += rest
        if len(self._held) > MAX_LINE and not self.is_over:
            self._number += 1
            self._add("invalid_json_line", f"This line has more than {MAX_LINE:,} bytes.")
            self._is_hopeless = True

    def end(self) -> None:
        """There is no more."""
        if self._held:
            self._take(ended=False)
        if not self.inputs and not self.faults:
            self._number = 0
            self._add(
                "empty_file", "The input file is empty. Please ensure that the batch contains at least one request."
            )

    def _add(self, code: str, message: str, param: str | None = None) -> None:
        self.faults.append(Fault(code=code, message=message, param=param, line=self._number or None))

    def _take(self, *, ended: bool) -> None:
        """The line that is held is whole."""
        line, start = bytes(self._held), self._line_start
        self._held.clear()
        self._number += 1
        self._line_start += len(line) + ended
        if self._number == 1 and line.startswith(BOM):
            line, start = line[len(BOM) :], start + len(BOM)
        if self.is_over or not line.strip(b" \t\r"):
            return
        try:
            self._request(line, start)
        except _Wrong as wrong:
            self._add(wrong.code, wrong.message, wrong.param)

    def _request(self, line: bytes, start: int) -> None:
        if len(self.inputs) >= MAX_REQUESTS:
            self._add("too_many_tasks", f"The input file has more than {MAX_REQUESTS:,} requests, the most of a batch.")
            self._is_hopeless = True
            return
        try:
            line.decode()  # what is not looked at must be UTF-8 too
            fields = _line.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise _Wrong("invalid_json_line", "This line is not parseable as valid JSON.") from None
        self._check_fields(fields)
        name = self._text(fields, "custom_id")
        if not 1 <= len(name) <= MAX_CUSTOM_ID:
            raise self._invalid(f"A custom_id has 1 to {MAX_CUSTOM_ID} characters.", "custom_id")
        if name in self._names:
            raise _Wrong(
                "duplicate_custom_id",
                "The custom_id for this request is a duplicate of another request. The custom_id parameter must be "
                "unique for each request in a batch.",
                "custom_id",
            )
        self._names.add(name)
        if self._text(fields, "method") != "POST":
            raise self._invalid("The method of every request is POST.", "method")
        if path_of(self._text(fields, "url")) != self._path:
            raise _Wrong("url_mismatch", "The URL provided for this request does not match the batch endpoint.", "url")
        body = self._body(fields["body"])
        self.num_tokens += len(line) // BYTES_PER_TOKEN
        self.inputs.append(Input(Placed(self._number, start, len(line), msgspec.json.encode(name)), self._key(body)))

    def _key(self, body: dict[str, msgspec.Raw]) -> bytes:
        """Texts to embed share nothing: they keep their order."""
        return b"" if self._path == "/embeddings" else key_of(body)

    def _check_fields(self, fields: dict[str, msgspec.Raw]) -> None:
        for name in FIELDS:
            if name not in fields:
                raise self._schema("missing_required_parameter", f"Missing required parameter: '{name}'.", name)
        for name in fields:
            if name not in FIELDS:
                shown = name[:100]
                raise self._schema("unknown_parameter", f"Unknown parameter: '{shown}'.", shown)

    def _schema(self, code: str, message: str, param: str) -> _Wrong:
        return _Wrong(code if self._finer else "invalid_request", message, param)

    @staticmethod
    def _invalid(message: str, param: str) -> _Wrong:
        return _Wrong("invalid_request", message, param)

    def _text(self, fields: dict[str, msgspec.Raw], name: str, param: str = "") -> str:
        try:
            return _text.decode(fields[name])
        except (msgspec.MsgspecError, UnicodeDecodeError):
            where = param or name
            raise self._invalid(f"Invalid '{where}': expected a string.", where) from None

    def _body(self, raw: msgspec.Raw) -> dict[str, msgspec.Raw]:
        try:
            body = _line.decode(raw)
        except (msgspec.MsgspecError, RecursionError):
            raise self._invalid("Invalid 'body': expected an object.", "body") from None
        for name in ("stream", "background"):
            if bytes(body.get(name, b"null")) not in (b"null", b"false"):
                raise self._invalid(f"The answers of a batch go into a file: leave {name!r} out.", f"body.{name}")
        self._check_model(body)
        if self._path == "/embeddings":
            self._num_embedded += _num_inputs(body)
            if self._num_embedded > MAX_INPUTS:
                raise _Wrong("too_many_tasks", f"A batch has at most {MAX_INPUTS:,} inputs to embed.", "body.input")
        return body

    def _check_model(self, body: dict[str, msgspec.Raw]) -> None:
        name = self._text(body, "model", "body.model") if "model" in body else self._default
        if not name:
            message = "Missing required parameter: 'body.model'."
            raise self._schema("missing_required_parameter", message, "body.model")
        expected = self.model or self._default or name
        if name != expected:
            message = f"All requests of a batch must be for the same model: this one is not for {expected!r}."
            raise _Wrong("model_mismatch", message, "body.model")
        if self.model is None:
            try:
                self._find(name)
            except ModelNotFound as error:
                raise _Wrong("model_not_found", error.message, "body.model") from None
            except MainspringError as error:
                raise self._invalid(error.message, "body.model") from None
            self.model = name


def _num_inputs(body: dict[str, msgspec.Raw]) -> int:
    try:
        given: Any = msgspec.json.decode(body.get("input", b"0"))
    except msgspec.MsgspecError:
        return 1
    return len(given) if isinstance(given, list) and given and not isinstance(given[0], int) else 1  # pyright: ignore[reportUnknownArgumentType]
