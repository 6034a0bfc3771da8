"""A stand-in for vLLM: `AsyncLLM` with the signature that is used, and a model of a few hand-written answers.

Its vocabulary is that of a small byte-level tokeniser which this file writes as Hugging Face's files.
"""

import asyncio
import json
from dataclasses import dataclass, field
from types import SimpleNamespace

from mainspring.engine.huggingface import byte_characters
from mainspring.engine.vllm import Library

END = "<|im_end|>"
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WORDS = ["he", "ll", "hell", "hello", " w", "or", " wor"]
MERGES = [["h", "e"], ["l", "l"], ["he", "ll"], ["hell", "o"], ["\u0120", "w"], ["o", "r"], ["\u0120w", "or"]]


def write_vocabulary(folder):
    """`tokenizer.json` and what goes with it: the bytes, a few words, and three control tokens."""
    characters = sorted(byte_characters(), key=byte_characters().get)
    tokens = [*characters, *(word.replace(" ", "\u0120") for word in WORDS)]
    specials = ["<|im_start|>", END, "<|endoftext|>"]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    whole = {
        "version": "1.0",
        "added_tokens": [{"id": len(tokens) + at, "content": name, **flags} for at, name in enumerate(specials)],
        "pre_tokenizer": level,
        "decoder": level,
        "model": {"type": "BPE", "vocab": {token: at for at, token in enumerate(tokens)}, "merges": MERGES},
    }
    config = {"architectures": ["LlamaForCausalLM"], "eos_token_id": len(tokens) + 1, "max_position_embeddings": 512}
    (folder / "tokenizer.json").write_text(json.dumps(whole))
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": END, "chat_template": CHATML}))
    return folder


class Dead(Exception):
    """vLLM's EngineDeadError."""


class Refused(Exception):
    """vLLM's VLLMClientError."""

    parameter = "temperature"


def library():
    def sampling(fields, grammar):
        return SimpleNamespace(**fields, grammar=grammar)

    return Library(sampling, Dead, Refused)


@dataclass
class FakeAsyncLLM:
    """`answers` are token ids for each request in turn, the last one for all that follow; an exception is raised.

    With `hang` a request never goes on after its tokens, until it is aborted; with `breaks_off` it ends there, and
    does not say so.
    """

    answers: list
    hang: bool = False
    breaks_off: bool = False
    cached: int = 0
    dead: bool = False
    together: int = 0  # requests that begin at the same time
    calls: list = field(default_factory=list)
    aborted: list = field(default_factory=list)
    num_open: int = 0

    async def generate(self, prompt, sampling_params, request_id, *, priority=0):
        self.calls.append(SimpleNamespace(prompt=prompt, params=sampling_params, id=request_id, priority=priority))
        answer = self.answers[min(len(self.calls), len(self.answers)) - 1]
        self.num_open += 1
        while len(self.calls) < self.together:  # noqa: ASYNC110 - the loop's turns are what is tested
            await asyncio.sleep(0)
        try:
            if isinstance(answer, Exception):
                raise answer
            for at, token in enumerate(answer):
                await asyncio.sleep(0)
                last = at + 1 == len(answer) and not self.hang and not self.breaks_off
                reason = None
                if at + 1 == sampling_params.max_tokens:
                    reason, last = "length", True
                elif last:
                    reason = "stop"
                yield self._output(prompt, sampling_params, token, reason, first=at == 0)
                if last:
                    return
            if not self.breaks_off:
                await asyncio.Event().wait()
        except (asyncio.CancelledError, GeneratorExit):
            self.aborted.append(request_id)
            raise
        finally:
            self.num_open -= 1

    def _output(self, prompt, params, token, reason, *, first):
        ids = prompt["prompt_token_ids"]
        row = None
        if params.logprobs is not None:  # the chosen one, then the likeliest
            row = [
                {token: SimpleNamespace(logprob=-2.5)} | {one: SimpleNamespace(logprob=-1.0 - one) for one in (1, 2)}
            ]
        shown = None
        if first and params.prompt_logprobs is not None:
            shown = [None, *({one: SimpleNamespace(logprob=-0.5)} for one in ids[1:])]
        completion = SimpleNamespace(index=0, token_ids=[token], logprobs=row, finish_reason=reason)
        return SimpleNamespace(
            outputs=[completion], prompt_logprobs=shown, num_cached_tokens=self.cached, finished=reason is not None
        )

    async def check_health(self):
        if self.dead:
            raise Dead
