"""The content filters around `Generate`: prompts before they are computed, answers before they are said.

Each choice of an answer, each thought and each tool call is a text of its own that a `Hold` looks at. What it releases
goes out in the events that the engine made: an event waits until all of its text may leave, so that token counts and
log probabilities stay with their text. A choice that is blocked ends at once with the reason content_filter; when all
have ended, the engine is told to stop. How many prompt tokens there were is then only an estimate: the engine says so
at the end.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing

import msgspec

from mainspring.core.errors import ContentFiltered
from mainspring.core.seams import Generate
from mainspring.core.types import (
    ChatPrompt,
    Event,
    Explained,
    Finished,
    GenerateRequest,
    InfillPrompt,
    Message,
    Said,
    Screened,
    Spilled,
    TextPrompt,
    Token,
    TokenPrompt,
    Usage,
)
from mainspring.governance.apart import Apart
from mainspring.governance.directory import Target
from mainspring.governance.filters.blocklist import Blocklist
from mainspring.governance.filters.guard import ask_guard
from mainspring.governance.filters.hold import Annotation, Hold
from mainspring.governance.filters.personal import FORMS, PersonalData
from mainspring.governance.filters.policy import SYSTEM_POLICIES, Category, FilterRule, Policy, from_arm
from mainspring.governance.filters.protected import Index
from mainspring.governance.filters.screen import Screen
from mainspring.governance.filters.verdict import REFUSAL, Verdict, annotations
from mainspring.governance.meter import estimate
from mainspring.governance.policies import as_filter
from mainspring.governance.wanted import Snapshot

__all__ = ["Screening"]

UNSEEN = Verdict(failed="The prompt was given as token ids, which are not looked at.")


class _Sources(msgspec.Struct, frozen=True):
    """What a screen is built from: equal sources make equal screens."""

    policy: Policy
    lists: dict[str, Blocklist]
    bases: dict[str, Policy]


class Screening:
    """Looks at what is asked and answered, as the policy of its deployment says.

    Args:
        find: (project, name) -> what serves a deployment.
        snapshot: what is wanted now.
        default: the policy of deployments that name none; empty for none.
        index: of protected material.
        personal: what finds personal data.
    """

    def __init__(
        self,
        find: Callable[[str, str], Target],
        snapshot: Callable[[], Snapshot],
        *,
        default: str,
        index: Index | None = None,
        personal: PersonalData = FORMS,
    ) -> None:
        self._find, self._snapshot, self._default, self._index = find, snapshot, default, index
        self._personal, self._apart = personal, Apart()
        self._screens: dict[tuple[str, str], tuple[_Sources, Screen]] = {}
        self._revision = -1
        self._current: dict[tuple[str, str], Screen] = {}  # those that are known to be of this revision
        self._building = asyncio.Lock()

    def generate(self, inner: Generate) -> Generate:
        """`inner`, screened. Guard models are asked through it as well: what they use is nobody's, and in no ledger."""

        def run(request: GenerateRequest) -> AsyncGenerator[Event]:
            target = self._find(request.project, request.model)
            name = target.policy or self._default
            return self._screened(inner, request, (target.project, name)) if name else inner(request)

        return run

    async def screen(self, key: tuple[str, str]) -> Screen:
        """The policy called so in a project, made ready."""
        if self._snapshot().revision != self._revision:
            self._current, self._revision = {}, self._snapshot().revision
        return self._current.get(key) or await self._built(key)

    async def _built(self, key: tuple[str, str]) -> Screen:
        async with self._building:
            sources = _sources(self._snapshot(), *key)
            before = self._screens.get(key)
            if before is None or before[0] != sources:
                # Thousands of terms take a while: the server goes on meanwhile.
                built = await asyncio.to_thread(
                    Screen, sources.policy, sources.lists, personal=self._personal, index=self._index,
                    bases=sources.bases,
                )  # fmt: skip
                self._screens[key] = before = sources, built
            self._current[key] = before[1]
            return before[1]

    async def _screened(self, inner: Generate, request: GenerateRequest, key: tuple[str, str]) -> AsyncGenerator[Event]:
        case = _Case(inner, request, await self.screen(key), self._apart)
        verdict = await case.judge_prompt()
        found, reasons = annotations(verdict), _reasons(verdict)
        if verdict.blocked:
            raise ContentFiltered(REFUSAL, results=found, reasons=reasons)
        first = True
        async with aclosing(inner(request)) as events:
            async for event in events:
                if first and found:  # not before: whatever goes wrong until then has a status of its own
                    yield Screened(-1, found, reasons=reasons)
                first = False
                if isinstance(event, Screened | Spilled | Explained):
                    yield event
                    continue
                for each in await case.said(event):
                    yield each
                if case.is_over:
                    return


