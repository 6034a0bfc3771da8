"""Grammar constraints: which tokens may come next, through llguidance.

A schema comes from a stranger: parsing it is bounded by llguidance's own limits, and whatever it cannot enforce is an
error here, never ignored.
"""

import json
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from mainspring.core.errors import InvalidRequest
from mainspring.core.types import Constraint
from mainspring.models.tools.grammar import COMPACT, regex_grammar

__all__ = ["Grammars", "Matcher", "as_lark", "constraint_grammar"]

JSON_OBJECT = '{"type": "object"}'
SCHEMA_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
SCHEMA_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
SCHEMAS = ("items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else")
SCHEMA_PARAM = "response_format.json_schema.schema"
MAX_EXPLAINED = 200
"""Schemas compiled while looking for the place of an error."""

MAX_COMPILED = 64
"""Grammars kept: requests come in series with the same schema, and compiling takes as long as several steps."""

_HEADER = re.compile(r"(?m)^\s*%llguidance\b")
_REFERENCE = re.compile(r'"(?:\\.|[^"\\])*"|@(\w+)')
"""Another grammar's name; one in quotes is text."""

LIMITS: dict[str, Any] = {"initial_lexer_fuel": 1_000_000, "step_lexer_fuel": 200_000, "step_max_items": 50_000}
"""llguidance's own defaults, written down because they are what bounds a stranger's grammar: about 20 ms to compile a
lexer and 15 ms for a step."""


class Vocabulary(Protocol):
    """What a grammar needs to know of a model's tokens."""

    @property
    def num_tokens(self) -> int: ...
    @property
    def eos(self) -> int: ...
    @property
    def special_ids(self) -> Sequence[int]: ...
    def piece(self, token: int) -> bytes: ...
    def tokenize(self, text: bytes, *, special: bool = False) -> list[int]: ...


class _Tokenizer:
    """A vocabulary in the shape that llguidance asks for."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.eos_token_id = vocabulary.eos
        self.bos_token_id = None
        # A special token must not be writable as text, so its bytes are marked as llguidance wants them (0xff first).
        special = set(vocabulary.special_ids)
        pieces = ((i, vocabulary.piece(i)) for i in range(vocabulary.num_tokens))
        self.tokens = [b"\xff" + piece if i in special else piece for i, piece in pieces]
        self.special_token_ids = list(special)
        self._tokenize = vocabulary.tokenize

    def __call__(self, text: bytes) -> list[int]:
        return self._tokenize(text)


class Matcher:
    """Where one choice stands in its grammar."""

    def __init__(
        self, inner: Any, num_tokens: int, make_mask: Callable[[Any, NDArray[np.int32]], None], param: str
    ) -> None:
        self._inner = inner
        self._param = param
        self._make_mask = make_mask
        self._bits = np.zeros((1, (num_tokens + 31) // 32), np.int32)

    def mask(self) -> NDArray[np.bool_]:
        """True for each token that may come next (shape: at least the vocabulary).

        Raises:
            InvalidRequest: the grammar has become too costly to follow (llguidance would only allow the end here, and a
                broken answer would look like a complete one).
        """
        self._make_mask(self._inner, self._bits)
        self._check()
        return np.unpackbits(self._bits.view(np.uint8), bitorder="little").view(np.bool_)

    def accept(self, token: int) -> None:
        """The token was chosen."""
        self._inner.consume_token(token)
        self._check()

    def forced(self) -> list[int]:
        """Tokens that must come next whatever the model says; they need no decode step of their own."""
        return self._inner.compute_ff_tokens()

    def _check(self) -> None:
        if self._inner.is_error():
            raise InvalidRequest(
                f"The answer's grammar cannot be followed further: {_brief(self._inner.get_error())}.",
                param=self._param,
            )

    @property
    def done(self) -> bool:
        """Nothing may follow."""
        return bool(self._inner.is_stopped())


class Grammars:
    """Compiles grammars for one vocabulary. The tokenizer table is built on first use (0.2 s)."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._tokenizer: Any = None
        self._compiled: OrderedDict[str, Any] = OrderedDict()

    def compile(self, grammar: str, parts: Sequence[tuple[str, Constraint]]) -> Matcher:
        """A matcher for a grammar of llguidance's.

        Args:
            grammar: Lark, or JSON that llguidance reads.
            parts: what clients wrote of it, each with the parameter it came in: whose fault it is if it does not
                compile.
        """
        import llguidance.numpy as masks  # here, because most replicas never see a schema and the import costs memory

        inner = self._compiled.get(grammar)
        if inner is None:
            inner = self._inner(grammar)
            if inner.is_error():
                self._explain(parts, inner.get_error())
            self._compiled[grammar] = inner
            if len(self._compiled) > MAX_COMPILED:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(grammar)
        return Matcher(inner.deep_copy(), self._vocabulary.num_tokens, masks.fill_next_token_bitmask, parts[0][0])

    def _inner(self, grammar: str) -> Any:
        import llguidance

        if self._tokenizer is None:
            wrapper = llguidance.TokenizerWrapper(_Tokenizer(self._vocabulary))
            self._tokenizer = llguidance.LLTokenizer(wrapper, n_vocab=self._vocabulary.num_tokens)
        limits = llguidance.LLParserLimits(**LIMITS, verbose_errors=False)
        return llguidance.LLMatcher(self._tokenizer, grammar, log_level=0, limits=limits)

    def _error(self, grammar: str) -> str | None:
        inner = self._inner(grammar)
        return str(inner.get_error()) if inner.is_error() else None

    def _explain(self, parts: Sequence[tuple[str, Constraint]], error: str) -> NoReturn:
        """Find the part that does not compile alone, and the place in it."""
        for param, constraint in parts:
            if constraint.kind == "regex" and (found := self._error(regex_grammar(constraint.schema))):
                raise InvalidRequest(f"The regular expression cannot be enforced: {_brief(found)}.", param=param)
            if constraint.kind == "lark" and (found := self._error(constraint.schema)):
                raise InvalidRequest(f"The grammar cannot be enforced: {_brief(found)}.", param=param)
            if constraint.kind == "json_schema":
                schema = json.loads(constraint.schema)
                if found := self._error(_schema_grammar(schema)):
                    path, reason = self._narrow(schema, found)
                    where = ".".join((param, *path))[:512]
                    raise InvalidRequest(f"The schema cannot be enforced: in {where}, {_brief(reason)}.", param=where)
        raise InvalidRequest(f"The grammar of this answer cannot be enforced: {_brief(error)}.", param=parts[0][0])

    def _narrow(self, schema: Any, error: str) -> tuple[tuple[str, ...], str]:
        """The innermost schema that does not compile alone, and why."""
        path: tuple[str, ...] = ()
        node: Any = schema
        budget = MAX_EXPLAINED
        definitions = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
        while budget > 0:
            for steps, child in _children(node):
                budget -= 1
                whole: Any = {**definitions, **cast("dict[str, Any]", child)} if isinstance(child, dict) else child
                if budget > 0 and (found := self._error(_schema_grammar(whole))) is not None:
                    path, node, error = (*path, *steps), cast("Any", child), found
                    break
            else:
                break
        return path, error


