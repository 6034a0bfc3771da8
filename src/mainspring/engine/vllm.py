"""vLLM as an engine: the seam `core.seams.Generate` over its `AsyncLLM`, for machines with GPUs.

    python -m mainspring.engine.vllm <<< '{"model": "FOLDER", "endpoint": "ipc://...", "settings": {...}}'

vLLM schedules, caches and samples; token ids go in and token ids come out. What they mean is decided by the same code
as everywhere: prompts, templates and tools (`prompts.py`), text, stop strings and calls (`answer.py`), grammars
(`constraint.py`, which vLLM follows with the same llguidance). What it cannot do is refused, by the field's name.
Not here: adapters, predictions, and fair shares between tenants (vLLM knows only priorities).
"""

import asyncio
import contextlib
import importlib
import os
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from mainspring.core.config import EngineSettings
from mainspring.core.errors import (
    DeadlineExceeded,
    EngineUnavailable,
    InvalidRequest,
    MainspringError,
    OperationNotSupported,
    Unavailable,
)
from mainspring.core.types import Event, GenerateRequest, Load
from mainspring.engine import frames
from mainspring.engine.child import run_child
from mainspring.engine.choice import Choice
from mainspring.engine.constraint import Grammars, as_lark
from mainspring.engine.huggingface import HfVocabulary
from mainspring.engine.prompts import Prompts
from mainspring.engine.relay import Relay

__all__ = ["AsyncLLM", "Library", "VllmEngine", "sampling_fields"]

PRIORITIES = {"priority": 0, "default": 1, "flex": 2, "batch": 3}
"""vLLM takes the lowest first, and lets the highest give way."""
NEARLY_GREEDY = 1e-4
"""A temperature below this is greedy for our own sampler; so it is here."""
CPU_KV_BYTES = 2 * 2**30
"""For the KV cache on a machine without a GPU: a share of all memory, vLLM's own choice, would be most of it."""
FEW_CORES = 4
"""On a processor vLLM keeps one core free for whoever asks it: of so few that is too much."""
HEALTH_S = 1.0
PARENT_S = 0.5


class AsyncLLM(Protocol):
    """What is used of vLLM's class of this name."""

    def generate(self, prompt: Any, sampling_params: Any, request_id: str, *, priority: int = 0) -> AsyncGenerator[Any]:
        """`RequestOutput`s; closing it aborts the request."""
        ...

    async def check_health(self) -> None:
        """Raises `Library.dead` when the engine's process is gone."""
        ...


class Library(NamedTuple):
    """What is used of the package besides.

    Args:
        sampling: makes `SamplingParams` of its fields, and of a Lark grammar if there is one.
        dead: raised when the engine's process is gone.
        refused: raised when a request is at fault.
    """

    sampling: Callable[[Mapping[str, Any], str | None], Any]
    dead: type[Exception]
    refused: type[Exception]


def sampling_fields(request: GenerateRequest, choice: int, max_tokens: int, ends: list[int]) -> dict[str, Any]:
    """The fields of `SamplingParams` for one choice. Stop strings are not among them: `Choice` finds those."""
    sampling = request.sampling
    greedy = sampling.temperature < NEARLY_GREEDY or sampling.top_p < 1e-6
    seed = None
    if sampling.seed is not None:  # choices of one request with one seed differ
        sequence = np.random.SeedSequence(sampling.seed % 2**64, spawn_key=(choice,))
        seed = int(sequence.generate_state(1, np.uint64)[0]) >> 1  # vLLM's are signed
    return {
        "max_tokens": max(max_tokens, 1),
        "temperature": 0.0 if greedy else sampling.temperature,
        "top_p": 1.0 if greedy else sampling.top_p,
        "seed": seed,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        "logit_bias": dict(sampling.logit_bias) or None,
        "logprobs": sampling.logprobs,
        "prompt_logprobs": sampling.logprobs if request.echo else None,
        "stop_token_ids": ends,
        "detokenize": False,
    }


