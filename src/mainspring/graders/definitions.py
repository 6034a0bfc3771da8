"""Graders as they are written in requests and in jobs: OpenAI's shapes, checked to the last template.

`validate` takes what JSON holds and raises errors that name the place. Three shapes go beyond OpenAI's document: the
type `reward_model`, a `pass_threshold`, which its guide describes (of a multi grader it is ours), and `graders` of a
multi grader as the guide has them (an object, whose keys are the formula's variables) or as the document's example has
them (a list, by name and by `<type>_score`).
"""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, cast

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.graders import formula, template

__all__ = [
    "Grader",
    "LabelModel",
    "Message",
    "Multi",
    "Python",
    "RewardModel",
    "SamplingParams",
    "ScoreModel",
    "Single",
    "StringCheck",
    "TextSimilarity",
    "validate",
]

MAX_GRADERS = 64
MAX_SOURCE_BYTES = 256 * 1024
MAX_MESSAGES = 64
MAX_LABELS = 256

Metric = Literal[
    "cosine", "fuzzy_match", "bleu", "gleu", "meteor", "rouge_1", "rouge_2", "rouge_3", "rouge_4", "rouge_5", "rouge_l"
]
Name = Annotated[str, msgspec.Meta(max_length=256)]


class _Base(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True,
            tag_field="type"):  # fmt: skip
    """What all have."""

    name: Name

    @property
    def type(self) -> str:
        """What kind of grader it is, as the API calls it."""
        return cast("str", self.__struct_config__.tag)


class StringCheck(_Base, frozen=True, kw_only=True, tag="string_check"):
    """Whether two texts are equal (eq, ne), or the input contains the reference (like, and ilike whatever the case)."""

    input: str
    reference: str
    operation: Literal["eq", "ne", "like", "ilike"]


class TextSimilarity(_Base, frozen=True, kw_only=True, tag="text_similarity"):
    """How similar two texts are, from 0 to 1 (cosine: from -1)."""

    input: str
    reference: str
    evaluation_metric: Metric
    pass_threshold: float | None = None


class Python(_Base, frozen=True, kw_only=True, tag="python"):
    """Source with a function `grade(sample, item)` that returns a number. `image_tag` is taken and means nothing: there
    is one set of packages, the installed one."""

    source: str
    image_tag: str | None = None
    pass_threshold: float | None = None


class InputText(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="input_text"):
    """Text of a message."""

    text: str


class OutputText(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="output_text"):
    """Text that a model wrote."""

    text: str


Content = str | InputText | OutputText | tuple[str | InputText | OutputText, ...]


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A message for a model that grades."""

    role: Literal["user", "assistant", "system", "developer"]
    content: Content
    type: Literal["message"] = "message"

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts of all parts."""
        parts = self.content if isinstance(self.content, tuple) else (self.content,)
        return tuple(part if isinstance(part, str) else part.text for part in parts)


