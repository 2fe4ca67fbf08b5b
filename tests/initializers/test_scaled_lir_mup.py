"""GPT-2's initialization, layer index rescaling and muP have the numbers of their formulas."""

from math import sqrt
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import paramgen
from paramgen.errors import OptionError
from paramgen.initializers import initializer_of
from paramgen.prediction import prepare

LLAMA = {
    "num_hidden_layers": 4,
    "hidden_size": 128,
    "intermediate_size": 192,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 300,
}
GPT2 = {"n_layer": 4, "n_embd": 128, "n_head": 4, "n_positions": 32, "vocab_size": 300}
BERT = {"num_hidden_layers": 4, "hidden_size": 128, "num_attention_heads": 4, "intermediate_size": 192}
ENDS = {"gpt2": ("c_proj",), "transformers:llama": ("o_proj", "down_proj"), "transformers:bert": ("output.dense",)}


def weights(arch: str, sizes: dict[str, Any], init: str) -> dict[str, Tensor]:
    state = prepare(arch, init=init, overrides=sizes, seed=1).state_dict()
    within = ("attn.", "mlp.", "attention.", "intermediate.", "output.dense")
    return {name: value for name, value in state.items() if value.ndim == 2 and any(word in name for word in within)}


@pytest.mark.parametrize(
    ("arch", "sizes"),
    [
        ("gpt2", GPT2),
        ("transformers:llama", LLAMA),
        pytest.param("transformers:bert", BERT | {"vocab_size": 300}, marks=pytest.mark.slow),
    ],
)
def test_scaled_is_gpt2s_own_initialization_on_every_architecture(arch: str, sizes: dict[str, Any]) -> None:
    found = weights(arch, sizes, "scaled")
    assert found
    for name, value in found.items():
        wanted = 0.02 / sqrt(8) if any(word in name for word in ENDS[arch]) else 0.02
        assert abs(float(value.std()) / wanted - 1) < 0.05, name
    if arch == "gpt2":
        for name, value in weights(arch, sizes, "library").items():
            assert abs(float(value.std()) / float(found[name].std()) - 1) < 0.05, name


def test_layer_index_rescaling_divides_by_the_root_of_the_layers_number() -> None:
    for name, value in weights("transformers:llama", LLAMA, "lir?std=0.006").items():
        layer = int(name.split(".")[2]) + 1
        assert float(value.double().square().mean().sqrt()) == pytest.approx(0.006 / sqrt(layer), rel=1e-5), name
    drawn = weights("transformers:llama", LLAMA, "lir?exact=false")["model.layers.3.mlp.up_proj.weight"]
    root = float(drawn.double().square().mean().sqrt())
    assert root != pytest.approx(0.01, rel=1e-5) and root == pytest.approx(0.01, rel=0.02)


def test_mup_has_the_stds_of_its_table_and_no_queries() -> None:
    untied = GPT2 | {"tie_word_embeddings": False}
    state = prepare("gpt2", init="mup?base=32", overrides=untied).state_dict()
    fused = state["transformer.h.2.attn.c_attn.weight"]
    assert not fused[:, :128].any() and float(fused[:, 128:].std()) == pytest.approx(0.02 / sqrt(4), rel=0.05)
    assert float(state["transformer.h.2.mlp.c_proj.weight"].std()) == pytest.approx(0.02 / sqrt(16), rel=0.05)
    assert float(state["lm_head.weight"].std()) == pytest.approx(0.02 / 4, rel=0.05)
    grouped = prepare("transformers:llama", init="mup?queries=drawn", overrides=LLAMA).state_dict()
    assert grouped["model.layers.0.self_attn.q_proj.weight"].any()
    silent = prepare("transformers:llama", init="mup", overrides=LLAMA).state_dict()
    assert not silent["model.layers.0.self_attn.q_proj.weight"].any()
    assert torch.equal(
        silent["model.layers.0.self_attn.k_proj.weight"], grouped["model.layers.0.self_attn.k_proj.weight"]
    )


def test_mup_names_its_rule_and_its_base_is_a_whole_number() -> None:
    untied = GPT2 | {"tie_word_embeddings": False}
    prediction = prepare("gpt2", init="mup", overrides=untied)
    assert prediction.rules["transformer.h.2.mlp.c_fc.weight"] == "mup"
    width = float(prediction.state_dict()["transformer.h.2.mlp.c_fc.weight"].std())
    assert width == pytest.approx(0.02 * sqrt(256 / 128), rel=0.02)  # at a base of 256
    assert initializer_of("mup?base=1000000") is not None
    for base, said in (("1000001", "1000001"), ("0", "0"), ("true", "True")):
        with pytest.raises(OptionError, match=f"base is {said}. Allowed: a whole number from 1 to 1,000,000"):
            initializer_of(f"mup?base={base}")


def test_a_std_may_be_a_whole_number() -> None:
    found = weights("gpt2", GPT2, "scaled?std=2")
    assert float(found["transformer.h.0.mlp.c_fc.weight"].std()) == pytest.approx(2, rel=0.05)


def test_the_seed_alone_decides_what_is_drawn() -> None:
    module = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    drawn = [
        paramgen.predict(module, init="he", example_input=torch.zeros(2, 6), seed=seed).state_dict()
        for seed in (3, 3, 4)
    ]
    assert torch.equal(drawn[0]["0.weight"], drawn[1]["0.weight"])
    assert not torch.equal(drawn[0]["0.weight"], drawn[2]["0.weight"])