class VllmEngine:
    """A model in vLLM. Owned by one event loop.

    Args:
        core: the engine.
        vocabulary: of its model.
        library: see `Library`.
        settings: for how many requests run at once.
        on_death: called once when the engine's process is gone; it cannot be brought back in this process.
        num_cells: tokens that the KV cache holds.
    """

    def __init__(
        self, core: AsyncLLM, vocabulary: HfVocabulary, library: Library, settings: EngineSettings, *,
        on_death: Callable[[], None], num_cells: int = 0,
    ) -> None:  # fmt: skip
        self._core, self._vocabulary, self._library = core, vocabulary, library
        self._max_running = settings.max_running
        self._on_death = on_death
        self._num_cells = num_cells
        self._prompts, self._grammars = Prompts(vocabulary), Grammars(vocabulary)
        # Rendering and compiling take milliseconds that the loop, which passes on everybody's tokens, has not.
        self._pool = ThreadPoolExecutor(1, "prepare")
        self._open: dict[str, list[Choice]] = {}
        self._busy_since: float | None = None
        self._busy_s = 0.0

    @property
    def hello(self) -> frames.Hello:
        """See `relay.Served`."""
        return frames.Hello(self._vocabulary.context_length, self._num_cells)

    @property
    def load(self) -> Load:
        """How busy: vLLM's own counters stay in its process, so these are what it was given."""
        choices = [choice for group in self._open.values() for choice in group if not choice.finished]
        now = time.monotonic() if self._busy_since is not None else 0.0
        waiting = choices[self._max_running :]  # vLLM takes them as they come
        return Load(
            running=min(len(choices), self._max_running),
            waiting=len(waiting),
            kv_used=min(sum(choice.num_tokens for choice in choices), self._num_cells),
            kv_total=self._num_cells,
            busy_s=round(self._busy_s + now - (self._busy_since or 0.0), 3),
            queue_s=round(now - waiting[0].arrived, 3) if waiting else 0.0,
        )

    async def watch(self) -> None:
        """Notice that the engine's process is gone, even if nobody asks anything of it."""
        while True:
            try:
                await self._core.check_health()
            except self._library.dead:
                self._on_death()
                return
            await asyncio.sleep(HEALTH_S)

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        """See `core.seams.Generate`."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + request.deadline_s if request.deadline_s is not None else None
        _check(request)
        choices, grammar = await loop.run_in_executor(self._pool, self._prepare, request)
        inbox: asyncio.Queue[tuple[Choice, Any] | MainspringError] = asyncio.Queue()
        expired = DeadlineExceeded("The request's time ran out before it was finished.")
        alarm = loop.call_at(ends_at, inbox.put_nowait, expired) if ends_at is not None else None
        tasks: dict[Choice, asyncio.Task[None]] = {}
        self._begin(request.id, choices)
        try:
            for choice in choices:
                for event in choice.begin():
                    yield event
                if not choice.finished:
                    tasks[choice] = asyncio.create_task(self._run(request, choice, grammar, inbox))
            while any(not choice.finished for choice in choices):
                item = await inbox.get()
                if isinstance(item, MainspringError):
                    raise item
                choice, output = item
                for event in choice.push(output):
                    yield event
                if choice.finished:
                    tasks[choice].cancel()  # a stop string, or the end of a grammar: vLLM would go on
        finally:
            self._end(request.id)
            if alarm is not None:
                alarm.cancel()
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)

    def _begin(self, request_id: str, choices: list[Choice]) -> None:
        now = time.monotonic()
        if not self._open:
            self._busy_since = now
        for choice in choices:
            choice.arrived = now
        self._open[request_id] = choices

    def _end(self, request_id: str) -> None:
        del self._open[request_id]
        if not self._open and self._busy_since is not None:
            self._busy_s += time.monotonic() - self._busy_since
            self._busy_since = None

    def _prepare(self, request: GenerateRequest) -> tuple[list[Choice], str | None]:
        """In a thread: the choices, and the grammar of their answers."""
        asked = self._prompts.ask(request)
        grammar = self._prompts.grammar(request, asked.plan)
        lark = as_lark(grammar[0]) if grammar is not None else None
        # Compiled here too: an error then names the field, before vLLM sees the grammar, and a grammar that
        # becomes too costly half-way is an error. vLLM would only end the answer.
        matchers = [self._grammars.compile(lark, grammar[1]) if grammar and lark else None for _ in range(request.n)]
        readers = [self._prompts.reader(request, asked.plan, time.monotonic) for _ in range(request.n)]
        choices = [
            Choice(request, number, asked, self._vocabulary, reader=readers[number], matcher=matchers[number])
            for number in range(request.n)
        ]
        return choices, lark

    async def _run(
        self, request: GenerateRequest, choice: Choice, grammar: str | None,
        inbox: "asyncio.Queue[tuple[Choice, Any] | MainspringError]",
    ) -> None:  # fmt: skip
        """Pass on what vLLM generates for one choice. Cancelling this aborts it there."""
        fields = sampling_fields(request, choice.number, choice.max_tokens, self._vocabulary.ends)
        prompt = {"type": "token", "prompt_token_ids": list(choice.prompt)}
        try:
            params = self._library.sampling(fields, grammar)
            name = f"{request.id}/{choice.number}"
            outputs = self._core.generate(prompt, params, name, priority=PRIORITIES[request.tier])
            async with contextlib.aclosing(outputs):
                ended = False
                async for output in outputs:
                    ended = output.finished
                    inbox.put_nowait((choice, output))
            if not ended:  # aborted in there: nobody is to wait for the rest
                inbox.put_nowait(Unavailable("The engine of this model has given the request up."))
        except self._library.dead:
            self._on_death()
            inbox.put_nowait(Unavailable("The engine of this model has stopped and is restarted.", retry_after_s=1.0))
        except self._library.refused as error:
            inbox.put_nowait(InvalidRequest(f"vLLM refuses this request: {_brief(error)}", param=_param(error)))
        except Exception as error:  # noqa: BLE001  whatever it is, the request must get an answer
            print(f"vLLM failed a request: {error!r}", file=sys.stderr, flush=True)
            inbox.put_nowait(MainspringError("The engine could not compute this request."))


def _check(request: GenerateRequest) -> None:
    """Refuse what vLLM does not do."""
    if request.adapter is not None:
        raise OperationNotSupported("Models that are served with vLLM have no adapters yet.", param="model")
    if request.prediction is not None:
        raise OperationNotSupported(
            "A model that is served with vLLM cannot use a prediction: leave it out.", param="prediction"
        )


def _param(error: Exception) -> str | None:
    found = getattr(error, "parameter", None)
    return found if isinstance(found, str) else None


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


# -- the process -------------------------------------------------------------------------------------------------------

QUIET = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    # A fork of a process with threads may hang; and children of a spawn find their way to `_end_with_parent`.
    "VLLM_WORKER_MULTIPROCESSING_METHOD": "spawn",
}
"""A replica talks to its server and to nobody else."""


def _module(name: str) -> Any:
    """A module of vLLM's, late and by name: ours is importable without it, and it has no types that hold here."""
    return importlib.import_module(f"vllm.{name}")