class _Case:
    """One request, with what its policy looks for."""

    def __init__(self, inner: Generate, request: GenerateRequest, screen: Screen, apart: Apart) -> None:
        self._inner, self._request, self._screen, self._apart = inner, request, screen, apart
        self._turns = _turns(request)
        self._answer = _Answer(screen, request, [turn.content for turn in self._turns if turn.role == "tool"])

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be said."""
        return self._answer.is_over

    async def judge_prompt(self) -> Verdict:
        """What is in the prompt."""
        rules = self._screen.prompt.rules
        if isinstance(self._request.prompt, TokenPrompt):
            return UNSEEN if rules else Verdict()
        if self._screen.prompt.is_slow:
            verdict = await self._apart.prompt(lambda: self._screen.check_prompt(self._turns))
        else:
            verdict = self._screen.check_prompt(self._turns)
        if self._screen.policy.guard and rules and self._turns and not verdict.blocked:
            verdict += await self._ask(self._turns, rules, self._request.id)
        return verdict

    async def said(self, event: Said) -> list[Event]:
        """What goes out because of an event of the engine's."""
        if self._screen.completion.is_slow:
            said = await self._apart.answer(lambda: list(self._answer.take(event)))
        else:
            said = list(self._answer.take(event))
        if isinstance(event, Finished) and self._answer.is_guarded and event.choice not in self._answer.ended:
            # A guard model judges whole answers: what it looks at has been kept until now.
            conversation = [*self._turns, Message(role="assistant", content=self._answer.text(event.choice))]
            asked = f"{self._request.id}-{event.choice}"
            said += self._answer.judged(event, await self._ask(conversation, self._screen.completion.rules, asked))
        return said

    async def _ask(
        self, conversation: Sequence[Message], rules: Mapping[Category, FilterRule], request: str
    ) -> Verdict:
        return await ask_guard(self._for_us, self._screen.policy.guard or "", conversation, rules, request=request)

    def _for_us(self, question: GenerateRequest) -> AsyncGenerator[Event]:
        """A question to a guard model, which is a deployment of the same project."""
        ours = msgspec.structs.replace(question, tenant=self._request.tenant, project=self._request.project)
        return self._inner(ours)


PIECE = 400
"""Characters of an answer that are looked at together where nobody waits for each token. No more, so that a model that
says what it must not is stopped soon."""


class _Lane:
    """One text: what of it waits, and how much of it may leave.

    Args:
        name: what it is of its choice.
        piece: so many characters are looked at together.
        before: characters of the choice's earlier texts of that name.
    """

    __slots__ = ("_piece", "_unseen", "_unseen_length", "before", "hold", "length", "name", "released", "waiting")

    def __init__(self, name: str, hold: Hold, piece: int, before: int) -> None:
        self.name, self.hold, self._piece, self.before = name, hold, piece, before
        self._unseen: list[str] = []
        self._unseen_length = 0
        self.length = self.released = 0
        self.waiting: deque[tuple[int, Said]] = deque()

    def feed(self, event: Said, text: str) -> Iterator[Annotation]:
        """More text, and the event that brings it."""
        self.length += len(text)
        self.waiting.append((self.length, event))
        self._unseen.append(text)
        self._unseen_length += len(text)
        if self._unseen_length >= self._piece:
            yield from self._take(self.hold.feed(self._piece_taken()))

    def end(self) -> Iterator[Annotation]:
        """No more comes."""
        yield from self._take(self.hold.end(self._piece_taken()))

    def _piece_taken(self) -> str:
        text = "".join(self._unseen)
        self._unseen.clear()
        self._unseen_length = 0
        return text

    def leaving(self) -> Iterator[Said]:
        """The events all of whose text may leave."""
        while self.waiting and self.waiting[0][0] <= self.released:
            yield self.waiting.popleft()[1]

    def _take(self, said: Sequence[object]) -> Iterator[Annotation]:
        for each in said:
            if isinstance(each, Annotation):
                yield each
            else:
                self.released += len(each.text)  # type: ignore[attr-defined]


