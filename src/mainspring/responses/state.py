"""How far a response is, beside its events: what another process needs to take it up again."""

from typing import Any

import msgspec

from mainspring.core.types import FinishReason, Screened, Usage
from mainspring.responses.items import ResponseFilter, ResponseFilterOffsets, ResponseUsage

__all__ = ["Pending", "State"]

Json = dict[str, Any]


class Pending(msgspec.Struct):
    """A call that the server has to carry out."""

    id: str
    item: str
    name: str
    arguments: str
    approval: str | None = None
    attempt: int = 0


class State(msgspec.Struct):
    """See the module. Changed by the loop only, and at once with the draft: between two of its steps both agree.

    Args:
        prompt, cached, completion, reasoning: tokens of the generations that have ended.
        turn: how many have.
        over: nothing more is to be done.
        began: how many items there were when the current generation began.
        said, thought: tokens of it that were told.
        has_begun: tools have told what they tell first.
        calls: of the server's tools, those that are still to be carried out, the first maybe half.
        num_calls: how many were made.
        asked: a call waits for approval.
        kept: of items, by their ids: what is never shown.
        filters: what the content filters found, in the prompt and in the answer.
        reason: how the last generation ended.
        error: why the last attempt broke off.
        traced: generations that were begun: see `trace.Trace`.
    """

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    reasoning: int = 0
    turn: int = 0
    over: bool = False
    began: int = 0
    said: int = 0
    thought: int = 0
    has_begun: bool = False
    calls: list[Pending] = []
    num_calls: int = 0
    asked: bool = False
    kept: dict[str, Json] = {}
    filters: dict[str, ResponseFilter] = {}
    reason: FinishReason | None = None
    error: dict[str, str] | None = None
    traced: int = 0

    @property
    def is_cut(self) -> bool:
        """Whether the answer ends before its end."""
        return self.reason in ("length", "content_filter")

    def count(self, usage: Usage, *, said: int = 0, thought: int = 0, again: bool = False) -> None:
        """A generation has ended.

        Args:
            said, thought: tokens that were told before it was broken off and taken up again.
            again: what was said is in the prompt of the one that has ended.
        """
        prompt = max(usage.prompt - said, 0) if again else usage.prompt
        self.prompt += prompt
        self.completion += usage.completion + said + thought
        self.cached += min(usage.cached, prompt)
        self.reasoning += usage.reasoning + thought
        self.said, self.thought, self.turn = 0, 0, self.turn + 1

    def screened(self, event: Screened) -> None:
        """What the content filters have found by now."""
        checked, start, end = event.offsets or (0, 0, 0)
        source = "prompt" if event.choice < 0 else "completion"
        offsets = ResponseFilterOffsets(start, end, checked)
        self.filters[source] = ResponseFilter(event.blocked, source, event.results, offsets)

    @property
    def usage(self) -> ResponseUsage:
        """Of all generations that have ended."""
        return ResponseUsage.of(
            prompt=self.prompt, cached=self.cached, completion=self.completion, reasoning=self.reasoning
        )

    def outcome(self, now_s: int) -> Json:
        """What the response is at its end: the fields of it that change."""
        fields: Json = {"usage": self.usage, "completed_at": now_s, "status": "completed"}
        if self.is_cut:
            reason = "content_filter" if self.reason == "content_filter" else "max_output_tokens"
            fields |= {"status": "incomplete", "completed_at": None, "incomplete_details": {"reason": reason}}
        return fields | self.findings()

    def findings(self) -> Json:
        """What the content filters found, as a field of the response."""
        return {"content_filters": list(self.filters.values())} if self.filters else {}
