"""What is known of a job's data before anything is trained: counts, lengths, what is wrong, what will be cut, what
was seen twice, and what "auto" will be. Tokens are counted as the model reads them, so this is exact.
"""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainspring.core.errors import InvalidRequest
from mainspring.core.types import Message
from mainspring.train import auto, similar
from mainspring.train.dataset import Dataset, tokenise
from mainspring.train.examples import MIN_EXAMPLES, Chat, Completion, Example, ExampleFile, Preference
from mainspring.train.lines import Line
from mainspring.train.packing import choose_length, choose_rows
from mainspring.train.plan import Hyperparameters, Method
from mainspring.train.render import Renderer
from mainspring.train.similar import Leak, Texts

__all__ = ["MICRO_TOKENS", "Checked", "Choice", "FileReport", "Lengths", "Report", "check", "duration", "recall"]

MAX_LABELS, MAX_LABEL_CHARS = 50, 64
MIN_VALIDATION = 1
MICRO_TOKENS = 1024
TRAINING, VALIDATION, REPORT = "training", "validation", "report.json"
SKEW = 0.9


class Lengths(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of the examples, before any is cut; of preferences, of both answers together."""

    min: int
    mean: float
    p50: int
    p95: int
    max: int


class FileReport(msgspec.Struct, frozen=True, kw_only=True):
    """One file.

    Args:
        examples: lines that hold one.
        items: what is trained on: fewer where an example teaches nothing, more where a conversation had to be split.
        roles: messages by role.
        with_tools: examples that list tools.
        calls: tool calls of the assistant.
        tokens: read in an epoch, after cutting.
        trained_tokens: of these, learnt.
        cut: examples longer than allowed.
        left_out: items that teach nothing: all weights 0, or the answer is beyond the cut.
        rewritten: conversations of which each answer is trained by itself.
        duplicates: examples that repeat an earlier one.
        labels: the answers and their numbers, if there are few different ones.
    """

    examples: int
    items: int
    lengths: Lengths
    tokens: int
    trained_tokens: int
    cut: int
    left_out: int
    rewritten: int
    duplicates: int
    with_tools: int
    calls: int
    roles: dict[str, int]
    labels: dict[str, int] | None


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """A hyperparameter: given, or chosen for a reason."""

    value: float
    reason: str
    is_auto: bool


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything together.

    Args:
        length, rows: of a micro-batch (T and how many).
        efficiency: the share of its positions that hold a token.
        steps: of the whole run.
        positions: computed in the whole run, padding included.
        problems: what a person should look at; none of it stops the job.
        time_s, memory_bytes: estimates; None if unknown.
    """

    method: Method
    max_tokens: int
    training: FileReport
    validation: FileReport | None
    leak: Leak | None
    length: int
    rows: int
    efficiency: float
    steps: int
    positions: int
    hyperparameters: dict[str, Choice]
    problems: list[str]
    time_s: float | None = None
    memory_bytes: int | None = None

    def messages(self) -> list[str]:
        """For the job's events."""
        one = self.training
        said = [
            f"{one.examples:,} training examples with {one.tokens:,} tokens, of which {one.trained_tokens:,} are "
            f"trained; the longest has {one.lengths.max:,}, half have at most {one.lengths.p50:,}."
        ]
        if self.validation is not None:
            said.append(f"{self.validation.examples:,} validation examples with {self.validation.tokens:,} tokens.")
        said.append(
            f"Rows of {self.length} tokens, {self.rows} at a time, are {self.efficiency:.0%} full; "
            f"{self.steps:,} steps in all."
        )
        said += [
            f"{name} = {choice.value:g} (auto): {choice.reason}."
            for name, choice in self.hyperparameters.items()
            if choice.is_auto
        ]
        if self.time_s is not None:
            said.append(f"It will take about {duration(self.time_s)}.")
        if self.memory_bytes is not None:
            said.append(f"It needs about {self.memory_bytes / 2**20:,.0f} MiB of memory.")
        return [*said, *self.problems]


class Checked(NamedTuple):
    """The report and the tokens that it counted."""

    report: Report
    training: Dataset
    validation: Dataset | None


def check(
    training: ExampleFile,
    validation: ExampleFile | None,
    renderer: Renderer,
    folder: Path,
    *,
    max_tokens: int,
    micro_tokens: int = MICRO_TOKENS,
    given: Hyperparameters = Hyperparameters(),  # noqa: B008 - frozen
    shape: auto.Shape | None = None,
    seed: int = 0,
) -> Checked:
    """Look at all of the data.

    Args:
        folder: where the tokens go, `training` and `validation` below it, and the report, for `recall`.
        max_tokens: of a sequence; longer ones are cut.
        micro_tokens: about as many tokens are computed together.
        given: hyperparameters that are not "auto".
        shape: for an estimate.

    Raises:
        InvalidRequest: the data cannot be trained on; every fault is listed.
    """
    trained = _look(training, renderer, folder / TRAINING, max_tokens, MIN_EXAMPLES)
    checked = (
        _look(validation, renderer, folder / VALIDATION, max_tokens, MIN_VALIDATION) if validation is not None else None
    )
    data, about = trained.data, trained.report
    length, _ = choose_length(data.lengths, max_tokens * data.about.parts)
    most = max(1, micro_tokens // length)
    choices = _choose(training.method, about, given, positions=most * length)
    size, epochs = int(choices["batch_size"].value), int(choices["n_epochs"].value)
    rows, packing = choose_rows(data, length=length, batch_size=size, most=most, seed=seed)
    leak = similar.leak(trained.seen.texts, checked.seen.texts) if checked else None
    positions = packing.positions * epochs
    guess = auto.estimate(shape, positions=positions, micro_positions=rows * length) if shape else None
    report = Report(
        method=training.method,
        max_tokens=max_tokens,
        training=about,
        validation=checked.report if checked else None,
        leak=leak,
        length=length,
        rows=rows,
        efficiency=packing.efficiency,
        steps=-(-len(data) // min(size, len(data))) * epochs,
        positions=positions,
        hyperparameters=choices,
        problems=_problems(trained, checked, leak, max_tokens),
        time_s=guess.time_s if guess else None,
        memory_bytes=guess.memory_bytes if guess else None,
    )
    part = folder / f"{REPORT}.part"
    part.write_bytes(msgspec.json.encode(report))
    part.replace(folder / REPORT)
    return Checked(report, data, checked.data if checked else None)


def recall(folder: Path) -> Checked | None:
    """What an earlier `check` found in the same folder, for a job that goes on; None if it did not come to its end."""
    try:
        report = msgspec.json.decode((folder / REPORT).read_bytes(), type=Report)
    except (OSError, msgspec.MsgspecError):
        return None
    validation = Dataset(folder / VALIDATION, report.max_tokens) if report.validation else None
    return Checked(report, Dataset(folder / TRAINING, report.max_tokens), validation)


class _Seen:
    """What is counted while a file is read."""

    def __init__(self) -> None:
        self.texts = Texts()
        self.roles: Counter[str] = Counter()
        self.with_tools = self.calls = self.num_unlearnt = 0
        self.labels: Counter[str] | None = Counter()

    def __call__(self, _line: Line, example: Example) -> None:
        """The next example."""
        self.texts.add(example)
        messages = _messages(example)
        self.roles.update(message.role for message in messages)
        self.calls += sum(len(message.tool_calls) for message in messages)
        if not isinstance(example, Completion):
            self.with_tools += example.tools is not None
        if isinstance(example, Chat):
            self.num_unlearnt += not any(example.weights)
        self._label(example)

    def _label(self, example: Example) -> None:
        """Answers, as long as they look like labels: short and few."""
        if self.labels is None:
            return
        match example:
            case Chat():
                said = example.messages[-1].content
            case Completion():
                said = example.completion
            case _:
                said = ""
        said = said.strip()
        if said:
            self.labels[said[: MAX_LABEL_CHARS + 1]] += 1
        if not said or len(said) > MAX_LABEL_CHARS or len(self.labels) > MAX_LABELS:
            self.labels = None


class _Looked(NamedTuple):
    data: Dataset
    seen: _Seen
    report: FileReport


def _messages(example: Example) -> tuple[Message, ...]:
    match example:
        case Completion():
            return ()
        case Preference():
            return example.messages + example.chosen + example.rejected
        case _:
            return example.messages


def _look(file: ExampleFile, renderer: Renderer, folder: Path, max_tokens: int, least: int) -> _Looked:
    seen = _Seen()
    data = Dataset(tokenise(file, renderer, folder, least=least, watch=seen), max_tokens)
    if not len(data):
        raise InvalidRequest(
            f"The {file.name} teaches nothing: every answer lies beyond the first {max_tokens:,} tokens.",
            code="invalid_training_file",
            param=file.param,
        )
    whole = data.whole_lengths.sum(axis=1)
    report = FileReport(
        examples=data.about.num_examples,
        items=len(data),
        lengths=_lengths(whole),
        tokens=int(data.lengths.sum()),
        trained_tokens=data.num_trained(),
        cut=data.num_cut,
        left_out=data.num_left_out,
        rewritten=data.about.num_rewritten,
        duplicates=seen.texts.num_duplicates,
        with_tools=seen.with_tools,
        calls=seen.calls,
        roles=dict(seen.roles),
        labels=dict(seen.labels.most_common()) if seen.labels else None,
    )
    return _Looked(data, seen, report)


def _lengths(tokens: NDArray[np.int64]) -> Lengths:
    p50, p95 = (int(value) for value in np.percentile(tokens, [50, 95], method="higher"))
    return Lengths(min=int(tokens.min()), mean=float(tokens.mean()), p50=p50, p95=p95, max=int(tokens.max()))


def _choose(method: Method, about: FileReport, given: Hyperparameters, *, positions: int) -> dict[str, Choice]:
    def choice(value: float | None, found: tuple[float, str]) -> Choice:
        if value is not None:
            return Choice(value=value, reason="given", is_auto=False)
        return Choice(value=found[0], reason=found[1], is_auto=True)

    epochs = choice(given.n_epochs, auto.choose_epochs(about.items))
    mean = about.tokens / max(1, about.items)
    batch = auto.choose_batch_size(about.items, int(epochs.value), mean_tokens=mean, positions=positions, method=method)
    return {
        "n_epochs": epochs,
        "batch_size": choice(given.batch_size, batch),
        "learning_rate_multiplier": choice(given.learning_rate_multiplier, auto.choose_multiplier()),
    }


def _problems(trained: _Looked, checked: _Looked | None, leak: Leak | None, max_tokens: int) -> list[str]:
    found = list(trained.data.about.notes)
    for looked, name in ((trained, "training"), (checked, "validation")):
        if looked is not None:
            found += _problems_of(looked, name, max_tokens)
    if leak is not None and checked is not None:
        of = f"of {checked.report.examples:,} validation examples"
        if leak.same:
            found.append(f"{leak.same:,} {of} are in the training file too: their loss says nothing of new data.")
        if leak.same_question:
            found.append(f"{leak.same_question:,} {of} ask what a training example asks, with another answer.")
        if leak.nearly:
            found.append(f"About {leak.nearly:,} {of} are nearly the same as a training example.")
    return found


def _problems_of(looked: _Looked, name: str, max_tokens: int) -> list[str]:
    about, seen, found = looked.report, looked.seen, list[str]()
    if about.cut:
        found.append(f"{about.cut:,} {name} examples are longer than {max_tokens:,} tokens: their ends are cut off.")
    if seen.num_unlearnt:
        found.append(f"{seen.num_unlearnt:,} {name} examples teach nothing: all of their messages have weight 0.")
    if lost := about.left_out:
        found.append(f"{lost:,} {name} examples are left out: the answers lie beyond the cut.")
    if about.rewritten:
        found.append(
            f"The model's chat template rewrites earlier turns: the answers of {about.rewritten:,} {name} "
            "conversations are trained one by one."
        )
    if about.duplicates:
        found.append(f"{about.duplicates:,} {name} examples repeat an earlier one.")
    if about.labels and len(about.labels) > 1:
        label, count = max(about.labels.items(), key=lambda pair: pair[1])
        if count > SKEW * sum(about.labels.values()):
            found.append(f"{count:,} of {about.examples:,} {name} examples are answered {label!r}.")
    return found


def duration(seconds: float) -> str:
    """For people."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"
