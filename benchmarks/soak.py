"""Half an hour of everything at once: does memory stay flat, is anything left over, is any answer malformed?

    scripts/bench soak [--minutes 30] [--streams 16] [--threads 2] [--model FILE] [--json FILE]

So many clients are busy at all times, each with a random request: a chat, an adapter's answer, a required tool call, an
answer bound by a random schema or by a regular expression, infill, several choices, log probabilities, all tiers,
streamed or not; a quarter of the streams is left in the middle. Three adapters are served, of which the engine may keep
two. Each answer is checked for what it claims to be. Memory is read every ten seconds.

The memory for finished sequences is limited to 64 MiB here: otherwise it fills for hours, as it is meant to.
"""

import argparse
import asyncio
import json
import random
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import psutil
from jsonschema import Draft202012Validator

from benchmarks import _load
from benchmarks._client import Address
from benchmarks._main import main
from benchmarks._servers import add_adapters, mainspring, metric

SCHEMAS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("schemas.json").read_text("utf-8"))
ADAPTERS = ("pirate", "parrot", "anchor")
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather of a day.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "maxLength": 12},
                    "day": {"enum": ["today", "tomorrow"]},
                    "hours": {
                        "type": "array",
                        "items": {"type": "integer", "minimum": 0, "maximum": 23},
                        "maxItems": 3,
                    },
                },
                "required": ["city", "day", "hours"],
                "additionalProperties": False,
            },
            "strict": True,
        },
    },
    {
        "type": "function",
        "function": {
            "name": "add",
            "description": "Adds two numbers.",
            "parameters": {
                "type": "object",
                "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
                "required": ["a", "b"],
                "additionalProperties": False,
            },
            "strict": True,
        },
    },
]
PARAMETERS = {tool["function"]["name"]: tool["function"]["parameters"] for tool in TOOLS}
REGEX = r"[A-Z][a-z]{2,8} (is|was) \d{1,3} years old\."
MARKERS = ("<tool_call>", "</tool_call>", "<|im_start|>", "<|im_end|>", "<think>")


class Malformed(Exception):
    """An answer is not what it should be."""


