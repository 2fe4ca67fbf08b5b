"""Nothing that stands in a stranger's configuration makes a library fetch, run or build what hurts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import paramgen
from paramgen._optional.torchvision import ensure_torchvision
from paramgen.architectures import resolve
from paramgen.architectures import untrusted_sizes as sizes
from paramgen.architectures.untrusted import admitted, nothing_fetched
from paramgen.architectures.untrusted_sizes import bounded_construction, refuse_sizes
from paramgen.errors import ArchitectureError, ParamgenError

pytestmark = pytest.mark.filterwarnings("default")
BERT = {
    "model_type": "bert",
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "vocab_size": 6,
    "max_position_embeddings": 8,
}
UNET = {"_class_name": "UNet2DModel", "block_out_channels": [32, 32], "layers_per_block": 1}


def config(folder: Path, **values: Any) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(values))
    return str(folder)


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What would be fetched if the package `kernels` were installed."""
    ensure_torchvision()
    from transformers import modeling_utils
    from transformers.integrations import hub_kernels

    fetched: list[str] = []
    for module in (modeling_utils, hub_kernels):
        monkeypatch.setattr(module, "is_kernels_available", lambda *given: True)
    monkeypatch.setattr(hub_kernels, "_kernels_enabled", True)
    monkeypatch.setattr(hub_kernels, "get_kernel", lambda name, **given: fetched.append(name))
    return fetched


@pytest.mark.parametrize(
    "given",
    [
        {"attn_implementation": "kernels-community/x"},
        {"_attn_implementation": "someone/evil@main:f"},
        {"_attn_implementation_internal": "someone/evil"},
        {"attn_implementation": {"": "someone/evil"}},
        {"experts_implementation": "someone/evil"},
        {"quantization_config": {"quant_method": "evil"}},
        {"model_type": "dpt", "backbone": "someone/evil"},
        {"model_type": "detr", "backbone": "hf-hub:someone/evil"},
        {"model_type": "timm_wrapper", "architecture": "hf-hub:someone/evil"},
        {"model_type": "clip", "text_config": {"attn_implementation": "someone/evil"}},
        {"model_type": "dpt", "backbone_config": {"model_type": "timm_backbone", "backbone": "local-dir:/etc"}},
        {"model_type": "clip", "text_config": {"checkpoint_path": "x"}},
    ],
)
def test_no_configuration_reaches_out(tmp_path: Path, kernels: list[str], given: dict[str, Any]) -> None:
    with pytest.raises(ArchitectureError, match=r"Remove that key|allowed|Allowed") as caught:
        resolve(config(tmp_path / "one", **{**BERT, **given}))
    assert "\n" not in str(caught.value) and kernels == []


@pytest.mark.parametrize("word", ["flash_attention_2", "flash_attention_3", "paged|flash_attention_2"])
def test_how_to_attend_is_the_librarys_choice_where_a_word_would_fetch(
    tmp_path: Path, kernels: list[str], word: str
) -> None:
    assert resolve(config(tmp_path / "one", **BERT, attn_implementation=word)).manifest.parameters
    assert kernels == []


def test_a_type_of_model_that_fetches_by_itself_does_not(kernels: list[str]) -> None:
    from transformers.integrations import hub_kernels

    with nothing_fetched():
        hub_kernels.lazy_load_kernel("mamba-ssm", {})
        with pytest.raises(FileNotFoundError, match="runs no code"):
            hub_kernels.get_kernel("someone/evil")
        with nothing_fetched():
            pass
        assert not hub_kernels._kernels_enabled
    assert kernels == [] and hub_kernels._kernels_enabled
    hub_kernels.get_kernel("mine")
    assert kernels == ["mine"]


def test_a_backbone_is_not_looked_for_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_torchvision()
    from transformers import backbone_utils

    monkeypatch.setattr(backbone_utils, "hf_api", lambda: pytest.fail("the Hub was asked"))
    with pytest.raises(ParamgenError):
        resolve(config(tmp_path / "one", model_type="detr", backbone="evil", use_timm_backbone=False))


def test_remarks_stay_without_effect() -> None:
    given = {
        "auto_map": {"AutoModel": "evil.Evil"},
        "_name_or_path": "somewhere/else",
        "mm_vision_tower": "openai/clip",
        "id2label": {"0": "n/a"},
        "hidden_size": 8,
        "hidden_act": "gelu",
    }
    assert admitted(given, ("hidden_size", "hidden_act"), origin="x") == {
        "id2label": {"0": "n/a"},
        "hidden_size": 8,
        "hidden_act": "gelu",
    }


def test_every_default_of_transformers_is_let_through() -> None:
    ensure_torchvision()
    import transformers

    for kind in ("Bert", "CLIP", "Llama", "Mamba2", "Swin", "Whisper"):
        default = getattr(transformers, f"{kind}Config")().to_dict()
        assert admitted(default, default, origin="x").keys() == default.keys() - {"_name_or_path"}


