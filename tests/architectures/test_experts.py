"""Mixtures of experts are followed on fake tensors, compute what the library computes, and have the right roles."""

import json
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

import paramgen
from paramgen.architectures import Architecture, resolve
from paramgen.architectures.experts import ALL_EXPERTS, run_all_experts
from paramgen.graphs.analysis.roles import linear_maps_of
from paramgen.graphs.analysis.slot_roles import elements_by_role
from paramgen.graphs.tracing.fallbacks import graph_of
from paramgen.output.planning import plan_folder, planned

SMALL = (
    "hidden_size=32&intermediate_size=24&num_hidden_layers=2&num_attention_heads=4&num_key_value_heads=2&vocab_size=50"
)
KINDS = {
    "mixtral": "num_local_experts=4",
    "qwen3_moe": "num_experts=4&num_experts_per_tok=2&moe_intermediate_size=24",
    "gpt_oss": "num_local_experts=4&head_dim=8",
}


@pytest.mark.parametrize("kind", KINDS)
def test_experts_are_stacked_maps_of_the_right_fan_in(kind: str) -> None:
    architecture = resolve(f"transformers:{kind}?{SMALL}&{KINDS[kind]}")
    graph = graph_of(architecture)
    assert (graph.traced_by, graph.failures, graph.unreachable()) == ("fake tensors", (), [])
    assert elements_by_role(graph, architecture.manifest)["stacked linear maps"] == 2 * 4 * (48 * 32 + 32 * 24)
    parts = linear_maps_of(graph, architecture.manifest)
    inner, outer = (parts[f"model.layers.1.mlp.experts.{name}"] for name in ("gate_up_proj", "down_proj"))
    assert (inner.groups, inner.out, inner.fan_in, inner.followed_by) == (4, 48, 32, "silu")
    assert (outer.groups, outer.out, outer.fan_in, outer.last_of_branch) == (4, 32, 24, True)
    assert ALL_EXPERTS not in json.dumps(architecture.layout.config)
    assert_the_same_function(architecture)


@torch.no_grad()
def assert_the_same_function(architecture: Architecture) -> None:
    module: Any = architecture.module
    config = type(module.config)(**architecture.layout.config)
    config._experts_implementation = "eager"
    module = AutoModelForCausalLM.from_config(config).eval()
    for parameter in module.parameters():
        parameter.normal_(0.0, 0.3, generator=torch.Generator().manual_seed(parameter.numel()))
    words = torch.arange(20).view(2, 10)
    theirs = module(words, use_cache=False).logits
    run_all_experts(module)
    ours = module(words, use_cache=False).logits
    assert theirs.std() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_deep_mixture_is_planned() -> None:
    arch = (
        "transformers:qwen3_moe?hidden_size=4096&num_hidden_layers=40&num_attention_heads=64&num_key_value_heads=4"
        "&num_experts=128&num_experts_per_tok=8&moe_intermediate_size=1536&vocab_size=151936"
    )
    prediction = paramgen.predict(arch, init="he")
    described = planned(plan_folder(prediction)).to_json()
    assert described["parameters"] > 99e9 and described["nodes"] > 900
    assert (described["traced_by"], described["trace_failures"]) == ("fake tensors", [])
    assert described["unreachable"] == [] and described["by_rule"]["he"] > 0.99 * described["parameters"]
    assert sum(described["files"].values()) > 4 * described["parameters"]