class Soak:
    """Clients, counts, and what was seen of memory."""

    def __init__(self, to: Address, pids: list[int], seconds: float) -> None:
        self._to = to
        self._pids = pids
        self._until = time.monotonic() + seconds
        self._http = httpx.AsyncClient(
            base_url=f"http://{to.host}:{to.port}",
            headers={"authorization": f"Bearer {to.key}"},
            timeout=300,
            limits=httpx.Limits(max_connections=None),
        )
        self.counts: Counter[str] = Counter()
        self.malformed: list[str] = []
        self.memory: list[tuple[float, list[float]]] = []

    async def run(self, streams: int) -> None:
        """Until the time is over; then wait for the last answers."""
        watch = asyncio.create_task(self._watch())
        await asyncio.gather(*(self._client(random.Random(at)) for at in range(streams)))
        watch.cancel()
        await self._http.aclose()

    async def _watch(self) -> None:
        started = time.monotonic()
        while True:
            sizes = [psutil.Process(pid).memory_info().rss / 2**20 for pid in self._pids]
            self.memory.append((time.monotonic() - started, sizes))
            if len(self.memory) % 6 == 1:
                told = ", ".join(f"{size:.0f}" for size in sizes)
                print(f"{self.memory[-1][0] / 60:5.1f} min  memory {told} MiB  {dict(self.counts)}", flush=True)
            await asyncio.sleep(10)

    async def _client(self, draw: random.Random) -> None:
        while time.monotonic() < self._until:
            kind = draw.choice(("chat", "chat", "adapter", "adapter", "tool", "schema", "regex", "infill", "several"))
            try:
                await getattr(self, f"_{kind}")(draw)
                self.counts[kind] += 1
            except Malformed as error:
                self.malformed.append(f"{kind}: {error}")
                print(f"MALFORMED {kind}: {error}", flush=True)
            except httpx.HTTPError as error:
                self.malformed.append(f"{kind}: {error!r}")
                print(f"FAILED {kind}: {error!r}", flush=True)

    # -- one request ---------------------------------------------------------------------------------------------------

    def _body(self, draw: random.Random, **fields: Any) -> dict[str, Any]:
        shared = draw.choice(("", "You are a helpful pirate. " * 30, "Answer in one sentence. " * 12))
        text = _load.words(str(draw.random()), draw.choice((4, 20, 120)))
        messages = [{"role": "system", "content": shared}] if shared else []
        messages.append({"role": "user", "content": f"Write about {text}."})
        return {
            "model": draw.choice((self._to.model, *ADAPTERS)) if draw.random() < 0.2 else self._to.model,
            "messages": messages,
            "max_tokens": draw.choice((1, 8, 30, 60)),
            "temperature": draw.choice((0, 0.7, 1.0)),
            "service_tier": draw.choice(("auto", "default", "priority", "flex")),
            **fields,
        }

    async def _ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self._http.post(path, json=body)
        if answer.status_code != 200:
            raise Malformed(f"status {answer.status_code}: {answer.text[:200]}")
        return answer.json()

    async def _stream(self, body: dict[str, Any], leave_after: int | None) -> dict[int, dict[str, Any]] | None:
        """The choices of a stream put together; None if it was left."""
        choices: dict[int, dict[str, Any]] = {}
        num_chunks, done = 0, False
        async with self._http.stream("POST", "/v1/chat/completions", json={**body, "stream": True}) as answer:
            if answer.status_code != 200:
                raise Malformed(f"status {answer.status_code}: {(await answer.aread())[:200]!r}")
            async for line in answer.aiter_lines():
                if not line:
                    continue
                if line == "data: [DONE]":
                    done = True
                    continue
                if done or not line.startswith("data: "):
                    raise Malformed(f"a stray line {line[:100]!r}")
                _join(choices, json.loads(line[6:]))
                num_chunks += 1
                if leave_after is not None and num_chunks >= leave_after:
                    self.counts["left"] += 1
                    return None
        if not done or any(choice["finish_reason"] is None for choice in choices.values()):
            raise Malformed("a stream without its end")
        return choices

    async def _chat(self, draw: random.Random, **fields: Any) -> None:
        body = self._body(draw, **fields)
        leave = draw.choice((None, None, None, 1, 3, 9)) if draw.random() < 0.5 else None
        if leave is not None:
            body["max_tokens"] = 60
        choices = await self._stream(body, leave)
        if choices is not None:
            _check_text(choices[0])

    async def _adapter(self, draw: random.Random) -> None:
        await self._chat(draw, model=draw.choice(ADAPTERS))

    async def _tool(self, draw: random.Random) -> None:
        named = draw.random() < 0.3
        choice: Any = {"type": "function", "function": {"name": "add"}} if named else "required"
        body = self._body(draw, tools=TOOLS, tool_choice=choice, max_tokens=200)
        if draw.random() < 0.5:
            choices = await self._stream(body, None)
            assert choices is not None
            message, reason = choices[0], choices[0]["finish_reason"]
        else:
            first = (await self._ask("/v1/chat/completions", body))["choices"][0]
            message, reason = first["message"], first["finish_reason"]
        _check_text(message)
        if reason == "length":
            self.counts["cut"] += 1
            return
        calls = message.get("tool_calls") or []
        if reason not in ("tool_calls", "stop") or not calls or len({call["id"] for call in calls}) < len(calls):
            raise Malformed(f"finish_reason {reason} with {len(calls)} calls")
        for call in calls:
            name = call["function"]["name"]
            arguments = _parsed(call["function"]["arguments"])
            if named and name != "add":
                raise Malformed(f"{name} was called instead of add")
            if errors := list(Draft202012Validator(PARAMETERS[name]).iter_errors(arguments)):
                raise Malformed(f"arguments of {name}: {errors[0].message}")

    async def _schema(self, draw: random.Random) -> None:
        schema = draw.choice(SCHEMAS)
        wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        body = self._body(draw, response_format=wanted, max_tokens=200)
        first = (await self._ask("/v1/chat/completions", body))["choices"][0]
        if first["finish_reason"] == "length":
            self.counts["cut"] += 1
        elif errors := list(Draft202012Validator(schema).iter_errors(_parsed(first["message"]["content"]))):
            raise Malformed(f"against its schema: {errors[0].message}")

    async def _regex(self, draw: random.Random) -> None:
        body = self._body(draw, response_format={"type": "regex", "regex": REGEX}, max_tokens=60)
        choices = await self._stream(body, None)
        assert choices is not None
        if not re.fullmatch(REGEX, choices[0]["content"]) and choices[0]["finish_reason"] != "length":
            raise Malformed(f"{choices[0]['content']!r} does not match")

    async def _infill(self, draw: random.Random) -> None:
        body = {
            "model": self._to.model,
            "prompt": f"def f{draw.randrange(1000)}(a, b):\n    ",
            "suffix": "\n\nprint(f(1, 2))\n",
            "max_tokens": 20,
            "temperature": 0.5,
        }
        answer = await self._ask("/v1/completions", body)
        if len(answer["choices"]) != 1 or "print(f(1, 2))" in answer["choices"][0]["text"]:
            raise Malformed(f"infill gave {answer['choices']!r}")

    async def _several(self, draw: random.Random) -> None:
        body = self._body(draw, n=3, logprobs=True, top_logprobs=2, max_tokens=8)
        answer = await self._ask("/v1/chat/completions", body)
        for at, choice in enumerate(answer["choices"]):
            said = choice["logprobs"]["content"]
            if choice["index"] != at or any(not -1e9 < one["logprob"] <= 1e-3 for one in said):
                raise Malformed("choices or log probabilities are wrong")
            text = b"".join(bytes(one["bytes"]) for one in said).decode(errors="replace")
            if choice["finish_reason"] != "length" and text != choice["message"]["content"]:
                raise Malformed(f"log probabilities of {text!r} for {choice['message']['content']!r}")
        if len(answer["choices"]) != 3:
            raise Malformed(f"{len(answer['choices'])} choices instead of 3")


