"""A reward model: one number for an answer, read off the last token of a conversation.

    r = w . h(last token)        w: (hidden size), beginning at zero, beside a LoRA adapter       Ouyang et al., 2022

It is kept as PEFT keeps a classifier with one label: `score.weight` lies among the adapter's matrices. `methods.py` has
how it is learnt (`Comparisons`).
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor, nn

from mainspring.core.errors import InvalidRequest
from mainspring.core.types import Message
from mainspring.models import folder
from mainspring.models.catalog import Catalog
from mainspring.train.base import load_base
from mainspring.train.examples import Chat, Reinforcement, parse
from mainspring.train.lines import Wrong
from mainspring.train.model import Precision, Scored, Trainee, load_adapter
from mainspring.train.packing import MicroBatch, Packer, Sample, choose_length
from mainspring.train.render import Renderer
from mainspring.train.tokens import open_vocabulary

__all__ = ["Judge", "RewardModel", "Rewarding"]

HEAD = "base_model.model.score.weight"
MAX_TOKENS = 4096
"""Of a conversation: what is longer loses its beginning."""


class Judge(Trainee):
    """A model with a head for one number. `score` gives a score for each segment instead of each token.

    Args:
        rank: of LoRA, as of `Trainee`; not all of its weights can be trained.
    """

    def __init__(self, model: Any, *, rank: int, precision: Precision, length: int, seed: int = 0) -> None:
        super().__init__(model, rank=rank, precision=precision, length=length, seed=seed)
        head = nn.Linear(model.config.hidden_size, 1, bias=False).to(self.device)
        nn.init.zeros_(head.weight)
        model.score = head

    def score(self, micro: MicroBatch) -> Scored:
        """`Scored` of segments: the score as `logp_N`, whether it is above 0 as `hit_N`, weights of 1."""
        last = self._tensor(_last(micro.segments))
        rows, length = micro.segments.shape
        segments = self._tensor(micro.segments) + torch.arange(rows, device=self.device)[:, None] * (length + 1)
        scores: Tensor = self.model.score(self.hidden(micro)[last])[:, 0]
        return Scored(scores, scores > 0, torch.ones_like(scores), segments[last])

    def _adapter(self) -> dict[str, Tensor]:
        return {**super()._adapter(), HEAD: self.model.score.weight.detach().contiguous()}

    def _config(self, base: str) -> dict[str, Any]:
        return {**super()._config(base), "task_type": "SEQ_CLS", "modules_to_save": ["score"]}


def _last(segments: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Where each segment ends."""
    after = np.concatenate((segments[:, 1:], np.zeros_like(segments[:, :1])), axis=1)
    return (segments > 0) & (segments != after)


class _Items:
    """Conversations as a `packing.Source`."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = samples
        self.lengths = np.array([len(each.ids) for each in samples], np.int64)

    def item(self, number: int) -> Sequence[Sample]:
        return [self._samples[number]]


class RewardModel:
    """A reward model that is loaded.

    Args:
        renderer: of the vocabulary that it was trained with.
    """

    def __init__(self, judge: Judge, renderer: Renderer) -> None:
        self._judge, self._renderer = judge, renderer

    @classmethod
    def load(cls, catalog: Catalog, name: str, *, precision: Precision = torch.float32) -> "RewardModel":
        """A reward model of the catalog.

        Raises:
            InvalidRequest: the model is none.
            ModelNotFound: it is not here, or its base has gone.
        """
        version = catalog.get(name)
        if version.kind != "reward" or version.base is None:
            raise InvalidRequest(
                f"{name} is no reward model: train one with the method 'reward'.", param="grader.model"
            )
        base = catalog.get(version.base)
        model = load_base(catalog, base).model
        judge = open_judge(model, catalog.folder(version), precision=precision)
        return cls(judge, Renderer(open_vocabulary(catalog, base)))

    def score(self, conversations: Sequence[tuple[Sequence[Message], str]]) -> list[float]:
        """What each answer is worth after its messages; any number.

        Args:
            conversations: messages that end before the answer, and the answer's text.
        """
        samples = [self._sample(messages, answer) for messages, answer in conversations]
        return scores_of(self._judge, samples) if samples else []

    def _sample(self, messages: Sequence[Message], answer: str) -> Sample:
        whole = (*messages, Message(role="assistant", content=answer))
        try:
            found = self._renderer.chat(Chat(messages=whole, weights=(*(0 for _ in messages), 1)))
        except Wrong as wrong:
            raise InvalidRequest(f"The reward model cannot read this conversation: {wrong.message}.") from None
        sample = found[-1]
        return Sample(sample.ids[-MAX_TOKENS:], sample.weights[-MAX_TOKENS:])


def open_judge(model: Any, place: Path, *, precision: Precision = torch.float32) -> Judge:
    """A model that `Judge.save` has written to `place`, over its base."""
    rank = int(json.loads((place / folder.ADAPTER[1]).read_bytes())["r"])
    judge = Judge(model, rank=rank, precision=precision, length=MAX_TOKENS)
    load_adapter(judge, place)
    with torch.no_grad():
        judge.model.score.weight.copy_(load_file(place / folder.ADAPTER[0])[HEAD])
    return judge


def scores_of(judge: Judge, samples: Sequence[Sample]) -> list[float]:
    """The score of each sequence of tokens."""
    source = _Items(samples)
    length, _ = choose_length(source.lengths, MAX_TOKENS)
    packer = Packer(source, length=length, rows=1, batch_size=len(samples), shuffle=False)
    found = np.zeros(len(samples))
    with torch.no_grad():
        for micro in packer.batch(0).micro:
            scored = judge.score(micro)
            segments, scores = scored.segment_N.cpu().numpy(), scored.logp_N.cpu().numpy()
            place = dict(zip(map(int, segments), map(float, scores), strict=True))
            for item, _, row, segment in micro.parts.tolist():
                found[item] = place[row * (length + 1) + segment]
    return found.tolist()


class Rewarding:
    """`graders.seams.Reward` for a process that trains: models are loaded when they are first asked, and whatever is
    asked in one turn of the event loop is computed together."""

    def __init__(self, catalog: Catalog, precision: Precision = torch.float32) -> None:
        self._catalog, self._precision = catalog, precision
        self._models: dict[str, RewardModel] = {}
        self._waiting: list[tuple[str, tuple[Sequence[Message], str], asyncio.Future[float]]] = []

    async def __call__(self, model: str, item: Mapping[str, Any], sample: Mapping[str, Any]) -> float:
        """What `model` makes of the answer to an example of reinforcement."""
        try:
            example = parse(msgspec.json.encode(item), "reinforcement")
        except Wrong as wrong:
            raise InvalidRequest(f"The item is no example of reinforcement: {wrong.message}.") from None
        assert isinstance(example, Reinforcement)
        self.load(model)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[float] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._compute)
        self._waiting.append((model, (example.messages, str(sample["output_text"])), future))
        return await future

    def load(self, model: str) -> None:
        """Have it in memory. Raises as `RewardModel.load` does."""
        if model not in self._models:
            self._models[model] = RewardModel.load(self._catalog, model, precision=self._precision)

    def _compute(self) -> None:
        waiting, self._waiting = self._waiting, []
        for name in dict.fromkeys(model for model, _, _ in waiting):
            asked = [each for each in waiting if each[0] == name]
            try:
                scores = self._models[name].score([conversation for _, conversation, _ in asked])
            except Exception as error:  # noqa: BLE001 - whoever waits is told
                for _, _, future in asked:
                    future.set_exception(error)
                continue
            for (_, _, future), value in zip(asked, scores, strict=True):
                future.set_result(value)
