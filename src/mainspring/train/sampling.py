"""Answers for reinforcement, from the engine that serves, inside of the process that trains.

    sampler.use(folder)                       # the adapter that is trained, as it is now
    rounds = sampler.sample([Ask(...), ...])  # one `Answered` for each

The base is loaded once, as the file that was dequantised for training; the adapter is written, loaded beside it and
used by what is asked next, and the one before it is freed. Engine and PyTorch take turns: both compute in the calling
thread, and neither has anything running while the other does.

What is sampled is a function of the adapter, the questions and their seeds alone: each call begins with an empty cache
and new books, since which cells of the cache a sequence lies in decides how its sums are rounded.
"""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainspring.core.config import EngineSettings
from mainspring.core.errors import InvalidRequest, MainspringError
from mainspring.core.types import (
    Adapter,
    Constraint,
    FinishReason,
    GenerateRequest,
    ModelVersion,
    Prompt,
    Sampling,
    Token,
    ToolCallDelta,
)
from mainspring.engine import sampling
from mainspring.engine.llama.backend import MAX_OUTPUTS, LlamaBackend
from mainspring.engine.loop import Engine
from mainspring.engine.prepare import Preparer
from mainspring.engine.scheduler import SchedulerConfig
from mainspring.engine.sequence import Sequence as Running
from mainspring.models import adapters, gguf, lora
from mainspring.models.catalog import Catalog
from mainspring.train.base import pairs_of, root_of
from mainspring.train.export import peft_name

__all__ = ["Answer", "Answered", "Ask", "EngineSampler", "Sampler"]

MAX_RUNNING = 64
"""Answers computed at once: as many as one step of the engine has rows of logits for."""
MIN_CELLS, MAX_CELLS = 2048, 32768
"""Of the KV cache: what does not fit waits."""
GREEDY = 1e-4


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A question and how often it is to be answered.

    Args:
        n: answers, each with draws of its own.
        max_tokens: of an answer.
        temperature: 0 is greedy.
        constraint: what an answer must match.
    """

    prompt: Prompt
    n: int = 1
    seed: int = 0
    max_tokens: int = 256
    temperature: float = 1.0
    constraint: Constraint | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One answer.

    Args:
        ids: its tokens, with the one that ended it.
        logps: of each token, its log probability under the model that sampled it, at the temperature and before
            penalties and masks.
        free: of each token, whether others were possible: a grammar forces some.
        text: what graders see: content without thoughts, markers and calls.
        calls: tool calls, as in a chat completion.
    """

    ids: list[int]
    logps: list[float]
    free: list[bool]
    text: str
    reason: FinishReason
    calls: list[dict[str, object]] = []


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """A question as the model read it, and its answers."""

    prompt: list[int]
    answers: list[Answer]


class Sampler(Protocol):
    """What reinforcement samples with; `EngineSampler` is the real one."""

    def use(self, folder: Path | None) -> None:
        """Answer with the PEFT adapter in `folder` from now on, or with the base alone."""
        ...

    def sample(self, asks: Sequence[Ask]) -> list[Answered]:
        """Answer every question.

        Raises:
            InvalidRequest: a question cannot be asked.
        """
        ...

    def close(self) -> None:
        """Free everything."""
        ...


class _Recorder(sampling.Sampler):
    """Chooses as the engine's own sampler does, and remembers every token with its log probability: the engine tells
    neither the token that ends an answer, nor those that a grammar forces."""

    def __init__(self, params: Sampling, choice: int) -> None:
        super().__init__(params, choice)
        self._scale = np.float32(1.0 / params.temperature if params.temperature > GREEDY else 1.0)
        self.ids: list[int] = []
        self.logps: list[float] = []
        self.free: list[bool] = []

    def pick(self, row: NDArray[np.float32], mask: NDArray[np.bool_] | None = None) -> int:
        token = super().pick(row, mask)
        self._keep(token, float(sampling.log_softmax(row * self._scale)[token]), mask is None or int(mask.sum()) > 1)
        return token

    def observe(self, token: int) -> None:
        super().observe(token)
        self._keep(token, 0.0, False)

    def _keep(self, token: int, logp: float, free: bool) -> None:
        self.ids.append(token)
        self.logps.append(logp)
        self.free.append(free)


