"""From an example to tokens and which of them are learnt.

The rule is that every answer is learnt after exactly the tokens that serving would feed for the same messages. So the
prompt of each answer is rendered and tokenised by the very code that serves (`engine.prompts`), and the answer is what
the template writes beyond it, up to the token that ends the turn. Answers of one conversation share a sequence where
the prompt of the later begins with the earlier prompt and answer, token by token. Where it does not, because the
template rewrites history (drops thoughts of earlier turns, say), each answer gets a sequence of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mainspring.core.errors import InvalidRequest
from mainspring.core.types import Message, ToolUse
from mainspring.engine.prompts import Prompts
from mainspring.engine.vocabulary import Vocabulary
from mainspring.models.tools.prompt import split_calls
from mainspring.train.examples import Chat, Completion, Example, Preference, Reinforcement
from mainspring.train.lines import Wrong
from mainspring.train.packing import Sample

__all__ = ["Pair", "Renderer"]

ANCHORS = ("\n", ">", "a")
"""Texts before which an answer is tokenised where its prompt cannot be: a vocabulary that begins every text with a
space would put one at the beginning of the answer."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A preference: both samples begin with the same `num_prompt` tokens."""

    num_prompt: int
    chosen: Sample
    rejected: Sample


class Renderer:
    """Examples as one model reads them. Use from one thread.

    Args:
        vocabulary: the model's, as serving opens it.

    Attributes:
        notes: what people should know of the model's template, each once.
        num_rewritten: conversations that needed more than one sequence.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._prompts = Prompts(vocabulary)
        self._template = self._prompts.template
        self.notes: list[str] = []
        self.num_rewritten = 0

    def samples(self, example: Example) -> list[list[Sample]]:
        """An example as items of training: each a list of samples that stay together (one, or chosen and rejected).

        Raises:
            Wrong: the template refuses the messages, or cannot be trained on.
        """
        match example:
            case Chat():
                return [[sample] for sample in self.chat(example)]
            case Completion():
                return [[self.completion(example)]]
            case Preference():
                pair = self.preference(example)
                return [[pair.chosen, pair.rejected]]
            case Reinforcement():
                ids = self.prompt(example.messages, example.tools)
                return [[_sample(ids, [0.0] * len(ids))]]

    def prompt(self, messages: Sequence[Message], tools: ToolUse | None = None) -> list[int]:
        """What serving feeds the model for these messages.

        Raises:
            Wrong: the template refuses them.
        """
        return self._prompts.encode(self._render(messages, tools, to_answer=True))

    def chat(self, example: Chat) -> list[Sample]:
        """The sequences of a conversation: usually one, none if no message is learnt.

        Raises:
            Wrong: see `samples`.
        """
        messages, weights = self._split(example)
        samples: list[Sample] = []
        ids: list[int] = []
        learnt: list[float] = []
        for at, weight in enumerate(weights):
            if not weight:
                continue
            prompt, answer = self._turn(messages[: at + 1], example.tools)
            if prompt[: len(ids)] != ids:
                samples.append(_sample(ids, learnt))
                ids, learnt = [], []
            learnt += [0.0] * (len(prompt) - len(ids)) + [float(weight)] * len(answer)
            ids = prompt + answer
        if ids:
            samples.append(_sample(ids, learnt))
        self.num_rewritten += len(samples) > 1
        return samples

    def preference(self, example: Preference) -> Pair:
        """Both ways to go on.

        Raises:
            Wrong: see `samples`; or a way of several answers that the template does not write as one text.
        """
        prompt = self.prompt(example.messages, example.tools)
        ways = {"preferred_output": example.chosen, "non_preferred_output": example.rejected}
        found: list[Sample] = []
        for name, way in ways.items():
            weights = (0,) * len(example.messages) + tuple(int(one.role == "assistant") for one in way)
            samples = self.chat(Chat(messages=(*example.messages, *way), weights=weights, tools=example.tools))
            if len(samples) != 1 or samples[0].ids[: len(prompt)].tolist() != prompt:
                raise Wrong(name, "the model's chat template rewrites earlier answers: give only one answer")
            found += samples
        return Pair(len(prompt), *found)

    def completion(self, example: Completion) -> Sample:
        """A prompt as /completions reads it, what follows, and the token that ends a text unless it is there."""
        prompt = self._prompts.encode([example.prompt])
        answer = self._continue(prompt, [example.prompt], [example.completion])
        answer = self._to_end(answer) or [*answer, self._vocabulary.eos]
        return _sample(prompt + answer, [0.0] * len(prompt) + [1.0] * len(answer))

    def _turn(self, messages: Sequence[Message], tools: ToolUse | None) -> tuple[list[int], list[int]]:
        """The prompt of the last message, and that message as the model should write it, with its end."""
        pieces = self._render(messages[:-1], tools, to_answer=True)
        prompt = self._prompts.encode(pieces)
        rest = self._beyond(pieces, self._render(messages, tools, to_answer=False))
        if (answer := self._to_end(self._continue(prompt, pieces, rest))) is None:
            self._note("The model's chat template does not end answers: the token that ends a text is added.")
            rest[-1] = rest[-1].rstrip()
            answer = [*self._continue(prompt, pieces, rest), self._vocabulary.eos]
        return prompt, answer

    def _beyond(self, prompt: list[str], full: list[str]) -> list[str]:
        """What `full` has beyond a prompt, in pieces."""
        if (rest := _after(prompt, full)) is not None:
            return rest
        last = prompt[-1].rstrip()
        if (rest := _after([*prompt[:-1], last], full)) is not None:  # only blanks are different
            return [rest[0].lstrip(), *rest[1:]]
        think = self._template.think
        if think is not None and last.endswith(think[0]):  # the prompt has begun a thought
            last = last.removesuffix(think[0]).rstrip()
            if (rest := _after([*prompt[:-1], last], full)) is not None:
                first = rest[0].lstrip()
                if first.startswith(think[0]):
                    return [first.removeprefix(think[0]).lstrip("\n"), *rest[1:]]
                self._note(
                    "The model begins each answer with a thought, and the answers have none: it learns to end it."
                )
                return [f"\n{think[1]}\n\n{first}", *rest[1:]]
        raise Wrong(
            "messages",
            "the model's chat template writes an answer of the past otherwise than after its prompt, so it cannot be "
            "learnt: choose another base model",
        )

    def _continue(self, prompt: list[int], pieces: list[str], rest: list[str]) -> list[int]:
        """The tokens of what comes after a prompt: as part of the whole text, if that leaves the prompt's own as they
        are."""
        whole = self._prompts.encode([*pieces[:-1], pieces[-1] + rest[0], *rest[1:]])
        if whole[: len(prompt)] == prompt:
            return whole[len(prompt) :]
        return [token for piece in rest for token in self._alone(piece)]

    def _alone(self, piece: str) -> list[int]:
        for anchor in ANCHORS:
            before = self._vocabulary.tokenize(anchor.encode(), special=True)
            tokens = self._vocabulary.tokenize((anchor + piece).encode("utf-8", "replace"), special=True)
            if tokens[: len(before)] == before:
                return tokens[len(before) :]
        return self._vocabulary.tokenize(piece.encode("utf-8", "replace"), special=True)

    def _to_end(self, tokens: list[int]) -> list[int] | None:
        """As far as the model will generate; None if nothing ends it."""
        end = next((at for at, token in enumerate(tokens) if self._vocabulary.is_end(token)), None)
        return None if end is None else tokens[: end + 1]

    def _render(self, messages: Sequence[Message], tools: ToolUse | None, *, to_answer: bool) -> list[str]:
        try:
            return self._template.render(messages, tools, to_answer=to_answer) or [""]
        except InvalidRequest as error:
            raise Wrong("messages", error.message) from None

    def _split(self, example: Chat) -> tuple[Sequence[Message], Sequence[int]]:
        """Where the model makes one call at a time, a message with several is as many messages, each after the result
        of the one before: that is how it is served (`ChatTemplate`)."""
        several = any(len(message.tool_calls) > 1 for message in example.messages)
        is_split = self._template.format.name in ("llama", "harmony") and self._template.knows_format
        if not (several and is_split and self._template.abilities.calls):
            return example.messages, example.weights
        weight_of: dict[int, int] = {}  # by identity, which splitting keeps of messages with one call and of calls
        for message, weight in zip(example.messages, example.weights, strict=True):
            weight_of[id(message)] = weight
            weight_of |= {id(call): weight for call in message.tool_calls}
        split = split_calls(list(example.messages))
        return split, [weight_of[id(message.tool_calls[0] if message.tool_calls else message)] for message in split]

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def _after(prompt: list[str], full: list[str]) -> list[str] | None:
    """`full` without `prompt` at its beginning; None if it does not begin so. A cut between pieces counts as text."""
    last = len(prompt) - 1
    if full[:last] != prompt[:last] or last >= len(full) or not full[last].startswith(prompt[last]):
        return None
    return [full[last].removeprefix(prompt[last]), *full[last + 1 :]]


def _sample(ids: Sequence[int], weights: Sequence[float]) -> Sample:
    return Sample(np.array(ids, np.int32), np.array(weights, np.float32))
