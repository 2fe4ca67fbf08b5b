"""`paramgen.create`: the network itself, of its library's class, with what `predict` predicts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import paramgen

NETWORKS: dict[str, tuple[str, Callable[[], Tensor]]] = {
    "timm:test_vit": ("timm", lambda: torch.zeros(1, 3, 160, 160)),
    "torchvision:squeezenet1_1": ("torchvision", lambda: torch.zeros(1, 3, 64, 64)),
    "transformers:gpt2?n_layer=1&n_embd=16&n_head=2&vocab_size=50": ("transformers", lambda: torch.ones(1, 5).long()),
    "transformers:llama?num_hidden_layers=1&hidden_size=16&num_attention_heads=2&num_key_value_heads=2"
    "&intermediate_size=8&vocab_size=50": ("transformers", lambda: torch.ones(1, 5).long()),
    "diffusers:AutoencoderKL": ("diffusers", lambda: torch.zeros(1, 3, 16, 16)),
}


@pytest.mark.parametrize("arch", NETWORKS, ids=[arch.partition("?")[0] for arch in NETWORKS])
def test_it_is_the_librarys_own_filled_with_the_prediction(arch: str) -> None:
    library, example = NETWORKS[arch]
    module = paramgen.create(arch, init="he", seed=3)
    assert type(module).__module__.partition(".")[0] == library
    state, predicted = module.state_dict(), paramgen.predict(arch, init="he", seed=3).state_dict()
    assert list(state) == list(predicted) and all(state[name].equal(predicted[name]) for name in state)
    assert all(each.requires_grad for each in module.parameters()) and not any(b.is_meta for b in module.buffers())
    with torch.no_grad():
        module.eval()(example())  # it runs: nothing in it is on the meta device, and nothing was changed to trace it


def test_the_mode_is_the_constructors() -> None:
    import diffusers
    import timm
    import transformers

    assert paramgen.create("timm:test_vit", init="library").training is timm.create_model("test_vit").training
    config = transformers.GPT2Config(n_layer=1, n_embd=16, n_head=2, vocab_size=50)
    arch = "transformers:gpt2?n_layer=1&n_embd=16&n_head=2&vocab_size=50"
    assert paramgen.create(arch, init="library").training is transformers.GPT2LMHeadModel(config).training
    kl: Any = diffusers.AutoencoderKL()
    assert paramgen.create("diffusers:AutoencoderKL", init="library").training is kl.training


def test_ones_own_factory_with_its_options(own: Path) -> None:
    own.write_text(
        own.read_text()
        + "\n\ndef frozen():\n    net = Tiny(4).eval()\n    net.conv.requires_grad_(False)\n    return net\n"
    )
    module: Any = paramgen.create(f"{own}:build", init="he", seed=1, overrides={"width": 5})
    assert type(module).__name__ == "Tiny" and module.training and module.conv.weight.shape[0] == 5
    frozen: Any = paramgen.create(f"{own}:frozen", init="he")
    assert not frozen.training and not frozen.conv.weight.requires_grad
    assert frozen.head.weight.requires_grad


def test_another_dtype_ties_and_the_callers_randomness() -> None:
    before = torch.random.get_rng_state()
    arch = "transformers:gpt2?n_layer=1&n_embd=16&n_head=2&vocab_size=50"
    module: Any = paramgen.create(arch, init="he", dtype="bf16")
    assert {each.dtype for each in module.parameters()} == {torch.bfloat16}
    assert module.lm_head.weight is module.transformer.wte.weight
    assert torch.random.get_rng_state().equal(before)


REFUSED: dict[str, Callable[[Path], str | nn.Module]] = {
    "a live module": lambda _: nn.Linear(2, 2),
    "a graph": lambda folder: str(folder / "g.json"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_has_no_constructor_is_refused(what: str, tmp_path: Path) -> None:
    from paramgen.graphs.graph_json import graph_to_json
    from paramgen.output.fill import created

    (tmp_path / "g.json").write_text(graph_to_json(*paramgen.graph("timm:test_vit")))
    with pytest.raises(paramgen.ParamgenError, match=r"initialize_\(module\)\. Pass: arch='vit_b16'"):
        created(paramgen.predict(REFUSED[what](tmp_path), init="library"))


def test_it_fills_what_it_built_and_nothing_else(own: Path) -> None:
    one: Tensor = paramgen.create(f"{own}:build", init="he", seed=1).head.weight  # type: ignore[union-attr,assignment]
    two: Tensor = paramgen.create(f"{own}:build", init="he", seed=1).head.weight  # type: ignore[union-attr,assignment]
    assert one.equal(two) and one.data_ptr() != two.data_ptr()


def test_a_dtype_is_that_of_the_folder_and_of_nothing_else(tmp_path: Path) -> None:
    arch = next(name for name in NETWORKS if "llama" in name)
    module: Any = paramgen.create(arch, init="he", seed=1, dtype="bfloat16")
    paramgen.write(arch, tmp_path / "out", init="he", seed=1, dtype="bfloat16")
    loaded: Any = paramgen.load(tmp_path / "out")
    assert {name: b.dtype for name, b in module.named_buffers()} == {n: b.dtype for n, b in loaded.named_buffers()}
    assert all(tensor.equal(loaded.state_dict()[name]) for name, tensor in module.state_dict().items())
    assert module.config.dtype == loaded.config.dtype == torch.bfloat16
