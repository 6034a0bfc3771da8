"""Log probabilities of the tokens that are trained on, and nothing else.

A small model's last product is its largest: 49,152 columns against 576. So it is computed for the positions that have a
label only, some dozen rows at a time, and what is kept for the backward pass is one row of the hidden size for each of
them instead of one of the vocabulary's. (The idea is that of Liger's fused loss and of Apple's cut cross-entropy.)

    logp_i = z_i[y_i] - logsumexp(z_i),    z = h Wᵀ        d logp_i / d h_i = W[y_i] - softmax(z_i) W
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from typing import Any

import torch
from torch import Tensor

__all__ = ["CHUNK", "logprobs"]

CHUNK = 64
"""Rows computed together: 64 of 49,152 floats are 12 MB, which a processor's cache still holds."""


class _LogProbs(torch.autograd.Function):
    """See `logprobs`. With a frozen head the gradient's direction is known at once: it is stored, and scaled later."""

    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, head_VD: Tensor, labels_N: Tensor) -> tuple[Tensor, Tensor]:
        num = len(hidden_ND)
        logp_N = torch.empty(num, dtype=torch.float32, device=hidden_ND.device)
        hit_N = torch.empty(num, dtype=torch.bool, device=hidden_ND.device)
        trains_head = head_VD.requires_grad
        keeps = hidden_ND.requires_grad and not trains_head
        kept = torch.empty_like(hidden_ND, dtype=torch.float32) if keeps else None
        for rows in _chunks(num):
            logits, labels = _logits(hidden_ND[rows], head_VD), labels_N[rows, None]
            total = logits.logsumexp(1, keepdim=True)
            chosen = logits.gather(1, labels)
            logp_N[rows] = (chosen - total)[:, 0]
            hit_N[rows] = (chosen >= logits.amax(1, keepdim=True))[:, 0]
            if kept is not None:
                kept[rows] = _residual(logits, total, labels).to(head_VD.dtype) @ head_VD
        ctx.trains_head = trains_head
        ctx.mark_non_differentiable(hit_N)
        if trains_head:
            ctx.save_for_backward(hidden_ND, head_VD, labels_N)
        elif kept is not None:
            ctx.save_for_backward(kept)
        return logp_N, hit_N

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        scale_N1 = grads[0][:, None]
        if not ctx.trains_head:
            return ctx.saved_tensors[0] * scale_N1, None, None
        hidden_ND, head_VD, labels_N = ctx.saved_tensors
        to_hidden, to_head = torch.empty_like(hidden_ND), torch.zeros_like(head_VD)
        for rows in _chunks(len(hidden_ND)):
            logits, labels = _logits(hidden_ND[rows], head_VD), labels_N[rows, None]
            residual = _residual(logits, logits.logsumexp(1, keepdim=True), labels).mul_(scale_N1[rows])
            to_hidden[rows] = residual @ head_VD
            to_head.addmm_(residual.t(), hidden_ND[rows].to(head_VD.dtype))
        return to_hidden, to_head, None


def _chunks(num: int) -> list[slice]:
    return [slice(at, at + CHUNK) for at in range(0, num, CHUNK)]


def _logits(hidden: Tensor, head: Tensor) -> Tensor:
    return (hidden.to(head.dtype) @ head.t()).float()


def _residual(logits: Tensor, total: Tensor, labels: Tensor) -> Tensor:
    """onehot - softmax, in place of the logits."""
    residual = logits.sub_(total).exp_().neg_()
    return residual.scatter_add_(1, labels, residual.new_ones(labels.shape))


def logprobs(hidden_ND: Tensor, head_VD: Tensor, labels_N: Tensor) -> tuple[Tensor, Tensor]:
    """Of each label, its log probability (float32, with a gradient) and whether it is the likeliest token.

    Args:
        hidden_ND: the last hidden states (tokens, hidden size).
        head_VD: the vocabulary projection (vocabulary, hidden size); products are computed in its type.
        labels_N: int64.
    """
    found: tuple[Tensor, Tensor] = _LogProbs.apply(hidden_ND, head_VD, labels_N)  # pyright: ignore[reportAssignmentType]
    return found
