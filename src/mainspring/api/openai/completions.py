"""completions: text or tokens in, their continuation out."""

import codecs
import math
from typing import cast

from msgspec import UNSET, UnsetType
from starlette.requests import Request

from mainspring.api.body import read_body
from mainspring.api.context import Context, context_of
from mainspring.api.openai import replies, request, wire
from mainspring.api.openai.padding import padding
from mainspring.api.services import Services
from mainspring.api.sse import Answer, Writer
from mainspring.core.errors import InvalidRequest
from mainspring.core.types import (
    Finished,
    FinishReason,
    GenerateRequest,
    InfillPrompt,
    Prompt,
    Said,
    Screened,
    TextPrompt,
    Token,
    TokenLogprob,
    TokenPrompt,
)

__all__ = ["CompletionFold", "CompletionStream", "Completions"]

DEFAULT_MAX_TOKENS = 16


class Completions:
    """The handler of completions in every dialect."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def create(self, http: Request) -> Answer:
        """Parse, call, render."""
        context = context_of(http)
        model = wire.DeploymentCompletionRequest if "deployment" in http.path_params else wire.CompletionRequest
        body = await read_body(http, model, self._services.max_body_bytes)
        include_usage, obfuscate = request.check_stream_options(body)
        best_of = _best_of(body)
        max_tokens = _max_tokens(body)
        found = request.deployment(http, context, self._services, body.model)
        meta = replies.Meta(
            id=f"cmpl-{context.request_id}",
            created=int(self._services.clock.now()),
            model=found.id,
            system_fingerprint=f"fp_{found.version}",
        )
        requests = self._requests(context, body, meta, best_of, max_tokens)
        annotated = context.dialect != "openai"
        writer: Writer
        if body.stream:
            writer = CompletionStream(
                meta, body, len(requests), include_usage=include_usage, obfuscate=obfuscate, annotated=annotated
            )
        else:
            writer = CompletionFold(meta, body, len(requests), best_of, annotated=annotated)
        return Answer(self._services, context, requests, writer)

    def _requests(
        self,
        context: Context,
        body: wire.DeploymentCompletionRequest,
        meta: replies.Meta,
        best_of: int,
        max_tokens: int,
    ) -> list[GenerateRequest]:
        # Without probabilities there is no best: they are computed to choose, even if they are not shown.
        logprobs = 0 if best_of > (body.n or 1) and body.logprobs is None else body.logprobs
        return [
            GenerateRequest(
                id=f"{meta.id}-{number}",
                model=meta.model,
                prompt=prompt,
                tenant=context.principal.id if context.principal else "",
                project=context.project,
                spillover=context.spillover,
                streams=bool(body.stream),
                n=best_of,
                tier=request.tier(context, None),
                max_tokens=max_tokens,
                stop=request.stops(body),
                sampling=request.sampling(body, logprobs),
                echo=bool(body.echo),
                deadline_s=self._services.request_timeout_s,
            )
            for number, prompt in enumerate(_infills(body) if body.suffix else _prompts(body.prompt))
        ]


def _best_of(body: wire.DeploymentCompletionRequest) -> int:
    n = body.n or 1
    best_of = body.best_of or n
    if best_of < n:
        raise InvalidRequest(f"'best_of' must be at least 'n': got {best_of} and {n}.", param="best_of")
    if best_of > n and body.stream:
        raise InvalidRequest("'best_of' cannot be streamed: the best is known only at the end.", param="best_of")
    return best_of


def _max_tokens(body: wire.DeploymentCompletionRequest) -> int:
    if body.max_tokens == 0 and not body.echo:
        raise InvalidRequest("'max_tokens' may be 0 only when 'echo' is true.", param="max_tokens")
    return DEFAULT_MAX_TOKENS if body.max_tokens is None else body.max_tokens


def _prompts(prompt: wire.Prompt) -> list[Prompt]:
    if isinstance(prompt, str):
        return [TextPrompt(prompt)]
    # The model admits no mixtures: the first item tells what all are.
    several = [prompt] if isinstance(prompt[0], int) else prompt
    return [TextPrompt(one) if isinstance(one, str) else TokenPrompt(tuple(cast("list[int]", one))) for one in several]


def _infills(body: wire.DeploymentCompletionRequest) -> list[Prompt]:
    if body.echo:
        raise InvalidRequest("'suffix' cannot be combined with 'echo'.", param="suffix")
    prompts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
    dedent = bool(body.stop_at_dedent)
    infills = [InfillPrompt(prompt, body.suffix or "", dedent=dedent) for prompt in prompts if isinstance(prompt, str)]
    if len(infills) < len(prompts):
        raise InvalidRequest("'suffix' needs prompts of text, not of tokens.", param="suffix")
    return [*infills]


class _Text:
    """One choice as it grows: its text, and its tokens with their offsets, in characters."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.reason: FinishReason | None = None
        self.found: replies.Filtered | UnsetType = UNSET
        self.logprobs = _empty()
        self._own: list[float] = []
        self._num_chars = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, event: Token) -> replies.CompletionLogprobs:
        """Take a token's text and probabilities; returns the latter alone, for a chunk."""
        self.texts.append(event.text)
        added = _empty()
        for token in event.logprobs:
            self._place(token, added)
            if not event.echo:
                self._own.append(token.logprob or 0.0)
        for name in added.__struct_fields__:
            getattr(self.logprobs, name).extend(getattr(added, name))
        return added

    def _place(self, token: TokenLogprob, added: replies.CompletionLogprobs) -> None:
        shown = token.piece.decode("utf-8", "replace")
        added.tokens.append(shown)
        added.token_logprobs.append(token.logprob or 0.0)
        top = {} if token.logprob is None else {shown: token.logprob}
        for _, raw, logprob in token.top:
            top.setdefault(raw.decode("utf-8", "replace"), logprob)
        added.top_logprobs.append(top)
        added.text_offset.append(self._num_chars)
        self._num_chars += len(self._decoder.decode(token.piece))

    @property
    def score(self) -> float:
        """Mean log probability of the generated tokens, by which `best_of` chooses."""
        return sum(self._own) / len(self._own) if self._own else -math.inf