def load_library() -> Library:
    """Import vLLM.

    Raises:
        EngineUnavailable: it is not installed, or is another version than this was written for.
    """
    os.environ.update(QUIET)
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    if (os.cpu_count() or 1) <= FEW_CORES:
        os.environ.setdefault("VLLM_CPU_NUM_OF_RESERVED_CPU", "0")
    try:
        errors, params, dead = _module("exceptions"), _module("sampling_params"), _module("v1.engine.exceptions")
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] != "vllm":
            raise EngineUnavailable(f"vLLM cannot be imported here: it lacks {error.name}.") from error
        raise EngineUnavailable(
            "A model in safetensors is served with vLLM, which is not installed (or too old): "
            "pip install 'mainspring[vllm]', or pull the model as GGUF."
        ) from error

    def sampling(fields: Mapping[str, Any], grammar: str | None) -> Any:
        bound = params.StructuredOutputsParams(grammar=grammar) if grammar is not None else None
        kind = params.RequestOutputKind.DELTA
        return params.SamplingParams(**fields, structured_outputs=bound, output_kind=kind)

    return Library(sampling, dead.EngineDeadError, errors.VLLMClientError)


def engine_fields(model: Path, settings: EngineSettings, *, on_cpu: bool) -> dict[str, Any]:
    """The fields of `AsyncEngineArgs`."""
    ours = settings.vllm
    return {
        "model": str(model),
        "load_format": "safetensors",  # never pickles
        "trust_remote_code": False,
        "generation_config": "vllm",  # not the model's own defaults: the API's hold
        # The model's own may be float16, which processors emulate: measured twelve times slower.
        "dtype": "bfloat16" if on_cpu and ours.dtype == "auto" else ours.dtype,
        "max_model_len": settings.context_tokens or -1,  # -1: what the model was trained for and the cache holds
        "max_num_seqs": settings.max_running,
        "gpu_memory_utilization": ours.memory_fraction,
        "kv_cache_memory_bytes": ours.kv_bytes or (CPU_KV_BYTES if on_cpu else None),
        "tensor_parallel_size": ours.tensor_parallel,
        "enforce_eager": not ours.compile,
        "scheduling_policy": "priority",
        "structured_outputs_config": {"backend": "guidance"},
        "disable_log_stats": True,
    }


def make_engine(model: Path, settings: EngineSettings) -> VllmEngine:
    """Load a model; raises EngineUnavailable."""
    library = load_library()
    arguments, engine = _module("engine.arg_utils"), _module("v1.engine.async_llm")
    fields = engine_fields(model, settings, on_cpu=_module("platforms").current_platform.is_cpu())
    try:
        core: Any = engine.AsyncLLM.from_engine_args(arguments.AsyncEngineArgs(**fields))
    except Exception as error:  # whatever vLLM says is for the log: it names paths
        print(f"vLLM does not load the model: {error!r}", file=sys.stderr, flush=True)
        raise EngineUnavailable(
            "vLLM cannot load this model here: the server's log says why (an architecture it does not know, or too "
            "little memory: see the settings engine.vllm)."
        ) from error
    cache = core.vllm_config.cache_config
    num_cells = int(cache.num_gpu_blocks or 0) * int(cache.block_size or 0)
    vocabulary = HfVocabulary(model, int(core.model_config.max_model_len))
    return VllmEngine(core, vocabulary, library, settings, on_death=_die, num_cells=num_cells)


def _die() -> None:
    """The deployment starts another process; this one cannot be mended."""
    print("vLLM's engine process has ended, so this replica ends", file=sys.stderr, flush=True)
    os._exit(1)


def _end_with_parent() -> None:
    """vLLM computes in processes of its own, which outlive ours if it is killed: each watches the one that made it."""
    parent = os.getppid()

    def wait() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_S)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """Entry point of the process."""
    run_child(lambda spec, settings: Relay(make_engine(Path(spec.model), settings), spec.endpoint))


if __name__ == "__main__":
    main()
elif __name__ == "__mp_main__":  # a child of ours: multiprocessing runs the main module under this name
    _end_with_parent()
