"""Governance around the two seams: who may, how much, and what it came to. It sees no HTTP, so every door passes it.

A request passes the quota of its key, is written to the ledger, runs, and is settled with both when it has ended, which
is before its last event is handed on.
"""

from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import aclosing, contextmanager
from typing import Protocol

import msgspec

from mainspring.core.clock import Clock
from mainspring.core.config import Price
from mainspring.core.errors import DeadlineExceeded, MainspringError
from mainspring.core.seams import Embed, Generate
from mainspring.core.types import (
    ChatPrompt,
    Embeddings,
    EmbedRequest,
    Event,
    Finished,
    GenerateRequest,
    InfillPrompt,
    Limits,
    Prompt,
    Rate,
    TextPrompt,
    Token,
    TokenPrompt,
    Usage,
)
from mainspring.governance.ledger import Entry, Ledger
from mainspring.governance.quota import Amount, Charge, Quota, start_of
from mainspring.governance.usage import Operation, Reports

__all__ = ["Account", "Governor", "estimate"]

CHARACTERS_PER_TOKEN = 4
MESSAGE_TOKENS = 4
COMPLETION_TOKENS = 256
"""What a request that does not limit its answer is estimated to generate."""
EVERYONE = "*"


class Account(Protocol):
    """Whoever requests are charged to; `keys.ApiKey` is one."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def limits(self) -> Limits:
        """How much it may use."""
        ...


class _Use:
    """What a request has used so far."""

    __slots__ = ("began_s", "charge", "ended", "entry", "finished", "first_s", "usage")

    def __init__(self, entry: Entry, charge: Charge | None, began_s: float) -> None:
        self.entry, self.charge, self.began_s = entry, charge, began_s
        self.usage = Usage(0, 0)
        self.finished = 0
        self.first_s: float | None = None
        self.ended = False

    def presume(self, guess: Usage) -> None:
        """Nothing was said before it was given up: its prompt was computed, or would have been but for that."""
        if not self.usage.prompt:
            self.usage = Usage(guess.prompt, 0)

    def finish(self, usage: Usage) -> None:
        """A choice has. All of them share one prompt; the first computes it."""
        cached = usage.cached if not self.finished else min(self.usage.cached, usage.cached)
        # What was counted token by token gives way to what the engine says.
        before = self.usage.completion if self.finished else 0
        self.usage = Usage(usage.prompt, before + usage.completion, cached)
        self.finished += 1


class Governor:
    """Wraps `Generate` and `Embed`.

    Args:
        account: whose the key with this id is; None has no limits (requests that no key was needed for).
        version: the version of the model that a deployment serves.
        prices: deployment -> price; "*" is for the others.
    """

    def __init__(
        self,
        *,
        account: Callable[[str], Account | None],
        version: Callable[[str], str],
        quota: Quota,
        ledger: Ledger,
        prices: Mapping[str, Price],
        clock: Clock,
    ) -> None:
        self._account, self._version = account, version
        self._quota, self._ledger, self._prices, self._clock = quota, ledger, prices, clock

    async def restore(self, reports: Reports) -> None:
        """Charge what was used of the current minute, day and month before this process started."""
        now_s = self._clock.now()
        for period in ("minute", "day", "month"):
            used = await reports.used_since(start_of(period, now_s), minutes=period == "minute")
            for key, totals in used.items():
                amount = Amount(totals.prompt + totals.completion, totals.cost)
                self._quota.restore(key, period, totals.requests, amount)

    def rate(self, key: str) -> Rate:
        """What the key has left of the current minute."""
        account = self._account(key)
        return Rate() if account is None else self._quota.rate(key, account.limits)

    def generate(self, inner: Generate) -> Generate:
        """`inner`, governed."""

        async def run(request: GenerateRequest) -> AsyncGenerator[Event]:
            guess = estimate(request)
            entry = self._entry(request, _operation(request.prompt), request.tier)
            with self._accounted(entry, guess) as use:
                async with aclosing(inner(request)) as events:
                    async for event in events:
                        if use.first_s is None:
                            use.first_s = self._clock.monotonic()
                        if isinstance(event, Finished):
                            use.finish(event.usage)
                            if use.finished == request.n:
                                self._end(use, "ok")
                        elif isinstance(event, Token) and not event.echo and not use.finished:
                            # Only for the case that nobody waits for the end.
                            use.usage = Usage(guess.prompt, use.usage.completion + event.num)
                        yield event

        return run

    def embed(self, inner: Embed) -> Embed:
        """`inner`, governed."""

        async def run(request: EmbedRequest) -> Embeddings:
            tokens = sum(_tokens(each) if isinstance(each, str) else len(each) for each in request.inputs)
            with self._accounted(self._entry(request, "embedding"), Usage(tokens, 0)) as use:
                result = await inner(request)
                use.finish(Usage(result.num_tokens, 0))
                self._end(use, "ok")
                return result

        return run

    def _entry(self, request: GenerateRequest | EmbedRequest, operation: Operation, tier: str = "default") -> Entry:
        return Entry(
            id=request.id,
            started=self._clock.now(),
            key=request.tenant,
            deployment=request.model,
            version=self._version(request.model),
            operation=operation,
            tier=tier,
        )

    @contextmanager
    def _accounted(self, entry: Entry, guess: Usage) -> Generator[_Use]:
        began_s = self._clock.monotonic()
        account = self._account(entry.key)
        charge = None
        if account is not None:
            amount = Amount(guess.prompt + guess.completion, self._cost(entry.deployment, guess))
            charge = self._quota.admit(entry.key, f"the key {account.name!r}", account.limits, amount)
        use = _Use(entry, charge, began_s)
        try:
            self._ledger.begin(msgspec.structs.replace(entry, prompt=guess.prompt))
        except BaseException:
            if charge is not None:
                self._quota.settle(charge, Amount(0))
            raise
        try:
            yield use
        except DeadlineExceeded as error:
            use.presume(guess)
            self._end(use, error.code)
            raise
        except MainspringError as error:  # it was not computed, or not to its end by our own fault
            self._end(use, error.code)
            raise
        except Exception:
            self._end(use, "internal_error")
            raise
        finally:
            use.presume(guess)
            self._end(use, "cancelled")  # the client has left; does nothing if it has ended already

    def _end(self, use: _Use, outcome: str) -> None:
        if use.ended:
            return
        use.ended = True
        now_s, entry, usage = self._clock.monotonic(), use.entry, use.usage
        cost = self._cost(entry.deployment, usage)
        self._ledger.end(
            msgspec.structs.replace(
                entry,
                outcome=outcome,
                prompt=usage.prompt,
                cached=usage.cached,
                completion=usage.completion,
                cost=cost,
                first_ms=round(((use.first_s or now_s) - use.began_s) * 1000, 3),
                total_ms=round((now_s - use.began_s) * 1000, 3),
            )
        )
        if use.charge is not None:
            self._quota.settle(use.charge, Amount(usage.prompt + usage.completion, cost))

    def _cost(self, deployment: str, usage: Usage) -> int:
        """In millionths: a price is for a million tokens."""
        price = self._prices.get(deployment) or self._prices.get(EVERYONE)
        if price is None:
            return 0
        cached = price.input if price.cached is None else price.cached
        return round(
            (usage.prompt - usage.cached) * price.input + usage.cached * cached + usage.completion * price.output
        )


def estimate(request: GenerateRequest) -> Usage:
    """What a request may use, from its characters: nothing has been tokenised yet."""
    match request.prompt:
        case ChatPrompt(messages, tools):
            prompt = sum(MESSAGE_TOKENS + _tokens(message.content) for message in messages)
            prompt += sum(_tokens(tool.parameters + tool.description) for tool in tools.tools) if tools else 0
        case TextPrompt(text):
            prompt = _tokens(text)
        case TokenPrompt(ids):
            prompt = len(ids)
        case InfillPrompt(prefix, suffix, extra):
            prompt = _tokens(prefix) + _tokens(suffix) + sum(_tokens(text) for _, text in extra)
    most = COMPLETION_TOKENS if request.max_tokens is None else request.max_tokens
    return Usage(prompt, most * request.n)


def _tokens(text: str) -> int:
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def _operation(prompt: Prompt) -> Operation:
    if isinstance(prompt, ChatPrompt):
        return "chat"
    return "infill" if isinstance(prompt, InfillPrompt) else "completion"
