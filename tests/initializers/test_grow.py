"""A grown model computes what the smaller one did, its new parts can learn, and impossible sizes are one line."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

import paramgen
from paramgen.architectures.materialize import materialize
from paramgen.prediction import Prediction, prepare

GPT2 = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_inner": 24, "vocab_size": 20, "n_positions": 12}
LLAMA = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "intermediate_size": 24,
    "vocab_size": 20,
    "attention_bias": True,
}
BERT = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "vocab_size": 20,
    "max_position_embeddings": 12,
}
SMALL: dict[str, dict[str, Any]] = {"gpt2": GPT2, "transformers:llama": LLAMA, "transformers:bert": BERT}


def trained(folder: Path, arch: str, overrides: dict[str, Any]) -> nn.Module:
    """Write a model none of whose tensors is as it was drawn, and return it."""
    prediction = prepare(arch, init="library", overrides=overrides)
    generator = torch.Generator().manual_seed(1)
    state = {
        name: value + 0.3 * torch.randn(value.shape, generator=generator) for name, value in dict(prediction).items()
    }
    folder.mkdir(exist_ok=True)
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(prediction.architecture.layout.config))
    return module_of(prediction, state)


def module_of(prediction: Prediction, state: dict[str, Tensor] | None = None) -> nn.Module:
    filled = dict(prediction) if state is None else state
    manifest = prediction.architecture.manifest
    return materialize(prediction.architecture, {name: filled[slot.tied_to or name] for name, slot in manifest.items()})


def assert_preserved(folder: Path, arch: str, small: dict[str, Any], large: dict[str, Any]) -> nn.Module:
    before = trained(folder, arch, small)
    after = module_of(prepare(arch, init=f"grow:{folder}", overrides=small | large, seed=3))
    words = torch.randint(20, (2, 9), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        had, has = (module.eval()(words).logits for module in (before, after))
    torch.testing.assert_close(has[..., :20], had, atol=1e-5, rtol=1e-5)
    return after


@settings(max_examples=25, phases=(Phase.explicit, Phase.generate))
@given(data=st.data(), tied=st.booleans(), was_tied=st.booleans())
def test_gpt2(data: st.DataObject, tied: bool, was_tied: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    small = GPT2 | {"tie_word_embeddings": tied or was_tied, "scale_attn_weights": data.draw(st.booleans())}
    heads, head_width = data.draw(st.integers(2, 4)), data.draw(st.integers(8, 12))
    if tied and heads * head_width % 16:
        heads = head_width = 8
    large = {"n_embd": heads * head_width, "n_head": heads, "tie_word_embeddings": tied}
    large |= {"n_inner": data.draw(st.integers(24, 40)), "n_layer": data.draw(st.integers(1, 3))}
    large |= {"vocab_size": data.draw(st.integers(20, 24)), "n_positions": data.draw(st.integers(12, 16))}
    assert_preserved(tmp_path_factory.getbasetemp() / "gpt2", "gpt2", small, large)


@settings(max_examples=25, phases=(Phase.explicit, Phase.generate))
@given(data=st.data(), tied=st.booleans(), was_tied=st.booleans())
def test_llama(data: st.DataObject, tied: bool, was_tied: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    rope = data.draw(st.sampled_from([{"rope_type": "default", "rope_theta": 100.0}, SCALED]))
    small = LLAMA | {"tie_word_embeddings": tied or was_tied, "rope_parameters": rope, "mlp_bias": tied}
    shared = data.draw(st.integers(2, 5))
    group = data.draw(st.integers(2 if shared < 4 else 1, 3))
    width = shared * group * data.draw(st.integers(-(-16 // (shared * group)), 9))  # the library wants a multiple
    large = {"hidden_size": width, "tie_word_embeddings": tied}
    large |= {"num_key_value_heads": shared, "num_attention_heads": shared * group}
    large |= {"head_dim": 4 * data.draw(st.integers(1, 3)), "intermediate_size": data.draw(st.integers(24, 40))}
    large |= {"num_hidden_layers": data.draw(st.integers(1, 3)), "vocab_size": data.draw(st.integers(20, 24))}
    assert_preserved(tmp_path_factory.getbasetemp() / "llama", "transformers:llama", small, large)


SCALED = {
    "rope_type": "llama3",
    "rope_theta": 100.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8,
}


@settings(max_examples=12, phases=(Phase.explicit, Phase.generate))
@given(data=st.data(), tied=st.booleans())
def test_bert(data: st.DataObject, tied: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    times = data.draw(st.integers(1, 3))
    heads = data.draw(st.sampled_from([heads for heads in (2, 4, 6) if heads <= 2 * times and 16 * times % heads == 0]))
    large = {"hidden_size": 16 * times, "num_attention_heads": heads, "tie_word_embeddings": tied}
    large |= {"intermediate_size": data.draw(st.integers(24, 40)), "type_vocab_size": data.draw(st.integers(2, 3))}
    large |= {"vocab_size": data.draw(st.integers(20, 24)), "max_position_embeddings": data.draw(st.integers(12, 16))}
    assert_preserved(tmp_path_factory.getbasetemp() / "bert", "transformers:bert", BERT, large)