@pytest.mark.parametrize(
    "given",
    [
        {**BERT, "architectures": ["BertForSequenceClassification"], "num_labels": 10**9},
        {**BERT, "num_hidden_layers": 10**6},
        {**BERT, "hidden_size": 2**70},
        {"model_type": "clip", "text_config": {"num_hidden_layers": 10**9}},
        {"model_type": "swin", "depths": [1000, 1000]},
        {**UNET, "layers_per_block": 10**8},
        {**UNET, "sample_size": 10**9},
        {**UNET, "block_out_channels": [10**9] * 2},
    ],
)
@pytest.mark.parametrize("ask", [resolve, lambda name: paramgen.graph(name), lambda name: paramgen.check(name)])
def test_sizes_are_refused_before_a_library_sees_them(
    tmp_path: Path, given: dict[str, Any], ask: Callable[[str], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers import UNet2DModel  # noqa: F401 - imported now, as libraries build something while they are
    from safetensors.torch import save_file

    folder = config(tmp_path / "one", **given)
    save_file({"x": torch.zeros(1)}, tmp_path / "one" / "model.safetensors")
    monkeypatch.setattr(nn.Module, "__init__", lambda self: pytest.fail("it is built"))
    with pytest.raises(ParamgenError, match=r"allowed are") as caught:
        ask(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "given", [{"a": 2**21 + 1}, {"a": [[-(2**22)]]}, {"extra_ids": 5000}, {"num_labels": 1e9}, {"a": {"b": 2**40}}]
)
def test_numbers_that_no_network_has(given: dict[str, Any]) -> None:
    with pytest.raises(ParamgenError, match="allowed are"):
        refuse_sizes(given, origin="x")


def test_nesting_and_entries_are_limited() -> None:
    deep: dict[str, Any] = {}
    for _ in range(1000):
        deep = {"a": deep}
    with pytest.raises(ArchitectureError, match="deep"):
        refuse_sizes(deep, origin="x")
    with pytest.raises(ArchitectureError, match="entries"):
        refuse_sizes({"a": [0.5] * 200_000}, origin="x")


def test_what_numbers_may_be_large() -> None:
    large = {"model_max_length": 10**30, "rope_theta": 10**9, "eos_token_id": 10**7, "max_position_embeddings": 10**7}
    refuse_sizes({**large, "time_step_limit": [0.0, float("inf")], "vocab_size": 10**6}, origin="x")


def test_a_network_of_too_many_parts_ends_while_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "MAX_BUILT", 50)
    with pytest.raises(ArchitectureError, match="more than 50 modules"), bounded_construction("it"):
        nn.ModuleList(nn.Linear(1, 1) for _ in range(100))
    nn.ModuleList(nn.Linear(1, 1) for _ in range(100))


def test_real_memory_is_bounded_by_what_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "_SPARE", 0)
    bounded = bounded_construction("it", elements=10)
    with pytest.raises(ArchitectureError, match="more than 20 elements, but holds 10"), bounded:
        nn.Linear(1000, 1000)
    with bounded_construction("it", elements=10):
        nn.Linear(1000, 1000, device="meta")
        nn.Linear(2, 2)


@pytest.mark.parametrize(
    "given",
    [
        {"architecture": "hf-hub:someone/evil"},
        {"architecture": "local-dir:/etc"},
        {"architecture": 5},
        {"architecture": "resnet10t", "model_args": {"checkpoint_path": "evil.pth"}},
        {"architecture": "resnet10t", "model_args": {"pretrained_cfg_overlay": {"url": "http://127.0.0.1/x"}}},
        {"architecture": "resnet10t", "model_args": {"layers": [10**6, 1, 1, 1]}},
        {"architecture": "resnet10t", "model_args": []},
        {"architecture": "resnet10t", "num_classes": 10**9},
    ],
)
@pytest.mark.parametrize("memory", ["real", "meta"])
def test_a_folder_of_timm_names_one_of_its_networks(tmp_path: Path, given: dict[str, Any], memory: Any) -> None:
    from safetensors.torch import save_file

    folder = config(tmp_path / "one", pretrained_cfg={}, **given)
    save_file({"x": torch.zeros(1)}, tmp_path / "one" / "model.safetensors")
    if given.get("model_args") == []:
        given["model_args"] = [1]
        config(tmp_path / "one", pretrained_cfg={}, **given)
    with pytest.raises(ParamgenError) as caught:
        paramgen.check(folder, memory=memory)
    assert "\n" not in str(caught.value) and "finds" not in str(caught.value)


def test_timm_opens_no_pickle(tmp_path: Path) -> None:
    folder = config(tmp_path / "one", architecture="resnet10t", pretrained_cfg={}, num_classes=2)
    torch.save({}, tmp_path / "one" / "pytorch_model.bin")  # noqa: TID251
    with pytest.raises(ParamgenError, match="no safetensors file"):
        paramgen.load(folder)


def test_a_folder_with_an_adapter_is_refused(tmp_path: Path) -> None:
    paramgen.write("transformers:bert", tmp_path / "one", init="library", overrides=dict(list(BERT.items())[1:]))
    (tmp_path / "one" / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/evil"}')
    with pytest.raises(ParamgenError, match=r"adapter_config\.json"):
        paramgen.load(tmp_path / "one")