class SamplingParams(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """How the model that grades is sampled; None is OpenAI's default."""

    seed: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    max_completions_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None


class ScoreModel(_Base, frozen=True, kw_only=True, tag="score_model"):
    """What a model says that it is worth, within `range`."""

    model: str
    input: tuple[Message, ...]
    sampling_params: SamplingParams = SamplingParams()
    range: tuple[float, float] | None = None
    pass_threshold: float | None = None


class LabelModel(_Base, frozen=True, kw_only=True, tag="label_model"):
    """Which label a model gives it: 1 if it is one of those that pass. Of evaluations, and inside of multi graders."""

    model: str
    input: tuple[Message, ...]
    labels: tuple[str, ...]
    passing_labels: tuple[str, ...]


class RewardModel(_Base, frozen=True, kw_only=True, tag="reward_model"):
    """What a reward model of the catalog, trained from preferences, makes of the answer: any number. Not OpenAI's, and
    of reinforcement jobs only: such models are not served."""

    model: str
    pass_threshold: float | None = None


Single = StringCheck | TextSimilarity | Python | ScoreModel | LabelModel | RewardModel


class Multi(_Base, frozen=True, kw_only=True, tag="multi"):
    """Several graders, by variable, and the formula that makes one score of theirs."""

    graders: dict[str, Single]
    calculate_output: str
    pass_threshold: float | None = None


Grader = StringCheck | TextSimilarity | Python | ScoreModel | LabelModel | RewardModel | Multi


def validate(given: Any, where: str = "grader") -> Grader:
    """The grader that JSON describes.

    Args:
        where: its place in the request, which errors name.

    Raises:
        InvalidRequest: it is none; `param` names the field.
    """
    if isinstance(given, dict) and cast("dict[str, Any]", given).get("type") == "multi":
        return _multi(cast("dict[str, Any]", given), where)
    return _single(given, where)


def _invalid(where: str, what: str) -> InvalidRequest:
    return InvalidRequest(f"Invalid '{where}': {what}.", param=where[:256])


_AT = re.compile(r" - at `\$(.*)`$", re.DOTALL)
_KEY = re.compile(r"field `([^`]*)`")


def _single(given: Any, where: str) -> Single:
    for place, part in _parts_of(given):
        if part in ("input_image", "input_audio"):
            raise InvalidRequest(
                f"Unsupported parameter: '{where}.{place}': {part} is not supported by this server yet.",
                code="unsupported_parameter",
                param=f"{where}.{place}"[:256],
            )
    try:
        found = msgspec.convert(given, type=Single)
    except msgspec.ValidationError as error:
        raise _explained(str(error), where) from None
    _check(found, where)
    return found


def _explained(message: str, where: str) -> InvalidRequest:
    """msgspec's sentence, with the place in ours."""
    at = _AT.search(message)
    what = message[: at.start()] if at else message
    place = where + (at[1].replace("[...]", "[]") if at else "")
    key = _KEY.search(what)
    if key and what.startswith("Object missing required"):
        place = f"{place}.{key[1]}"
        return InvalidRequest(
            f"Missing required parameter: '{place}'.", code="missing_required_parameter", param=place[:256]
        )
    if key and what.startswith("Object contains unknown"):
        place = f"{place}.{key[1]}"
        return InvalidRequest(f"Unknown parameter: '{place[:300]}'.", code="unknown_parameter", param=place[:256])
    return _invalid(place, what[:1].lower() + what[1:300].replace("`", "'"))


def _parts_of(given: Any) -> Iterator[tuple[str, str]]:
    """Place and type of each part of each message, in whatever state they are."""
    messages: Any = cast("dict[str, Any]", given).get("input") if isinstance(given, dict) else None
    for number, message in enumerate(cast("list[Any]", messages) if isinstance(messages, list) else ()):
        content: Any = cast("dict[str, Any]", message).get("content") if isinstance(message, dict) else None
        parts = cast("list[Any]", content) if isinstance(content, list) else [content]
        for part in parts:
            if isinstance(part, dict):
                yield f"input[{number}].content", str(cast("dict[str, Any]", part).get("type"))


def _check(grader: Single, where: str) -> None:
    """What the shape does not say. Raises InvalidRequest."""
    if isinstance(grader, StringCheck | TextSimilarity):
        template.parse(grader.input, f"{where}.input")
        template.parse(grader.reference, f"{where}.reference")
    elif isinstance(grader, Python):
        _check_source(grader.source, f"{where}.source")
    elif isinstance(grader, RewardModel):
        if not grader.model:
            raise _invalid(f"{where}.model", "a reward model's name is expected")
    else:
        _check_messages(grader.input, f"{where}.input")
        if not grader.model:
            raise _invalid(f"{where}.model", "a deployment's name is expected")
    if isinstance(grader, LabelModel):
        _check_labels(grader, where)
    if isinstance(grader, ScoreModel) and grader.range is not None and not grader.range[0] < grader.range[1]:
        raise _invalid(f"{where}.range", "two numbers are expected, the smaller first")


def _check_source(source: str, where: str) -> None:
    if len(source.encode("utf-8", "replace")) > MAX_SOURCE_BYTES:
        raise _invalid(where, f"the source has more than {MAX_SOURCE_BYTES} bytes")
    if not re.search(r"\bgrade\b", source):
        raise _invalid(where, "the source must define a function grade(sample, item)")


def _check_messages(messages: Sequence[Message], where: str) -> None:
    if not 1 <= len(messages) <= MAX_MESSAGES:
        raise _invalid(where, f"1 to {MAX_MESSAGES} messages are expected")
    for number, message in enumerate(messages):
        for text in message.texts:
            template.parse(text, f"{where}[{number}].content")


def _check_labels(grader: LabelModel, where: str) -> None:
    if not 1 <= len(grader.labels) <= MAX_LABELS or len(set(grader.labels)) < len(grader.labels):
        raise _invalid(f"{where}.labels", f"1 to {MAX_LABELS} different labels are expected")
    for label in grader.passing_labels:
        if label not in grader.labels:
            raise _invalid(f"{where}.passing_labels", f"{label[:40]!r} is not one of the labels")


def _multi(given: dict[str, Any], where: str) -> Multi:
    for key in ("name", "calculate_output", "graders"):
        if given.get(key) is None:
            raise InvalidRequest(
                f"Missing required parameter: '{where}.{key}'.", code="missing_required_parameter",
                param=f"{where}.{key}",
            )  # fmt: skip
    try:
        msgspec.convert({**given, "graders": {}}, type=Multi)
    except msgspec.ValidationError as error:
        raise _explained(str(error), where) from None
    graders, aliases = _named(given["graders"], f"{where}.graders")
    if not 1 <= len(graders) <= MAX_GRADERS:
        raise _invalid(f"{where}.graders", f"1 to {MAX_GRADERS} graders are expected")
    text = cast("str", given["calculate_output"])
    names = frozenset({*graders, *aliases})
    formula.parse(text, f"{where}.calculate_output", names)
    return Multi(
        name=given["name"], graders=graders, calculate_output=_without(text, aliases),
        pass_threshold=given.get("pass_threshold"),
    )  # fmt: skip


def _named(given: Any, where: str) -> tuple[dict[str, Single], dict[str, str]]:
    """The graders by variable, and what else some may be called."""
    if isinstance(given, dict) and not isinstance(cast("dict[str, Any]", given).get("type"), str):
        found: dict[str, Single] = {}
        for key, each in list(cast("dict[str, Any]", given).items())[: MAX_GRADERS + 1]:
            if not re.fullmatch(r"[A-Za-z_]\w{0,63}", key, re.ASCII) or key in formula.FUNCTIONS:
                raise _invalid(f"{where}.{key}", "as a variable of the formula, a name of letters, digits and _ is due")
            found[key] = _single(each, f"{where}.{key}")
        return found, {}
    listed: list[Any] = cast("list[Any]", given) if isinstance(given, list) else [given]
    singles = [
        _single(each, f"{where}[{number}]" if isinstance(given, list) else where)
        for number, each in enumerate(listed[: MAX_GRADERS + 1])
    ]
    found, aliases = {}, dict[str, str]()
    for single in singles:
        name = re.sub(r"\W", "_", single.name, flags=re.ASCII)[:64]
        name = name if re.match(r"[A-Za-z_]", name) and name not in formula.FUNCTIONS else f"_{name}"
        if name in found:
            raise _invalid(where, f"two graders are called {single.name[:40]!r}")
        found[name] = single
    for name, single in found.items():
        alias = f"{single.type}_score"
        if alias not in found and sum(each.type == single.type for each in singles) == 1:
            aliases[alias] = name
    return found, aliases


def _without(text: str, aliases: dict[str, str]) -> str:
    """The formula by the names of the graders alone."""
    return re.sub(r"[A-Za-z_]\w*", lambda found: aliases.get(found[0], found[0]), text, flags=re.ASCII)