def constraint_grammar(constraint: Constraint) -> tuple[str, Sequence[tuple[str, Constraint]]]:
    """What a whole answer must match, as `Grammars.compile` takes it.

    Raises:
        InvalidRequest: the schema is not JSON.
    """
    match constraint.kind:
        case "json_object" | "json_schema":
            text = constraint.schema if constraint.kind == "json_schema" else JSON_OBJECT
            return _schema_grammar(_parse(text)), [(SCHEMA_PARAM, constraint)]
        case "regex":
            return regex_grammar(constraint.schema), [("response_format", constraint)]
        case "lark":
            return constraint.schema, [("response_format", constraint)]


def as_lark(grammar: str) -> str:
    """A grammar for `Grammars.compile`, which may be several that refer to each other, as one Lark text: the only way
    into an engine that takes Lark and nothing else."""
    if not grammar.startswith("{"):
        return grammar if _HEADER.search(grammar) else f"%llguidance {{}}\n{grammar}"
    first, *others = cast("list[dict[str, Any]]", json.loads(grammar)["grammars"])
    if "json_schema" in first:
        return f"%llguidance {{}}\nstart: {_inline(first)}"
    rules = _REFERENCE.sub(lambda found: f"part_{found[1]}" if found[1] else found[0], first["lark_grammar"])
    return "\n".join([rules, *(f"part_{other['name']}: {_inline(other)}" for other in others)])


def _inline(part: dict[str, Any]) -> str:
    if "json_schema" in part:
        return f"%json {json.dumps(part['json_schema'])}"
    return f"%lark {{\n{part['lark_grammar']}\n}}"


def _parse(schema: str) -> Any:
    try:
        return json.loads(schema)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"The schema is not valid JSON: {error}.", param="response_format") from error


def _schema_grammar(schema: Any) -> str:
    """A schema's grammar. What the client wrote under llguidance's own key has no say."""
    if isinstance(schema, dict):
        schema = {**cast("dict[str, Any]", schema), "x-guidance": COMPACT}
    return json.dumps({"grammars": [{"json_schema": schema}]})


def _children(node: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The schemas directly inside of one, with their paths."""
    if not isinstance(node, dict):
        return
    found = cast("dict[str, Any]", node)
    for key, value in found.items():
        if key in SCHEMA_MAPS and isinstance(value, dict):
            yield from (((key, name), child) for name, child in cast("dict[str, Any]", value).items())
        elif key in SCHEMA_LISTS and isinstance(value, list):
            yield from (((key, str(at)), child) for at, child in enumerate(cast("list[Any]", value)))
        elif key in SCHEMAS and isinstance(value, dict):
            yield (key,), value


def _brief(error: str) -> str:
    """The first lines of an error that fit into one sentence."""
    return " ".join(error.split()).rstrip(".")[:300]
