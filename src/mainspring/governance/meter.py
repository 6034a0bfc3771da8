"""Quotas and the ledger around the two seams: how much may be used, and what it came to.

A request passes the quotas of its key, its project and its deployment, is written to the ledger, runs, and is settled
with all of them when it has ended, which is before its last event is handed on.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from typing import Protocol

import msgspec

from mainspring.core.clock import Clock
from mainspring.core.config import Price
from mainspring.core.errors import ContentFiltered, DeadlineExceeded, Forbidden, MainspringError, Unavailable
from mainspring.core.receipt import Prompted
from mainspring.core.seams import Count, Embed, Generate, Models
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
    Screened,
    TextPrompt,
    Token,
    TokenPrompt,
    Usage,
)
from mainspring.governance.directory import Target
from mainspring.governance.filters.verdict import Hit
from mainspring.governance.ledger import Entry, Ledger
from mainspring.governance.quota import Amount, Charge, Quota, Share
from mainspring.governance.usage import Operation, Reports
from mainspring.governance.windows import start_of

__all__ = ["Account", "Meter", "estimate"]

CHARACTERS_PER_TOKEN = 4
MESSAGE_TOKENS = 4
COMPLETION_TOKENS = 256
"""What a request that does not limit its answer is estimated to generate."""
EVERYONE = "*"
NO_LIMITS = Limits()
RESTORE_S = 60.0


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

    @property
    def deployments(self) -> Sequence[str]:
        """The only deployments that it may use; empty means all."""
        ...


AGAIN = frozenset({408, 429})
"""Statuses, beside those from 500, after which a batch makes a request again."""
MAX_HITS_BYTES = 2000
"""Of what the content filters found, in the ledger."""


class _Use:
    """What a request has used so far."""

    __slots__ = (
        "began_s", "charge", "ended", "entry", "filtered", "finished", "first_s", "reasons", "target", "usage",
    )  # fmt: skip

    def __init__(self, target: Target, entry: Entry, charge: Charge, began_s: float) -> None:
        self.target, self.entry, self.charge, self.began_s = target, entry, charge, began_s
        self.filtered = ""
        self.reasons: dict[int, str] = {}  # by choice; -1 is the prompt
        self.usage = Usage(0, 0)
        self.finished = 0
        self.first_s: float | None = None
        self.ended = False

    def note(self, screened: Screened) -> None:
        """The content filters have found something, or nothing."""
        if screened.reasons:
            self.reasons[screened.choice] = screened.reasons  # all that is known of it: what was said before is in it
        if screened.blocked:
            self.filtered = "completion"

    @property
    def hits(self) -> str:
        """What they have found, as one JSON list: as much as the journal has room for, what blocked it first."""
        found = [hit for each in self.reasons.values() for hit in msgspec.json.decode(each, type=list[Hit])]
        kept: list[str] = []
        room = MAX_HITS_BYTES
        for hit in sorted(found, key=lambda hit: not hit.blocking):
            text = msgspec.json.encode(hit).decode()
            room -= len(msgspec.json.encode(text))  # it will be a string within JSON
            if room < 0:
                break
            kept.append(text)
        return f"[{','.join(kept)}]" if kept else ""

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


class Meter:
    """Wraps `Generate` and `Embed`.

    Args:
        account: whose the key with this id is; None has no limits (whoever came with a token).
        find: (project, name) -> what serves a deployment; raises `ModelNotFound`.
        project_limits: how much a project may use.
        models: what runs: versions, and how busy they are.
        prices: deployment -> price; "*" is for the others.
    """

    def __init__(
        self,
        *,
        account: Callable[[str], Account | None],
        find: Callable[[str, str], Target],
        project_limits: Callable[[str], Limits],
        models: Models,
        quota: Quota,
        ledger: Ledger,
        prices: Mapping[str, Price],
        clock: Clock,
    ) -> None:
        self._account, self._find, self._project_limits, self._models = account, find, project_limits, models
        self._quota, self._ledger, self._prices, self._clock = quota, ledger, prices, clock

    async def keep_restored(self, reports: Reports) -> None:
        """Look into the ledger again and again: what a server used that has died since counts, and so does what was
        used before something got its first limit. Runs until it is cancelled."""
        while True:
            await asyncio.sleep(RESTORE_S)
            with contextlib.suppress(Unavailable):
                await self.restore(reports)

    async def restore(self, reports: Reports) -> None:
        """Charge what the ledger says was used of the current minute, day and month: before this process started, and
        on servers that have died."""
        now_s = self._clock.now()
        for period in ("minute", "day", "month"):
            sums: dict[str, tuple[int, Amount]] = {}
            used = await reports.used_since(start_of(period, now_s), minutes=period == "minute")
            for (project, deployment, key), totals in used.items():
                for subject in _subjects(key, project, deployment):
                    requests, (tokens, cost, _) = sums.get(subject, (0, Amount(0)))
                    amount = Amount(tokens + totals.prompt + totals.completion, cost + totals.cost)
                    sums[subject] = requests + totals.requests, amount
            for subject, (requests, amount) in sums.items():
                self._quota.restore(subject, period, requests, amount)

    def rate(self, key: str, project: str, deployment: str) -> Rate:
        """What is left of the current minute to a key that uses a deployment: whatever is the least.

        Raises:
            ModelNotFound: the deployment has gone.
        """
        return self._quota.rate(self._shares(key, self._find(project, deployment)))

    def utilisation(self, project: str, deployment: str) -> float:
        """Of a provisioned deployment: how much of its capacity is in use, 1 being all."""
        limits = self._find(project, deployment).limits
        return self._quota.utilisation(_subjects("", project, deployment)[2], limits)

    @property
    def count(self) -> Count:
        """What notes in the same ledger what is neither limited nor paid for."""
        return self._ledger.count

    def generate(self, inner: Generate) -> Generate:
        """`inner`, governed."""

        async def run(request: GenerateRequest) -> AsyncGenerator[Event]:
            guess = estimate(request)
            use = await self._admit(request, guess, _operation(request.prompt), request.tier)
            with self._accounted(use, guess):
                async with aclosing(inner(request)) as events:
                    async for event in events:
                        if use.first_s is None and not isinstance(event, Prompted):
                            use.first_s = self._clock.monotonic()
                        if isinstance(event, Finished):
                            use.finish(event.usage)
                            if use.finished == request.n:
                                self._end(use, "ok")
                        elif isinstance(event, Token) and not event.echo and not use.finished:
                            # Only for the case that nobody waits for the end.
                            use.usage = Usage(guess.prompt, use.usage.completion + event.num)
                        elif isinstance(event, Screened):
                            use.note(event)
                        yield event

        return run

    def embed(self, inner: Embed) -> Embed:
        """`inner`, governed."""

        async def run(request: EmbedRequest) -> Embeddings:
            tokens = sum(_tokens(each) if isinstance(each, str) else len(each) for each in request.inputs)
            guess = Usage(tokens, 0)
            use = await self._admit(request, guess, "embedding", request.tier)
            with self._accounted(use, guess):
                result = await inner(request)
                use.finish(Usage(result.num_tokens, 0))
                self._end(use, "ok")
                return result

        return run

    async def _admit(
        self, request: GenerateRequest | EmbedRequest, guess: Usage, operation: Operation, tier: str
    ) -> _Use:
        target = self._find(request.project, request.model)
        shares = self._shares(request.tenant, target)
        amount = Amount(guess.prompt + guess.completion, self._cost(target, guess))
        version = self._models.find(target.model).version
        charge = await self._quota.admit(shares, amount)
        entry = Entry(
            id=request.id,
            started=self._clock.now(),
            key=request.tenant,
            project=request.project,
            deployment=request.model,
            version=version,
            operation=operation,
            tier=tier,
        )
        return _Use(target, entry, charge, self._clock.monotonic())

    def _shares(self, key: str, target: Target) -> list[Share]:
        """Whom a request is charged to: the key, the project and the deployment, limited or not."""
        account, limits = self._account(key), self._project_limits(target.project)
        if account is not None and account.deployments and target.name not in account.deployments:
            allowed = ", ".join(account.deployments)
            raise Forbidden(f"The key {account.name!r} is not for the deployment {target.name!r}, but for {allowed}.")
        subjects = _subjects(key, target.project, target.name)
        shares = [
            Share(subjects[0], f"the key {account.name!r}", account.limits) if account is not None else None,
            Share(subjects[1], f"the project {target.project!r}", limits) if limits != NO_LIMITS else None,
            Share(subjects[2], f"the deployment {target.name!r}", target.limits, self._is_idle(target))
            if target.limits != NO_LIMITS
            else None,
        ]
        return [share for share in shares if share is not None]

    def _is_idle(self, target: Target) -> bool:
        """Whether a deployment with a dynamic limit may go beyond it: half of the engine has nothing to do."""
        if target.deployment is None or not target.deployment.dynamic:
            return False
        load = self._models.load(target.model)
        return not load.waiting and load.running * 2 < self._models.places(target.model)

    @contextmanager
    def _accounted(self, use: _Use, guess: Usage) -> Generator[None]:
        entry, charge = use.entry, use.charge
        try:
            self._ledger.begin(msgspec.structs.replace(entry, prompt=guess.prompt))
        except BaseException:
            self._quota.settle(charge, Amount(0))
            raise
        try:
            yield
        except ContentFiltered as error:  # it was looked at, and not computed
            use.filtered = "prompt"
            if error.reasons:
                use.reasons[-1] = error.reasons
            self._end(use, error.code)
            raise
        except DeadlineExceeded as error:
            use.presume(guess)
            self._break_off(use, error.code)
            raise
        except MainspringError as error:  # it was not computed, or not to its end by our own fault
            end = self._break_off if error.status in AGAIN or error.status >= 500 else self._end
            end(use, error.code)
            raise
        except Exception:
            self._break_off(use, "internal_error")
            raise
        finally:
            use.presume(guess)
            self._break_off(use, "cancelled")  # the client has left; does nothing if it has ended already

    def _break_off(self, use: _Use, outcome: str) -> None:
        """`_end` for what a batch makes again: of all its attempts only the one with an answer is accounted for."""
        if use.entry.tier != "batch" or use.ended:
            self._end(use, outcome)
            return
        use.ended = True
        self._ledger.forget(use.entry.id)
        self._quota.settle(use.charge, Amount(0))

    def _end(self, use: _Use, outcome: str) -> None:
        if use.ended:
            return
        use.ended = True
        now_s, entry, usage = self._clock.monotonic(), use.entry, use.usage
        cost = self._cost(use.target, usage)
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
                filtered=use.filtered,
                hits=use.hits,
            )
        )
        self._quota.settle(use.charge, Amount(usage.prompt + usage.completion, cost, usage.cached))

    def _cost(self, target: Target, usage: Usage) -> int:
        """In millionths: a price is for a million tokens."""
        model = target.deployment.model if target.deployment else target.name
        price = self._prices.get(target.name) or self._prices.get(model) or self._prices.get(EVERYONE)
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


def _subjects(key: str, project: str, deployment: str) -> tuple[str, str, str]:
    """What the quota calls them."""
    return key, f"project {project}", f"deployment {project}/{deployment}"


def _tokens(text: str) -> int:
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def _operation(prompt: Prompt) -> Operation:
    if isinstance(prompt, ChatPrompt):
        return "chat"
    return "infill" if isinstance(prompt, InfillPrompt) else "completion"
