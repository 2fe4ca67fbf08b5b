"""A grown model computes what the smaller one did, its new parts can learn, and impossible sizes are one line."""

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import paramgen
from paramgen.architectures import Architecture, resolve
from paramgen.architectures.materialize import materialize
from paramgen.graphs.schema import Graph
from paramgen.initializers import initializer_of

if TYPE_CHECKING:
    from conftest import Command

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


@cache
def nothing() -> Graph:
    """A graph of something else: a growth needs none."""
    return paramgen.trace(nn.Linear(1, 1), example_input=torch.zeros(1, 1))


def drawn(architecture: Architecture, init: str, seed: int = 0) -> dict[str, Tensor]:
    return dict(initializer_of(init).tensors(architecture, nothing(), seed=seed))


def trained(folder: Path, arch: str, overrides: dict[str, Any]) -> nn.Module:
    """Write a model none of whose tensors is as it was drawn, and return it."""
    architecture = resolve(arch, overrides)
    generator = torch.Generator().manual_seed(1)
    state = {
        name: value + 0.3 * torch.randn(value.shape, generator=generator)
        for name, value in drawn(architecture, "library").items()
    }
    folder.mkdir(exist_ok=True)
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(architecture.layout.config))
    return module_of(architecture, state)


def module_of(architecture: Architecture, filled: dict[str, Tensor]) -> nn.Module:
    manifest = architecture.manifest
    return materialize(architecture, {name: filled[slot.tied_to or name] for name, slot in manifest.items()})


def assert_preserved(folder: Path, arch: str, small: dict[str, Any], large: dict[str, Any]) -> nn.Module:
    before, architecture = trained(folder, arch, small), resolve(arch, small | large)
    after = module_of(architecture, drawn(architecture, f"grow:{folder}", seed=3))
    words = torch.randint(20, (2, 9), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        had, has = (module.eval()(words).logits for module in (before, after))
    torch.testing.assert_close(has[..., :20], had, atol=1e-5, rtol=1e-5)
    return after


@pytest.mark.slow
@settings(max_examples=12, phases=(Phase.explicit, Phase.generate))
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


@pytest.mark.slow
@settings(max_examples=12, phases=(Phase.explicit, Phase.generate))
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


@pytest.mark.slow
@settings(max_examples=6, phases=(Phase.explicit, Phase.generate))
@given(data=st.data(), tied=st.booleans())
def test_bert(data: st.DataObject, tied: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    times = data.draw(st.integers(1, 3))
    heads = data.draw(st.sampled_from([heads for heads in (2, 4, 6) if heads <= 2 * times and 16 * times % heads == 0]))
    large = {"hidden_size": 16 * times, "num_attention_heads": heads, "tie_word_embeddings": tied}
    large |= {"intermediate_size": data.draw(st.integers(24, 40)), "type_vocab_size": data.draw(st.integers(2, 3))}
    large |= {"vocab_size": data.draw(st.integers(20, 24)), "max_position_embeddings": data.draw(st.integers(12, 16))}
    assert_preserved(tmp_path_factory.getbasetemp() / "bert", "transformers:bert", BERT, large)


def learn(module: nn.Module, steps: int) -> list[float]:
    module.train(False).requires_grad_(True)
    words = torch.randint(20, (8, 9), generator=torch.Generator().manual_seed(5))
    optimizer = torch.optim.Adam(module.parameters(), 0.003)
    losses = []
    for _ in range(steps):
        logits = module(words).logits[:, :-1]
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), words[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


LARGE: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 32, "n_head": 4, "n_inner": 40, "n_layer": 2},
    "transformers:llama": {
        "hidden_size": 24,
        "num_attention_heads": 6,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
    },
    "transformers:bert": {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 40},
}


@pytest.mark.parametrize("arch", list(SMALL))
def test_all_that_is_new_learns_and_no_two_copies_stay_alike(arch: str, tmp_path: Path) -> None:
    module = assert_preserved(tmp_path / "small", arch, SMALL[arch], LARGE[arch])
    before = {name: value.detach().clone() for name, value in module.named_parameters()}
    losses = learn(module, 3)
    assert losses[-1] < losses[0]
    for name, value in module.named_parameters():
        if value.ndim == 2 and "emb" not in name and "wte" not in name and "wpe" not in name:
            now = value.detach()
            changed = now != before[name]
            assert bool(changed.any(0).all()) and bool(changed.any(1).all()), name
            assert (len(now.unique(dim=0)), now.unique(dim=1).shape[1]) == now.shape, name


def test_only_the_seed_decides_what_is_new(tmp_path: Path) -> None:
    trained(tmp_path / "small", "gpt2", GPT2)
    architecture = resolve("gpt2", GPT2 | LARGE["gpt2"])
    first, again, other = (drawn(architecture, f"grow:{tmp_path / 'small'}", seed) for seed in (1, 1, 2))
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert not torch.equal(first["transformer.h.0.mlp.c_fc.weight"], other["transformer.h.0.mlp.c_fc.weight"])
    assert torch.equal(first["transformer.wte.weight"], other["transformer.wte.weight"])  # nothing in it is new


