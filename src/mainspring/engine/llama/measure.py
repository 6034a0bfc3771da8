"""Measures the formats that a model could be served in, and writes their files. A process of its own.

    python -m mainspring.engine.llama.measure <<< '{"shards": [...], "folder": "...", "formats": [...], ...}'

Started by `engine/preparation.py`, which says what it is given and told: one JSON object a line on standard output,
`Progress` while it works, then `Measured` or `Failed`. It ends when its standard input does.

Quality: the distribution of every token of `passage.txt`, given those before it, is compared with that of the shipped
file. Speed: prompts of 512 tokens, and decoding of one and of 16 streams with short contexts, with the number of
threads and the attention that the engine uses. Other programs disturb a measurement for a while and never make it
better, so rounds go over all formats until the best of each figure has been nearly reached twice, and that counts.
"""

import ctypes as c
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import psutil
from numpy.typing import NDArray

from mainspring.core.config import EngineSettings
from mainspring.core.errors import EngineUnavailable, InvalidRequest, MainspringError
from mainspring.engine import formats
from mainspring.engine.child import end_with_parent
from mainspring.engine.formats import FORMATS, SHIPPED, Measurement
from mainspring.engine.llama import binding
from mainspring.engine.llama.backend import physical_cores
from mainspring.engine.llama.quantise import Quantiser, rewrite
from mainspring.engine.preparation import MOST_ROUNDS, STEADY, Failed, Job, Measured, Message, Progress
from mainspring.models.gguf import read_layout

__all__ = ["PASSAGE", "ROWS", "Probe", "divergence", "measure", "regrouped", "speeds"]

PASSAGE = Path(__file__).with_name("passage.txt")
PROMPT = 512
NUM_STREAMS = 16
SHORT = 16
"""Tokens that are in the cache before decoding is timed."""
SINGLE_STEPS, BATCH_STEPS = 24, 8
ROWS = 64
"""Tokens whose distributions are computed in one step."""
HOPELESS = 4
"""A format is dropped when it is this many times beyond the bound after `EARLY` tokens."""
EARLY = 2 * ROWS
WORK = 4000
"""About as many tokens of prefill take as long as all that is done in two rounds to the shipped file and another."""
SPARE_BYTES = 512 * 2**20
"""Memory beside the weights: cache, buffers, and the distributions that are compared."""

Logits = NDArray[np.float32]


