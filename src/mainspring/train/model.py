"""The model that is trained: a transformers model with LoRA in its linear layers, or all of its weights.

    y = W x + (alpha / rank) B (A x)        A: (rank, in), B: (out, rank), B begins as zero        Hu et al., 2021

The layers are PEFT's in all but code: `save` writes what `peft` reads. Ours are shorter, and what pays on a processor
is in them: products in bfloat16 where the machine has instructions for it, everything between them in float32,
additions that are part of a product, and a backward pass that computes nothing for `W`.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import contextlib
import json
import os
import shutil
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor, nn
from transformers import AttentionInterface

from mainspring.train.loss import logprobs
from mainspring.train.packing import NO_LABEL, MicroBatch

__all__ = ["Precision", "Scored", "Trainee", "choose_compile", "choose_precision", "saved_bytes"]

ALPHA = 32.0
"""Of LoRA, whatever the rank: so that the best learning rate hardly depends on it (Thinking Machines, 2025)."""
PAYS = 1.2
"""Faster than float32 by this much, bfloat16 is worth its rounding."""
PLAIN = {"granite", "llama", "mistral", "qwen2", "qwen3", "smollm3"}
"""Models whose attention is nothing but softmax over what the mask lets them see."""
LONG = 768
"""Rows of more tokens than this want the fused attention, which never holds a score for each pair."""
COMPILE_S = 25.0
"""What compiling a layer once takes, forward and backward, on two cores."""

Precision = torch.dtype


class _LoraProduct(torch.autograd.Function):
    """`x Wᵀ + x Aᵀ Bᵀ` for rows x, with gradients for x, A and B."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, a: Tensor, b: Tensor) -> Tensor:
        low = x @ a.t()
        ctx.save_for_backward(x, low, weight, a, b)
        return torch.addmm(low @ b.t(), x, weight.t())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, Tensor, Tensor]:
        x, low, weight, a, b = ctx.saved_tensors
        (grad,) = grads
        to_low = grad @ b
        return torch.addmm(to_low @ a, grad, weight), None, to_low.t() @ x, grad.t() @ low


class LoraLinear(nn.Module):
    """A linear layer whose weight is frozen, and a low-rank one beside it that is trained in float32."""

    def __init__(self, inner: nn.Linear, rank: int, precision: Precision, rng: torch.Generator) -> None:
        super().__init__()
        out_features, in_features = inner.weight.shape
        self.weight = nn.Parameter(inner.weight.detach().to(precision), requires_grad=False)
        self.bias: Tensor | None = inner.bias
        self.precision = precision
        # As PEFT begins: Kaiming's uniform distribution with a = sqrt(5), which is this bound.
        a = torch.empty(rank, in_features).uniform_(-1, 1, generator=rng) / in_features**0.5
        self.a, self.b = nn.Parameter(a), nn.Parameter(torch.zeros(out_features, rank))
        self.scale = ALPHA / rank

    def forward(self, x: Tensor) -> Tensor:
        """Rows in float32, and rows in float32 out."""
        kind = self.weight.dtype
        flat = x.to(kind).flatten(0, -2)
        y: Tensor = _LoraProduct.apply(flat, self.weight, self.a.to(kind), (self.b * self.scale).to(kind))
        y = y.float().unflatten(0, x.shape[:-1])
        return y if self.bias is None else y + self.bias


class FullLinear(nn.Module):
    """A linear layer that is trained itself: its weight is kept in float32 and multiplied in the precision."""

    def __init__(self, inner: nn.Linear, precision: Precision) -> None:
        super().__init__()
        self.weight, self.precision = inner.weight, precision
        self.bias: Tensor | None = inner.bias

    def forward(self, x: Tensor) -> Tensor:
        """Rows in float32, and rows in float32 out."""
        y = nn.functional.linear(x.to(self.precision), self.weight.to(self.precision)).float()
        return y if self.bias is None else y + self.bias


def _attend(  # noqa: PLR0917 - as transformers calls it
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float, **_: Any
) -> tuple[Tensor, None]:
    """Attention in two batched products, the heads that share a key side by side in one of them.

    For rows of some hundred tokens on a processor this is faster than the fused kernel, whose backward pass takes
    three times what the products do; longer rows want the fused one (`LONG`).

    Args:
        query: (rows, heads, T, width), and key and value with fewer heads.
        mask: (rows, 1, T, T), true where it may look.
    """
    kind: torch.dtype = module.q_proj.precision
    rows, heads, length, width = query.shape
    groups = key.shape[1]
    grouped = (query * scaling).to(kind).reshape(rows, groups, -1, width)
    scores = (grouped @ key.to(kind).transpose(-1, -2)).float().view(rows, groups, -1, length, length)
    shares = scores.masked_fill(~mask[:, :, None], -1e30).softmax(-1)
    mixed = shares.to(kind).view(rows, groups, -1, length) @ value.to(kind)
    return mixed.float().view(rows, heads, length, width).transpose(1, 2).contiguous(), None