def test_a_published_file_without_the_heads_prefix_is_read(tmp_path: Path) -> None:
    """As GPT-2's own repository has it, and BERT's norms under their old names."""
    for arch, cut in (("gpt2", "transformer."), ("transformers:bert", "")):
        trained(tmp_path / "small", arch, SMALL[arch])
        architecture = resolve(arch, SMALL[arch] | LARGE[arch])
        wanted = drawn(architecture, f"grow:{tmp_path / 'small'}")
        names = {
            "LayerNorm.weight": "LayerNorm.gamma",
            "LayerNorm.bias": "LayerNorm.beta",
        }
        state = {}
        for name, value in load_file(tmp_path / "small" / "model.safetensors").items():
            for now, then in names.items():
                name = name.replace(now, then)
            state[name.removeprefix(cut)] = value
        save_file(state | {"h.0.attn.bias": torch.ones(1, 1, 12, 12)}, tmp_path / "small" / "model.safetensors")
        found = drawn(architecture, f"grow:{tmp_path / 'small'}")
        assert all(torch.equal(value, found[name]) for name, value in wanted.items())


def test_the_command_writes_what_the_library_loads(tmp_path: Path, command: "Command") -> None:
    small = trained(tmp_path / "small", "gpt2", GPT2)
    sizes = [word for key, value in (GPT2 | LARGE["gpt2"]).items() for word in ("--set", f"{key}={value}")]
    done = command("predict", "--arch", "gpt2", *sizes, "--init", "grow:small", "--out", "large")
    assert "by grow" in done.out and "by zero" in done.out
    large = paramgen.load(tmp_path / "large").eval()
    words = torch.arange(9).view(1, -1)
    torch.testing.assert_close(large(words).logits, small.eval()(words).logits, atol=1e-5, rtol=1e-5)
    record = json.loads((tmp_path / "large" / "paramgen.json").read_text())
    assert record["initializer"]["smaller_model"] == "small" and len(record["initializer"]["sha256"]) == 64


@pytest.mark.parametrize(
    ("arch", "now", "said"),
    [
        ("gpt2", {"n_layer": 2, "n_embd": 8}, "n_embd shrinks from 16 to 8"),
        ("gpt2", {"n_head": 1}, "n_head shrinks from 2 to 1"),
        ("gpt2", {"vocab_size": 19}, "vocab_size shrinks from 20 to 19"),
        ("gpt2", {"n_embd": 24}, "multiples of 16. Type: --set n_embd=16 or 32, or --set tie_word_embeddings=false"),
        ("gpt2", {"n_head": 4}, "The heads' width shrinks from 8 to 4"),
        ("gpt2", {"activation_function": "relu"}, "activation_function 'gelu_new', the larger model 'relu'"),
        ("transformers:llama", {"head_dim": 6}, "multiples are exact. Type: --set head_dim=4 or 8"),
        ("transformers:llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 5.0}}, "rope_parameters"),
        ("transformers:llama", {"tie_word_embeddings": True}, "Type: --set tie_word_embeddings=false"),
        ("transformers:bert", {"num_hidden_layers": 2}, "normalizes after every layer"),
        ("transformers:bert", {"hidden_size": 24}, "exact are multiples of 16. Type: --set hidden_size=16 or 32"),
        ("transformers:BertModel", {}, "is BertModel. Known: GPT2LMHeadModel, LlamaForCausalLM, BertForMaskedLM"),
    ],
)
def test_what_has_no_exact_growth_is_refused(arch: str, now: dict[str, Any], said: str, tmp_path: Path) -> None:
    family = "transformers:bert" if "Bert" in arch else arch
    trained(tmp_path / "small", family, SMALL[family])
    with pytest.raises(paramgen.ParamgenError) as caught:
        drawn(resolve(arch, SMALL[family] | now), f"grow:{tmp_path / 'small'}")
    assert said in caught.value.message and "\n" not in caught.value.message


def test_a_folder_that_is_not_what_its_config_says_is_refused(tmp_path: Path) -> None:
    small = tmp_path / "small"
    trained(small, "gpt2", GPT2)
    architecture = resolve("gpt2", GPT2 | LARGE["gpt2"])
    config = json.loads((small / "config.json").read_text())
    for change, said in (
        ({"n_inner": 20}, "its config.json needs"),
        ({"n_layer": 2}, "has no tensor 'transformer.h.1"),
        ({"n_embd": -16}, "n_embd -16"),
        ({"n_head": "2"}, "n_head"),
        ({"model_type": "bert"}, "grow stays in the family"),
        ({"model_type": "no such"}, "no such"),
    ):
        (small / "config.json").write_text(json.dumps({**config, "architectures": None, **change}))
        with pytest.raises(paramgen.ParamgenError, match=said) as caught:
            drawn(architecture, f"grow:{small}")
        assert "\n" not in str(caught.value)
    (small / "config.json").unlink()
    with pytest.raises(paramgen.ParamgenError, match="config.json"):
        drawn(architecture, f"grow:{small}")


def test_heads_that_find_no_place_are_refused(tmp_path: Path) -> None:
    small = LLAMA | {"num_attention_heads": 6, "hidden_size": 24}
    trained(tmp_path / "small", "transformers:llama", small)
    larger = resolve("transformers:llama", small | {"num_key_value_heads": 3})
    with pytest.raises(paramgen.ParamgenError, match="6 heads that share keys and values by 3 do not fit among 6"):
        drawn(larger, f"grow:{tmp_path / 'small'}")
