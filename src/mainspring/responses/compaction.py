"""A conversation in few words: the model writes a summary, and an item carries it to where the conversation goes on.

What does not fit into the model's context is summed up half by half, each after the summary of what was before it.
"""

from collections.abc import Sequence
from contextlib import aclosing

from mainspring.core.errors import ContextLengthExceeded, InvalidRequest
from mainspring.core.ids import new_id
from mainspring.core.seams import Generate
from mainspring.core.types import ChatPrompt, Finished, GenerateRequest, Message, Token
from mainspring.responses.ask import Ask
from mainspring.responses.items import CompactionItem, ResponseUsage
from mainspring.responses.opaque import seal
from mainspring.responses.prompt import Unit
from mainspring.responses.state import State

__all__ = ["compacted"]

MAX_TOKENS = 512
"""Of a summary."""
TASK = (
    "You sum up conversations so that they can go on without what was said. Write down what was asked and answered, "
    "names, numbers, decisions, results of tools, and what is still open. Write nothing else."
)


async def compacted(ask: Ask, units: Sequence[Unit], generate: Generate) -> tuple[CompactionItem, ResponseUsage]:
    """The item, and what it cost.

    Raises:
        InvalidRequest: there is nothing to sum up.
        MainspringError: as `Generate` does.
    """
    if not units:
        raise InvalidRequest("There is nothing to compact: send 'input' or 'previous_response_id'.", param="input")
    summing = _Summing(ask, generate)
    summary = await summing.sum_up(units, "")
    return CompactionItem(id=new_id("cmp_"), encrypted_content=seal({"summary": summary})), summing.state.usage


class _Summing:
    def __init__(self, ask: Ask, generate: Generate) -> None:
        self.state = State()
        self._ask, self._generate = ask, generate

    async def sum_up(self, units: Sequence[Unit], before: str) -> str:
        """A summary of `units`, after that of what was before them."""
        try:
            return await self._write(units, before)
        except ContextLengthExceeded:
            if len(units) == 1:
                raise
        half = len(units) // 2
        return await self.sum_up(units[half:], await self.sum_up(units[:half], before))

    async def _write(self, units: Sequence[Unit], before: str) -> str:
        told = [f"summary of what was before: {before}"] if before else []
        told += [_line(message) for unit in units for message in unit.messages]
        request = GenerateRequest(
            id=new_id(f"{self._ask.id[:24]}-") if self.state.turn or before else self._ask.id,
            model=self._ask.model,
            prompt=ChatPrompt(
                (Message(role="system", content=TASK), Message(role="user", content="\n\n".join(told))), thinking=False
            ),
            tenant=self._ask.tenant,
            project=self._ask.project,
            spillover=self._ask.spillover,
            streams=False,
            max_tokens=MAX_TOKENS,
            sampling=self._ask.sampling,
            deadline_s=self._ask.deadline_s,
            tier=self._ask.tier,
        )
        texts: list[str] = []
        async with aclosing(self._generate(request)) as events:
            async for event in events:
                if isinstance(event, Token) and not event.thought:
                    texts.append(event.text)
                elif isinstance(event, Finished):
                    self.state.count(event.usage)
        return "".join(texts).strip()


def _line(message: Message) -> str:
    calls = "".join(f" [calls {call.name} with {call.arguments}]" for call in message.tool_calls)
    return f"{message.role}: {message.content}{calls}"