class Scored(NamedTuple):
    """What a micro-batch's trained tokens came to, in the order of its rows: their log probabilities, whether each is
    the likeliest token, their weights, and the segment that each belongs to: row * (T + 1) + segment."""

    logp_N: Tensor
    hit_N: Tensor
    weights_N: Tensor
    segment_N: Tensor


class Trainee:
    """A model, and which of its parameters are trained.

    Args:
        model: a transformers causal language model in float32; it becomes this object's own.
        rank: of LoRA; None trains all weights.
        length: tokens of a row.
        seed: of what LoRA begins with.
    """

    def __init__(self, model: Any, *, rank: int | None, precision: Precision, length: int, seed: int = 0) -> None:
        self.model, self.rank, self.precision = model, rank, precision
        self.device = next(model.parameters()).device
        model.train()
        model.requires_grad_(rank is None)
        if length <= LONG and self.device.type == "cpu" and model.config.model_type in PLAIN:
            AttentionInterface.register("mainspring", _attend)
            model.set_attn_implementation("mainspring")
        rng = torch.Generator().manual_seed(seed)
        for layer in self._layers():
            for part in list(layer.modules()):
                for name, child in list(part.named_children()):
                    if isinstance(child, nn.Linear):
                        made = FullLinear(child, precision) if rank is None else LoraLinear(child, rank, precision, rng)
                        setattr(part, name, made.to(self.device))
        head: Tensor = model.get_output_embeddings().weight
        # A frozen head is multiplied in the precision all the time; a trained one is the parameter itself.
        self._head = head if rank is None else head.detach().to(precision)

    def _layers(self) -> list[nn.Module]:
        return list(self.model.model.layers)

    def compile(self) -> None:
        """Compile the layers: one shape, one piece of code for all of them."""
        for layer in self._layers():
            layer.compile(dynamic=False)

    def uncompile(self) -> None:
        """As if it had never been."""
        for layer in self._layers():
            layer._compiled_call_impl = None  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - there is no other way
        torch.compiler.reset()

    def forget_gradients(self) -> None:
        """Of what was tried before the first step."""
        for each in self.trained.values():
            each.grad = None

    def recompute(self) -> None:
        """Keep only what lies between layers, and compute the rest again when it is needed: a third more time."""
        self.model.activation_checkpointing_enable({"use_reentrant": False})

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that change, by name. Tied ones are there once."""
        return {name: each for name, each in self.model.named_parameters() if each.requires_grad}

    def hidden(self, micro: MicroBatch) -> Tensor:
        """The last hidden states, (rows, T, hidden size)."""
        ids, positions, segments = (self._tensor(each) for each in (micro.ids, micro.position_ids, micro.segments))
        sees = None if micro.sees is None else self._tensor(micro.sees)
        return self.model.model(
            input_ids=ids, position_ids=positions, attention_mask=_mask(segments, sees), use_cache=False
        ).last_hidden_state

    def score(self, micro: MicroBatch) -> Scored:
        """Run a micro-batch; see `Scored`."""
        hidden = self.hidden(micro)
        segments, labels, weights = (self._tensor(each) for each in (micro.segments, micro.labels, micro.weights))
        kept = labels.flatten() != NO_LABEL
        rows, length = segments.shape
        flat = segments + torch.arange(rows, device=self.device)[:, None] * (length + 1)
        logp, hit = logprobs(hidden.flatten(0, 1)[kept], self._head, labels.flatten()[kept])
        return Scored(logp, hit, weights.flatten()[kept], flat.flatten()[kept])

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self.device)  # pyright: ignore[reportUnknownMemberType]

    @contextlib.contextmanager
    def as_base(self) -> Generator[None]:
        """Within it the model is what it was before it was trained: its adapter counts for nothing."""
        layers = list(self._lora().values())
        scales = [layer.scale for layer in layers]
        try:
            for layer in layers:
                layer.scale = 0.0
            yield
        finally:
            for layer, scale in zip(layers, scales, strict=True):
                layer.scale = scale

    def state(self) -> dict[str, Tensor]:
        """A copy of what is trained."""
        return {name: each.detach().clone() for name, each in self.trained.items()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Take over what `state` gave."""
        with torch.no_grad():
            for name, each in self.trained.items():
                each.copy_(state[name])

    def save(self, folder: Path, base: str) -> None:
        """Write the adapter as PEFT does, or all weights as transformers does. The folder is complete afterwards.

        Args:
            base: what the adapter says it belongs to.
        """
        part = folder.with_name(folder.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        if self.rank is None:
            whole = {name: each.detach().contiguous() for name, each in self.model.named_parameters()}
            save_file(whole, part / "model.safetensors")
            self.model.config.save_pretrained(part)
        else:
            save_file(self._adapter(), part / "adapter_model.safetensors", metadata={"format": "pt"})
            (part / "adapter_config.json").write_text(json.dumps(self._config(base), indent=2))
        for path in part.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        shutil.rmtree(folder, ignore_errors=True)
        part.replace(folder)

    def _lora(self) -> dict[str, LoraLinear]:
        return {name: each for name, each in self.model.named_modules() if isinstance(each, LoraLinear)}

    def _adapter(self) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for name, layer in self._lora().items():
            found[f"base_model.model.{name}.lora_A.weight"] = layer.a.detach().contiguous()
            found[f"base_model.model.{name}.lora_B.weight"] = layer.b.detach().contiguous()
        return found

    def _config(self, base: str) -> dict[str, Any]:
        modules = sorted({name.rsplit(".", 1)[-1] for name in self._lora()})
        return {
            "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, "r": self.rank,
            "lora_alpha": ALPHA, "lora_dropout": 0.0, "bias": "none", "target_modules": modules,
            "fan_in_fan_out": False, "inference_mode": True,
        }  # fmt: skip


def load_adapter(trainee: Trainee, folder: Path) -> None:
    """Begin where an adapter of the same rank ended."""
    tensors = load_file(folder / "adapter_model.safetensors")
    with torch.no_grad():
        for name, layer in trainee.model.named_modules():
            if isinstance(layer, LoraLinear):
                layer.a.copy_(tensors[f"base_model.model.{name}.lora_A.weight"])
                layer.b.copy_(tensors[f"base_model.model.{name}.lora_B.weight"])


def _mask(segments_RT: Tensor, sees_RT: Tensor | None = None) -> Tensor:
    """(rows, 1, T, T): a token sees those before it of its own segment, and of the one that it sees besides. Padding
    sees padding, since a row of the softmax must not be empty."""
    same = segments_RT[:, :, None] == segments_RT[:, None, :]
    if sees_RT is not None:
        same |= (sees_RT[:, :, None] == segments_RT[:, None, :]) & (sees_RT[:, :, None] > 0)
    return same.tril()[:, None]


def choose_precision(device: torch.device, hidden: int) -> tuple[Precision, str]:
    """The type to multiply in, measured on products of the model's own size, and why."""
    if device.type != "cpu":
        return torch.bfloat16, "the device has bfloat16"
    speeds = {kind: _speed(hidden, kind) for kind in (torch.float32, torch.bfloat16)}
    ratio = speeds[torch.bfloat16] / speeds[torch.float32]
    told = f"products are {ratio:.1f} times as fast in bfloat16 here ({speeds[torch.bfloat16]:.0f} GFLOP/s)"
    return (torch.bfloat16 if ratio >= PAYS else torch.float32), told


def _speed(hidden: int, kind: Precision) -> float:
    """GFLOP/s of (1024, hidden) x (hidden, 2 hidden)."""
    left, right = torch.ones(1024, hidden, dtype=kind), torch.ones(2 * hidden, hidden, dtype=kind)
    for _ in range(2):
        torch.mm(left, right.t())
    best = 1e9
    for _ in range(8):
        started = time.perf_counter()
        torch.mm(left, right.t())
        best = min(best, time.perf_counter() - started)
    return 2 * 1024 * hidden * 2 * hidden / best / 1e9


def choose_compile(device: torch.device, *, left_s: float) -> tuple[bool, str]:
    """Whether compiling pays: it makes steps about a sixth faster and costs half a minute.

    Args:
        left_s: how long the rest takes without.
    """
    if device.type == "cpu" and not (shutil.which("g++") or shutil.which("clang++")):
        return False, "there is no C++ compiler here"
    if left_s / 6 < COMPILE_S:
        return False, f"about {left_s:.0f} s of work are too few to pay for compiling"
    return True, f"about {left_s:.0f} s of work pay for {COMPILE_S:.0f} s of compiling"


def saved_bytes(trainee: Trainee, micro: MicroBatch) -> int:
    """The bytes that the backward pass of a micro-batch keeps, measured by running its forward pass."""
    seen: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    weights = {each.untyped_storage().data_ptr() for each in trainee.model.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        trainee.score(micro)
    return sum(size for place, size in seen.items() if place not in weights)