class Probe:
    """A model, loaded only to be measured.

    Args:
        path: a GGUF file.
        settings: threads and attention are taken from them; the cache is only as large as a measurement needs.
        library: what `binding.load` returned.

    Raises:
        EngineUnavailable: llama.cpp does not load it.
    """

    def __init__(self, path: Path, settings: EngineSettings, library: binding.Library) -> None:
        self._lib = library
        self._model = library.model_load_from_file(os.fsencode(path), library.model_default_params())
        if not self._model:
            raise EngineUnavailable(f"{path.name} is not a model that this build of llama.cpp can load.")
        self._vocab = library.model_get_vocab(self._model)
        self.num_tokens: int = library.vocab_n_tokens(self._vocab)
        params: binding.ContextParams = library.context_default_params()
        params.n_ctx = 2 * PROMPT + NUM_STREAMS * (SHORT + BATCH_STEPS + 1)
        params.n_batch = params.n_ubatch = PROMPT
        params.n_seq_max = NUM_STREAMS
        params.n_outputs_max = ROWS
        params.n_threads = params.n_threads_batch = settings.threads or physical_cores()
        params.flash_attn_type = binding.FLASH_ON if settings.flash_attention else binding.FLASH_OFF
        params.kv_unified = True
        self._context = library.init_from_model(self._model, params)
        if not self._context:
            raise EngineUnavailable(f"{path.name} does not fit in memory to be measured.")
        self._memory = library.get_memory(self._context)

    def tokenize(self, text: bytes) -> list[int]:
        """Text as tokens."""
        size = 4 * len(text) + 8  # a vocabulary of bytes may write a space as three
        buffer = (c.c_int32 * size)()
        count: int = self._lib.tokenize(self._vocab, text, len(text), buffer, size, True, False)
        if count <= 0:
            raise EngineUnavailable("The model has no vocabulary that text can be written in.")
        return buffer[:count]

    def clear(self) -> None:
        """Forget every token."""
        self._lib.memory_clear(self._memory, False)

    def decode(self, tokens: Sequence[int], start: int, slots: Sequence[int], num_rows: int) -> Logits:
        """Compute tokens, the same number of each slot, slot by slot, at the positions from `start` on.

        Returns:
            (num_rows, vocabulary) for the last tokens of all, valid until the next call.
        """
        each, size = len(tokens) // len(slots), len(tokens)
        ids = np.array(tokens, np.int32)
        positions = np.tile(np.arange(start, start + each, dtype=np.int32), len(slots))
        owners = np.repeat(np.array(slots, np.int32), each)
        wanted = np.zeros(size, np.int8)
        wanted[size - num_rows :] = 1
        ones = np.ones(size, np.int32)
        pointers = owners.ctypes.data + 4 * np.arange(size, dtype=np.uint64)
        arrays = (positions, ones, pointers, wanted)
        batch = binding.Batch(size, ids.ctypes.data, None, *(array.ctypes.data for array in arrays))
        if self._lib.decode(self._context, batch) != 0:
            raise EngineUnavailable("llama.cpp could not compute with this file.")
        pointer = c.cast(self._lib.get_logits(self._context), c.POINTER(c.c_float))
        return np.ctypeslib.as_array(pointer, (num_rows, self.num_tokens))

    def log_probs(self, tokens: Sequence[int], portion: int = ROWS) -> Iterator[Logits]:
        """The distribution after every token, `portion` tokens (at most `ROWS`) at a time, in nats."""
        self.clear()
        for at in range(0, len(tokens), portion):
            part = tokens[at : at + portion]
            rows = self.decode(part, at, [0], len(part))
            shifted = rows - rows.max(1, keepdims=True)
            yield shifted - np.log(np.exp(shifted).sum(1, keepdims=True))

    def close(self) -> None:
        """Free everything."""
        self._lib.free(self._context)
        self._lib.model_free(self._model)


def divergence(reference: Sequence[Logits], others: Iterator[Logits], give_up: float = float("inf")) -> float:
    """Mean KL divergence in nats a token; that of the first tokens if it is beyond `give_up` after `EARLY` of them."""
    found: list[float] = []
    for expected, other in zip(reference, others, strict=False):
        found += (np.exp(expected) * (expected - other)).sum(1).tolist()
        if len(found) >= EARLY and np.mean(found) > give_up:
            break
    return float(np.mean(found))