class EngineSampler:
    """See `Sampler`.

    Args:
        catalog: where `base` is.
        base: a GGUF model, or an adapter of one: what is trained lies on top of it.
        work: a folder of its own, for adapters on their way into the engine.
        weights: the base in another format (`models/prepared.py`); None takes the file that training dequantises.
        tokens: about as many tokens are asked and answered at once.
        threads: that compute; 0 means one for each physical core.

    Raises:
        InvalidRequest: the base is not in GGUF.
        EngineUnavailable: it does not load.
    """

    def __init__(
        self, catalog: Catalog, base: ModelVersion, work: Path, *, tokens: int = MIN_CELLS,
        weights: Path | None = None, threads: int = 0,
    ) -> None:  # fmt: skip
        root = root_of(catalog, base)
        if root.format != "gguf":
            raise InvalidRequest(
                f"Reinforcement samples with this server's own engine, which reads GGUF, and {root.name} is in "
                f"{root.format}: pull the model as GGUF.",
                param="model",
            )
        self._work, self._name = work, peft_name(root)
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        self._below = pairs_of(catalog, base) if base.is_adapter else {}
        self._layouts = [gguf.read_layout(catalog.path(root, file)) for file in root.files]
        self._settings = _settings(tokens, threads)
        self._backend = LlamaBackend(weights or catalog.path(root), self._settings)
        self._preparer = Preparer(self._backend, speculate=False)
        self._config = SchedulerConfig(
            max_running=self._settings.max_running, prefill_tokens=self._settings.prefill_tokens,
            mixed_tokens=self._settings.mixed_tokens, max_outputs=MAX_OUTPUTS,
        )  # fmt: skip
        self._adapter: Adapter | None = None
        self._number = 0
        self.use(None)

    @property
    def context_length(self) -> int:
        """Most tokens of a question and its answer."""
        return self._backend.context_length

    def use(self, folder: Path | None) -> None:
        """See `Sampler`."""
        self._number += 1
        target = self._work / f"{self._number}.gguf"
        if folder is None and not self._below:
            self._adapter = None
        else:
            lora.write_peft(self._as_one(folder), self._layouts, target)
            self._adapter = Adapter(f"{self._number}", str(target))
            self._backend.load_adapter(self._adapter)
        self._backend.drop_adapters({self._adapter.id} if self._adapter else set())
        target.unlink(missing_ok=True)  # it is in memory

    def _as_one(self, folder: Path | None) -> Path:
        """The adapter that is trained together with the one that the base is."""
        if not self._below and folder is not None:
            return folder
        both = self._work / "both"
        both.mkdir(exist_ok=True)
        above = adapters.read_peft(folder) if folder is not None else {}
        adapters.write_peft(both, adapters.joined(self._below, above), self._name)
        return both

    def sample(self, asks: Sequence[Ask]) -> list[Answered]:
        """See `Sampler`."""
        self._backend.clear()
        engine = Engine(self._backend, self._config, time.monotonic, hot_tokens=self._backend.num_cells)
        running = [self._add(engine, number, ask) for number, ask in enumerate(asks)]
        heard = [[_Heard() for _ in range(ask.n)] for ask in asks]
        while engine.busy:
            for name, event in engine.step():
                if isinstance(event, MainspringError):
                    raise event
                if isinstance(event, Token | ToolCallDelta):
                    heard[int(name)][event.choice].add(event)
        return [
            Answered(
                prompt=sequences[0].tokens[: sequences[0].num_prompt],
                answers=[_answer(*each) for each in zip(sequences, ears, strict=True)],
            )
            for sequences, ears in zip(running, heard, strict=True)
        ]

    def _add(self, engine: Engine, number: int, ask: Ask) -> list[Running]:
        params = Sampling(temperature=ask.temperature, seed=ask.seed)
        request = GenerateRequest(
            id=str(number), model="", prompt=ask.prompt, n=ask.n, max_tokens=ask.max_tokens, sampling=params,
            constraint=ask.constraint, adapter=self._adapter,
        )  # fmt: skip
        sequences = self._preparer.prepare(request, time.monotonic)
        for sequence in sequences:
            sequence.sampler = _Recorder(params, sequence.choice)
        engine.add(sequences)
        return sequences

    def close(self) -> None:
        """See `Sampler`."""
        self._backend.close()
        shutil.rmtree(self._work, ignore_errors=True)


def _settings(tokens: int, threads: int) -> EngineSettings:
    cells = min(MAX_CELLS, max(MIN_CELLS, tokens))
    return EngineSettings(threads=threads, kv_tokens=cells, max_running=MAX_RUNNING, max_adapters=1, speculation="off")  # pyright: ignore[reportCallIssue]


class _Heard:
    """What one answer says, piece by piece."""

    def __init__(self) -> None:
        self.text = ""
        self.calls: dict[int, tuple[str, str, str]] = {}

    def add(self, event: Token | ToolCallDelta) -> None:
        if isinstance(event, ToolCallDelta):
            name, id_, arguments = self.calls.get(event.index, ("", "", ""))
            self.calls[event.index] = name or event.name, id_ or event.id, arguments + event.arguments
        elif not event.thought:
            self.text += event.text


def _answer(sequence: Running, heard: _Heard) -> Answer:
    recorder = sequence.sampler
    assert isinstance(recorder, _Recorder)
    calls: list[dict[str, object]] = [
        {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}
        for _, (name, id_, arguments) in sorted(heard.calls.items())
    ]
    return Answer(
        ids=recorder.ids, logps=recorder.logps, free=recorder.free, text=heard.text,
        reason=sequence.finished or "length", calls=calls,
    )  # fmt: skip
