"""Attention in the two forms that the published code has seen: an explicit softmax, and fused.

Through torch 2.0 attention left a softmax in the autograd graph, and the published weights were trained on such
graphs; since torch 2.1 it is one node that their vocabulary does not know.
"""

import contextlib
import math
from collections.abc import Iterator
from typing import Any, Literal, final
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional

SoftmaxForm = Literal["explicit", "fused"]


@contextlib.contextmanager
def attention_as(softmax: SoftmaxForm) -> Iterator[None]:
    """Replace `torch.nn.functional.scaled_dot_product_attention` while the network is followed."""
    with mock.patch.object(functional, "scaled_dot_product_attention", _explicit if softmax == "explicit" else _fused):
        yield


def _explicit(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    *_: Any,
    scale: float | None = None,
    enable_gqa: bool = False,
    **__: Any,
) -> Tensor:
    """Softmax(q kᵀ / √d) v; the causal mask is left out, because it has no gradient and so no node."""
    if enable_gqa:
        key, value = (part.repeat_interleave(query.shape[-3] // part.shape[-3], dim=-3) for part in (key, value))
    divisor = math.sqrt(query.shape[-1]) if scale is None else 1 / scale
    weights = (query / divisor) @ key.transpose(-2, -1)
    if attn_mask is not None:
        weights = weights.masked_fill(~attn_mask, -math.inf) if attn_mask.dtype == torch.bool else weights + attn_mask
    weights = weights.softmax(dim=-1)
    return (functional.dropout(weights, dropout_p) if dropout_p > 0 else weights) @ value


@final
class _FusedAttention(torch.autograd.Function):
    """One node in the autograd graph, whatever kernel a device would choose."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        return query.new_empty((*query.shape[:-1], value.shape[-1]))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        raise NotImplementedError("This attention has a shape, but no values.")


def _fused(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *_: Any, **__: Any) -> Tensor:
    result: Tensor = _FusedAttention.apply(query, key, value, attn_mask)  # type: ignore[no-untyped-call]
    return result