def _empty() -> replies.CompletionLogprobs:
    return replies.CompletionLogprobs([], [], [], [])


class CompletionStream:
    """Writes the chunks of streamed completions: choice k of prompt i has the index i*n + k."""

    streams = True

    def __init__(
        self,
        meta: replies.Meta,
        body: wire.DeploymentCompletionRequest,
        num_prompts: int,
        *,
        include_usage: bool = False,
        obfuscate: bool = True,
        annotated: bool = False,
    ) -> None:
        self._annotated = annotated
        self._found: dict[int, replies.Filtered] = {}  # choice -> what its next chunk says about it
        self.tally = replies.Tally()
        self._meta = meta
        self._n = body.n or 1
        self._has_logprobs = body.logprobs is not None
        self._texts = [_Text() for _ in range(num_prompts * self._n)]
        self._include_usage = include_usage
        self._obfuscate = obfuscate

    def begin(self) -> bytes:
        """Nothing: completions have no roles."""
        return b""

    def feed(self, prompt: int, event: Said | Screened) -> bytes:
        """A piece of text, or the finish of a choice."""
        index = prompt * self._n + event.choice
        if isinstance(event, Screened):
            return self._screened(prompt, index, event)
        if isinstance(event, Finished):
            self.tally.add(prompt, event.usage)
            found = self._found.pop(index, UNSET)
            return self._chunk([replies.CompletionChoice(index, "", None, event.reason, found)])
        if not isinstance(event, Token) or (not event.text and not event.logprobs):
            return b""
        logprobs = self._texts[index].add(event) if self._has_logprobs else None
        found = self._found.pop(index, UNSET) if self._found else UNSET
        return self._chunk([replies.CompletionChoice(index, event.text, logprobs, None, found)], event.text)

    def _screened(self, prompt: int, index: int, event: Screened) -> bytes:
        """See `ChatStream`."""
        if not self._annotated:
            return b""
        if event.choice < 0:
            return replies.event(replies.found_in_prompt(replies.Completion, event.results, prompt))
        if event.offsets is None:
            self._found[index] = event.results
            return b""
        offsets = replies.FilterOffsets(*event.offsets)
        return self._chunk([replies.CompletionChoice(index, "", None, None, event.results, offsets)])

    def end(self) -> bytes:
        """The usage, if asked for, and the mark of the end."""
        self.tally.check(len(self._texts))
        usage = self._chunk([], usage=self.tally.usage()) if self._include_usage else b""
        return usage + replies.DONE

    def _chunk(
        self, choices: list[replies.CompletionChoice], padded: str | None = None, usage: replies.Usage | None = None
    ) -> bytes:
        meta = self._meta
        return replies.event(
            replies.Completion(
                id=meta.id,
                created=meta.created,
                model=meta.model,
                system_fingerprint=meta.system_fingerprint,
                choices=choices,
                usage=usage if self._include_usage else UNSET,
                obfuscation=padding(padded) if self._obfuscate and padded is not None else UNSET,
            )
        )


class CompletionFold:
    """Collects the same events into one body, and of `best_of` choices keeps the likeliest n."""

    streams = False

    def __init__(
        self,
        meta: replies.Meta,
        body: wire.DeploymentCompletionRequest,
        num_prompts: int,
        best_of: int,
        *,
        annotated: bool = False,
    ) -> None:
        self._annotated = annotated
        self._found: dict[int, replies.Filtered] = {}  # prompt -> what was found in it
        self.tally = replies.Tally()
        self._meta = meta
        self._n = body.n or 1
        self._best_of = best_of
        self._has_logprobs = body.logprobs is not None
        self._texts = [[_Text() for _ in range(best_of)] for _ in range(num_prompts)]

    def begin(self) -> bytes:
        """Nothing: the body is written at the end."""
        return b""

    def feed(self, prompt: int, event: Said | Screened) -> bytes:
        """Keep what the event adds."""
        if event.choice < 0:
            assert isinstance(event, Screened), "only findings are about the prompt"
            self._found[prompt] = event.results
            return b""
        text = self._texts[prompt][event.choice]
        if isinstance(event, Screened):
            text.found = event.results
        elif isinstance(event, Token):
            text.add(event)
        elif isinstance(event, Finished):
            text.reason = event.reason
            self.tally.add(prompt, event.usage)
        return b""

    def end(self) -> bytes:
        """The body."""
        self.tally.check(len(self._texts) * self._best_of)
        meta = self._meta
        chosen = [text for texts in self._texts for text in self._best(texts)]
        return replies.encode(
            replies.Completion(
                id=meta.id,
                created=meta.created,
                model=meta.model,
                system_fingerprint=meta.system_fingerprint,
                choices=[self._choice(index, text) for index, text in enumerate(chosen)],
                usage=self.tally.usage(),
                prompt_filter_results=[replies.PromptFilterResult(*each) for each in sorted(self._found.items())]
                if self._found and self._annotated
                else UNSET,
            )
        )

    def _best(self, texts: list[_Text]) -> list[_Text]:
        return texts if len(texts) == self._n else sorted(texts, key=lambda text: -text.score)[: self._n]

    def _choice(self, index: int, text: _Text) -> replies.CompletionChoice:
        logprobs = text.logprobs if self._has_logprobs else None
        found = text.found if self._annotated else UNSET
        return replies.CompletionChoice(index, "".join(text.texts), logprobs, text.reason, found)