def _join(choices: dict[int, dict[str, Any]], chunk: dict[str, Any]) -> None:
    if "error" in chunk:
        raise Malformed(f"an error in a stream: {chunk['error']}")
    for part in chunk["choices"]:
        whole = choices.setdefault(part["index"], {"content": "", "finish_reason": None, "tool_calls": []})
        if whole["finish_reason"] is not None:
            raise Malformed("something after the end of a choice")
        whole["finish_reason"] = part["finish_reason"]
        whole["content"] += part["delta"].get("content") or ""
        for call in part["delta"].get("tool_calls") or []:
            if call["index"] == len(whole["tool_calls"]):
                whole["tool_calls"].append({"id": call["id"], "function": {**call["function"], "arguments": ""}})
            whole["tool_calls"][call["index"]]["function"]["arguments"] += call["function"].get("arguments") or ""


def _check_text(message: dict[str, Any]) -> None:
    for marker in MARKERS:
        if marker in (message["content"] or ""):
            raise Malformed(f"{marker} in the text {message['content'][:100]!r}")


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise Malformed(f"not JSON: {text[:100]!r}") from None


def _slope(samples: list[tuple[float, float]]) -> float:
    """Of a line through (seconds, MiB), in MiB an hour."""
    middle = sum(at for at, _ in samples) / len(samples)
    mean = sum(size for _, size in samples) / len(samples)
    spread = sum((at - middle) ** 2 for at, _ in samples)
    return 3600 * sum((at - middle) * (size - mean) for at, size in samples) / max(spread, 1e-9)


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Serve, keep busy, look."""
    settings = {"max_adapters": 2, "cache_bytes": 64 * 2**20}
    async with mainspring(options.model, options.threads, **settings) as (to, pid):
        server = psutil.Process(pid)
        await add_adapters(to, pid, options.model, ADAPTERS)
        replica = next(
            one.pid for one in server.children(recursive=True) if "mainspring.engine.process" in one.cmdline()
        )
        soak = Soak(to, [pid, replica], 60 * options.minutes)
        await soak.run(options.streams)
        await asyncio.sleep(2)
        left = [await metric(to, f"mainspring_requests_{state}{{") for state in ("running", "waiting")]
        kv_used = await metric(to, "mainspring_kv_tokens_used{")
        alive = replica in {one.pid for one in server.children(recursive=True)}
    late = [(at, sizes) for at, sizes in soak.memory if at >= soak.memory[-1][0] / 3]
    slopes = [_slope([(at, sizes[which]) for at, sizes in late]) for which in (0, 1)]
    print(f"requests: {dict(soak.counts)}")
    print(f"malformed answers: {len(soak.malformed)}; wanted 0: {'OK' if not soak.malformed else 'MISSED'}")
    gone = alive and left == [0, 0]
    print(f"left running, waiting: {left}, tokens cached {kv_used:.0f}; wanted 0, 0: {'OK' if gone else 'MISSED'}")
    for which, name in ((0, "server"), (1, "replica")):
        sizes = [sizes[which] for _, sizes in late]
        print(
            f"{name}: {min(sizes):.0f} to {max(sizes):.0f} MiB in the last two thirds, {slopes[which]:+.1f} MiB an hour"
        )
    return {"counts": dict(soak.counts), "malformed": soak.malformed, "left": left, "memory": soak.memory}


if __name__ == "__main__":
    main("soak", __doc__ or "", run, minutes=30.0, streams=16)