class _Answer:
    """All choices of an answer.

    Args:
        sources: what it must be grounded in.
    """

    def __init__(self, screen: Screen, request: GenerateRequest, sources: Sequence[str]) -> None:
        self._screen, self._sources, self._n = screen, sources, request.n
        self._guess = estimate(request).prompt
        self._piece = 0 if request.streams else PIECE
        self.is_guarded = bool(screen.policy.guard and screen.completion.rules)
        self._keeps = self.is_guarded and not screen.policy.is_asynchronous
        self._lanes: dict[int, _Lane] = {}  # of each choice, the text that it is at
        self._before: dict[tuple[int, str], int] = {}  # characters of those that are over, by name
        self._found: dict[int, Verdict] = {}  # in those
        self._kept: dict[int, list[Event]] = {}
        self._texts: dict[int, list[str]] = {}
        self._tokens: dict[int, int] = {}
        self._shown: dict[int, Verdict] = {}
        self.ended: set[int] = set()
        """Choices that were blocked, or have finished."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be said."""
        return len(self.ended) == self._n

    def text(self, choice: int) -> str:
        """What a choice has said."""
        return "".join(self._texts.get(choice, ()))

    def take(self, event: Said) -> Iterator[Event]:
        """What of it, and of what waited, goes out."""
        choice = event.choice
        if choice in self.ended:
            return
        if isinstance(event, Finished):
            yield from self._finish(event)
            return
        if isinstance(event, Token):
            self._tokens[choice] = self._tokens.get(choice, 0) + (0 if event.echo else event.num)
            if event.echo:  # the prompt, which was looked at as such
                yield event
                return
            name, text = "thought" if event.thought else "text", event.text
        else:
            name, text = f"call {event.index}", event.arguments
        if self.is_guarded:
            self._texts.setdefault(choice, []).append(text)
        lane = self._lanes.get(choice)
        if lane is None or lane.name != name:
            # What comes before another text is whole, and leaves before it: nobody hears a call before its reason.
            yield from self._end(choice)
            if choice in self.ended:
                return
            hold = self._screen.stream(self._sources if name == "text" else ())
            lane = self._lanes[choice] = _Lane(name, hold, self._piece, self._before.get((choice, name), 0))
        yield from self._moved(choice, lane, lane.feed(event, text))

    def _end(self, choice: int) -> Iterator[Event]:
        """The text that a choice is at is over."""
        lane = self._lanes.pop(choice, None)
        if lane is None:
            return
        yield from self._moved(choice, lane, lane.end())
        self._found[choice] = self._found.get(choice, Verdict()) + lane.hold.verdict
        self._before[choice, lane.name] = lane.before + lane.length

    def _moved(self, choice: int, lane: _Lane, found: Iterator[Annotation]) -> Iterator[Event]:
        told = list(found)
        for event in lane.leaving():
            if choice not in self._shown:
                yield from self._show(choice, lane.hold.verdict)
            if self._keeps:
                self._kept.setdefault(choice, []).append(event)
            else:
                yield event
        for each in told if self._screen.policy.is_asynchronous else ():
            before = lane.before
            offsets = before + each.check_offset, before + each.start_offset, before + each.end_offset
            yield Screened(choice, annotations(each.verdict), offsets, _reasons(each.verdict))
        if lane.hold.verdict.blocked:
            yield from self._block(choice, lane.hold.verdict)

    def _show(self, choice: int, verdict: Verdict) -> Iterator[Event]:
        """What is known of a choice, if that is new; in asynchronous mode it has been said with its offsets."""
        if verdict != self._shown.get(choice):
            self._shown[choice] = verdict
            found = annotations(verdict)
            if found and not self._screen.policy.is_asynchronous:
                yield Screened(choice, found, reasons=_reasons(verdict))

    def _block(self, choice: int, verdict: Verdict, usage: Usage | None = None) -> Iterator[Event]:
        self.ended.add(choice)
        self._kept.pop(choice, None)
        yield Screened(choice, annotations(verdict), reasons=_reasons(verdict), blocked=True)
        used = usage or Usage(self._guess, self._tokens.get(choice, 0))
        yield Finished(choice, "content_filter", used)

    def _finish(self, event: Finished) -> Iterator[Event]:
        choice = event.choice
        self._guess = event.usage.prompt
        yield from self._end(choice)
        if choice in self.ended:
            return
        yield from self._show(choice, self._found.get(choice, Verdict()))
        if not self.is_guarded:
            self.ended.add(choice)
            yield event

    def judged(self, event: Finished, verdict: Verdict) -> Iterator[Event]:
        """What the guard model says of a whole choice: it goes out, or it does not."""
        if verdict.blocked:
            yield from self._block(event.choice, verdict, event.usage)
            return
        self.ended.add(event.choice)
        yield Screened(event.choice, annotations(verdict), reasons=_reasons(verdict))
        yield from self._kept.pop(event.choice, ())
        yield event


def _sources(snapshot: Snapshot, project: str, name: str) -> _Sources:
    own = {
        each.name: from_arm(each.name, each.properties)
        for each in snapshot.policies.values()
        if each.project == project
    }
    lists = {
        each.name: Blocklist(name=each.name, items=tuple(map(as_filter, snapshot.items.get((project, each.name), ()))))
        for each in snapshot.blocklists.values()
        if each.project == project
    }
    return _Sources(own.get(name) or SYSTEM_POLICIES[name], lists, own)


def _turns(request: GenerateRequest) -> list[Message]:
    match request.prompt:
        case ChatPrompt(messages):
            return list(messages)
        case TextPrompt(text):
            return [Message(role="user", content=text)]
        case InfillPrompt(prefix, suffix, extra):
            return [Message(role="user", content=text) for text in (prefix, suffix, *(text for _, text in extra))]
        case TokenPrompt():
            return []


def _reasons(verdict: Verdict) -> str:
    return msgspec.json.encode(verdict.hits).decode() if verdict.hits else ""