def speeds(probe: Probe, tokens: Sequence[int]) -> tuple[float, float, float]:
    """Tokens a second: a prompt, one stream, 16 streams together. `tokens` are used over and over."""
    endless = list(tokens) * (PROMPT // len(tokens) + 1)
    slots = range(NUM_STREAMS)

    def seconds(steps: int, step: Callable[[int], object]) -> float:
        took: list[float] = []
        for at in range(steps):
            began = time.perf_counter()
            step(at)
            took.append(time.perf_counter() - began)
        return float(np.median(took))

    probe.clear()
    prefill = PROMPT / seconds(1, lambda _: probe.decode(endless[:PROMPT], 0, [0], 1))
    probe.clear()
    probe.decode(endless[:SHORT], 0, [0], 1)
    single = 1 / seconds(SINGLE_STEPS, lambda at: probe.decode(endless[at : at + 1], SHORT + at, [0], 1))
    probe.clear()
    probe.decode([token for slot in slots for token in endless[slot : slot + SHORT]], 0, slots, 1)
    batch = NUM_STREAMS / seconds(
        BATCH_STEPS, lambda at: probe.decode(endless[at : at + NUM_STREAMS], SHORT + at, slots, NUM_STREAMS)
    )
    return prefill, single, batch


class _Work:
    """One run over all formats."""

    def __init__(self, job: Job, tell: Callable[[Message], None]) -> None:
        self._job, self._tell = job, tell
        self._settings = EngineSettings.model_validate_json(bytes(job.settings))
        self._library = binding.load(self._settings.library)
        self._quantiser = Quantiser(self._library.path, self._settings.threads or physical_cores())
        self._shards = [Path(shard) for shard in job.shards]
        self._layouts = [read_layout(shard) for shard in self._shards]
        self._table: dict[str, Measurement] = {}
        self._seen: dict[str, list[tuple[float, float, float]]] = {}

    def run(self) -> Measured:
        shipped_bytes = sum(shard.stat().st_size for shard in self._shards)
        if (reason := _too_large(shipped_bytes)) is not None:
            raise EngineUnavailable(f"The model does not fit in memory: {reason}.")
        self._table[SHIPPED] = Measurement(format=SHIPPED, num_bytes=shipped_bytes, kl_nats=0.0)
        probe = Probe(self._shards[0], self._settings, self._library)
        tokens, reference = self._reference(probe)
        note = formats.describe(self._layouts)
        if self._job.noise:
            noise = divergence(reference, regrouped(probe.log_probs(tokens, ROWS // 2 + 5)))
            note += f"; computed in other portions, it is {noise:.4f} nats from itself"
        self._note(SHIPPED, note)
        self._time(SHIPPED, probe, tokens)
        probe.close()
        for name in self._job.formats:
            self._try(name, tokens, reference)
        num_rounds = 1
        while num_rounds < self._job.num_rounds or (self._spread() > STEADY and num_rounds < MOST_ROUNDS):
            num_rounds += 1
            for name in self._seen:
                probe = Probe(self._path(name), self._settings, self._library)
                self._time(name, probe, tokens)
                probe.close()
        return Measured(tuple(self._table.values()), self._spread())

    def _spread(self) -> float:
        """How far the best of a figure is from the next to it, of the worst figure; 0 if nothing was measured twice."""
        ranked = [sorted(figure, reverse=True) for runs in self._seen.values() for figure in zip(*runs, strict=True)]
        return max((1 - second / best for best, second, *_ in (each for each in ranked if each[1:])), default=0.0)

    def _path(self, name: str) -> Path:
        return self._shards[0] if name == SHIPPED else Path(self._job.folder) / f"{name}.gguf"

    def _reference(self, probe: Probe) -> tuple[list[int], list[Logits]]:
        """The tokens of the passage and what the shipped file says about each; early, whether there is time for it."""
        tokens = probe.tokenize(PASSAGE.read_bytes())[: 2 * PROMPT]
        began, reference, took_s = time.monotonic(), list[Logits](), list[float]()
        for part in probe.log_probs(tokens):
            if not np.isfinite(part).all():
                raise InvalidRequest("What the shipped file computes are not finite numbers: the file is damaged.")
            reference.append(part)
            self._tell(Progress("comparing: shipped", len(reference) * ROWS, len(tokens)))
            took_s.append(time.monotonic() - began)
            began = time.monotonic()
            if len(took_s) == 4 and self._job.limit_s is not None:
                # Of the best portion: the first also reads the file, and another program may have disturbed the others.
                needed_s = WORK / ROWS * min(took_s)
                if needed_s > self._job.limit_s:
                    raise TimeoutError(f"measuring the formats would take about {needed_s:.0f} s")
        return tokens, reference

    def _try(self, name: str, tokens: list[int], reference: list[Logits]) -> None:
        """Write a format, compare it, and time it if it keeps what the model says."""
        planned = formats.plan(self._layouts, FORMATS[name])
        size = formats.planned_bytes(planned)
        self._table[name] = Measurement(format=name, num_bytes=size)
        if all(tensor.kind == kind for tensor, kind in planned):
            return self._note(name, "is what the shipped file has")
        if (reason := _too_large(size)) is not None:
            return self._note(name, reason)
        if name == "iq4_nl" and (q4 := self._table.get("q4_0")) and (q4.kl_nats or 0) > 2 * HOPELESS * self._bound:
            # Writing it is slow (0.4 s for a million weights), and it errs only a third less than Q4_0.
            return self._note(name, "not tried: q4_0 is far beyond the bound")
        with self._path(name).open("wb") as file:
            rewrite(
                self._shards, FORMATS[name], file, self._quantiser,
                lambda at, total: self._tell(Progress(f"writing: {name}", at, total)),
            )  # fmt: skip
            file.flush()
            os.fsync(file.fileno())
        self._tell(Progress(f"measuring: {name}", 0, None))
        probe = Probe(self._path(name), self._settings, self._library)
        kl = divergence(reference, probe.log_probs(tokens), HOPELESS * self._bound)
        self._table[name] = msgspec.structs.replace(
            self._table[name], kl_nats=kl, num_bytes=self._path(name).stat().st_size
        )
        if kl <= HOPELESS * self._bound:
            self._time(name, probe, tokens)
            probe.close()
            return None
        probe.close()
        self._path(name).unlink()
        return self._note(name, "not timed: far beyond the bound")

    @property
    def _bound(self) -> float:
        return self._job.bound_nats

    def _note(self, name: str, note: str) -> None:
        self._table[name] = msgspec.structs.replace(self._table[name], note=note)

    def _time(self, name: str, probe: Probe, tokens: list[int]) -> None:
        self._tell(Progress(f"timing: {name}", 0, None))
        runs = self._seen.setdefault(name, [])
        runs.append(speeds(probe, tokens))
        prefill, single, batch = (max(figure) for figure in zip(*runs, strict=True))
        self._table[name] = msgspec.structs.replace(self._table[name], prefill=prefill, single=single, batch=batch)


def regrouped(parts: Iterator[Logits]) -> Iterator[Logits]:
    """The same rows, `ROWS` at a time."""
    rows = np.concatenate(list(parts))
    for at in range(0, len(rows), ROWS):
        yield rows[at : at + ROWS]


def _too_large(num_bytes: int) -> str | None:
    """Why a model of that size is not loaded. Weights are read through the page cache, and kernels that want them in
    another order keep a copy."""
    need, free = 2 * num_bytes + SPARE_BYTES, psutil.virtual_memory().available
    return None if need <= free else f"{need / 1e9:.1f} GB of memory would be needed, {free / 1e9:.1f} GB are free"


def measure(job: Job, tell: Callable[[Message], None]) -> Measured:
    """Measure, leaving the files of what is within the bound in `job.folder`.

    Raises:
        MainspringError: the model cannot be read, loaded or computed with.
        TimeoutError: it would take longer than `job.limit_s`.
    """
    if job.only_write is None:
        return _Work(job, tell).run()
    settings = EngineSettings.model_validate_json(bytes(job.settings))
    name, shards = job.only_write, [Path(shard) for shard in job.shards]
    quantiser = Quantiser(binding.load(settings.library).path, settings.threads or physical_cores())
    with (Path(job.folder) / f"{name}.gguf").open("wb") as file:
        rewrite(shards, FORMATS[name], file, quantiser, lambda at, total: tell(Progress(f"writing: {name}", at, total)))
        file.flush()
        os.fsync(file.fileno())
    return Measured(())


def main() -> None:
    """Entry point of the process."""
    # llama.cpp writes to standard output when it pleases; messages get a descriptor of their own.
    messages = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    threading.Thread(target=end_with_parent, daemon=True).start()

    def tell(message: Message) -> None:
        messages.write(msgspec.json.encode(message) + b"\n")
        messages.flush()

    try:
        tell(measure(job, tell))
    except TimeoutError as error:
        tell(Failed(str(error), too_long=True))
    except MainspringError as error:
        tell(Failed(error.message))
    except MemoryError:
        tell(Failed(InvalidRequest("There is not enough memory to convert this model.").message))
    except OSError as error:
        tell(Failed(f"{error.strerror or error}"))


if __name__ == "__main__":
    main()
