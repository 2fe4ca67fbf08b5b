"""Mixtures of experts of transformers, run so that a forward pass can be followed without values.

The library sorts tokens by expert, or visits the experts that were chosen: what runs depends on values. Here every
expert maps every token, and the router's weights, zero for what it did not choose, sum them up: the same function of
the same parameters (Shazeer et al., 2017, arXiv:1701.06538, eq. 1), in one product of matrices for all experts.
"""

from typing import Any, Final

from torch import Tensor, nn

from paramgen.architectures.transformers_internals import choose_experts, gated, register_experts

ALL_EXPERTS: Final = "paramgen_all_experts"


def run_all_experts(module: nn.Module) -> None:
    """Let every mixture of experts in `module` run all experts, where its class leaves the choice to its config."""
    mixtures: list[Any] = [child for child in module.modules() if hasattr(child, "has_post_expert_norm")]
    if not mixtures:
        return
    register_experts(ALL_EXPERTS, all_experts)
    for child in mixtures:
        choose_experts(child.config, ALL_EXPERTS)


def all_experts(experts: Any, states: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sum of what the experts make of `states`.

    Args:
        experts: Their module, with weights of shape (experts, out, in), or (experts, in, out) if `is_transposed`.
        states: Of shape (tokens, width).
        chosen: Numbers of the chosen experts, of shape (tokens, chosen).
        weights: Of the chosen experts, of the same shape.

    """
    inner = _mapped(experts, "gate_up_proj" if experts.has_gate else "up_proj", states.unsqueeze(0))
    inner = gated(experts, inner) if experts.has_gate else experts.act_fn(inner)
    outer = _mapped(experts, "down_proj", inner)  # (experts, tokens, width)
    if experts.has_post_expert_norm:
        outer = experts.post_expert_norm(outer)
    shares = weights.new_zeros(len(states), len(outer)).scatter(1, chosen, weights)
    return (outer * shares.t().unsqueeze(-1)).sum(0).to(states.dtype)


def _mapped(experts: Any, name: str, states: Tensor) -> Tensor:
    """Map (experts or 1, tokens, in) to (experts, tokens, out)."""
    weight = getattr(experts, name)
    mapped = states @ (weight if experts.is_transposed else weight.transpose(1, 2))
    return mapped + getattr(experts, f"{name}_bias").unsqueeze(1) if experts.has_bias else mapped
